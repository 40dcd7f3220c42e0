//! Logs without end: it must end at its deadline, its log must be cut at its limit, and be marked as cut.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    let line = "l".repeat(1000);
    loop {
        log::error!("{line}");
    }
}

//! Asks for the time again and again: it must end at its deadline, or when it has made more host calls than it may.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    loop {
        black_box((std::time::Instant::now(), std::time::SystemTime::now()));
    }
}

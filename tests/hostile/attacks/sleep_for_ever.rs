//! Sleeps for a hundred years: it must end at its deadline, without any guest thread being kept busy.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    std::thread::sleep(Duration::from_secs(100 * 365 * 24 * 3600));
    Err(Failure::permanent("a hundred years are over"))
}

//! Exits with 0 instead of returning its answer: that must not count as success, and must not end the host.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    println!("this is not an answer");
    std::process::exit(0)
}

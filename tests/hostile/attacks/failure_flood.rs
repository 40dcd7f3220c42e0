//! Fails with 4 MiB of words: it must fail, and of its words no more than a few lines must be kept or logged.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    Err(Failure::permanent("why ".repeat(1 << 20)))
}

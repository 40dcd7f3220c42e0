//! Reads a body that comes a byte at a time and never ends: it must end at its deadline, and its connection with it.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    http::get(&settings::require("drip")?).max_body(usize::MAX).send()?;
    Err(Failure::permanent("the body ended"))
}

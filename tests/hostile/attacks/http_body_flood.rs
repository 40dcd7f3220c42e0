//! Reads a body without end as fast as it comes: it must end at its deadline or out of memory, and its connection with it.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    http::get(&settings::require("flood")?).max_body(usize::MAX).send()?;
    Err(Failure::permanent("the body ended"))
}

//! Waits for an answer that never comes: it must end at its deadline, and its connection with it.

use crate::prelude::*;

pub(crate) fn run(_: &Request) -> Result<Output, Failure> {
    http::get(&settings::require("silent")?).send()?;
    Err(Failure::permanent("silence answered"))
}

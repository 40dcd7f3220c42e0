//! Has a manifest that is wrong in escape sequences and a line of 900,000 letters: it must be quarantined, for a reason that can be read and printed.

use std::path::Path;

use anyhow::Result;

use crate::host::Host;

pub(crate) fn place(host: &Host, _: &Path, name: &str) -> Result<()> {
    let words = format!("\\u001b[2J\\u202e{}", "w".repeat(900_000));
    host.put(name, super::PREAMBLE, &format!("[tasks.{name}]\nevery = \"{words}\"\n\"{words}\" = 1\n"))
}

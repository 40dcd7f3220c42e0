//! Has a manifest of 4 MB: it must be quarantined, and the manifest must not be read to its end.

use std::path::Path;

use anyhow::Result;

use crate::host::Host;

pub(crate) fn place(host: &Host, _: &Path, name: &str) -> Result<()> {
    host.put(name, super::PREAMBLE, &format!("[tasks.{name}]\ndescription = \"{}\"\n", "d".repeat(4_000_000)))
}

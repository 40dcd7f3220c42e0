//! Imports locks, cache, schedule and HTTP, and is granted none of them: it must be quarantined before it has run, and the reason must say what is missing.

use std::path::Path;

use anyhow::Result;

use crate::host::Host;

pub(crate) fn place(host: &Host, _: &Path, name: &str) -> Result<()> {
    host.put(name, &host.guest, &format!("[tasks.{name}]\n"))
}

//! Says that a task of another plugin is its own: it must be quarantined, and the task must stay whose it was.

use std::path::Path;

use anyhow::Result;

use crate::conditions::PULSE;
use crate::host::Host;

pub(crate) fn place(host: &Host, _: &Path, name: &str) -> Result<()> {
    let component = super::assemble(&super::program("", super::NOTHING));
    host.put(name, &component, &format!("[tasks.{PULSE}]\nevery = \"1s\"\n"))
}

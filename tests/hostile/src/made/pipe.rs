//! Is a pipe without a writer: it must be quarantined, and nothing must wait for it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::host::Host;

pub(crate) fn place(_: &Host, plugins: &Path, name: &str) -> Result<()> {
    let made = Command::new("mkfifo").arg(plugins.join(format!("{name}.wasm"))).status()?;
    ensure!(made.success(), "cannot make a pipe");
    Ok(())
}

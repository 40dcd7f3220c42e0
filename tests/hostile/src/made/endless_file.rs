//! Is a link to a device that never ends: it must be quarantined, and never be read.

use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;

use crate::host::Host;

pub(crate) fn place(_: &Host, plugins: &Path, name: &str) -> Result<()> {
    Ok(symlink("/dev/zero", plugins.join(format!("{name}.wasm")))?)
}

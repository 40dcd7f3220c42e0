//! Is a file of 100 MB: it must be quarantined for its size, and never be in the host's memory as a whole.

use std::fs::{File, rename};
use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::host::Host;

pub(crate) fn place(_: &Host, plugins: &Path, name: &str) -> Result<()> {
    let new = plugins.join(format!(".{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(super::PREAMBLE)?;
    file.set_len(100_000_000)?;
    rename(new, plugins.join(format!("{name}.wasm")))?;
    Ok(())
}

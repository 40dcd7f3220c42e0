//! Makes the folder of a host: `sexton.toml`, and `plugins/` with components and manifests.

use std::fs;
use std::io::Result;
use std::path::{Path, PathBuf};

/// The configuration of a host that listens on any free port of 127.0.0.1. Further lines may follow it.
pub const ANY_PORT: &str = "[http]\nlisten = \"127.0.0.1:0\"\n";

/// Writes the configuration of a host into `directory`, and makes its plugin directory unless it exists.
///
/// # Errors
///
/// The file system refuses.
pub fn prepare(directory: &Path, config: &str) -> Result<()> {
    fs::create_dir_all(directory.join("plugins"))?;
    fs::write(directory.join("sexton.toml"), config)
}

/// Puts a plugin into the plugin directory `plugins` as an author would: each file whole, by renaming, and the manifest
/// first.
///
/// # Errors
///
/// The file system refuses.
pub fn put(plugins: &Path, name: &str, component: &[u8], manifest: Option<&str>) -> Result<()> {
    for (ending, bytes) in [("toml", manifest.map(str::as_bytes)), ("wasm", Some(component))] {
        if let Some(bytes) = bytes {
            let new = plugins.join(format!(".{name}.{ending}.new"));
            fs::write(&new, bytes)?;
            fs::rename(&new, plugins.join(format!("{name}.{ending}")))?;
        }
    }
    Ok(())
}

/// Returns the folder that `make guests` and `make examples` build into, which lies beside the folder of `binary`.
#[must_use]
pub fn guests(binary: &Path) -> PathBuf {
    let folder = binary.parent().unwrap_or(binary);
    folder.parent().unwrap_or(folder).join("guests")
}

/// Reads the component `name` in the folder `guests`.
///
/// # Errors
///
/// It is not there. The message says what builds it.
pub fn guest(guests: &Path, name: &str) -> std::result::Result<Vec<u8>, String> {
    let path = guests.join(format!("{name}.wasm"));
    fs::read(&path).map_err(|error| format!("{}: {error}; `make guests` builds it", path.display()))
}

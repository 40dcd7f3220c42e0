//! Prepares the directory of a host's own files.

use std::io;
use std::path::Path;

use crate::config::Config;
use sexton_system::private;

/// Creates the host's `var` and the directory for compiled code, and closes `var` to other users if an earlier version
/// left it open. The store and the code cache do the same with their own files when they are opened.
///
/// # Errors
///
/// The directory cannot be created.
pub(super) fn prepare(config: &Config) -> io::Result<()> {
    let var = &config.host.var;
    private::make_directory(var)?;
    if holds_only_own_files(var, config)? {
        private::restrict_to_owner(var);
    } else {
        // Authors may need to pass through it to their plugins, for example.
        private::warn_if_open(var);
    }
    private::restrict_to_owner(&config.published());
    private::make_directory(&config.code())
}

fn holds_only_own_files(var: &Path, config: &Config) -> io::Result<bool> {
    let database = config.database();
    let database = database.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for entry in std::fs::read_dir(var)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name != "code" && name != "published" && !name.starts_with(&database) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_var_with_only_the_hosts_files_is_closed_and_one_with_others_is_left() {
        let place = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.host.var = place.path().join("var");
        let mode = || fs::metadata(&config.host.var).unwrap().permissions().mode() & 0o777;
        let open = || fs::set_permissions(&config.host.var, Permissions::from_mode(0o755)).unwrap();

        prepare(&config).unwrap();
        let made = mode();
        fs::write(config.host.var.join("sexton.db-wal"), "").unwrap();
        open();
        prepare(&config).unwrap();
        let closed = mode();
        fs::create_dir(config.host.var.join("plugins")).unwrap();
        open();
        prepare(&config).unwrap();

        assert_eq!((made, closed, mode()), (0o700, 0o700, 0o755));
    }
}

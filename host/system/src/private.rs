//! Creates files and directories that only this user may open, because a host's files contain the inputs and outputs of
//! all tenants.
//!
//! Each is created with its mode at once, because a mode that is set later leaves a moment in which others can open the
//! file. The umask cannot widen it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use tracing::warn;

/// Owner only: list, enter, create files.
const DIRECTORY: u32 = 0o700;

/// Owner only: read and write.
const FILE: u32 = 0o600;

/// The permissions of the group and others.
const OTHERS: u32 = 0o077;

/// Creates the directory `path`, if necessary. The directories above it get the usual mode, because they may contain
/// other things.
///
/// # Errors
///
/// The directory cannot be created, or something else has its name.
pub fn make_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(DIRECTORY).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Returns options that open a file for reading and writing; if they create it, only this user may open it.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(FILE);
    options
}

/// Creates the file `path` anew. A file that a crash left there is replaced, so that its mode does not stay.
///
/// # Errors
///
/// The file cannot be created.
pub fn make_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => options().create_new(true).open(path),
    }
}

/// Removes the permissions of others on `path`, if it exists and belongs to this user; earlier versions created files
/// with the umask's mode. Logs that, or logs what to do if the file is another user's.
pub fn restrict_to_owner(path: &Path) {
    let Ok(found) = fs::metadata(path) else { return };
    let mode = found.mode() & 0o7777;
    if mode & OTHERS == 0 {
        return;
    }
    let shown = path.display();
    match remove_other_permissions(path) {
        Ok(now) => warn!("`{shown}` was open to other users (mode {mode:o}); its mode is {now:o} now"),
        Err(error) => warn!(
            error = %error,
            "`{shown}` is open to other users (mode {mode:o}) and this user cannot change that: `chmod go= {shown}` by its owner closes it"
        ),
    }
}

/// Logs that a directory is open to others. It contains more than the host's own files, so only its owner can say
/// whether that is intended.
pub fn warn_if_open(path: &Path) {
    let Ok(found) = fs::metadata(path) else { return };
    let (mode, shown) = (found.mode() & 0o7777, path.display());
    if mode & OTHERS != 0 {
        warn!(
            "`{shown}` is open to other users (mode {mode:o}) and holds more than the host's own files: `chmod 700 {shown}` closes it, or give the host a `[host] var` of its own"
        );
    }
}

fn remove_other_permissions(path: &Path) -> io::Result<u32> {
    // The examined and the changed file must be the same, whatever happens to the name in between. A FIFO must not
    // block.
    let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    let found = file.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, format!("it belongs to user {}", found.uid())));
    }
    let mode = found.mode() & 0o7700;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn created_files_are_open_to_their_owner_only_and_directories_above_are_not_closed() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("above/var");

        make_directory(&directory).unwrap();
        make_directory(&directory).unwrap();
        let left = directory.join("file");
        fs::write(&left, "left by a crash").unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o666)).unwrap();
        make_file(&left).unwrap();

        assert_eq!((mode(&directory), mode(&left), fs::read(&left).unwrap().len()), (0o700, 0o600, 0));
        assert_ne!(mode(&place.path().join("above")) & 0o500, 0);
        assert!(make_directory(&left).is_err(), "a file has its name");
    }

    #[test]
    fn open_files_are_closed_to_others_and_the_owner_keeps_permissions() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();

        for (before, after) in [(0o644, 0o600), (0o444, 0o400), (0o600, 0o600), (0o777, 0o700)] {
            fs::set_permissions(&file, Permissions::from_mode(before)).unwrap();
            restrict_to_owner(&file);
            assert_eq!(mode(&file), after, "{before:o}");
        }
        restrict_to_owner(&place.path().join("none"));
    }
}

//! Reads files that other users may have put in place: plugins, manifests, copies, the configuration.
//!
//! Such a path may be a device, or a pipe, which would block the opening thread until another process opens its other
//! end. So opening never blocks, and only a regular file is read. A file that the host executes or uses without further
//! checks must also belong to its own user.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading.
///
/// # Errors
///
/// The file cannot be opened; [`io::ErrorKind::InvalidInput`] if it is not a regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a device may have effects, so its path is examined first. The check of the opened file decides.
    if !std::fs::metadata(path)?.is_file() {
        return Err(no_file());
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// Reads a whole regular file. Returns `None` if it has more than `limit` bytes.
///
/// # Errors
///
/// Those of [`open`], and if the file cannot be read.
pub fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit))
}

/// Opens a regular file that belongs to this user, and that no other user may write to.
///
/// # Errors
///
/// Those of [`open`]; [`io::ErrorKind::PermissionDenied`] if another user could have written it.
pub fn own(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    is_own(&metadata)?;
    if is_open_to_others(&metadata) {
        return Err(denied("others than this user may write to it".to_owned()));
    }
    Ok(file)
}

/// A directory that only this user can enter from now on.
#[derive(Debug)]
pub struct OwnDirectory {
    pub file: File,
    /// Whether others could write to it until now.
    pub was_open_to_others: bool,
}

/// Opens a directory that belongs to this user, and keeps all other users out of it.
///
/// # Errors
///
/// The directory cannot be opened; [`io::ErrorKind::PermissionDenied`] if it is another user's.
pub fn own_directory(path: &Path) -> io::Result<OwnDirectory> {
    let flags = OFlags::DIRECTORY.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    is_own(&metadata)?;
    file.set_permissions(Permissions::from_mode(0o700))?;
    Ok(OwnDirectory { file, was_open_to_others: is_open_to_others(&metadata) })
}

fn is_own(metadata: &Metadata) -> io::Result<()> {
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(denied(format!("it belongs to user {owner}, and this process is user {user}; remove it, or `chown` it")))
}

fn is_open_to_others(metadata: &Metadata) -> bool {
    metadata.mode() & 0o022 != 0
}

fn denied(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a file")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn pipe(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    #[test]
    fn a_pipe_is_refused_at_once_even_if_it_replaces_a_file_in_between() {
        let place = tempfile::tempdir().unwrap();
        let (path, file, fifo) = (place.path().join("it"), place.path().join("file"), place.path().join("fifo"));
        std::fs::write(&path, "text").unwrap();
        let over = AtomicBool::new(false);

        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = std::fs::remove_file(&fifo);
                    pipe(&fifo);
                    std::fs::rename(&fifo, &path).unwrap();
                    std::fs::write(&file, "text").unwrap();
                    std::fs::rename(&file, &path).unwrap();
                }
            });
            // A blocking read would never return, because no process has the other end.
            for _ in 0..2000 {
                match read(&path, 100) {
                    Ok(text) => assert_eq!(text.as_deref(), Some(&b"text"[..])),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}"),
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_file_over_the_limit_is_not_read_and_a_directory_is_no_file() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("it"), "text").unwrap();

        assert_eq!(read(&place.path().join("it"), 3).unwrap(), None);
        assert_eq!(read(&place.path().join("it"), 4).unwrap().as_deref(), Some(&b"text"[..]));
        assert_eq!(read(place.path(), 4).unwrap_err().to_string(), "not a file");
    }
}

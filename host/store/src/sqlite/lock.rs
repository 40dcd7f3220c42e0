//! The lock that keeps two processes from using one store file, and the notes of the last process that had it.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::epoch::Identity;
use super::errors::read_only;
use crate::{Result, StoreError};
use sexton_system::private;

/// A lock that this process has. It ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// The store that the last process to open the file found there, if it noted that.
    pub(super) last: Option<Identity>,
}

impl Lock {
    /// Takes the lock of the store at `path`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if another process has it; the message names that one.
    pub(super) fn take(path: &Path) -> Result<Self> {
        let lock_path = beside(path, ".lock");
        private::restrict_to_owner(&lock_path);
        let cannot = |e: std::io::Error| cannot(&e, path, &lock_path);
        // The file is not truncated: if another process has the lock, it names that one.
        let mut file = private::options().create(true).truncate(false).open(&lock_path).map_err(cannot)?;
        let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        let mut text = String::new();
        // The text is only for messages, and to tell a copy from the store itself; both can do without.
        drop(file.read_to_string(&mut text));
        match locked {
            Ok(()) => Ok(Self { file, last: text.lines().find_map(Identity::of_line) }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
                Err(StoreError::Unusable(format!(
                    "`{}` is in use by {}: stop that one, or name another file for this host's store",
                    path.display(),
                    holder.unwrap_or("another host")
                )))
            }
            Err(e) => Err(cannot(e.into())),
        }
    }

    /// Returns the store that the last process to open the file found there, without taking the lock.
    pub(super) fn last(path: &Path) -> Option<Identity> {
        let text = std::fs::read_to_string(beside(path, ".lock")).ok()?;
        text.lines().find_map(Identity::of_line)
    }

    /// Notes which process has the lock, and which store it has found there.
    pub(super) fn notify(&mut self, found: Option<&Identity>) {
        if let Some(found) = found {
            self.last = Some(found.clone());
        }
        let mut text = format!("the process with id {}\n", std::process::id());
        if let Some(last) = &self.last {
            text.push_str(&last.line());
        }
        let file = &mut self.file;
        let hints = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
        // A full disk must not keep a host from a store that may have room inside.
        drop(hints);
    }
}

/// Returns `path` with `ending` added to its file name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn cannot(error: &std::io::Error, path: &Path, lock_path: &Path) -> StoreError {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            StoreError::Unusable(format!("cannot make `{}`: its directory does not exist", path.display()))
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            read_only(&path.display().to_string())
        }
        std::io::ErrorKind::StorageFull => StoreError::DiskFull(path.display().to_string()),
        _ => StoreError::Unusable(format!("cannot lock `{}`: {error}", lock_path.display())),
    }
}

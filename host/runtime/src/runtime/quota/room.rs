//! Changes a granted directory for one guest at a time, and charges growth first.
//!
//! All of this blocks, and belongs on the threads for files, except making and dropping a room.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags, fstat};
use tokio::sync::OwnedMutexGuard;
use wasmtime_wasi::filesystem::{Descriptor, Dir};
use wasmtime_wasi::p2::bindings::filesystem::types::{ErrorCode, OpenFlags};

use crate::attempt::Refusal;
use crate::runtime::opening::{self, OpenError, Wanted};

use super::walk::{Id, Used, id, length};
use super::{Account, Grant, State};

/// The reason that a change was not made.
#[derive(Debug, thiserror::Error)]
pub(in crate::runtime) enum ChangeError {
    /// The change would have exceeded the directory's quota.
    #[error("the quota of its directory is used up")]
    Full,
    /// The system refused the change.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<&ChangeError> for ErrorCode {
    fn from(denied: &ChangeError) -> Self {
        match denied {
            ChangeError::Full => Self::Quota,
            ChangeError::Io(error) => Self::from(error),
        }
    }
}

/// The place where a write begins.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) enum Place {
    At(u64),
    End,
}

/// A file below a directory that may lose its name.
#[derive(Debug)]
pub(super) struct Named {
    file: OwnedFd,
    id: Id,
}

/// The right to change what a directory holds, with no other guest.
pub(in crate::runtime) struct DirectoryLock {
    grant: Arc<Grant>,
    account: Arc<Account>,
    state: OwnedMutexGuard<State>,
}

impl DirectoryLock {
    pub(super) fn new(grant: Arc<Grant>, account: Arc<Account>, state: OwnedMutexGuard<State>) -> Self {
        Self { grant, account, state }
    }

    /// Charges what is about to be added. A charge that is not given back stays until the directory is measured again.
    pub(super) fn charge(&mut self, more: Used) -> Result<(), ChangeError> {
        if more == Used::default() {
            return Ok(());
        }
        if self.state.is_stale(Instant::now()) {
            self.measure()?;
        }
        if !self.fits(more) {
            self.state.tidy();
        }
        if !self.fits(more) && self.state.may_remeasure(Instant::now()) {
            self.measure()?;
        }
        if !self.fits(more) {
            self.refuse(more);
            return Err(ChangeError::Full);
        }
        self.state.used.bytes += more.bytes;
        self.state.used.entries += more.entries;
        Ok(())
    }

    pub(super) fn give_back(&mut self, less: Used) {
        let used = &mut self.state.used;
        used.bytes = used.bytes.saturating_sub(less.bytes);
        used.entries = used.entries.saturating_sub(less.entries);
    }

    fn fits(&self, more: Used) -> bool {
        let (used, quota) = (self.state.used, self.grant.quota);
        let within =
            |used: u64, more: u64, most: u64| more == 0 || used.checked_add(more).is_some_and(|sum| sum <= most);
        self.state.measured.is_some_and(|last| last.whole)
            && within(used.bytes, more.bytes, quota.bytes)
            && within(used.entries, more.entries, quota.entries)
    }

    fn measure(&mut self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
        // If the directory was moved, the guest still has it open.
        let root = match open(&self.account.path) {
            Ok(root) => root,
            Err(_) => rustix::fs::openat(&*self.grant.directory, c".", flags, Mode::empty())?,
        };
        self.state.measure(root, self.grant.quota.entries)
    }

    fn refuse(&self, more: Used) {
        let (used, quota) = (self.state.used, self.grant.quota);
        let whole = self.state.measured.is_some_and(|last| last.whole);
        let by_entries = !whole || (more.entries > 0 && used.entries.saturating_add(more.entries) > quota.entries);
        self.grant.refusals.note(Refusal::Quota {
            guest: &self.grant.guest,
            used: (used.bytes, used.entries),
            by_entries,
        });
    }
}

#[cfg(test)]
impl DirectoryLock {
    /// Returns what is charged, without closed files.
    pub(super) fn used(&mut self) -> Used {
        self.state.tidy();
        self.state.used
    }

    /// Keeps the last measurement, so that the directory is not measured again.
    pub(super) fn keep_measurement(&mut self) {
        let at = Instant::now() + std::time::Duration::from_secs(3600);
        self.state.measured = self.state.measured.map(|last| super::Measured { at, ..last });
    }
}

/// Changes files.
impl DirectoryLock {
    /// Writes all of `bytes`, or as much as the system takes until it fails.
    pub(in crate::runtime) fn write(&mut self, file: &File, bytes: &[u8], place: Place) -> Result<usize, ChangeError> {
        let before = file.metadata()?.len();
        let start = match place {
            Place::At(offset) => offset,
            Place::End => before,
        };
        let end = start.checked_add(bytes.len() as u64).ok_or_else(|| io::Error::from(rustix::io::Errno::FBIG))?;
        let growth = if bytes.is_empty() { 0 } else { end.saturating_sub(before) };
        self.charge(Used { bytes: growth, entries: 0 })?;
        let written = write_all(file, bytes, place);
        self.settle(file, before, growth);
        Ok(written?)
    }

    /// Sets a file's length.
    pub(in crate::runtime) fn set_size(&mut self, file: &File, size: u64) -> Result<(), ChangeError> {
        let before = file.metadata()?.len();
        let growth = size.saturating_sub(before);
        self.charge(Used { bytes: growth, entries: 0 })?;
        let set = file.set_len(size);
        self.settle(file, before, growth);
        Ok(set?)
    }

    /// Corrects the charge for a file that had `before` bytes, for which `charged` were charged.
    fn settle(&mut self, file: &File, before: u64, charged: u64) {
        let Ok(stat) = fstat(file) else { return };
        let used = &mut self.state.used.bytes;
        *used = used.saturating_sub(charged).saturating_add(length(&stat)).saturating_sub(before);
        if let Some(nameless) = self.state.open.get_mut(&id(&stat)).and_then(|open| open.nameless.as_mut()) {
            *nameless = length(&stat);
        }
    }

    /// Opens a file or a directory. A new entry is charged, and emptied bytes are given back.
    pub(in crate::runtime) fn open(
        &mut self,
        directory: &Dir,
        path: &str,
        wanted: Wanted,
    ) -> Result<Descriptor, OpenError> {
        let (creates, empties) = (OpenFlags::CREATE, OpenFlags::TRUNCATE);
        let exclusive = wanted.open.contains(creates | OpenFlags::EXCLUSIVE);
        let there = match exclusive {
            // An existing file is an error, which the system reports.
            true => Err(OpenError::Code(ErrorCode::NoEntry)),
            false => opening::open(directory, path, wanted.without(creates | empties)),
        };
        let opened = match there {
            Err(OpenError::Code(ErrorCode::NoEntry)) if wanted.open.contains(creates) => {
                let entry = Used { bytes: 0, entries: 1 };
                self.charge(entry).map_err(|denied| OpenError::Code((&denied).into()))?;
                let made = opening::open(directory, path, wanted.without(empties));
                if made.is_err() {
                    self.give_back(entry);
                }
                made?
            }
            there => there?,
        };
        if let Descriptor::File(file) = &opened {
            if wanted.open.contains(empties) {
                self.set_size(&file.file, 0).map_err(|denied| OpenError::Code((&denied).into()))?;
            }
            self.opened(&file.file);
        }
        Ok(opened)
    }

    /// Notes that a guest has a file open.
    pub(super) fn opened(&mut self, file: &Arc<File>) {
        let Ok(stat) = fstat(file) else { return };
        if self.state.open.len() >= self.state.tidied_at {
            self.state.tidy();
        }
        let files = &mut self.state.open.entry(id(&stat)).or_default().files;
        files.retain(|file| file.strong_count() > 0);
        files.push(Arc::downgrade(file));
    }
}

/// Changes names.
impl DirectoryLock {
    /// Opens what is at `path`, without following links, before it may lose that name.
    pub(super) fn named(&self, directory: &Dir, path: &str) -> Option<Named> {
        let file = opening::look(directory, path)?;
        let id = id(&fstat(&file).ok()?);
        Some(Named { file, id })
    }

    /// Gives back a lost name, and the file's bytes if that was its last name and no guest has it open.
    pub(super) fn lost_name(&mut self, named: &Named) {
        self.give_back(Used { bytes: 0, entries: 1 });
        let Ok(stat) = fstat(&named.file) else { return };
        let takes_bytes = matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Symlink);
        if stat.st_nlink > 0 || !takes_bytes {
            return;
        }
        let bytes = length(&stat);
        if let Some(open) = self.state.open.get_mut(&named.id) {
            open.files.retain(|file| file.strong_count() > 0);
            if !open.files.is_empty() {
                open.nameless = Some(bytes);
                return;
            }
        }
        self.give_back(Used { bytes, entries: 0 });
    }
}

impl Named {
    pub(super) fn is(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

fn write_all(file: &File, bytes: &[u8], place: Place) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        let rest = &bytes[written..];
        let now = match place {
            Place::At(offset) => file.write_at(rest, offset + written as u64),
            Place::End => append(file, rest),
        };
        match now {
            Ok(0) => break,
            Ok(now) => written += now,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Bytes that were written before count, and the next write reports the error.
            Err(error) if written == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(written)
}

fn append(file: &File, bytes: &[u8]) -> io::Result<usize> {
    use rustix::io::{Errno, ReadWriteFlags, pwritev2};
    match pwritev2(file, &[io::IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND) {
        // Only guests append here, and they do so one at a time.
        Err(Errno::NOSYS | Errno::NOTSUP) => file.write_at(bytes, file.metadata()?.len()),
        written => Ok(written?),
    }
}

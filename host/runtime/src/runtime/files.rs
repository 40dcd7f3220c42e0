//! Limits how many files guests have open: each guest to its own limit, and all together so that the host has enough
//! left.
//!
//! A file is open for as long as the guest holds it by a descriptor, or by a stream or a call that outlives that. So
//! the system's files are counted instead of handles.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Divisor for the process's limit of files, which gives the files that guests may have open together: the rest is for
/// connections, the store and components.
const SHARE: u64 = 2;

/// Files of guests if the process's limit is unknown.
const USUAL: u64 = 1024;

/// Files that were opened, of which some may be closed by now.
#[derive(Debug, Default)]
struct Opened {
    files: Vec<Weak<File>>,
    /// The number of files at which closed ones are forgotten: twice as many as were open the last time.
    tidied_at: usize,
}

/// The number of files below which closed ones are not looked for.
const FEW: usize = 64;

impl Opened {
    /// Returns whether fewer than `limit` are open.
    fn room(&mut self, limit: usize) -> bool {
        if self.files.len() >= limit.min(self.tidied_at.max(FEW)) {
            self.files.retain(|file| file.strong_count() > 0);
            self.tidied_at = self.files.len() * 2;
        }
        self.files.len() < limit
    }

    fn add(&mut self, file: &Arc<File>) {
        self.files.push(Arc::downgrade(file));
    }
}

/// The files of all guests of a host.
#[derive(Debug)]
pub(super) struct AllFiles {
    limit: usize,
    opened: Mutex<Opened>,
}

impl AllFiles {
    /// Makes the limit for a process that may have as many files as this one.
    pub(super) fn of_this_process() -> Self {
        Self::of(may_be_open().unwrap_or(USUAL * SHARE))
    }

    fn of(process: u64) -> Self {
        Self { limit: usize::try_from(process / SHARE).unwrap_or(usize::MAX), opened: Mutex::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Opened> {
        // The list is whole at any time.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(unix)]
fn may_be_open() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn may_be_open() -> Option<u64> {
    None
}

/// The files of one guest.
#[derive(Debug)]
pub(super) struct Files {
    limit: u32,
    opened: Opened,
    all: Arc<AllFiles>,
    /// Whether the guest's log says that it has too many.
    told: bool,
    /// Whether the guest's log says that a path is neither a file nor a directory.
    told_special: bool,
}

impl Files {
    pub(super) fn new(limit: u32, all: &Arc<AllFiles>) -> Self {
        Self { limit, opened: Opened::default(), all: Arc::clone(all), told: false, told_special: false }
    }

    /// Returns the reason if no more files may be opened.
    pub(super) fn refused(&mut self) -> Option<String> {
        if !self.opened.room(self.limit as usize) {
            return Some(format!("too many open files: it has {}, its limit of `files`", self.limit));
        }
        let all = self.all.limit;
        let room = self.all.lock().room(all);
        (!room).then(|| format!("too many open files: all runs of this host together have {all}"))
    }

    pub(super) fn open(&mut self, file: &Arc<File>) {
        self.opened.add(file);
        self.all.lock().add(file);
    }

    /// Returns whether the log should say that the guest has too many: once, because a guest that goes on trying would
    /// fill it.
    pub(super) fn should_log_limit(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// Returns whether the log should say that a path is neither a file nor a directory: once, likewise.
    pub(super) fn should_log_special_file(&mut self) -> bool {
        !std::mem::replace(&mut self.told_special, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<File> {
        Arc::new(tempfile::tempfile().unwrap())
    }

    #[test]
    fn a_guest_at_its_limit_may_open_more_once_it_has_closed_some() {
        let all = Arc::new(AllFiles::of(1000));
        let mut guest = Files::new(2, &all);
        let (first, second) = (file(), file());
        for file in [&first, &second] {
            assert_eq!(guest.refused(), None);
            guest.open(file);
        }

        assert_eq!(guest.refused().unwrap(), "too many open files: it has 2, its limit of `files`");
        let stream = Arc::clone(&first);
        drop(first);
        assert!(guest.refused().is_some(), "a stream has it open still");
        drop(stream);
        assert_eq!(guest.refused(), None);
        drop(second);
    }

    #[test]
    fn closed_files_are_forgotten_long_before_the_limit() {
        let mut opened = Opened::default();
        let kept = file();
        opened.add(&kept);
        for _ in 0..10 * FEW {
            assert!(opened.room(usize::MAX));
            opened.add(&file());
        }
        assert!(opened.files.len() <= FEW, "{}", opened.files.len());
    }

    #[test]
    fn all_guests_together_leave_the_host_its_half() {
        let all = Arc::new(AllFiles::of(6));
        let mut guests = [Files::new(2, &all), Files::new(2, &all)];
        let files = [file(), file(), file()];
        guests[0].open(&files[0]);
        guests[0].open(&files[1]);
        guests[1].open(&files[2]);

        assert_eq!(guests[1].refused().unwrap(), "too many open files: all runs of this host together have 3");
        drop(files);
        assert_eq!(guests[1].refused(), None);
    }
}

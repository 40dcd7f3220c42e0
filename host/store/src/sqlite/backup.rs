//! Copies a store file, and puts a copy in its place.
//!
//! A copy says that it is one (`epoch.rs`), so that a host neither uses a log that belongs to another state nor gives
//! out a number again that was given out after the copy was made.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::epoch::{self, GivenOut, Identity};
use super::errors::translate;
use super::lock::{Lock, beside};
use super::open::{known, read_through};
use super::{fit, schema};
use crate::{Result, StoreError};
use sexton_domain::time::Timestamp;
use sexton_system::private;

/// A restored store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The old files, if there were any: the database, or only its log if the copy had been put in its place already.
    pub aside: Vec<PathBuf>,
}

/// Writes the present contents of the store at `path` into the new file `to`, even while a host uses the store. Blocks.
///
/// # Errors
///
/// [`StoreError::Unusable`] if there is no store, `to` exists already, or a file does not fit its log;
/// [`StoreError::DiskFull`].
pub fn backup(path: &Path, to: &Path, now: Timestamp) -> Result<()> {
    if !path.is_file() {
        return Err(StoreError::Unusable(format!("there is no store `{}`", path.display())));
    }
    if to.symlink_metadata().is_ok() {
        return Err(exists(to));
    }
    // This takes no lock, because a backup must not keep a host from starting. So a host may carry its log over between
    // two looks at the files: then they fit at the second try.
    let last = Lock::last(path);
    fit::check(path, last.as_ref()).or_else(|_| fit::check(path, last.as_ref()))?;
    let source = fit::with_log(path).map_err(|e| translate(&e, path))?;
    known(&source, path)?;

    let part = Part::make(to)?;
    let target = part.path.to_string_lossy().into_owned();
    // This is one transaction that only reads: commits go on beside it.
    source.execute("VACUUM INTO ?1", [target]).map_err(|e| translate(&e, to))?;
    let mut copy = Connection::open(&part.path).map_err(|e| translate(&e, to))?;
    finish_copy(&mut copy, to, |conn| epoch::mark_copy(conn, now, false))?;
    drop(copy);
    part.finish(to)
}

/// Puts the copy `from` in the place of the store at `path`, which no host may be using, and keeps the old files aside.
/// Blocks.
///
/// `from` may be `path` itself: a copy that was put there already, beside a log that is not its own.
///
/// # Errors
///
/// [`StoreError::Unusable`] if a host uses the store, or the copy is no store, damaged, or of a newer schema;
/// [`StoreError::DiskFull`]. In either case nothing was changed.
pub fn restore(from: &Path, path: &Path, now: Timestamp) -> Result<Restored> {
    let mut lock = Lock::take(path)?;
    lock.notify(None);
    let in_place = same(from, path);
    let part = Part::make(&beside(path, ".restoring"))?;
    take_in(from, &part.path, in_place)?;

    let mut copy = Connection::open(&part.path).map_err(|e| translate(&e, from))?;
    known(&copy, from)?;
    read_through(&copy, from)?;
    let before = if in_place { None } else { state(path, lock.last.as_ref()) };
    let epochs = [before.as_ref().map(|before| before.0), lock.last.as_ref().map(|last| last.epoch)];
    let mut found = None;
    finish_copy(&mut copy, from, |conn| {
        if let Some((_, given_out)) = &before {
            given_out.raise(conn)?;
        }
        found = Some(epoch::raise(conn, &epochs)?);
        epoch::mark_copy(conn, now, before.is_some())
    })?;
    drop(copy);

    let aside = set_aside(path, in_place, now).map_err(|e| failed(path, "keep aside", &e))?;
    part.replace(path)?;
    // The log belongs to nothing here now. A crash before this line leaves a marked copy beside it, which is refused.
    for ending in ["-wal", "-shm", "-journal"] {
        remove(&beside(path, ending)).map_err(|e| failed(path, "remove the log of", &e))?;
    }
    lock.notify(found.as_ref());
    Ok(Restored { aside })
}

/// Migrates a copy to this program's schema, has `mark` write its identity, and makes it one file.
fn finish_copy(copy: &mut Connection, at: &Path, mark: impl FnOnce(&Connection) -> rusqlite::Result<()>) -> Result<()> {
    let sql = |e: rusqlite::Error| translate(&e, at);
    copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(())).map_err(sql)?;
    let version = known(copy, at)?;
    schema::migrate(copy, version).map_err(sql)?;
    mark(copy).map_err(sql)
}

/// Copies a file to restore, with its own log if it has one.
fn take_in(from: &Path, part: &Path, in_place: bool) -> Result<()> {
    // The lock keeps hosts out, because a store in use changes while it is copied.
    let _still = if !in_place && beside(from, ".lock").exists() { Some(Lock::take(from)?) } else { None };
    copy_into(from, &private_again(part)?).map_err(|e| failed(from, "read", &e))?;
    let log = beside(from, "-wal");
    if !in_place && log.is_file() {
        fit::check(from, None)?;
        let into = private::make_file(&beside(part, "-wal")).map_err(|e| failed(part, "make", &e))?;
        copy_into(&log, &into).map_err(|e| failed(&log, "read", &e))?;
    }
    Ok(())
}

/// Returns the epoch and the numbers of the store at `path`, if they can be read.
fn state(path: &Path, last: Option<&Identity>) -> Option<(i64, GivenOut)> {
    if !path.is_file() {
        return None;
    }
    // Without the log some of the numbers that were given out are unknown.
    fit::check(path, last).ok()?;
    let conn = fit::with_log(path).ok()?;
    Some((epoch::find(&conn).ok()?.identity.epoch, GivenOut::of(&conn).ok()?))
}

/// Gives the files at `path` a second name, so that there is a store at every moment.
fn set_aside(path: &Path, in_place: bool, now: Timestamp) -> io::Result<Vec<PathBuf>> {
    let name = format!(".before-restore-{}", now.to_utc().format("%Y%m%dT%H%M%S%3fZ"));
    let aside = beside(path, &name);
    let mut kept = Vec::new();
    for ending in ["", "-wal", "-journal"] {
        let (old, new) = (beside(path, ending), beside(&aside, ending));
        let is_empty = fs::metadata(&old).map_or(true, |file| file.len() == 0);
        if is_empty || (in_place && ending.is_empty()) {
            continue;
        }
        if fs::hard_link(&old, &new).is_err() {
            // Not every file system has hard links.
            copy_into(&old, &private::options().create_new(true).open(&new)?)?;
        }
        kept.push(new);
    }
    Ok(kept)
}

/// A file that is being written beside its place, and is removed on drop unless it was put there.
struct Part {
    path: PathBuf,
}

impl Part {
    fn make(place: &Path) -> Result<Self> {
        let path = beside(place, ".part");
        private::make_file(&path).map_err(|e| failed(&path, "make", &e))?;
        Ok(Self { path })
    }

    /// Gives the file its name, if no other has it.
    fn finish(self, to: &Path) -> Result<()> {
        self.write_through()?;
        match fs::hard_link(&self.path, to) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(exists(to)),
            // Not every file system has hard links.
            Err(_) if to.symlink_metadata().is_ok() => return Err(exists(to)),
            Err(_) => fs::rename(&self.path, to).map_err(|e| failed(to, "make", &e))?,
        }
        write_names_through(to);
        Ok(())
    }

    /// Puts the file in the place of `path`.
    fn replace(self, path: &Path) -> Result<()> {
        self.write_through()?;
        fs::rename(&self.path, path).map_err(|e| failed(path, "replace", &e))?;
        write_names_through(path);
        Ok(())
    }

    fn write_through(&self) -> Result<()> {
        File::open(&self.path).and_then(|file| file.sync_all()).map_err(|e| failed(&self.path, "write", &e))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        for ending in ["", "-wal", "-shm", "-journal"] {
            // The file is gone if it was put in place.
            let _ = fs::remove_file(beside(&self.path, ending));
        }
    }
}

fn private_again(path: &Path) -> Result<File> {
    private::options().open(path).map_err(|e| failed(path, "write", &e))
}

fn copy_into(from: &Path, mut to: &File) -> io::Result<()> {
    io::copy(&mut File::open(from)?, &mut to).map(drop)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes the directory to the disk, so that names survive a power cut. A system that refuses this does not need it.
fn write_names_through(path: &Path) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    drop(File::open(directory).and_then(|directory| directory.sync_all()));
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn exists(to: &Path) -> StoreError {
    StoreError::Unusable(format!("`{}` is there already: name a file that is not", to.display()))
}

fn failed(path: &Path, what: &str, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull => StoreError::DiskFull(path.display().to_string()),
        _ => StoreError::Unusable(format!("cannot {what} `{}`: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;

//! Carries the WAL into the database. A thread of its own does most of it while the writer goes on: 16 MiB take a busy
//! disk a tenth of a second, in which nothing would be claimed. The writer carries the rest over between two
//! transactions, because the WAL begins anew only if nothing is added to it during a checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tracing::{debug, warn};

use super::epoch;
use super::writer::Board;
use sexton_system::supervisor::{AfterPanic, Supervisor};

/// Pages in the WAL at which its changes are carried into the database. With more, more changes share a page (the ends
/// of tables and indexes are in nearly every commit), but the WAL file is larger: 4096 pages are 16 MiB.
const PAGES: u32 = 4096;

/// Waits of a checkpoint for the disk: the WAL, the database, and the WAL's new header with the next commit.
const SYNCS: u64 = 3;

/// The thread that makes checkpoints, and what is left to the writer.
#[derive(Debug)]
pub(super) struct Checkpoints {
    path: PathBuf,
    board: Arc<Board>,
    /// The WAL's size at which the next checkpoint is begun.
    at: u32,
    /// The thread is making a checkpoint.
    under_way: bool,
    /// The thread has done its part.
    carried: Arc<AtomicBool>,
    begin: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread, on a connection of its own.
    pub(super) fn start(conn: Connection, board: Arc<Board>, path: &Path) -> std::io::Result<Self> {
        let (begin, begun) = channel();
        let carried = Arc::new(AtomicBool::new(false));
        let (done, counted, at) = (carried.clone(), board.clone(), path.to_owned());
        let thread = Supervisor::of_process().thread("store-checkpoint", AfterPanic::Again, move || {
            while let Ok(()) = begun.recv() {
                // This runs also after a panic, or there would never be another checkpoint.
                let _done = Done(&done);
                carry(&conn, &counted, &at);
            }
        })?;
        let path = path.to_owned();
        Ok(Self { path, board, at: PAGES, under_way: false, carried, begin: Some(begin), thread: Some(thread) })
    }

    /// Begins a checkpoint when the WAL has grown enough, and ends one of which the thread has done its part. `conn` is
    /// the writer's, between two transactions.
    pub(super) fn step(&mut self, conn: &Connection) {
        let pages = self.board.wal_pages.load(Ordering::Relaxed);
        if self.under_way {
            if self.carried.swap(false, Ordering::Acquire) {
                self.under_way = false;
                if carry(conn, &self.board, &self.path) {
                    self.note(epoch::after_checkpoint(conn));
                }
                // If a reader holds on to an old state, or there is no room, the WAL keeps growing: the next try is
                // later, not each time.
                self.at = pages + PAGES;
            }
        } else if pages < self.at {
            // A small WAL has begun anew since.
            self.at = self.at.min(pages.max(1) + PAGES);
        } else if let Some(begin) = &self.begin {
            self.note(epoch::before_checkpoint(conn));
            self.under_way = begin.send(()).is_ok();
        }
    }

    /// Logs that an epoch could not be written, which only makes it harder to tell a copy from the store.
    fn note(&self, written: rusqlite::Result<()>) {
        if let Err(e) = written {
            debug!(path = %self.path.display(), error = %e, "Cannot record the progress of the store");
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.begin = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!(path = %self.path.display(), "The thread that makes checkpoints has panicked");
        }
    }
}

/// Reports on its drop that the thread has done its part.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Carries the contents of the WAL over; returns whether that was all of it. Only the caller waits for it, and it waits
/// for no reader.
fn carry(conn: &Connection, board: &Board, path: &Path) -> bool {
    let numbers = |row: &rusqlite::Row<'_>| Ok([row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?]);
    match conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], numbers) {
        Ok([0, in_log, carried]) => {
            board.syncs.fetch_add(SYNCS, Ordering::Relaxed);
            in_log == carried
        }
        Ok(_) => false,
        Err(e) => {
            warn!(path = %path.display(), error = %e, "Cannot make a checkpoint; trying again later");
            false
        }
    }
}

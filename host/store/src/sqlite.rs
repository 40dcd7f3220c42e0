//! The store in one SQLite file, for one host.
//!
//! One thread writes and commits in groups (`writer`), a few read (`readers`); the other files hold the commands and
//! queries, by subject. Only one process may have the file at a time, which `open` ensures: the sums and counters in
//! `ledger` rely on it.

mod added;
mod backfills;
mod backlog;
pub mod backup;
mod cache;
mod checkpoint;
mod claims;
mod contract;
mod epoch;
mod errors;
mod events;
mod finish;
mod fit;
mod forced;
mod history;
mod hosts;
mod labels;
mod ledger;
mod lists;
mod lock;
mod locks;
mod loss;
mod open;
mod options;
mod pauses;
mod policies;
mod prune;
mod published;
mod readers;
mod repairs;
mod requests;
mod rows;
mod runs;
mod schedules;
mod schema;
#[cfg(test)]
mod tests;
mod transfer;
mod versions;
mod views;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

pub use options::{Durability, SqliteOptions};

use self::checkpoint::Checkpoints;
use self::errors::{Step, translate};
use self::readers::Readers;
use self::writer::{Board, Command, Writer, Writing, command};
use crate::leftovers::{Leftovers, PAGE, SETS};
use sexton_system::supervisor::{AfterPanic, Supervisor};

use super::{Result, StoreError};

/// A store in a SQLite file. Dropping it waits for the commands that were sent, and closes the file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    board: Arc<Board>,
    leftovers: Leftovers<PAGE>,
    unused_labels: Leftovers<SETS>,
    readers: Option<Readers>,
    commands: Option<Sender<Box<dyn Command>>>,
    writer: Option<JoinHandle<()>>,
    /// Released when the connections are closed, so that the next host may have the file.
    lock: Option<lock::Lock>,
}

impl SqliteStore {
    /// Opens the store at `path`, and creates it if it does not exist. Blocks: it reads and may write the file.
    ///
    /// Claims in it are of an earlier life of this host, and end at once:
    /// [`Claims::expired`](crate::claims::Claims::expired) finds them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if the file is not a store, is damaged, has a newer schema, cannot be written, is in
    /// use by another process, or has only a part of what is being moved into it; [`StoreError::DiskFull`] if there is
    /// no room to create it.
    pub fn open(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Arc<Self>> {
        let path = path.as_ref();
        let opened = open::open(path, options)?;
        transfer::refuse_half_moved(&opened.writer, path)?;
        Self::start(path, opened, options)
    }

    /// Starts the threads that serve an open file.
    fn start(path: &Path, opened: open::Opened, options: &SqliteOptions) -> Result<Arc<Self>> {
        let path = path.to_owned();
        let board = Arc::new(Board::default());
        let no_thread = |e| StoreError::Other(format!("cannot start a thread for `{}`: {e}", path.display()));
        let checkpoints = Checkpoints::start(opened.checkpoints, board.clone(), &path).map_err(no_thread)?;
        let syncs = options.sync == Durability::Full;
        let writer = Writer::new(opened.writer, checkpoints, board.clone(), path.clone(), syncs)
            .map_err(|e| translate(&e, &path))?;
        let readers = Readers::start(opened.readers).map_err(no_thread)?;
        let (commands, queue) = channel();
        let mut writer = Some((writer, queue));
        // After a panic it is unknown which commands were done and answered, so the host ends: its next start reads all
        // anew.
        let serve = move || {
            if let Some((writer, queue)) = writer.take() {
                writer.serve(&queue);
            }
        };
        let writer = Supervisor::of_process().thread("store-write", AfterPanic::EndHost, serve).map_err(no_thread)?;
        Ok(Arc::new(Self {
            path,
            board,
            leftovers: Leftovers::default(),
            unused_labels: Leftovers::default(),
            readers: Some(readers),
            commands: Some(commands),
            writer: Some(writer),
            lock: Some(opened.lock),
        }))
    }

    /// Has the writer do `work`, and waits until it is committed.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Writing) -> Step<T> + Send + 'static,
    {
        let stopped = || StoreError::Other(format!("the writer of `{}` has stopped", self.path.display()));
        let (command, answer) = command(work);
        self.commands.as_ref().ok_or_else(stopped)?.send(command).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Has a reader do `query`.
    async fn read<T, F>(&self, query: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let stopped = || StoreError::Other(format!("a reader of `{}` has stopped", self.path.display()));
        let readers = self.readers.as_ref().ok_or_else(stopped)?;
        readers.read(query).await.ok_or_else(stopped)?.map_err(|e| translate(&e, &self.path))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // Readers go first: closing the last connection carries the WAL over, which theirs cannot.
        drop(self.readers.take());
        drop(self.commands.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has closed its connection too.
            drop(writer.join());
        }
        drop(self.lock.take());
    }
}

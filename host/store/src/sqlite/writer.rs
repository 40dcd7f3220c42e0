//! The one thread that writes. It commits all commands that have gathered in one transaction, and answers after the
//! commit, so that one wait for the disk serves all callers.
//!
//! A command refuses by returning [`Failure::Refused`] before its first write. When the database itself fails, the
//! whole transaction is rolled back and its commands run again, each alone: one that cannot succeed does not hurt the
//! others. A command may therefore run any number of times before it is committed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use tokio::sync::oneshot;
use tracing::error;

use super::checkpoint::Checkpoints;
use super::errors::{Failure, Step, translate};
use super::ledger::Ledger;
use crate::hints::{HintSet, Hints};
use crate::rules::events::EventBatch;
use crate::{Result, StoreError};
use sexton_system::supervisor::Supervisor;

/// Time for which a transaction takes in more commands. Longer makes the first one wait, shorter means more waits for
/// the disk; under load most of them have gathered during the commit before.
const GATHER: Duration = Duration::from_millis(10);

/// The state that a command works on.
#[derive(Debug)]
pub(super) struct Writing {
    /// The connection, in a transaction.
    pub(super) conn: Connection,
    /// Rows and counters that need not be read.
    pub(super) ledger: Ledger,
    /// Hints to send after the commit.
    pub(super) hints: HintSet,
    /// Events to write with the commit. A command tells them after its last refusal.
    pub(super) events: EventBatch,
}

/// Hints and counters.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) hints: Hints,
    /// Commits that wrote something.
    pub(super) commits: AtomicU64,
    /// Waits for the disk.
    pub(super) syncs: AtomicU64,
    /// Commands that were answered after a commit.
    pub(super) writes: AtomicU64,
    /// Pages in the WAL after the latest commit.
    pub(super) wal_pages: AtomicU32,
    /// Whether events are recorded.
    pub(super) recording: AtomicBool,
}

/// A command on its way through the writer.
pub(super) trait Command: Send {
    /// Does the command, and keeps the answer.
    fn run(&mut self, writing: &mut Writing) -> std::result::Result<(), rusqlite::Error>;
    /// Sends the answer, once the command is committed.
    fn answer(self: Box<Self>);
    /// Reports a failure that left nothing of the command.
    fn fail(self: Box<Self>, error: StoreError);
}

/// A command that is a function of the writer's state, and where its answer goes.
struct Work<F, T> {
    work: F,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

/// Makes `work` a command, whose answer arrives at the receiver.
pub(super) fn command<T, F>(work: F) -> (Box<dyn Command>, oneshot::Receiver<Result<T>>)
where
    T: Send + 'static,
    F: Fn(&mut Writing) -> Step<T> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Work { work, result: None, reply }), answer)
}

impl<F, T> Command for Work<F, T>
where
    T: Send,
    F: Fn(&mut Writing) -> Step<T> + Send,
{
    fn run(&mut self, writing: &mut Writing) -> std::result::Result<(), rusqlite::Error> {
        self.result = Some(match (self.work)(writing) {
            Ok(value) => Ok(value),
            Err(Failure::Refused(error)) => Err(error),
            Err(Failure::Sql(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>) {
        let Self { work, result, reply } = *self;
        // The command may share data with its caller, which may change it in place once this is dropped: a worker its map
        // of tasks.
        drop(work);
        let result = result.unwrap_or_else(|| Err(StoreError::Other("a command had no answer".into())));
        // The caller may have gone away by now; written work stays written.
        drop(reply.send(result));
    }

    fn fail(self: Box<Self>, error: StoreError) {
        drop(self.reply.send(Err(error)));
    }
}

/// The reason for which a transaction failed.
enum Broken {
    Sql(rusqlite::Error),
    Panic,
}

impl From<rusqlite::Error> for Broken {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// The thread's state.
pub(super) struct Writer {
    // This field is dropped first, so that its connection is not the last one to close.
    checkpoints: Checkpoints,
    writing: Writing,
    board: Arc<Board>,
    path: PathBuf,
}

impl Writer {
    /// Takes over a connection that is set up and migrated. `syncs` tells whether each commit waits for the disk.
    pub(super) fn new(
        mut conn: Connection,
        checkpoints: Checkpoints,
        board: Arc<Board>,
        path: PathBuf,
        syncs: bool,
    ) -> rusqlite::Result<Self> {
        let counted = board.clone();
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            // Called for commits that wrote something, and only those.
            counted.commits.fetch_add(1, Ordering::Relaxed);
            counted.syncs.fetch_add(u64::from(syncs), Ordering::Relaxed);
            counted.wal_pages.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let ledger = Ledger::load(&conn)?;
        let writing = Writing { conn, ledger, hints: HintSet::default(), events: EventBatch::default() };
        Ok(Self { checkpoints, writing, board, path })
    }

    /// Serves commands until all senders are dropped.
    pub(super) fn serve(mut self, commands: &Receiver<Box<dyn Command>>) {
        let mut batch = Vec::new();
        while let Ok(first) = commands.recv() {
            match self.together(first, commands, &mut batch) {
                Ok(()) => self.committed(batch.drain(..)),
                Err(broken) => self.separately(&mut batch, broken),
            }
            self.checkpoints.step(&self.writing.conn);
        }
    }

    /// Runs `first`, and all commands that arrive in time, in one transaction. `batch` receives them.
    fn together(
        &mut self,
        first: Box<dyn Command>,
        commands: &Receiver<Box<dyn Command>>,
        batch: &mut Vec<Box<dyn Command>>,
    ) -> std::result::Result<(), Broken> {
        let until = Instant::now() + GATHER;
        batch.push(first);
        self.begin()?;
        loop {
            let command = batch.last_mut().expect("`first` was pushed before the loop");
            self.step(command)?;
            match commands.try_recv() {
                Ok(next) if Instant::now() < until => batch.push(next),
                Ok(next) => {
                    // The command has left the channel, so it is the last one of this batch.
                    batch.push(next);
                    let command = batch.last_mut().expect("it was just pushed");
                    self.step(command)?;
                    break;
                }
                Err(_) => break,
            }
        }
        self.commit()
    }

    /// Runs the commands of a broken transaction again, each in its own.
    fn separately(&mut self, batch: &mut Vec<Box<dyn Command>>, broken: Broken) {
        self.roll_back();
        if batch.len() == 1
            && let Some(command) = batch.pop()
        {
            return command.fail(self.explain(broken));
        }
        for mut command in batch.drain(..) {
            let outcome = self.begin().map_err(Broken::from).and_then(|()| self.step(&mut command));
            match outcome.and_then(|()| self.commit()) {
                Ok(()) => self.committed([command]),
                Err(broken) => {
                    self.roll_back();
                    command.fail(self.explain(broken));
                }
            }
        }
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        self.writing.hints = HintSet::default();
        self.writing.events = EventBatch::begin(self.board.recording.load(Ordering::Relaxed));
        self.writing.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    /// Runs one command. A panic in it is a fault of this program's, and yet no reason to leave all callers without a
    /// store.
    fn step(&mut self, command: &mut Box<dyn Command>) -> std::result::Result<(), Broken> {
        let writing = &mut self.writing;
        let done = Supervisor::of_process().watched("store command", || command.run(writing));
        done.ok_or(Broken::Panic)?.map_err(Broken::from)
    }

    fn commit(&mut self) -> std::result::Result<(), Broken> {
        self.writing.ledger.flush(&self.writing.conn)?;
        self.write_events()?;
        self.writing.conn.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    fn write_events(&mut self) -> rusqlite::Result<()> {
        for row in self.writing.events.rows() {
            self.writing
                .conn
                .prepare_cached(
                    "INSERT INTO events (last_id, lines, told_at, body) \
                     VALUES ((SELECT coalesce(max(last_id), 0) FROM events) + ?1, ?1, ?2, ?3)",
                )?
                .execute(params![row.lines, row.told_at.as_millis(), row.body])?;
            self.writing.hints.events = true;
        }
        Ok(())
    }

    fn roll_back(&mut self) {
        // Some errors (a full disk among them) have ended the transaction already.
        if !self.writing.conn.is_autocommit()
            && let Err(e) = self.writing.conn.execute_batch("ROLLBACK")
        {
            error!(path = %self.path.display(), error = %e, "Cannot roll back");
        }
        match Ledger::load(&self.writing.conn) {
            Ok(ledger) => self.writing.ledger = ledger,
            Err(e) => error!(path = %self.path.display(), error = %e, "Cannot read the tasks' sums again"),
        }
    }

    fn explain(&self, broken: Broken) -> StoreError {
        match broken {
            Broken::Sql(error) => translate(&error, &self.path),
            Broken::Panic => StoreError::Other("a command panicked; nothing of it was written".into()),
        }
    }

    fn committed(&self, batch: impl IntoIterator<Item = Box<dyn Command>>) {
        for command in batch {
            // A caller that has the answer must find it counted.
            self.board.writes.fetch_add(1, Ordering::Relaxed);
            command.answer();
        }
        self.board.hints.notify(self.writing.hints);
    }
}

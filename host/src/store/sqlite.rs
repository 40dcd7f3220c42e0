//! The store in one SQLite file, for one host.
//!
//! One thread writes and commits in groups (`writer`), a few read (`readers`); the rest of the files hold the commands
//! and queries, by subject. Only one process may have the file at a time, which `open` sees to: the sums and counters in
//! `ledger` rest on it.

mod added;
mod backlog;
pub mod backup;
mod cache;
mod checkpoint;
mod claims;
mod epoch;
mod errors;
mod finish;
mod fit;
mod forced;
mod hosts;
mod ledger;
mod lock;
mod locks;
mod loss;
mod open;
mod pauses;
mod policies;
mod prune;
mod published;
mod queries;
mod readers;
mod repairs;
mod rows;
mod runs;
mod schema;
#[cfg(test)]
mod tests;
mod transfer;
mod watching;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::{Notify, watch};

use self::checkpoint::Checkpoints;
use self::errors::{Step, translate};
use self::readers::Readers;
use self::writer::{Board, Command, Writer, Writing, command};
use super::{
    AttemptInfo, Begun, CacheKey, CacheWrite, Cancelled, ClaimRequest, Claimed, Enqueued, Entry, EntryInfo, Expired,
    Extended, Finish, Fire, Fired, HeldLock, LatestRuns, LockMode, LockName, LockTaken, NewRun, Released, Remember,
    Result, Retention, RunFilter, RunInfo, RunKey, Stands, Store, StoreError, StoreStats, TaskState, Watched, Written,
};
use crate::pause::{Pauses, Whom};
use crate::run::{ClaimKey, Output, RunId, RunState};
use crate::supervision::Consequence;
use crate::supervisor::{After, Supervisor};
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The disk: what was answered outlives a power cut.
    Full,
    /// The operating system: what was answered outlives a crash of the host, not of the machine, which may lose the last
    /// commits (and never more than those).
    Normal,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// What a commit waits for. [`Durability::Full`] unless said otherwise.
    pub sync: Durability,
    /// Threads that read; at least 1, and 2 unless said otherwise. More let more slow queries (long lists, large
    /// outputs) run at once.
    pub readers: usize,
    /// KiB of the file that the writer keeps in memory; 16,384 unless said otherwise. Too little makes it read what it
    /// has just written, more than the hot part of the file brings nothing.
    pub cache_kib: u32,
    /// The largest size of the file in bytes, beyond which the store answers [`StoreError::DiskFull`]; none unless said
    /// otherwise.
    pub max_bytes: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { sync: Durability::Full, readers: 2, cache_kib: 16 << 10, max_bytes: None }
    }
}

/// A store in a SQLite file. Dropping it waits for what was asked of it, and closes the file.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    board: Arc<Board>,
    readers: Option<Readers>,
    commands: Option<Sender<Box<dyn Command>>>,
    writer: Option<JoinHandle<()>>,
    /// Let go of when the connections are closed: the next host may have the file then.
    lock: Option<lock::Lock>,
}

impl SqliteStore {
    /// Open the store at `path`, which is made if it is not there. Blocks: it reads and may write the file.
    ///
    /// Claims that are found in it are of an earlier life of this host, and are over at once: [`Store::expired`] finds
    /// them.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if the file is not a store, is damaged, is of a newer schema, cannot be written, is
    /// another process's, or has only a part of what was to be moved into it; [`StoreError::DiskFull`] if there is no room to
    /// make it.
    pub fn open(path: impl AsRef<Path>, options: &SqliteOptions) -> Result<Arc<Self>> {
        let path = path.as_ref();
        let opened = open::open(path, options)?;
        transfer::refuse_half_moved(&opened.writer, path)?;
        Self::start(path, opened, options)
    }

    /// The threads that serve a file which is open.
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
        // What a panic leaves half done there is not known, and neither is what was answered: a start reads all of it anew.
        let serve = move || {
            if let Some((writer, queue)) = writer.take() {
                writer.serve(&queue);
            }
        };
        let writer = Supervisor::of_process().thread("store-write", After::EndHost, serve).map_err(no_thread)?;
        Ok(Arc::new(Self {
            path,
            board,
            readers: Some(readers),
            commands: Some(commands),
            writer: Some(writer),
            lock: Some(opened.lock),
        }))
    }

    /// Have the writer do `work`, and wait until it is committed.
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

    /// Have a reader do `query`.
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
        // Readers first: whoever closes the last connection carries the WAL over, and they cannot.
        drop(self.readers.take());
        drop(self.commands.take());
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has closed its connection too.
            drop(writer.join());
        }
        drop(self.lock.take());
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn enqueue(&self, new: Vec<NewRun>, now: Timestamp) -> Result<Vec<Enqueued>> {
        self.write(move |w| runs::enqueue(w, &new, now)).await
    }

    async fn fire(&self, fire: Fire) -> Result<Fired> {
        self.write(move |w| runs::fire(w, &fire)).await
    }

    async fn begin_schedules(&self, begun: Vec<Begun>) -> Result<()> {
        self.write(move |w| policies::begin_schedules(w, &begun)).await
    }

    async fn leave_out(&self, task: TaskKey, what: &str) -> Result<()> {
        let what = what.to_owned();
        self.write(move |w| policies::leave_out(w, &task, &what)).await
    }

    async fn cancel_late(&self, now: Timestamp) -> Result<u64> {
        self.write(move |w| policies::cancel_late(w, now)).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.write(move |w| claims::claim(w, &request)).await
    }

    async fn extend(&self, claims: Vec<ClaimKey>, until: Timestamp) -> Result<Extended> {
        self.write(move |w| claims::extend(w, &claims, until)).await
    }

    async fn finish(&self, finish: Arc<Finish>) -> Result<Consequence> {
        self.write(move |w| finish::finish(w, &finish)).await
    }

    async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Expired>> {
        self.read(move |conn| claims::expired(conn, now, limit)).await
    }

    async fn abandon(&self, host: &str) -> Result<u64> {
        let host = host.to_owned();
        self.write(move |w| Ok(claims::abandon(&w.conn, Some(&host))? as u64)).await
    }

    async fn cancel(&self, run: RunId, reason: &str, now: Timestamp) -> Result<Cancelled> {
        let reason = reason.to_owned();
        self.write(move |w| runs::cancel(w, run, &reason, now)).await
    }

    async fn release_run(&self, run: RunId, now: Timestamp) -> Result<Released> {
        self.write(move |w| loss::release(w, run, now)).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64> {
        // Small pieces, so that others' commands come in between.
        let oldest = now.minus(retention.age);
        while self.write(move |w| Ok(added::prune(&w.conn, oldest, now)?)).await? > 0 {}
        while self.write(move |w| Ok(published::prune(&w.conn, now)?)).await? > 0 {}
        while self.write(move |w| Ok(cache::delete_expired(&w.conn, None, now, prune::PIECE as i64)?)).await? > 0 {}
        let surplus = self.read(move |conn| prune::surplus(conn, &retention, now, prune::PIECE)).await?;
        if surplus.is_empty() {
            return Ok(0);
        }
        self.write(move |w| prune::delete(w, &surplus)).await
    }

    async fn acquire_lock(&self, lock: LockName, mode: LockMode, claim: ClaimKey, now: Timestamp) -> Result<LockTaken> {
        self.write(move |w| locks::acquire(w, &lock, mode, claim, now)).await
    }

    async fn release_lock(&self, lock: LockName, claim: ClaimKey) -> Result<()> {
        self.write(move |w| locks::release(w, &lock, claim)).await
    }

    async fn locks(&self, tenant: Name) -> Result<Vec<HeldLock>> {
        self.read(move |conn| locks::list(conn, &tenant)).await
    }

    async fn cache_get(&self, key: CacheKey, now: Timestamp) -> Result<Option<Entry>> {
        self.read(move |conn| cache::get(conn, &key, now)).await
    }

    async fn cache_write(&self, write: CacheWrite) -> Result<Written> {
        self.write(move |w| cache::write(w, &write)).await
    }

    async fn cache_delete(&self, key: CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Result<bool> {
        self.write(move |w| cache::delete(w, &key, claim, now)).await
    }

    async fn cache_usage(&self) -> Result<BTreeMap<Name, u64>> {
        self.read(cache::usage_of_all).await
    }

    async fn cache_list(
        &self,
        prefix: CacheKey,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<EntryInfo>> {
        self.read(move |conn| cache::list(conn, &prefix, after.as_deref(), limit, now)).await
    }

    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>> {
        self.read(queries::task_states).await
    }

    async fn watch(&self, tasks: Vec<TaskKey>, now: Timestamp) -> Result<BTreeMap<TaskKey, Watched>> {
        self.read(move |conn| watching::watch(conn, tasks, now)).await
    }

    async fn stands(&self, runs: Vec<RunKey>) -> Result<BTreeMap<RunKey, Stands>> {
        self.read(move |conn| watching::stands(conn, runs)).await
    }

    async fn remember(&self, remember: Remember) -> Result<bool> {
        self.write(move |w| Ok(watching::remember(w, &remember))).await
    }

    async fn pause(&self, whom: Whom, why: Option<String>, now: Timestamp) -> Result<()> {
        self.write(move |w| pauses::pause(w, &whom, why.as_deref(), now)).await
    }

    async fn resume(&self, whom: Whom, now: Timestamp) -> Result<()> {
        self.write(move |w| pauses::resume(w, &whom, now)).await
    }

    async fn pauses(&self) -> Result<Pauses> {
        self.read(pauses::pauses).await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunInfo>> {
        self.read(move |conn| queries::runs(conn, &filter)).await
    }

    async fn latest_runs(&self, tenant: Name, task: Option<Name>) -> Result<BTreeMap<Name, LatestRuns>> {
        self.read(move |conn| queries::latest_runs(conn, &tenant, task.as_ref())).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunInfo>> {
        self.read(move |conn| queries::run(conn, run)).await
    }

    async fn input(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        self.read(move |conn| queries::input(conn, run)).await
    }

    async fn output(&self, run: RunId) -> Result<Option<Output>> {
        self.read(move |conn| queries::output(conn, run)).await
    }

    async fn latest_success(&self, task: TaskKey) -> Result<Option<(RunId, Timestamp)>> {
        self.read(move |conn| queries::latest_success(conn, &task)).await
    }

    async fn attempts(&self, run: RunId) -> Result<Vec<AttemptInfo>> {
        self.read(move |conn| queries::attempts(conn, run)).await
    }

    async fn counts(&self) -> Result<BTreeMap<RunState, u64>> {
        self.read(queries::counts).await
    }

    fn runs_hint(&self) -> Arc<Notify> {
        self.board.hints.runs.clone()
    }

    fn locks_hint(&self) -> Arc<Notify> {
        self.board.hints.locks.clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.board.hints.changes.subscribe()
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            commits: self.board.commits.load(Ordering::Relaxed),
            syncs: self.board.syncs.load(Ordering::Relaxed),
            writes: self.board.writes.load(Ordering::Relaxed),
        }
    }
}

//! The contract between the machine and where runs, locks and the cache are kept.
//!
//! Its methods speak of a run's life. What a store promises:
//!
//! - A call that returned `Ok` is durable; one that returned an error changed nothing.
//! - Every write after a claim is made only where run, attempt and fence match, else [`StoreError::ClaimLost`].
//! - The time is the caller's: no method reads a clock.
//! - Nothing here assumes that this host is the only one.
//!
//! `store::conformance` is the test text that every store passes.

pub mod added;
pub mod backlog;
mod cache;
mod claim;
mod codes;
#[cfg(test)]
pub(crate) mod conformance;
mod hints;
pub mod hosts;
mod info;
mod latest;
mod lock;
mod loss;
mod making;
pub mod postgres;
pub mod published;
pub mod repairs;
pub mod rules;
pub mod sqlite;
pub mod transfer;
mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

pub use claim::{Cancelled, ClaimRequest, Claimed, Extended, Finish, TenantShare};
pub use info::{AttemptInfo, Retention, RunFilter, RunInfo, StoreStats, TaskState};
pub use latest::LatestRuns;
pub use lock::{HeldLock, LockKind, LockMode, LockName, LockTaken, LockWait};
pub use loss::{Death, Expired, LossPolicy, Released};
use making::ROW_BYTES;
pub use making::{Admit, Begun, Enqueued, Fire, Fired, NewRun};
pub use watching::{Remember, RunKey, Stands, Watched};

use crate::pause::{Pauses, Whom};
use crate::run::{ClaimKey, Output, RunId, RunState};
use crate::supervision::Consequence;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

pub use cache::{CacheKey, CacheWrite, Entry, EntryInfo, WriteIf, Written};

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The claim is not (or no longer) the run's: another host has it, or it is over.
    #[error("claim lost: run {}, attempt {}", .0.run, .0.attempt)]
    ClaimLost(ClaimKey),
    /// There is no such run.
    #[error("no run {0}")]
    NoRun(RunId),
    /// The tenant's share of the cache would be exceeded.
    #[error("the cache is full: {used} of {quota} bytes are in use")]
    CacheFull {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// What entries written by the writing task may take together would be exceeded.
    #[error("the task's budget of the cache is used up: {used} of {budget} bytes are in use")]
    CacheBudget {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// About an added schedule.
    #[error(transparent)]
    Schedule(#[from] added::ScheduleError),
    /// The disk is full. Nothing was changed; it may be tried again.
    #[error("the disk that holds `{0}` is full")]
    DiskFull(String),
    /// The store cannot be used as it is: wrong schema, not a database, read-only, locked by another host.
    #[error("{0}")]
    Unusable(String),
    /// Anything else, in the store's own words.
    #[error("store: {0}")]
    Other(String),
}

/// What a store method returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Where runs, locks and the cache are kept. See the module for what every method promises.
#[async_trait]
pub trait Store:
    added::Schedules
    + hosts::Hosts
    + published::Plugins
    + repairs::Repairs
    + backlog::Backlog
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    /// Make runs, in one transaction. The answers are in the order of `runs`.
    async fn enqueue(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<Enqueued>>;

    /// Make the runs that a task's schedule calls for, and move its cursor, in one transaction. A cursor that is further
    /// already stays. Runs that are made (or skipped) are counted in [`TaskState::fired`].
    ///
    /// Of a paused task (one that is, or whose tenant is, or all are) only the cursor moves: what is due meanwhile is left out ([`Fired::Paused`]). Where another host
    /// was first, nothing is done ([`Fire::expect`], [`Fired::Stale`]).
    async fn fire(&self, fire: Fire) -> Result<Fired>;

    /// From now on each of the tasks has the schedule that is named. One that had another until now begins anew: its cursor
    /// is [`Begun::now`] (or further), nothing is counted or remembered. Where none was written down, what there is is
    /// taken to be the schedule's.
    async fn begin_schedules(&self, begun: Vec<Begun>) -> Result<()>;

    /// Write down what a task's schedule has left out, in words, in place of what was left out before.
    async fn leave_out(&self, task: TaskKey, what: &str) -> Result<()>;

    /// Cancel the waiting runs whose first attempt should have started before `now` ([`NewRun::start_by`]), each with a
    /// message that says so. Returns how many there were. [`Store::claim`] does the same first; this is for when nobody
    /// claims.
    async fn cancel_late(&self, now: Timestamp) -> Result<u64>;

    /// Take due runs. First come those that are [forced](NewRun::forced), if this is their first attempt, whatever holds their
    /// tasks and tenants back; where there are any, they are all that is taken.
    ///
    /// Else, runs of paused tasks (see [`Store::fire`]), and more of a task than it may have at once, are left alone; of a task that is
    /// held back ([`Standing::holds`](crate::supervision::Standing::holds)) all but those that [`goes_through`](crate::supervision::goes_through) lets pass.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed>;

    /// Hold on to claims until `until`.
    async fn extend(&self, claims: Vec<ClaimKey>, until: Timestamp) -> Result<Extended>;

    /// Write down the end of an attempt, and release its locks.
    ///
    /// A run whose end was asked for ([`Store::cancel`]) does not wait again: [`Transition::Wait`](crate::lifecycle::Transition::Wait) cancels it then, as
    /// its host may have looked just before it was asked. If it was killed, the reason that was given is what is said of
    /// the run.
    ///
    /// The same transaction counts the end in for the task, whichever host it was on, and pauses or holds back the task as
    /// [`supervision::after`](crate::supervision::after) says. Returns that. The outcome is shared, as a caller may have
    /// to offer it again.
    ///
    /// # Errors
    ///
    /// [`StoreError::ClaimLost`] where the claim does not hold (any more).
    async fn finish(&self, finish: Arc<Finish>) -> Result<Consequence>;

    /// Find claims whose lease was over before `now`, at most `limit`.
    async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Expired>>;

    /// End all claims of `host`'s earlier lives at once: they are found by [`Store::expired`] with any `now`.
    ///
    /// For a host that starts, before it claims. Returns how many there were.
    async fn abandon(&self, host: &str) -> Result<u64>;

    /// Cancel a run that waits; ask for the end of one that runs.
    async fn cancel(&self, run: RunId, reason: &str, now: Timestamp) -> Result<Cancelled>;

    /// Lets a run start that is held back ([`Transition::HoldBack`](crate::lifecycle::Transition::HoldBack)). The deaths that were counted stay counted.
    async fn release_run(&self, run: RunId, now: Timestamp) -> Result<Released>;

    /// Delete history beyond `retention`, expired cache entries too, a bounded piece of it. Returns how many runs went
    /// (0: nothing is left to do).
    ///
    /// The latest success of a task stays, whatever `retention` says: its output is what the task has to show.
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64>;

    /// Try to take a lock for a run, once. A lock that the run holds already in the same mode is taken again with its fence.
    ///
    /// Where there is a queue ([`Store::wait_for_lock`]), nobody goes before those who stand there in the way: one of them is
    /// who the answer names then. A run that stands there itself goes by its own place, and gives it up with the lock.
    async fn acquire_lock(&self, lock: LockName, mode: LockMode, claim: ClaimKey, now: Timestamp) -> Result<LockTaken>;

    /// [`Store::acquire_lock`] for a run that waits: where it does not get the lock, it has a place in a queue from then on, in
    /// which those of all hosts stand in the order they came. Asked again it keeps its place; it has to ask again, as
    /// nobody is given a lock unasked.
    ///
    /// A place is kept until the lock is taken, the queue is left ([`Store::leave_lock_queue`]) or the attempt is over. It
    /// keeps nobody out while the lease of its run is over.
    ///
    /// A store that only one host can have needs no queue, as that host has one: this is what it is for.
    async fn wait_for_lock(
        &self,
        lock: LockName,
        mode: LockMode,
        claim: ClaimKey,
        now: Timestamp,
    ) -> Result<LockTaken> {
        self.acquire_lock(lock, mode, claim, now).await
    }

    /// Give up a run's place in the queue for a lock, if it has one.
    async fn leave_lock_queue(&self, _lock: LockName, _claim: ClaimKey) -> Result<()> {
        Ok(())
    }

    /// Let go of a lock. One that the claim does not hold is left alone.
    async fn release_lock(&self, lock: LockName, claim: ClaimKey) -> Result<()>;

    /// The locks of a tenant that are held, by name.
    async fn locks(&self, tenant: Name) -> Result<Vec<HeldLock>>;

    /// Read an entry; `None` if it is absent or expired.
    async fn cache_get(&self, key: CacheKey, now: Timestamp) -> Result<Option<Entry>>;

    /// Change an entry.
    async fn cache_write(&self, write: CacheWrite) -> Result<Written>;

    /// Delete an entry; whether there was one.
    async fn cache_delete(&self, key: CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Result<bool>;

    /// The bytes that each tenant's entries take of its quota, expired ones included until they are deleted. A tenant that never
    /// wrote one may be left out.
    async fn cache_usage(&self) -> Result<BTreeMap<Name, u64>>;

    /// The keys of a tenant that begin with `prefix`, in order, after `after`, at most `limit`.
    async fn cache_list(
        &self,
        prefix: CacheKey,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<EntryInfo>>;

    /// What all tasks' schedules have come to.
    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>>;

    /// How these tasks' schedules and runs stand; of a task that nothing is known of there is no answer.
    async fn watch(&self, tasks: Vec<TaskKey>, now: Timestamp) -> Result<BTreeMap<TaskKey, Watched>>;

    /// How these runs stand; of one that is not there (any more) there is no answer.
    async fn stands(&self, runs: Vec<RunKey>) -> Result<BTreeMap<RunKey, Stands>>;

    /// Write down what a schedule has to remember, unless somebody else did meanwhile. Whether it was written.
    async fn remember(&self, remember: Remember) -> Result<bool>;

    /// Pauses a task, or all tasks of a tenant, or all, those that come later included. A pause that is there already goes on
    /// since when it did; a `why`, which is for people, takes the place of the one that it had.
    async fn pause(&self, whom: Whom, why: Option<String>, now: Timestamp) -> Result<()>;

    /// End a pause, and no other: a task whose tenant, or all, are paused goes on being so, and so does one that was paused by
    /// itself when its tenant, or all, are resumed. The cursors are set to `now`: what was due meanwhile is left out.
    ///
    /// A task by itself, paused or not, also forgets failures and what it left out, is let go, and its cursor is not ahead. Nor
    /// are those of schedules that were added for it: a clock that was set back has left them all ahead together.
    async fn resume(&self, whom: Whom, now: Timestamp) -> Result<()>;

    /// [`Store::pause`] or [`Store::resume`] of one task, in short.
    async fn set_paused(&self, task: TaskKey, paused: bool, now: Timestamp) -> Result<()> {
        match paused {
            true => self.pause(Whom::Task(task), None, now).await,
            false => self.resume(Whom::Task(task), now).await,
        }
    }

    /// The pauses of more than one task that there are. Those of single tasks are in [`Store::task_states`].
    async fn pauses(&self) -> Result<Pauses>;

    /// Runs, newest first.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunInfo>>;

    /// The latest runs of each task of a tenant that has any, or of `task` alone.
    async fn latest_runs(&self, tenant: Name, task: Option<Name>) -> Result<BTreeMap<Name, LatestRuns>>;

    /// One run.
    async fn run(&self, run: RunId) -> Result<Option<RunInfo>>;

    /// What a run was given.
    async fn input(&self, run: RunId) -> Result<Option<Vec<u8>>>;

    /// What a run made; `None` if it has not succeeded (or is not there).
    async fn output(&self, run: RunId) -> Result<Option<Output>>;

    /// The latest run of a task (the one with the greatest id) that succeeded, and when it ended.
    async fn latest_success(&self, task: TaskKey) -> Result<Option<(RunId, Timestamp)>>;

    /// The attempts at a run that are over, first to last.
    async fn attempts(&self, run: RunId) -> Result<Vec<AttemptInfo>>;

    /// How many runs are in each state.
    async fn counts(&self) -> Result<BTreeMap<RunState, u64>>;

    /// Told (as a hint only) whenever runs may have become claimable, or will earlier than was said.
    ///
    /// All who wait are told ([`Notify::notify_waiters`]), after the commit: make the `notified()` future first, then look,
    /// then await it, and nothing is missed.
    fn runs_hint(&self) -> Arc<Notify>;

    /// Told (as a hint only) whenever locks may have become free; in the manner of [`Store::runs_hint`].
    fn locks_hint(&self) -> Arc<Notify>;

    /// Told (as a hint only) whenever a run changed, by whichever way: a number that grows with each commit that did so.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;

    /// What it has done since it was opened.
    fn stats(&self) -> StoreStats;

    /// Most runs that are worth being taken with one claim. More would hold back others' writes, fewer would pay for the disk
    /// (and the way there) more often.
    fn batch(&self) -> usize {
        128
    }

    /// The time by the clock that all hosts of the store go by, whatever their own say; `None` where there is one host, whose
    /// clock is as good as any.
    async fn time(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}

//! What a store tells of tasks and runs, and what of it is kept and counted.

use crate::run::Output;
use crate::store::Result;

use super::LatestRuns;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::run::{Cause, Outcome, Report, RunId, RunState};
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// A run as people see it.
#[derive(Clone, Debug)]
pub struct RunInfo {
    /// Which.
    pub id: RunId,
    /// Whose.
    pub task: TaskKey,
    /// Where it is in its life.
    pub state: RunState,
    /// The instant it was due.
    pub due_at: Timestamp,
    /// The earliest its next attempt may start.
    pub run_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its last attempt was claimed.
    pub claimed_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Why it exists.
    pub cause: Cause,
    /// The attempt it is at; 0 before the first.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// The run that enqueued it.
    pub parent: Option<RunId>,
    /// The host that has (or had) it.
    pub host: Option<String>,
    /// How the last attempt ended.
    pub outcome: Option<Outcome>,
    /// What was said of the last attempt, or why it was skipped.
    pub message: Option<String>,
    /// It was to start although its task is paused, held back, or at a limit: its first attempt.
    pub forced: bool,
    /// What there is to say about how it came to be: that others were missed, or that it goes past limits.
    pub note: Option<String>,
    /// Of a run that waits: why it does not start at `run_at`, as far as the store knows: its task is paused, or held back for
    /// its crashes.
    pub why: Option<String>,
    /// How often its host died while it was under way.
    pub deaths: u32,
    /// Since when it is held back because it is suspected of killing its host ([`Runs::release_run`](crate::store::runs::Runs::release_run) lets it start).
    pub suspected_at: Option<Timestamp>,
}

/// Which runs to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Only of this tenant.
    pub tenant: Option<Name>,
    /// Only of this task.
    pub task: Option<Name>,
    /// Only in this state.
    pub state: Option<RunState>,
    /// Only runs that were claimed at least once.
    pub begun: bool,
    /// Only runs before this one (for the next page).
    pub before: Option<RunId>,
    /// At most this many.
    pub limit: usize,
}

/// An attempt as people see it.
#[derive(Clone, Debug)]
pub struct AttemptInfo {
    /// Which, from 1.
    pub attempt: u32,
    /// Who tried.
    pub host: String,
    /// All that is written down about it.
    pub report: Report,
}

/// How much history is kept, of each task. Runs that are not over are never pruned; of their attempts the first and the
/// latest hundred are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// The latest so many runs.
    pub runs: u64,
    /// Those that ended less than this ago.
    pub age: Duration,
    /// Inputs, outputs, logs: the latest runs that have no more than so many bytes together.
    pub bytes: u64,
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Transactions committed (each one wait for the disk).
    pub commits: u64,
    /// Times that the disk was waited for, checkpoints included.
    pub syncs: u64,
    /// Requests that were served by those commits.
    pub writes: u64,
}

/// The history of runs.
#[async_trait]
pub trait History: Send + Sync {
    /// Runs, newest first.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunInfo>>;

    /// The latest runs of each task of a tenant that has any, or of `task` alone.
    async fn latest_runs(&self, tenant: Name, task: Option<Name>) -> Result<BTreeMap<Name, LatestRuns>>;

    /// One run.
    async fn run(&self, run: RunId) -> Result<Option<RunInfo>>;

    /// Returns the input of a run.
    async fn input(&self, run: RunId) -> Result<Option<Vec<u8>>>;

    /// What a run made; `None` if it has not succeeded (or is not there).
    async fn output(&self, run: RunId) -> Result<Option<Output>>;

    /// The latest run of a task (the one with the greatest id) that succeeded, and when it ended.
    async fn latest_success(&self, task: TaskKey) -> Result<Option<(RunId, Timestamp)>>;

    /// The attempts at a run that are over, first to last.
    async fn attempts(&self, run: RunId) -> Result<Vec<AttemptInfo>>;

    /// Counts the runs of one task that are in `state`. It takes no longer where there are many.
    async fn count(&self, task: TaskKey, state: RunState) -> Result<u64>;

    /// Counts the runs in each state.
    async fn counts(&self) -> Result<BTreeMap<RunState, u64>>;
}

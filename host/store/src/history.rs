//! Defines what a store reports about tasks and runs, and how much history it keeps.

use crate::Result;
use sexton_domain::run::Output;

use super::LatestRuns;
use super::lists::{Filter, ListRuns, Lists, TaskPattern};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;

use sexton_domain::labels::Labels;
use sexton_domain::run::{Cause, Outcome, Report, RunId, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// A run as users see it.
#[derive(Clone, Debug)]
pub struct RunInfo {
    pub id: RunId,
    pub task: TaskKey,
    pub state: RunState,
    /// The instant at which the run was due.
    pub due_at: Timestamp,
    /// The earliest instant at which the next attempt may start.
    pub run_at: Timestamp,
    pub created_at: Timestamp,
    /// When the latest attempt was claimed.
    pub claimed_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub cause: Cause,
    /// The number of the current attempt; 0 before the first.
    pub attempt: u32,
    /// The number of attempts that failed.
    pub failures: u32,
    /// The run that enqueued this one; or that it repeats, if its cause is [`Cause::Demand`].
    pub parent: Option<RunId>,
    /// The host that has or had the run.
    pub host: Option<String>,
    /// The outcome of the latest attempt.
    pub outcome: Option<Outcome>,
    /// The message of the latest attempt, or the reason why the run was skipped.
    pub message: Option<String>,
    /// Whether the run's first attempt starts although its task is paused, held back, or at a limit.
    pub forced: bool,
    /// A note about how the run was made: that others were missed, or that it goes past limits.
    pub note: Option<String>,
    /// The reason why a waiting run does not start at `run_at`. The store knows whether the task is paused, or held
    /// back for its crashes.
    pub why: Option<String>,
    /// The number of times that the run's host died while the run was under way.
    pub deaths: u32,
    /// Since when the run is held back because it is suspected of killing its host
    /// ([`Runs::release_run`](crate::runs::Runs::release_run) lets it start).
    pub suspected_at: Option<Timestamp>,
    /// Set if the run belongs to a backfill ([`NewRun::at_once`](super::NewRun::at_once)).
    pub at_once: Option<u32>,
    /// The key of the added schedule that made the run.
    pub key: Option<Name>,
    /// The chain that made the run.
    pub chain: Option<Name>,
    /// The labels of its task when it was made, and those that it was given.
    pub labels: Labels,
}

/// Selects runs to list, newest first, for callers that want all of them at once.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    pub tenant: Option<Name>,
    pub task: Option<Name>,
    pub state: Option<RunState>,
    /// Selects only runs that were claimed at least once.
    pub begun: bool,
    /// Selects only runs before this one, for the next page.
    pub before: Option<RunId>,
    pub limit: usize,
}

/// An attempt as users see it.
#[derive(Clone, Debug)]
pub struct AttemptInfo {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    pub host: String,
    pub report: Report,
}

/// The history that is kept of each task. Runs that are not over are never pruned; the first and the latest hundred of
/// their attempts are kept.
#[derive(Clone, Debug)]
pub struct Retention {
    /// The number of latest runs to keep.
    pub runs: u64,
    /// The age up to which runs are kept, counted from their end.
    pub age: Duration,
    /// The most bytes of inputs, outputs and logs; the oldest runs go first.
    pub bytes: u64,
}

/// The work that a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// The number of committed transactions, each of which waits for the disk once.
    pub commits: u64,
    /// The number of waits for the disk, including checkpoints.
    pub syncs: u64,
    /// The number of requests that those commits served.
    pub writes: u64,
}

/// Reads the history of runs.
#[async_trait]
pub trait History: Lists {
    /// Returns runs, newest first, however long that takes. The API asks for [pages](Lists::list_runs) instead.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunInfo>> {
        let RunFilter { tenant, task, state, begun, mut before, limit } = filter;
        let (task, states) = (task.map(TaskPattern::from), state.into_iter().collect());
        let filter = Filter { tenant, task, states, begun, ..Filter::default() };
        let mut runs = Vec::new();
        while runs.len() < limit {
            let (filter, limit) = (filter.clone(), limit - runs.len());
            let page = self.list_runs(ListRuns { filter, before, limit, now: Timestamp::default() }).await?;
            runs.extend(page.runs);
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        Ok(runs)
    }

    /// Returns the latest runs of those of `tasks` that have any. The cost depends on the number of `tasks` alone, not
    /// on how many there are besides.
    async fn latest_runs(&self, tasks: Vec<TaskKey>) -> Result<BTreeMap<TaskKey, LatestRuns>>;

    /// Returns one run.
    async fn run(&self, run: RunId) -> Result<Option<RunInfo>>;

    /// Returns the input of a run.
    async fn input(&self, run: RunId) -> Result<Option<Vec<u8>>>;

    /// Returns the output of a run; `None` if the run has not succeeded or does not exist.
    async fn output(&self, run: RunId) -> Result<Option<Output>>;

    /// Returns the latest successful run of a task (the one that ended last, whatever its id is), and when it ended.
    async fn latest_success(&self, task: TaskKey) -> Result<Option<(RunId, Timestamp)>>;

    /// Returns the attempts at a run that are over, first to last.
    async fn attempts(&self, run: RunId) -> Result<Vec<AttemptInfo>>;

    /// Counts the runs of one task that are in `state`, in a time that does not grow with their number.
    async fn count(&self, task: TaskKey, state: RunState) -> Result<u64>;

    /// Counts the runs in each state.
    async fn counts(&self) -> Result<BTreeMap<RunState, u64>>;
}

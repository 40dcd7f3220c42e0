//! Defines the JSON of sums over the runs of a task in a window of time.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::runs::is_false;
use crate::ops::{Change, ChangeKind, Spread, Statistics};
use sexton_domain::lengths::millis;
use sexton_domain::run::{Outcome, RunId};
use sexton_domain::time::Timestamp;

/// Sums over the runs of a task that were made in a window of time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatisticsShape {
    /// The begin of the window: as requested, or when the oldest of the runs was made if there were too many.
    pub since: Timestamp,
    /// Whether there were more runs, and only the newest 10,000 are in it.
    pub cut: bool,
    /// The number of runs.
    pub runs: u64,
    /// The number of runs that succeeded.
    pub succeeded: u64,
    /// The number of runs that failed.
    pub failed: u64,
    /// The number of runs that were skipped because earlier ones had not finished.
    pub skipped: u64,
    /// The number of runs that were cancelled otherwise: killed, replaced, or too late.
    pub cancelled: u64,
    /// The number of runs that are running.
    pub running: u64,
    /// The number of runs that wait.
    pub waiting: u64,
    /// The most runs that were running at the same time.
    pub at_once: AtOnce,
    /// The times that runs took, from the start of the last attempt to its end.
    pub run: Option<SpreadShape>,
    /// The times from the instants at which runs were due to their starts.
    pub wait: Option<SpreadShape>,
    /// The times between two starts.
    pub interval: Option<SpreadShape>,
    /// Since when all runs that ended have failed; `None` if the latest that ended has not.
    pub failing_since: Option<Timestamp>,
    /// The changes by which failures came and went, oldest first.
    pub changes: Vec<ChangeShape>,
    /// Whether there were more changes, and only the latest are here.
    #[serde(default, skip_serializing_if = "is_false")]
    pub changes_cut: bool,
}

/// A number of runs at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AtOnce {
    /// The most that there were.
    pub most: u32,
    /// The most that there may be, by the task's overlap policy.
    pub limit: u32,
    /// The number of starts after which there were as many as may be.
    pub at_limit: u64,
}

/// The distribution of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpreadShape {
    /// Their number.
    pub count: u64,
    /// Their mean.
    pub mean_ms: u64,
    /// The shortest of those of which 95 % are no longer.
    pub p95_ms: u64,
    /// The longest.
    pub longest_ms: u64,
}

/// A change in how a task's runs end. Runs that fail alike, one after another, are one change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangeShape {
    /// The kind of the change.
    pub change: ChangeKindShape,
    /// The run that showed it.
    pub run: RunId,
    /// The end of that run.
    pub at: Timestamp,
    /// The number of runs that failed alike; of a recovery the number of runs that had failed before it.
    pub failures: u64,
    /// The last of the runs that failed alike.
    pub last_run: RunId,
    /// The end of that run.
    pub last_at: Timestamp,
    /// The outcome of the first; `None` for a recovery.
    pub outcome: Option<Outcome>,
    /// The message of the first.
    pub message: Option<String>,
}

/// A kind of change in how a task's runs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKindShape {
    /// A run failed after one that had succeeded, or as the first.
    First,
    /// A run failed in another way than the one before it.
    New,
    /// A run succeeded after others had failed.
    Healed,
}

impl StatisticsShape {
    /// Returns the sums over the runs of a task of which `limit` may run at once.
    pub fn of(sums: Statistics, limit: u32) -> Self {
        let [waiting, running, succeeded, failed, cancelled] = sums.states;
        Self {
            since: sums.since,
            cut: sums.cut,
            runs: sums.runs,
            succeeded,
            failed,
            skipped: sums.skipped,
            cancelled,
            running,
            waiting,
            at_once: AtOnce { most: sums.most_at_once, limit, at_limit: sums.at_limit },
            run: sums.took.map(SpreadShape::from),
            wait: sums.waited.map(SpreadShape::from),
            interval: sums.apart.map(SpreadShape::from),
            failing_since: sums.failing_since,
            changes: sums.changes.into_iter().map(ChangeShape::from).collect(),
            changes_cut: sums.changes_cut,
        }
    }
}

impl From<Spread> for SpreadShape {
    fn from(spread: Spread) -> Self {
        let Spread { count, mean, p95, longest } = spread;
        Self { count, mean_ms: millis(mean), p95_ms: millis(p95), longest_ms: millis(longest) }
    }
}

impl From<Change> for ChangeShape {
    fn from(change: Change) -> Self {
        let Change { kind, run, at, failures, last: (last_run, last_at), outcome, message } = change;
        let change = match kind {
            ChangeKind::First => ChangeKindShape::First,
            ChangeKind::New => ChangeKindShape::New,
            ChangeKind::Healed => ChangeKindShape::Healed,
        };
        Self { change, run, at, failures, last_run, last_at, outcome, message }
    }
}

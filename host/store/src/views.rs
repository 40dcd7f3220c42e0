//! Defines views over several runs: those of a task in a window of time, and those that came of a run.

use async_trait::async_trait;

use super::Result;
use sexton_domain::run::{Cause, Outcome, RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// The times of a run, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTimes {
    pub run: RunId,
    pub state: RunState,
    pub cause: Cause,
    /// The instant at which the run was due.
    pub due_at: Timestamp,
    pub created_at: Timestamp,
    /// When its first attempt started.
    pub started_at: Option<Timestamp>,
    /// When its latest attempt was claimed.
    pub claimed_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The outcome of its latest attempt.
    pub outcome: Option<Outcome>,
    /// The beginning of its message, if it failed.
    pub message: Option<String>,
    /// Whether it was skipped instead of run: because earlier runs had not finished, or because its lock was held.
    pub skipped: bool,
    /// Whether it was made for an instant that had passed: by a backfill, or because a person repeats a run.
    pub belated: bool,
}

/// The runs of a task in a window of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The runs, newest first.
    pub runs: Vec<RunTimes>,
    /// Whether there were more, and only the newest were read.
    pub cut: bool,
}

/// A run that came of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    pub run: RunId,
    pub task: TaskKey,
    pub state: RunState,
    /// The way in which it came of the other run.
    pub kind: ChildKind,
    pub created_at: Timestamp,
}

/// The way in which a run came of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    /// The other run enqueued it.
    Enqueued,
    /// The other run continues in it.
    Continuation,
    /// A person repeats the other run.
    Rerun,
}

/// The characters of a message that [`RunTimes`] has.
pub(super) const MESSAGE: usize = 200;

/// Reads views over several runs.
#[async_trait]
pub trait Views {
    /// Returns the runs of `task` that were made at `since` or later, newest first, and at most the newest `limit`. The
    /// time that this takes depends on their number, and not on that of other runs: at most a thousand further ones are
    /// read.
    async fn window(&self, task: TaskKey, since: Timestamp, limit: usize) -> Result<Window>;

    /// Returns the runs that came of `run`, in the order in which they were made, at most `limit`.
    async fn children(&self, run: RunId, limit: usize) -> Result<Vec<Child>>;
}

//! Defines the questions of schedules that depend on how earlier runs went. They are frequent, so they must cost
//! little.

use crate::{Result, TaskState};
use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::schedule::{AwaitedRun, Going};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::{Fire, FireOutcome, ScheduleStart};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// The state of a task's schedule and its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerState {
    pub state: TaskState,
    pub going: Going,
}

/// Names a run that a schedule waits for: its task, and the key that it was made with
/// ([`NewRun::dedup`](super::NewRun::dedup)).
pub type RunKey = (TaskKey, String);

/// The state of a run that a schedule waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AwaitedRunState {
    pub run: RunId,
    pub state: RunState,
    pub outcome: Option<Outcome>,
    pub ended_at: Option<Timestamp>,
}

impl From<&AwaitedRunState> for AwaitedRun {
    fn from(run: &AwaitedRunState) -> Self {
        match run.state.is_over() {
            true => Self::Over {
                run: run.run,
                state: run.state,
                skipped: run.outcome == Some(Outcome::Skipped),
                at: run.ended_at.unwrap_or_default(),
            },
            false => Self::Going,
        }
    }
}

/// The new memory of a schedule that makes no run.
#[derive(Clone, Debug)]
pub struct UpdateMemory {
    pub task: TaskKey,
    /// The memory that the caller has read. Nothing is done if the store has another by now.
    pub from: Option<String>,
    /// The new memory.
    pub to: String,
    /// If set, the task is also paused, for this reason. An existing pause stays as it is.
    pub pause: Option<String>,
    pub now: Timestamp,
}

/// Keeps the progress of tasks' schedules.
#[async_trait]
pub trait Schedules: Send + Sync {
    /// Makes the runs that a task's schedule calls for, and moves its cursor, in one transaction. A cursor that is
    /// further already stays. Runs that are made or skipped are counted in [`TaskState::fired`].
    ///
    /// If the task, its tenant or all tasks are paused, only the cursor moves, and no runs are made
    /// ([`FireOutcome::Paused`]). If another host was first, nothing is done ([`Fire::expect`], [`FireOutcome::Stale`]).
    async fn fire(&self, fire: Fire) -> Result<FireOutcome>;

    /// Sets the schedule of each task from now on. A task that had another schedule begins afresh: its cursor is
    /// [`ScheduleStart::now`] or later, and its count and memory are empty. If no schedule was recorded, the task's state is
    /// taken to be that of the new one.
    async fn begin_schedules(&self, begun: Vec<ScheduleStart>) -> Result<()>;

    /// Records in words what a task's schedule has left out, in place of the earlier record.
    async fn record_missed(&self, task: TaskKey, what: &str) -> Result<()>;

    /// Returns the state of these tasks' schedules and runs; a task that the store does not know is missing.
    async fn watch(&self, tasks: Vec<TaskKey>, now: Timestamp) -> Result<BTreeMap<TaskKey, TriggerState>>;

    /// Returns the state of these runs; a run that does not exist, or no longer, is missing.
    async fn run_states(&self, runs: Vec<RunKey>) -> Result<BTreeMap<RunKey, AwaitedRunState>>;

    /// Records the new memory of a schedule, unless the memory has changed since it was read. Returns whether it was
    /// recorded.
    async fn update_memory(&self, remember: UpdateMemory) -> Result<bool>;
}

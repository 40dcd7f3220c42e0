//! Defines the states of tasks, and their pauses.

use crate::Result;
use async_trait::async_trait;
use sexton_domain::pause::{PauseTarget, Pauses};
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;
use std::collections::BTreeMap;

/// The progress of a task's schedule. The store keeps it, so that restarts and other hosts continue from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskState {
    /// The last instant that was handled.
    pub cursor: Option<Timestamp>,
    /// The number of runs that the schedule has made, including skipped ones.
    pub fired: u64,
    /// The memory of a trigger that depends on how earlier runs went, in its own words.
    pub memory: Option<String>,
    /// The identity of the schedule that all this belongs to ([`Plan::identity`](sexton_domain::schedule::Plan::identity));
    /// `None` if it was not recorded.
    pub schedule: Option<String>,
    /// The instants that were last left out because they were missed, for people: "4 missed since ..., left out".
    pub left_out: Option<String>,
    /// The pause of the task, whose runs do not start while it is set; nor while one of [`Tasks::pauses`] applies.
    pub paused: Option<Pause>,
    /// The record of the latest runs.
    pub standing: Standing,
}

/// Keeps the states of tasks, and their pauses.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Returns the states of all tasks that have one, for a look at everything. The two methods below are for the
    /// tasks that a caller knows.
    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>>;

    /// Returns the state of one task; `None` if nothing was ever recorded about its schedule, pauses and failures.
    async fn task_state(&self, task: TaskKey) -> Result<Option<TaskState>>;

    /// Returns the states of those of `tasks` that have one. The cost depends on the number of `tasks` alone, not on
    /// how many there are besides.
    async fn task_states_of(&self, tasks: Vec<TaskKey>) -> Result<BTreeMap<TaskKey, TaskState>>;

    /// Pauses a task, or all tasks of a tenant, or all tasks, including later ones. An existing pause keeps its start;
    /// a `why`, which is for people, replaces the earlier one.
    async fn pause(&self, target: PauseTarget, why: Option<String>, now: Timestamp) -> Result<()>;

    /// Ends a pause, and no other: a task stays paused if its tenant or all tasks are, and a task with a pause of its
    /// own stays paused when its tenant or all tasks are resumed. The cursors are set to `now`, so that instants during
    /// the pause are left out.
    ///
    /// Resuming, whether there is a pause or not, also brings back the cursors that are ahead, and those of the tasks'
    /// added schedules: a clock that was set back has left them all ahead together. Resuming a single task also clears
    /// its failures, its brake and what it left out.
    async fn resume(&self, target: PauseTarget, now: Timestamp) -> Result<()>;

    /// Calls [`Tasks::pause`] or [`Tasks::resume`] for one task.
    async fn set_paused(&self, task: TaskKey, paused: bool, now: Timestamp) -> Result<()> {
        match paused {
            true => self.pause(PauseTarget::Task(task), None, now).await,
            false => self.resume(PauseTarget::Task(task), now).await,
        }
    }

    /// Returns the pauses of more than one task. Those of single tasks are in [`Tasks::task_states`].
    async fn pauses(&self) -> Result<Pauses>;
}

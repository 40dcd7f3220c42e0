//! How tasks stand.

use crate::pause::{Pauses, Whom};
use crate::store::Result;
use crate::supervision::{Pause, Standing};
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;
use async_trait::async_trait;
use std::collections::BTreeMap;

/// The progress of a task's schedule. Kept by the store, so that restarts and other hosts go on from there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskState {
    /// The last instant that was dealt with.
    pub cursor: Option<Timestamp>,
    /// Runs that its schedule has made, those that were skipped included.
    pub fired: u64,
    /// What a trigger that goes by how earlier runs went has to remember, in its own words.
    pub memory: Option<String>,
    /// The schedule that all this belongs to, in short ([`Plan::identity`](crate::schedule::Plan::identity)); `None` if
    /// that was not written down.
    pub schedule: Option<String>,
    /// What was left out last because it was missed, for people: "4 missed since ..., left out".
    pub left_out: Option<String>,
    /// Nothing of the task starts while set; nor while one of [`Tasks::pauses`] is about it.
    pub paused: Option<Pause>,
    /// How its latest runs went.
    pub standing: Standing,
}

/// The states of tasks, and their pauses.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// The states of all tasks that have one. A scheduler reads them when it starts. For one task or one tenant there are
    /// the two methods below.
    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>>;

    /// The state of one task; `None` if nothing was ever written down about its schedule, pauses and failures.
    async fn task_state(&self, task: TaskKey) -> Result<Option<TaskState>>;

    /// The states of the tasks of one tenant that have one.
    async fn task_states_of(&self, tenant: Name) -> Result<BTreeMap<TaskKey, TaskState>>;

    /// Pauses a task, or all tasks of a tenant, or all, those that come later included. A pause that is there already goes on
    /// since when it did; a `why`, which is for people, takes the place of the one that it had.
    async fn pause(&self, whom: Whom, why: Option<String>, now: Timestamp) -> Result<()>;

    /// End a pause, and no other: a task whose tenant, or all, are paused goes on being so, and so does one that was paused by
    /// itself when its tenant, or all, are resumed. The cursors are set to `now`: what was due meanwhile is left out.
    ///
    /// A task by itself, paused or not, also forgets failures and what it left out, is let go, and its cursor is not ahead. Nor
    /// are those of schedules that were added for it: a clock that was set back has left them all ahead together.
    async fn resume(&self, whom: Whom, now: Timestamp) -> Result<()>;

    /// [`Tasks::pause`] or [`Tasks::resume`] of one task, in short.
    async fn set_paused(&self, task: TaskKey, paused: bool, now: Timestamp) -> Result<()> {
        match paused {
            true => self.pause(Whom::Task(task), None, now).await,
            false => self.resume(Whom::Task(task), now).await,
        }
    }

    /// The pauses of more than one task that there are. Those of single tasks are in [`Tasks::task_states`].
    async fn pauses(&self) -> Result<Pauses>;
}

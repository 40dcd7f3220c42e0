//! What schedules ask that go by how earlier runs went: often, so it must cost little.

use crate::run::{RunId, RunState};
use crate::schedule::{AwaitedRun, Going};
use crate::store::{Result, TaskState};
use crate::task::TaskKey;
use crate::time::Timestamp;

use super::{Begun, Fire, Fired};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// How a task's schedule and its runs stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// What its schedule has come to.
    pub state: TaskState,
    /// How its runs go.
    pub going: Going,
}

/// Which run is waited for: the task, and the key that it was made with ([`NewRun::dedup`](super::NewRun::dedup)).
pub type RunKey = (TaskKey, String);

/// How a run stands that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stands {
    /// Which it is.
    pub run: RunId,
    /// Where it is in its life.
    pub state: RunState,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
}

impl From<&Stands> for AwaitedRun {
    fn from(run: &Stands) -> Self {
        match run.state.is_over() {
            true => Self::Over { run: run.run, state: run.state, at: run.ended_at.unwrap_or_default() },
            false => Self::Going,
        }
    }
}

/// What a schedule has to remember although it makes no run.
#[derive(Clone, Debug)]
pub struct Remember {
    /// Whose schedule.
    pub task: TaskKey,
    /// What it remembered when it was looked at. Nothing is done if that is something else now.
    pub from: Option<String>,
    /// What it has to remember from now on.
    pub to: String,
    /// Pause it, too, for this reason. A pause that is there already stays as it is.
    pub pause: Option<String>,
    /// The time it is.
    pub now: Timestamp,
}

/// What the schedules of tasks have come to.
#[async_trait]
pub trait Schedules: Send + Sync {
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

    /// How these tasks' schedules and runs stand; of a task that nothing is known of there is no answer.
    async fn watch(&self, tasks: Vec<TaskKey>, now: Timestamp) -> Result<BTreeMap<TaskKey, Watched>>;

    /// How these runs stand; of one that is not there (any more) there is no answer.
    async fn stands(&self, runs: Vec<RunKey>) -> Result<BTreeMap<RunKey, Stands>>;

    /// Write down what a schedule has to remember, unless somebody else did meanwhile. Whether it was written.
    async fn remember(&self, remember: Remember) -> Result<bool>;
}

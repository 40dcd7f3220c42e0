//! What people, programs and simulated people ask of a host, decided once: the API, the command line by way of it, and
//! simulated hosts all come here.
//!
//! An operation says who asks ([`Principal`]), looks at what there is, decides, and has the store write it down. What a run
//! is that comes of it is in [`store::rules::runs`](crate::store::rules::runs), where schedules and guests get theirs as
//! well. Nothing here knows HTTP or SQL.

mod ending;
mod limits;
mod pausing;
mod runs;

use std::fmt;
use std::sync::Arc;

pub use ending::{EndRun, Ended};
pub use pausing::PauseState;
pub use runs::{TriggerRun, Triggered};

use crate::catalog::Catalog;
use crate::machine::budget::Budgets;
use crate::machine::live::LiveRuns;
use crate::run::{RunId, RunState};
use crate::store::{Store, StoreError, TaskState};
use crate::task::TaskKey;
use crate::time::Clock;

/// The operations of one host.
#[derive(Clone, Debug)]
pub struct Ops {
    /// Where it is written down.
    pub store: Arc<dyn Store>,
    /// The tasks there are.
    pub catalog: Arc<Catalog>,
    /// The attempts under way on this host.
    pub live: Arc<LiveRuns>,
    /// What tasks and tenants have used of what they may.
    pub budgets: Arc<Budgets>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Who asks for an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Whoever may reach the API: it asks for no token yet.
    Operator,
    /// The plan of a simulation.
    Simulation,
}

/// As a log line calls it.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Simulation => "simulation",
        })
    }
}

/// Why an operation was not done. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpError {
    /// No plugin offers the task.
    #[error("there is no task `{0}`")]
    NoTask(TaskKey),
    /// The run has ended already.
    #[error("run {0} is over already: {1}")]
    RunIsOver(RunId, RunState),
    /// The run is not suspected of killing its host.
    #[error("run {0} is not held back: it is {1}")]
    RunNotHeldBack(RunId, RunState),
    /// The store refused it or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an operation returns.
pub type Result<T> = std::result::Result<T, OpError>;

impl Ops {
    /// Returns how the schedule and the latest runs of a task stand.
    async fn state_of(&self, task: &TaskKey) -> Result<TaskState> {
        Ok(self.store.task_state(task.clone()).await?.unwrap_or_default())
    }
}

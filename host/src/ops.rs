//! Carries out the operations that people and programs request of a host. The API, through it the command line, and
//! simulated hosts all call this room, so each operation is decided once.
//!
//! An operation knows its caller ([`Principal`]), reads the facts, decides, and has the store write the result. The
//! contents of a resulting run are defined in [`store::rules::runs`](crate::store::rules::runs), which schedules and
//! guests use as well. Nothing here knows HTTP or SQL.

mod ending;
mod limits;
mod pausing;
mod runs;
mod schedules;

use std::fmt;
use std::sync::Arc;

pub use ending::{EndEffect, EndRun};
pub use pausing::PauseState;
pub use runs::{TriggerRun, Triggered};
pub use schedules::{NewSchedule, ScheduleAdded};

use crate::catalog::Catalog;
use crate::machine::budget::Budgets;
use crate::machine::live::LiveRuns;
use crate::run::{RunId, RunState};
use crate::schedule::request::BadRequest;
use crate::store::{Store, StoreError, TaskState};
use crate::task::TaskKey;
use crate::time::Clock;

/// The operations of one host.
#[derive(Clone, Debug)]
pub struct Ops {
    /// The store that operations write to.
    pub store: Arc<dyn Store>,
    /// The tasks.
    pub catalog: Arc<Catalog>,
    /// The attempts under way on this host.
    pub live: Arc<LiveRuns>,
    /// The parts of their budgets that tasks and tenants have used.
    pub budgets: Arc<Budgets>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The caller of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Any client of the API, which requires no token yet.
    Operator,
    /// The plan of a simulation.
    Simulation,
}

/// Prints the name for log lines.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Simulation => "simulation",
        })
    }
}

/// The reason why an operation was not carried out. Nothing was changed.
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
    /// The requested schedule cannot be added.
    #[error(transparent)]
    BadSchedule(#[from] BadRequest),
    /// The store refused it or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, OpError>;

impl Ops {
    /// Returns the state of the schedule and the latest runs of a task.
    async fn state_of(&self, task: &TaskKey) -> Result<TaskState> {
        Ok(self.store.task_state(task.clone()).await?.unwrap_or_default())
    }
}

//! Carries out the operations that people, programs and guests request of a host. The API, through it the command line,
//! simulated hosts and the `schedule` import all call this room, so each operation is decided once.
//!
//! An operation knows its caller ([`Principal`]), reads the facts, decides, and has the store write the result. The
//! contents of a resulting run are defined in [`store::rules::runs`](sexton_store::rules::runs), which schedules use as
//! well. Nothing here knows HTTP or SQL. Guests reach this room through two traits of the imports
//! ([`RunRequests`](sexton_runtime::imports::RunRequests),
//! [`ScheduleRequests`](sexton_runtime::imports::ScheduleRequests)), because the imports stand below it.

mod backfilling;
mod ending;
mod entries;
mod guest_schedules;
mod hosts;
mod limits;
mod pausing;
mod reason;
mod requests;
mod runs;
mod schedules;
mod statistics;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

pub use backfilling::{Backfill, BackfillRange, MOST_INSTANTS};
pub use ending::{EndEffect, EndRun};
pub use entries::WriteEntry;
pub use pausing::PauseState;
pub use runs::{RepeatRun, TriggerRun, Triggered};
pub use schedules::{NewSchedule, ScheduleAdded};
pub use statistics::{Change, ChangeKind, Spread, Statistics};

use crate::machine::budget::Budgets;
use crate::machine::drain::HostDuty;
use crate::machine::live::LiveRuns;
use sexton_domain::labels::BadLabels;
use sexton_domain::run::{RunId, RunState};
use sexton_domain::schedule::request::BadRequest;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::tenant::Tenants;
use sexton_domain::time::Clock;
use sexton_runtime::catalog::Catalog;
use sexton_store::{Retention, RunInfo, Store, StoreError, TaskState};

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
    /// The tenants and their limits.
    pub tenants: Arc<Tenants>,
    /// The name of this host.
    pub host: String,
    /// Whether this host takes runs.
    pub duty: Arc<HostDuty>,
    /// The bounds of the history that is kept of each task.
    pub retention: watch::Receiver<Retention>,
    /// Bounds the tasks whose runs are summed up at the same time.
    pub summing: Arc<Semaphore>,
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
    /// A running task, and its run.
    Task(TaskKey, RunId),
}

/// Prints the name for log lines.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::Simulation => f.write_str("simulation"),
            Self::Task(task, run) => write!(f, "run {run} of `{task}`"),
        }
    }
}

/// The reason why an operation was not carried out. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpError {
    /// No plugin offers the task.
    #[error("there is no task `{0}`")]
    NoTask(TaskKey),
    /// The configuration makes no such tenant.
    #[error("there is no tenant `{0}`")]
    NoTenant(Name),
    /// No host of the store has the name.
    #[error("there is no host `{0}`")]
    NoHost(String),
    /// The tenant has no cache entry with the key.
    #[error("there is no cache entry `{0}`")]
    NoEntry(String),
    /// The version of the cache entry is not kept.
    #[error("the cache has no version {1} of an entry `{0}`")]
    NoVersion(String, u64),
    /// The cache entry does not meet the condition of the write.
    #[error("the entry `{0}` does not meet the request's condition")]
    EntryDiffers(String),
    /// A run past limits was requested for another time than now.
    #[error("a run past limits starts now, so it is due at no other time")]
    PastLimitsLater,
    /// The reason that was given cannot be shown.
    #[error("`reason` is one line of 1 to {} characters", reason::LONGEST)]
    BadReason,
    /// The run would have labels that no run can have.
    #[error("`label`: {0}")]
    BadLabels(#[from] BadLabels),
    /// The run has ended already.
    #[error("run {0} is over already: {1}")]
    RunIsOver(RunId, RunState),
    /// The run has not ended yet, so it cannot be repeated.
    #[error("run {0} is not over: it is {1}")]
    RunIsNotOver(RunId, RunState),
    /// The schedule of the task has no instants that could be filled in.
    #[error("`{task}` is due {1}, so no instants of its schedule can be filled in", task = .0.task)]
    NotByClock(TaskKey, &'static str),
    /// The range of a backfill makes no sense.
    #[error("{0}")]
    BadRange(String),
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
    /// Creates the operations of the host `host`, which has no attempt under way, takes runs, and keeps all history.
    pub fn new(
        host: String,
        store: Arc<dyn Store>,
        catalog: Arc<Catalog>,
        tenants: Arc<Tenants>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let budgets = Arc::new(Budgets::new(Arc::clone(&catalog), Arc::clone(&tenants), Arc::clone(&clock)));
        let all = Retention { runs: u64::MAX, age: Duration::MAX, bytes: u64::MAX };
        let retention = watch::channel(all).1;
        let summing = Arc::new(Semaphore::new(statistics::AT_ONCE));
        let (live, duty) = (Arc::default(), Arc::default());
        Self { store, catalog, live, budgets, tenants, host, duty, retention, summing, clock }
    }

    /// Returns these operations for a host that keeps no more history than `retention`.
    #[must_use]
    pub fn with_retention(self, retention: watch::Receiver<Retention>) -> Self {
        Self { retention, ..self }
    }

    /// Returns the state of the schedule and the latest runs of a task.
    async fn state_of(&self, task: &TaskKey) -> Result<TaskState> {
        Ok(self.store.task_state(task.clone()).await?.unwrap_or_default())
    }

    /// Returns the run `id` of `tenant`. Another tenant's run does not exist.
    async fn run_of(&self, tenant: &Name, id: RunId) -> Result<RunInfo> {
        let run = self.store.run(id).await?.filter(|run| run.task.tenant == *tenant);
        run.ok_or(OpError::Store(StoreError::NoRun(id)))
    }
}

#[cfg(test)]
mod tests;

//! Defines how guests ask their host for runs of tasks.
//!
//! The `schedule` import reads what a guest sends and translates the answer. The decision belongs to the operations of
//! the host (`ops`), which stand above the imports. They implement [`RunRequests`], and the host hands them in with
//! [`Services`](super::Services).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use sexton_domain::run::{ClaimKey, RunId};
use sexton_domain::task::Task;
use sexton_domain::time::Timestamp;
use sexton_store::StoreError;
use sexton_store::rules::runs::RequestKey;

/// A running task that asks for something.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The task, with its grants.
    pub task: Arc<Task>,
    /// The claim of its run.
    pub claim: ClaimKey,
}

/// The request of a running task for a run of a task of its own tenant.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// The name of the requested task, as the guest sent it.
    pub task: String,
    /// The instant at which the run is due; `None` for now.
    pub due_at: Option<Timestamp>,
    /// The input of the run.
    pub input: Vec<u8>,
    /// The key by which a repeated request finds the run that the first one made.
    pub key: Option<RequestKey>,
    /// The number of requests of this attempt for which the store was asked before.
    pub asked_before: u32,
}

/// The reason why a guest's request for a run was refused.
#[derive(Debug)]
pub enum RunRefused {
    /// The manifest of the calling task does not grant the requested task.
    NotGranted,
    /// No plugin of the tenant offers the requested task.
    NoTask,
    /// The input is larger than an input may be.
    TooLarge,
    /// The attempt has asked for as many runs as it may.
    TooMany,
    /// The run would be due further ahead than this, which is the most that the tenant's limits allow.
    TooFarAhead(Duration),
    /// No further run of the task may wait.
    Full {
        /// Explains which limit is reached, for the run's log.
        message: String,
        /// Whether there will hardly be room before the attempt ends.
        lasts: bool,
    },
    /// The store failed.
    Store(StoreError),
}

impl RunRefused {
    /// Returns whether the store was asked before the request was refused.
    pub fn has_asked_store(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Store(_))
    }
}

/// Decides about the runs that guests ask for.
#[async_trait]
pub trait RunRequests: std::fmt::Debug + Send + Sync {
    /// Makes the requested run for the running task `by`, and returns its id.
    ///
    /// # Errors
    ///
    /// The reason why it was not made.
    async fn request_run(&self, by: &Caller, asked: RunRequest) -> Result<RunId, RunRefused>;
}

//! Defines how guests ask their host for schedules of tasks.
//!
//! As with [runs](super::RunRequests), the `schedule` import reads what a guest sends and translates the answer, and the
//! decision belongs to the operations of the host (`ops`).

use async_trait::async_trait;

use super::Caller;
use sexton_domain::schedule::request::{BadRequest, Request};
use sexton_store::StoreError;
use sexton_store::added::ScheduleInfo;

/// The request of a running task for a schedule of a task of its own tenant.
#[derive(Clone, Debug)]
pub struct ScheduleRequest {
    /// The key of the schedule, as the guest sent it.
    pub key: String,
    /// The name of the requested task, as the guest sent it.
    pub task: String,
    /// The instants at which it is due.
    pub request: Request,
    /// The input of its runs; `None` for that of their task.
    pub data: Option<Vec<u8>>,
    /// Whether it replaces an existing schedule with the key.
    pub replace: bool,
    /// The number of requests of this attempt that have counted before.
    pub asked_before: u32,
}

/// The reason why a guest's request about schedules was refused.
#[derive(Debug)]
pub enum ScheduleRefused {
    /// The manifest of the calling task does not grant this task.
    NotGranted(String),
    /// No plugin of the tenant offers the requested task.
    NoTask,
    /// The input is larger than an input may be, or the attempt has asked for as many schedules as it may.
    TooLarge,
    /// The request makes no sense, as the text says.
    Bad(String),
    /// The key is that of a schedule that the caller may not change, or that is not to be replaced.
    Taken,
    /// The tenant's tasks may add no further schedule, as the text says. It is for the run's log.
    Full(String),
    /// Others changed the schedule at the same moment.
    Changed,
    /// The store failed.
    Store(StoreError),
}

impl ScheduleRefused {
    /// Returns whether the refused request counts for its attempt, because reading it took some time.
    pub fn counts(&self) -> bool {
        !matches!(self, Self::NotGranted(_) | Self::NoTask | Self::TooLarge)
    }
}

impl From<BadRequest> for ScheduleRefused {
    fn from(why: BadRequest) -> Self {
        Self::Bad(why.to_string())
    }
}

impl From<StoreError> for ScheduleRefused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Decides about the schedules that guests add, list and delete.
#[async_trait]
pub trait ScheduleRequests: std::fmt::Debug + Send + Sync {
    /// Adds the requested schedule for the running task `by`. Returns whether anything was changed.
    ///
    /// # Errors
    ///
    /// The reason why it was not added.
    async fn request_schedule(&self, by: &Caller, asked: ScheduleRequest) -> Result<bool, ScheduleRefused>;

    /// Returns the schedules that tasks have added, of tasks that are granted to `by`, by key.
    ///
    /// # Errors
    ///
    /// The store's.
    async fn requested_schedules(&self, by: &Caller) -> Result<Vec<ScheduleInfo>, ScheduleRefused>;

    /// Deletes a schedule that a task has added. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The reason why it was not deleted.
    async fn delete_requested(&self, by: &Caller, key: &str) -> Result<bool, ScheduleRefused>;
}

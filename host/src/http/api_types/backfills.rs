//! Defines the JSON of backfills.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// `POST /v1/tasks/{task}/backfill`: the runs that were made, or would be.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackfillShape {
    /// The task.
    pub task: Name,
    /// The first instant of the range.
    pub from: Timestamp,
    /// The end of the range, which does not belong to it.
    pub to: Timestamp,
    /// The most of its runs that are going at once.
    pub at_once: u32,
    /// The number of instants of the schedule in the range.
    pub instants: usize,
    /// The number of those that have a run already, and get no other.
    pub existing: usize,
    /// The number of those that may have had a run that is kept no longer.
    pub forgotten: usize,
    /// The latest instant of the schedule whose run is kept no longer, if there was one.
    pub forgotten_until: Option<Timestamp>,
    /// Whether the forgotten instants get a run, too.
    pub also_forgotten: bool,
    /// The number of runs that were made, or would be.
    pub runs: usize,
    /// The first instant for which a run was made, or would be.
    pub first: Option<Timestamp>,
    /// The last such instant.
    pub last: Option<Timestamp>,
    /// Whether nothing was made.
    pub dry_run: bool,
}

/// `DELETE /v1/tasks/{task}/backfill`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackfillCancelled {
    /// The task.
    pub task: Name,
    /// The number of runs that waited for their turn and are cancelled.
    pub cancelled: u64,
}

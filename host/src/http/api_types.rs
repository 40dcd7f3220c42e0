//! Defines the JSON of the API, which the host writes and the CLI reads. `docs/reference/http.md` describes it for other
//! clients.
//!
//! Each subject has a file with types of its own, made from those of the store and of other rooms in one place, so that a
//! field that is renamed there keeps its name here. Ids, names, instants and the words of states are those of the domain.
//!
//! Instants are RFC 3339 in UTC, durations are whole numbers whose name ends in `_ms` or `_us`, and sizes are bytes.

pub mod attempts;
pub mod backfills;
pub mod batches;
pub mod cache;
pub mod events;
pub mod following;
pub mod grants;
pub mod host;
pub mod hosts;
pub mod inputs;
pub mod live;
pub mod locks;
pub mod pauses;
pub mod plugins;
pub mod runs;
pub mod schedule;
pub mod schedules;
pub mod statistics;
pub mod store;
mod tasks;
pub mod tenants;
#[cfg(test)]
mod tests;
pub mod timing;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use tasks::{
    Due, LastRun, LimitsShape, Retry, TaskDetail, TaskInTime, TaskSummary, Tasks, TriggerShape, WaitingRun,
};

use sexton_domain::lengths;
use sexton_domain::time::Timestamp;

/// An error response: problem details as in RFC 9457, with two further members.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The URI of this kind of error, which does not change. It has the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of error in words.
    pub title: String,
    /// The status of the response; of the one that a part of a request would have had alone.
    pub status: u16,
    /// One line for people about this error.
    pub detail: String,
    /// The id of the request, which the host's log has, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The code for programs, which does not change.
    pub code: String,
    /// A hint at what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The same in the shape of earlier versions; the next version leaves it out.
    pub error: FailureBody,
}

/// An error response of an earlier version.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    /// The error.
    pub error: FailureBody,
}

/// The contents of an error.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FailureBody {
    /// The code for programs, which does not change.
    pub code: String,
    /// One line for people.
    pub message: String,
    /// A hint at what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Formats the time from an instant to `now`, or from `now` to it: `3s ago`, `in 2m 5s`, `now`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", approximate(at.since(now))) } else { format!("{} ago", approximate(now.since(at))) }
}

/// Formats a duration in its two largest units, because people compare durations and do not compute with them.
/// Fractions of a second are shown only below a second.
pub fn approximate(length: std::time::Duration) -> String {
    match length.as_secs() {
        0 => format!("{}ms", length.subsec_millis()),
        seconds => lengths::about(std::time::Duration::from_secs(seconds)),
    }
}

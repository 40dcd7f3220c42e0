//! Defines the JSON of the API, which the host writes and the CLI reads. `docs/reference/http.md` describes it for other
//! clients.
//!
//! Instants are RFC 3339 in UTC, durations are whole numbers whose name ends in `_ms`, and sizes are bytes.

pub mod following;
pub mod hosts;
pub mod live;
pub mod schedule;
pub mod schedules;
mod tasks;
pub mod timing;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use tasks::{Due, LastRun, LimitsShape, Retry, TaskDetail, TaskSummary, Tasks, TriggerShape, WaitingRun};

use crate::lengths;
use crate::pause::PausedBy;
use crate::plugins::PluginInfo;
use crate::run::{HeldBack, Outcome, RunId, RunState};
use crate::store::{AttemptInfo, EntryInfo, HeldLock, RunInfo, StoreStats};
use crate::supervision::Pause;
use crate::supervisor::{Fault, Hung};
use crate::task::Name;
use crate::time::Timestamp;

/// `GET /v1/host`.
#[derive(Clone, Debug, Serialize)]
pub struct Host {
    /// The name of the host, which its claims carry.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// The release of the IANA time zone database that is compiled in, such as `2026a`.
    pub tzdata: &'static str,
    /// The process id.
    pub pid: u32,
    /// The instant at which the host started.
    pub started_at: Timestamp,
    /// The current time by the host's clock.
    pub now: Timestamp,
    /// The reason why the clock may be wrong, for people: it was set far off a moment ago. `None` if there is no reason
    /// to think so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// The begin of the host's pause by a signal; `None` if it is not paused.
    pub paused_at: Option<Timestamp>,
    /// Whether the host is draining: it takes no runs.
    pub draining: bool,
    /// The pause of all tasks, if they are paused.
    pub all_paused: Option<Pause>,
    /// Attempts under way on this host.
    pub attempts: usize,
    /// The number of runs of its store in each state.
    pub runs: BTreeMap<RunState, u64>,
    /// Counts of its store since it was opened.
    pub store: StoreStats,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `down`.
    pub status: String,
    /// The reason why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureBody>,
    /// The parts of the host that have panicked since its start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Fault>,
    /// The loops of the host that hang.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hung: Vec<Hung>,
    /// The reason why the clock may be wrong, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// The number of lines of its log that could not be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_log_lines: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// `GET /v1/plugins`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plugins {
    /// The plugins, by name.
    pub plugins: Vec<PluginInfo>,
}

/// `GET /v1/tenants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenants {
    /// The tenants, by name.
    pub tenants: Vec<TenantShape>,
}

/// A tenant, with its usage of this host and its limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TenantShape {
    /// Its name.
    pub name: Name,
    /// Attempts under way.
    pub running: u32,
    /// The most attempts at once.
    pub runs: Option<u32>,
    /// The units of fuel that are left of its budget; a negative number is owed.
    pub fuel_left: Option<i64>,
    /// The units of fuel that come in each minute.
    pub fuel_per_minute: Option<u64>,
    /// The bytes that its cache entries may have together.
    pub cache: u64,
    /// The bytes that its cache entries have.
    #[serde(default)]
    pub cache_used: u64,
    /// The reason why none of its runs start.
    pub held_back: Option<HeldBack>,
    /// The pause that keeps its runs from starting, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// `GET /v1/locks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Locks {
    /// The locks, by name.
    pub locks: Vec<HeldLock>,
}

/// `GET /v1/runs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Runs {
    /// The runs, newest first.
    pub runs: Vec<RunInfo>,
    /// The value of `before` for the next page; `None` if this is the last.
    pub next: Option<RunId>,
}

/// `GET /v1/runs/{run}` and `/wait`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    pub run: RunInfo,
    /// The attempts that have ended, first to last.
    pub attempts: Vec<AttemptInfo>,
    /// The input of the run.
    #[serde(default)]
    pub input: InputShape,
}

/// The beginning of a run's input; `GET /v1/runs/{run}/input` has all of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InputShape {
    /// The size of the input in bytes.
    pub bytes: usize,
    /// The first 4 KiB; `None` if they are not text.
    pub text: Option<String>,
    /// Whether the input is longer.
    pub cut: bool,
}

impl InputShape {
    /// The bytes that are shown.
    const SHOWN: usize = 4 << 10;

    /// Returns the beginning of `input`.
    pub fn of(input: &[u8]) -> Self {
        let cut = input.len() > Self::SHOWN;
        let shown = &input[..input.len().min(Self::SHOWN)];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => Some(text),
            // A character may have been cut in two.
            Err(error) if cut && error.error_len().is_none() => std::str::from_utf8(&shown[..error.valid_up_to()]).ok(),
            Err(_) => None,
        };
        Self { bytes: input.len(), text: text.map(str::to_owned), cut }
    }
}

/// `POST /v1/tasks/{task}/runs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Triggered {
    /// The run.
    pub run: RunId,
    /// The instant at which it is due; `None` if the run existed already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Whether the run is new: false if a run with the same idempotency key existed.
    pub created: bool,
    /// The runs that it replaces: cancelled, or being ended.
    #[serde(default)]
    pub replaced: Vec<RunId>,
    /// Whether its task is paused. Then the run waits until the task is resumed, unless it is forced.
    pub paused: bool,
    /// The owner of that pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// The reason for the pause; `None` if an operator gave none.
    pub paused_why: Option<String>,
    /// The limits that the run is forced past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The reason why the run does not start here even if it is forced: a signal paused this host, or it is draining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
}

/// `POST /v1/runs/{run}/kill`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Killed {
    /// The run.
    pub run: RunId,
    /// The effect.
    pub effect: KillEffect,
    /// The time that the attempt has left to end by itself, if it runs on this host: 0 if it is interrupted at once.
    pub grace_ms: u64,
}

/// `POST /v1/runs/{run}/release`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleasedRun {
    /// The run, which may start now.
    pub run: RunId,
}

/// The effect of a request to end a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KillEffect {
    /// The run was waiting and is cancelled.
    Cancelled,
    /// The run is running on this host and is being ended.
    Stopping,
    /// The run is running on another host, which will end it.
    Requested,
}

/// `POST /v1/tasks/{task}/pause` and `/resume`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paused {
    /// The task.
    pub task: Name,
    /// Whether the task is paused now.
    pub paused: bool,
    /// The owner of the pause that keeps it from starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// The begin of that pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// The reason for that pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_why: Option<String>,
    /// Whether the task had a pause of its own before this request.
    #[serde(default)]
    pub already: bool,
}

/// `POST /v1/pause` and `/resume`, and the same below `/v1/tenants/{tenant}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PausedMany {
    /// The tenant whose tasks are meant; `None` for all tasks.
    pub tenant: Option<Name>,
    /// Whether they are paused now. Tasks with a pause of their own keep it in any case.
    pub paused: bool,
    /// The owner of the pause that keeps them from starting: their tenant, or all.
    pub paused_by: Option<PausedBy>,
    /// The begin of that pause.
    pub paused_at: Option<Timestamp>,
    /// The reason, if one was given.
    pub paused_why: Option<String>,
    /// Whether the requested or ended pause existed before this request.
    #[serde(default)]
    pub already: bool,
}

/// `GET /v1/cache`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entries {
    /// The entries, by key.
    pub entries: Vec<EntryInfo>,
    /// The value of `after` for the next page; `None` if this is the last.
    pub next: Option<String>,
}

/// `PUT /v1/cache/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryWritten {
    /// The key.
    pub key: String,
    /// The new version of the entry.
    pub version: u64,
}

/// `DELETE /v1/cache/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryDeleted {
    /// The key.
    pub key: String,
    /// Whether the entry existed.
    pub deleted: bool,
}

/// A line of `GET /v1/runs/{run}/log`: a line of the guest, or the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogEvent {
    /// The attempt has ended.
    End {
        /// The number of the attempt.
        attempt: u32,
        /// The outcome.
        outcome: Outcome,
        /// The instant of the end.
        ended_at: Timestamp,
        /// The message of the attempt.
        message: Option<String>,
        /// Whether the log was cut at the task's limit.
        cut: bool,
    },
    /// A line of the guest.
    Line {
        /// The number of the attempt.
        attempt: u32,
        /// The instant of the line.
        at: Timestamp,
        /// `debug`, `info`, `warn`, `error`, `stdout` or `stderr`.
        level: String,
        /// The text.
        message: String,
    },
}

/// An error response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The error.
    pub error: FailureBody,
}

/// The contents of an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureBody {
    /// The code for programs, which does not change.
    pub code: String,
    /// One line for people.
    pub message: String,
    /// A hint at what to do about it.
    pub hint: Option<String>,
}

/// Formats the time from an instant to `now`, or from `now` to it: `3s ago`, `in 2m 5s`, `now`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", rough(at.since(now))) } else { format!("{} ago", rough(now.since(at))) }
}

/// Formats a duration in its two largest units, because people compare durations and do not compute with them.
/// Fractions of a second are shown only below a second.
pub fn rough(length: std::time::Duration) -> String {
    match length.as_secs() {
        0 => format!("{}ms", length.subsec_millis()),
        seconds => lengths::about(std::time::Duration::from_secs(seconds)),
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The JSON of the API: what the host writes and the CLI reads. Described for others in `docs/reference/http.md`.
//!
//! Instants are RFC 3339 in UTC, lengths of time whole numbers whose name ends in `_ms`, sizes are bytes.

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
    /// Its name, the one that its claims carry.
    pub name: String,
    /// Of the program.
    pub version: String,
    /// The release of the IANA time zone database that is compiled in, such as `2026a`.
    pub tzdata: &'static str,
    /// Its process id.
    pub pid: u32,
    /// Since when it is up.
    pub started_at: Timestamp,
    /// The time it is, by its clock.
    pub now: Timestamp,
    /// Why that may be wrong, for people: the clock was set far off a moment ago. None while there is no reason to think so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Since when a signal has this host start nothing; none if it does not.
    pub paused_at: Option<Timestamp>,
    /// Whether it is being drained: it takes no runs.
    pub draining: bool,
    /// The pause of all tasks, if they are paused.
    pub all_paused: Option<Pause>,
    /// Attempts under way on this host.
    pub attempts: usize,
    /// How many runs of its store are in each state.
    pub runs: BTreeMap<RunState, u64>,
    /// What its store has done since it was opened.
    pub store: StoreStats,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `down`.
    pub status: String,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureBody>,
    /// The parts of the host that have panicked since it was started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Fault>,
    /// The loops of the host that hang.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hung: Vec<Hung>,
    /// What is odd about the clock, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Lines of its log that could not be written.
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
    /// By name.
    pub plugins: Vec<PluginInfo>,
}

/// `GET /v1/tenants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tenants {
    /// By name.
    pub tenants: Vec<TenantShape>,
}

/// A tenant: what it uses of this host, and what it may.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TenantShape {
    /// Its name.
    pub name: Name,
    /// Attempts under way.
    pub running: u32,
    /// How many there may be at once.
    pub runs: Option<u32>,
    /// Units of fuel that are left of its budget; less than nothing is owed.
    pub fuel_left: Option<i64>,
    /// Units of fuel that come in a minute.
    pub fuel_per_minute: Option<u64>,
    /// Bytes that its cache entries may have together.
    pub cache: u64,
    /// Bytes that they have.
    #[serde(default)]
    pub cache_used: u64,
    /// Why nothing of it starts.
    pub held_back: Option<HeldBack>,
    /// Which pause keeps all of it from starting, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

/// `GET /v1/locks`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Locks {
    /// By name.
    pub locks: Vec<HeldLock>,
}

/// `GET /v1/runs`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Runs {
    /// Newest first.
    pub runs: Vec<RunInfo>,
    /// What to give as `before` for the next page; none if this is the last.
    pub next: Option<RunId>,
}

/// `GET /v1/runs/{run}` and `/wait`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunDetail {
    /// The run.
    pub run: RunInfo,
    /// Its attempts that are over, first to last.
    pub attempts: Vec<AttemptInfo>,
    /// What it was given.
    #[serde(default)]
    pub input: InputShape,
}

/// The beginning of what a run was given; `GET /v1/runs/{run}/input` has all of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InputShape {
    /// How long it is.
    pub bytes: usize,
    /// Its first 4 KiB; none where that is no text.
    pub text: Option<String>,
    /// Whether there is more.
    pub cut: bool,
}

impl InputShape {
    /// Bytes that are shown.
    const SHOWN: usize = 4 << 10;

    /// What is shown of `input`.
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
    /// When it is due; none if a run was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// False if a run with the same idempotency key was there already.
    pub created: bool,
    /// The runs whose place it takes: cancelled, or being ended.
    #[serde(default)]
    pub replaced: Vec<RunId>,
    /// Whether its task is paused: then it waits until somebody resumes the task, unless it goes past its limits.
    pub paused: bool,
    /// Whose pause that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// Why its task is paused; none if a person paused it and did not say.
    pub paused_why: Option<String>,
    /// Which limits it goes past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why it does not start here whatever it goes past: a signal paused this host, or it is draining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
}

/// `POST /v1/runs/{run}/kill`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Killed {
    /// The run.
    pub run: RunId,
    /// What happened.
    pub effect: KillEffect,
    /// How long it has left to end by itself, where it is running on this host: 0 if it is interrupted at once.
    pub grace_ms: u64,
}

/// `POST /v1/runs/{run}/release`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleasedRun {
    /// The run, which may start now.
    pub run: RunId,
}

/// What became of a wish to end a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KillEffect {
    /// It was waiting and is cancelled.
    Cancelled,
    /// It is running on this host, and is being ended.
    Stopping,
    /// It is running on another host, which is told.
    Requested,
}

/// `POST /v1/tasks/{task}/pause` and `/resume`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Paused {
    /// The task.
    pub task: Name,
    /// What it is now.
    pub paused: bool,
    /// Whose pause keeps it from starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// Since when that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// The reason of that pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_why: Option<String>,
    /// Whether it had a pause of its own before this request.
    #[serde(default)]
    pub already: bool,
}

/// `POST /v1/pause` and `/resume`, and the same of `/v1/tenants/{tenant}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PausedMany {
    /// Whose tasks; none for all.
    pub tenant: Option<Name>,
    /// What they are now. Tasks that were paused by themselves stay so in any case.
    pub paused: bool,
    /// Whose pause keeps them from starting: their tenant's, or that of all.
    pub paused_by: Option<PausedBy>,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// The reason, if one was given.
    pub paused_why: Option<String>,
    /// Whether the pause that was asked for, or ended, was there before this request.
    #[serde(default)]
    pub already: bool,
}

/// `GET /v1/cache`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entries {
    /// By key.
    pub entries: Vec<EntryInfo>,
    /// What to give as `after` for the next page; none if this is the last.
    pub next: Option<String>,
}

/// `PUT /v1/cache/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryWritten {
    /// The key.
    pub key: String,
    /// The entry's version from now on.
    pub version: u64,
}

/// `DELETE /v1/cache/{key}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryDeleted {
    /// The key.
    pub key: String,
    /// Whether there was an entry.
    pub deleted: bool,
}

/// A line of `GET /v1/runs/{run}/log`: one of the guest, or the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogEvent {
    /// The attempt is over.
    End {
        /// Which.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
        /// When.
        ended_at: Timestamp,
        /// What was said of it.
        message: Option<String>,
        /// Whether the log was cut at the task's limit.
        cut: bool,
    },
    /// A line.
    Line {
        /// Of which attempt.
        attempt: u32,
        /// When.
        at: Timestamp,
        /// `debug`, `info`, `warn`, `error`, `stdout` or `stderr`.
        level: String,
        /// What.
        message: String,
    },
}

/// An error, whatever was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// The error.
    pub error: FailureBody,
}

/// What an error says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureBody {
    /// For programs; these do not change.
    pub code: String,
    /// One line for people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How long before `now` an instant was, or how long after it will be: `3s ago`, `in 2m 5s`, `now`.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", rough(at.since(now))) } else { format!("{} ago", rough(now.since(at))) }
}

/// Reads a length of time with its unit, such as `30s` or `1h 30m`.
///
/// # Errors
///
/// One line that says what to write.
pub fn length(text: &str) -> Result<std::time::Duration, String> {
    let text = text.trim();
    humantime::parse_duration(text).map_err(|_| match text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        true => format!("`{text}` has no unit; write `{text}s` if seconds are meant"),
        false => format!("`{text}` is not a duration; write one such as `30s` or `1h 30m`"),
    })
}

/// A length of time in its two largest units: people compare, they do not compute. Parts of a second count below a second only.
pub fn rough(length: std::time::Duration) -> String {
    match length.as_secs() {
        0 => format!("{}ms", length.subsec_millis()),
        seconds => lengths::about(std::time::Duration::from_secs(seconds)),
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

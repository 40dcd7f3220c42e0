//! Defines the records that are moved, in the words of the domain. Each field has the value of the stores' column; a
//! digest is computed from the JSON of the records.

use serde::{Serialize, Serializer};

use sexton_domain::labels::Labels;
use sexton_domain::run::{Cause, Outcome, Report, RunId, RunState};
use sexton_domain::supervision::Pause;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// The progress of a task's schedule, and the state of the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskRecord {
    #[serde(flatten)]
    pub key: TaskKey,
    /// The last instant that was handled.
    pub cursor: Option<Timestamp>,
    /// The number of runs that the schedule has made.
    pub fired: u64,
    /// The memory of the trigger.
    pub memory: Option<String>,
    /// The identity of the schedule that these belong to.
    pub schedule: Option<String>,
    /// The instants that were last left out.
    pub left_out: Option<String>,
    /// The task's own pause.
    pub paused: Option<Pause>,
    /// The number of runs that failed in a row.
    pub failures: u32,
    /// The number of attempts that crashed in a row.
    pub crashes: u32,
    /// The instant until which the task is held back.
    pub held_until: Option<Timestamp>,
    /// The end of the latest failed run, even if that run is no longer kept.
    pub latest_failure: Option<Timestamp>,
    /// The latest instant of the schedule whose run is no longer kept.
    pub forgotten_until: Option<Timestamp>,
}

/// A pause of more than one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PauseRecord {
    /// The tenant whose tasks are paused; `None` is all tasks.
    pub tenant: Option<Name>,
    /// The start of the pause, and its reason.
    #[serde(flatten)]
    pub pause: Pause,
}

/// An added schedule, possibly a recently deleted one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScheduleRecord {
    /// The number of the schedule.
    pub id: i64,
    /// The version, which grows with every change by a user.
    pub version: u64,
    pub tenant: Name,
    pub key: Name,
    /// The task whose runs it makes, or its type.
    pub task: Name,
    /// The type, if it has one.
    #[serde(rename = "type")]
    pub kind: Option<Name>,
    /// The task that added it, if one did.
    pub added_by: Option<Name>,
    /// The text of the schedule's definition.
    pub definition: String,
    /// The input of its runs.
    #[serde(serialize_with = "maybe_hex")]
    pub data: Option<Vec<u8>>,
    /// When the schedule was added.
    pub created_at: Timestamp,
    /// The last instant that was handled.
    pub cursor: Timestamp,
    /// The number of runs that the schedule has made.
    pub fired: u64,
    /// The number of instants that were skipped.
    pub skipped: u64,
    /// The time since which nothing more will be due.
    pub finished_at: Option<Timestamp>,
    /// Whether the schedule was deleted.
    pub deleted: bool,
}

/// A cache entry, possibly an expired one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryRecord {
    pub tenant: Name,
    pub key: String,
    /// The version, which grows with every change.
    pub version: u64,
    pub set_at: Timestamp,
    /// When the entry expires.
    pub expires_at: Option<Timestamp>,
    /// The task whose run was the last to write the entry, if a run did.
    pub writer: Option<TaskKey>,
    /// The number of earlier versions to keep.
    pub keep: Option<u32>,
    #[serde(serialize_with = "hex")]
    pub value: Vec<u8>,
}

/// An earlier version of a cache entry, possibly an expired one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VersionRecord {
    /// The version, which no other entry has or had.
    pub version: u64,
    pub tenant: Name,
    pub key: String,
    pub set_at: Timestamp,
    /// When the version expires.
    pub expires_at: Option<Timestamp>,
    /// The task whose run wrote the version, if a run did.
    pub writer: Option<TaskKey>,
    #[serde(serialize_with = "hex")]
    pub value: Vec<u8>,
}

/// A published component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentRecord {
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// The size of the component in bytes.
    pub size: u64,
    /// When the component was last published.
    pub kept_at: Timestamp,
}

/// A part of a published component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartRecord {
    pub digest: String,
    /// The index of the part, from 0.
    pub part: u32,
    #[serde(serialize_with = "hex")]
    pub body: Vec<u8>,
}

/// A published plugin, possibly a recently withdrawn one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginRecord {
    pub tenant: Name,
    pub plugin: Name,
    /// The version, which grows with every change.
    pub version: u64,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// The size of the component in bytes.
    pub size: u64,
    /// The text of the plugin's manifest.
    pub manifest: String,
    /// The host on which the plugin was dropped.
    pub host: String,
    pub published_at: Timestamp,
    pub withdrawn_at: Option<Timestamp>,
}

/// A run, with its input and output. The lease is left out, because no claim holds after a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRecord {
    pub id: RunId,
    #[serde(flatten)]
    pub task: TaskKey,
    pub state: RunState,
    pub cause: Cause,
    /// Whether the first attempt goes past limits.
    pub forced: bool,
    /// The number of the current attempt.
    pub attempt: u32,
    /// The number of attempts that failed.
    pub failures: u32,
    /// The outcome of the latest attempt that is over.
    pub outcome: Option<Outcome>,
    /// The bytes of input, output and logs.
    pub bytes: u64,
    /// The instant at which the run was due.
    pub due_at: Timestamp,
    /// The earliest instant at which the next attempt may start.
    pub run_at: Timestamp,
    pub created_at: Timestamp,
    /// When the latest attempt was claimed.
    pub claimed_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The fence of the latest claim.
    pub fence: Option<u64>,
    /// The latest instant at which the first attempt may start.
    pub start_by: Option<Timestamp>,
    /// The run that enqueued this one.
    pub parent: Option<RunId>,
    /// The host that has or had the run.
    pub host: Option<String>,
    /// The dedup key, which no other run of the task has.
    pub dedup: Option<String>,
    /// The key of the added schedule that made the run.
    pub made_by: Option<Name>,
    /// The message of the latest attempt.
    pub message: Option<String>,
    /// A note about how the run was made.
    pub note: Option<String>,
    /// The reason why the run was asked to end.
    pub cancel: Option<String>,
    /// The most attempts, as the latest claim knew them.
    pub attempts_limit: Option<u32>,
    /// The number of failed runs in a row that pauses the task, as the same claim knew it.
    pub pause_after: Option<u32>,
    /// The number of times that the run's host died while the run was under way.
    pub deaths: u32,
    /// Since when the run is held back as a suspect.
    pub suspected_at: Option<Timestamp>,
    /// The most runs of backfills at once, if the run belongs to one.
    pub at_once: Option<u32>,
    pub labels: Labels,
    #[serde(serialize_with = "hex")]
    pub input: Vec<u8>,
    pub content_type: Option<String>,
    #[serde(serialize_with = "hex")]
    pub output: Vec<u8>,
}

impl RunRecord {
    /// Returns whether the run has an output that is worth a row.
    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty() || self.content_type.is_some()
    }
}

/// An attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    pub run: RunId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    pub host: String,
    #[serde(flatten)]
    pub report: Report,
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four)]);
    let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    serializer.serialize_str(&text)
}

/// Distinguishes `None` from no bytes.
fn maybe_hex<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        None => serializer.serialize_none(),
        Some(bytes) => hex(bytes, serializer),
    }
}

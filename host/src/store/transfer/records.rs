//! What is moved, in the words of the domain. All fields are what the stores' columns say; a record's JSON is what its digest
//! is of.

use serde::{Serialize, Serializer};

use crate::run::{Cause, Outcome, Report, RunId, RunState};
use crate::supervision::Pause;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// What a task's schedule has come to, and how the task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskRecord {
    /// Which.
    #[serde(flatten)]
    pub key: TaskKey,
    /// The last instant that was dealt with.
    pub cursor: Option<Timestamp>,
    /// Runs that its schedule has made.
    pub fired: u64,
    /// What its trigger has to remember.
    pub memory: Option<String>,
    /// The schedule that these belong to, in short.
    pub schedule: Option<String>,
    /// What was left out last.
    pub left_out: Option<String>,
    /// Its own pause.
    pub paused: Option<Pause>,
    /// Runs that failed in a row.
    pub failures: u32,
    /// Attempts that crashed in a row.
    pub crashes: u32,
    /// Until when it is held back.
    pub held_until: Option<Timestamp>,
    /// When the latest of its runs that failed ended, whether that is still kept or not.
    pub latest_failure: Option<Timestamp>,
}

/// A pause of more than one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PauseRecord {
    /// Whose tasks; all, without one.
    pub tenant: Option<Name>,
    /// Since when, and why.
    #[serde(flatten)]
    pub pause: Pause,
}

/// An added schedule, one that was deleted of late included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScheduleRecord {
    /// Its number.
    pub id: i64,
    /// Greater after every change by people.
    pub version: u64,
    /// Whose.
    pub tenant: Name,
    /// Its key.
    pub key: Name,
    /// The task whose runs it makes.
    pub task: Name,
    /// The text of its definition.
    pub definition: String,
    /// What its runs are given.
    #[serde(serialize_with = "maybe_hex")]
    pub data: Option<Vec<u8>>,
    /// When it was added.
    pub created_at: Timestamp,
    /// The last instant that was dealt with.
    pub cursor: Timestamp,
    /// Runs that it made.
    pub fired: u64,
    /// Instants for which it made none.
    pub skipped: u64,
    /// Since when nothing will be due.
    pub finished_at: Option<Timestamp>,
    /// It is no more.
    pub deleted: bool,
}

/// A cache entry, one that has expired included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryRecord {
    /// Whose.
    pub tenant: Name,
    /// Its key.
    pub key: String,
    /// Greater after every change.
    pub version: u64,
    /// When it was written.
    pub set_at: Timestamp,
    /// When it ceases to be.
    pub expires_at: Option<Timestamp>,
    /// The task whose run was the last to write it, if it was one.
    pub writer: Option<TaskKey>,
    /// What it is.
    #[serde(serialize_with = "hex")]
    pub value: Vec<u8>,
}

/// A component that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ComponentRecord {
    /// SHA-256 of it, in hex.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// When it was published last.
    pub kept_at: Timestamp,
}

/// A part of such a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartRecord {
    /// Of which.
    pub digest: String,
    /// Which, from 0.
    pub part: u32,
    /// What it is.
    #[serde(serialize_with = "hex")]
    pub body: Vec<u8>,
}

/// A plugin that was published, one that was withdrawn of late included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginRecord {
    /// Whose.
    pub tenant: Name,
    /// What it is called.
    pub plugin: Name,
    /// Greater after every change.
    pub version: u64,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// Bytes of its component.
    pub size: u64,
    /// The text of its manifest.
    pub manifest: String,
    /// The host on which it was dropped.
    pub host: String,
    /// When it was published.
    pub published_at: Timestamp,
    /// Since when it is no more.
    pub withdrawn_at: Option<Timestamp>,
}

/// A run, with what it was given and what it made. How long its claim holds is left out: when it is moved it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunRecord {
    /// Which.
    pub id: RunId,
    /// Whose.
    #[serde(flatten)]
    pub task: TaskKey,
    /// Where it is in its life.
    pub state: RunState,
    /// Why it exists.
    pub cause: Cause,
    /// Its first attempt goes past limits.
    pub forced: bool,
    /// The attempt it is at.
    pub attempt: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// How the latest attempt that is over ended.
    pub outcome: Option<Outcome>,
    /// Bytes of input, output and logs.
    pub bytes: u64,
    /// The instant it was due.
    pub due_at: Timestamp,
    /// The earliest its next attempt may start.
    pub run_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its latest attempt was claimed.
    pub claimed_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// The number of its latest claim.
    pub fence: Option<u64>,
    /// The latest instant at which its first attempt may start.
    pub start_by: Option<Timestamp>,
    /// The run that enqueued it.
    pub parent: Option<RunId>,
    /// The host that has or had it.
    pub host: Option<String>,
    /// The key that no other run of its task has.
    pub dedup: Option<String>,
    /// The key of the added schedule that made it.
    pub made_by: Option<Name>,
    /// What was said of its latest attempt.
    pub message: Option<String>,
    /// How it came to be.
    pub note: Option<String>,
    /// Why somebody wants it ended.
    pub cancel: Option<String>,
    /// Attempts in all, as its latest claim knew them.
    pub attempts_limit: Option<u32>,
    /// Failed runs in a row after which its task is paused, as the same claim knew them.
    pub pause_after: Option<u32>,
    /// How often its host died while it was under way.
    pub deaths: u32,
    /// Since when it is held back as a suspect.
    pub suspected_at: Option<Timestamp>,
    /// What it was given.
    #[serde(serialize_with = "hex")]
    pub input: Vec<u8>,
    /// What its output is.
    pub content_type: Option<String>,
    /// What it made.
    #[serde(serialize_with = "hex")]
    pub output: Vec<u8>,
}

impl RunRecord {
    /// Whether it has made something that is worth a place.
    pub(in crate::store) fn has_output(&self) -> bool {
        !self.output.is_empty() || self.content_type.is_some()
    }
}

/// An attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttemptRecord {
    /// At which run.
    pub run: RunId,
    /// Which, from 1.
    pub attempt: u32,
    /// Who tried.
    pub host: String,
    /// All that is written down about it.
    #[serde(flatten)]
    pub report: Report,
}

impl AttemptRecord {
    /// Whether it said anything that is worth a place.
    pub(in crate::store) fn has_logs(&self) -> bool {
        let report = &self.report;
        let kept = [&report.log, &report.stdout, &report.stderr];
        report.backtrace.is_some() || kept.iter().any(|kept| !kept.text.is_empty() || kept.cut)
    }
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four)]);
    let text: String = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    serializer.serialize_str(&text)
}

/// `None` and no bytes are not the same.
fn maybe_hex<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        None => serializer.serialize_none(),
        Some(bytes) => hex(bytes, serializer),
    }
}

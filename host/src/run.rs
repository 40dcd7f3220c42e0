//! What a run is: one piece of work of a task, due at one instant, tried in attempts until it ends.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::task::TaskKey;
use crate::time::Timestamp;

/// Identifies a run in its store, greater for a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for RunId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Where a run is in its life. `waiting -> running -> succeeded | failed | cancelled`, and `running -> waiting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Due now or later (`run_at` says when), and no host has it.
    Waiting,
    /// A host holds a lease on it.
    Running,
    /// Over, with an output.
    Succeeded,
    /// Over: a permanent failure, or no attempts left.
    Failed,
    /// Over without having been worked off: killed, skipped by its overlap policy, or withdrawn.
    Cancelled,
}

impl RunState {
    /// All states, in the order of a run's life.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// The word for it, the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen to the run.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a run exists; told to the guest in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Its task's schedule.
    Schedule,
    /// Its task is due when the host starts.
    Start,
    /// Somebody asked for it, by the API or the CLI.
    Demand,
    /// Another run enqueued it.
    Task,
}

impl Cause {
    /// The word for it, the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Start => "start",
            Self::Demand => "demand",
            Self::Task => "task",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The guest returned an output (a program: exit code 0).
    Succeeded,
    /// The guest said that trying again may help (a program: any other exit code).
    FailedTransient,
    /// The guest said that trying again is useless.
    FailedPermanent,
    /// The guest asked to be run again later; uses up no attempt.
    Deferred,
    /// It used up its fuel.
    OutOfFuel,
    /// It was still going at its deadline.
    TimedOut,
    /// It asked for more memory than it may have, and then trapped.
    OutOfMemory,
    /// Any other trap: unreachable, out of bounds, a panic, too many host calls or handles.
    Trapped,
    /// Somebody ended it, or the host was shut down and did not wait.
    Killed,
    /// It could not be started: the component does not load, or imports what was not granted.
    Refused,
    /// The host that had it is gone, or lost its lease.
    Lost,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 11] = [
        Self::Succeeded,
        Self::FailedTransient,
        Self::FailedPermanent,
        Self::Deferred,
        Self::OutOfFuel,
        Self::TimedOut,
        Self::OutOfMemory,
        Self::Trapped,
        Self::Killed,
        Self::Refused,
        Self::Lost,
    ];

    /// The word for it, the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::FailedTransient => "failed-transient",
            Self::FailedPermanent => "failed-permanent",
            Self::Deferred => "deferred",
            Self::OutOfFuel => "out-of-fuel",
            Self::TimedOut => "timed-out",
            Self::OutOfMemory => "out-of-memory",
            Self::Trapped => "trapped",
            Self::Killed => "killed",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a run that is due does not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// In words, such as `over its budget of 1000000 fuel a minute`.
    pub reason: String,
    /// How long that will be so, if it can be told.
    pub until: Option<Timestamp>,
}

/// `over its budget of 1000000 fuel a minute until 2026-11-22T10:24:53.000Z`.
impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match self.until {
            Some(until) => write!(f, " until {until}"),
            None => Ok(()),
        }
    }
}

/// What proves that one may still write for a run: it holds while run, attempt and fence are the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// Which run.
    pub run: RunId,
    /// Which try at it, from 1, one more with every claim.
    pub attempt: u32,
    /// Greater for every later claim in this store.
    pub fence: u64,
}

/// A run that this host has taken, and all that it needs to do it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Run, attempt and fence.
    pub key: ClaimKey,
    /// The task to run.
    pub task: TaskKey,
    /// The instant the run was due.
    pub due_at: Timestamp,
    /// The instant this attempt was to start: later than the run was due by a delay, a spread, or a pause before a retry.
    pub run_at: Timestamp,
    /// Why it runs.
    pub cause: Cause,
    /// What it was given.
    pub input: Vec<u8>,
    /// Attempts that failed before this one, those that were deferred not counted.
    pub failures: u32,
    /// When the host took it.
    pub claimed_at: Timestamp,
}

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// Units of wasmtime's fuel.
    pub fuel: u64,
    /// Most bytes of memory at any time: linear memory, and what the host held for the guest.
    pub peak_memory: u64,
    /// Processor time of guest code.
    #[serde(rename = "guest_us", with = "micros")]
    pub guest: Duration,
    /// Time in host calls, waiting included.
    #[serde(rename = "host_us", with = "micros")]
    pub host: Duration,
    /// Time without a turn on a processor although it could have gone on; its start included.
    #[serde(rename = "queued_us", with = "micros", default)]
    pub queued: Duration,
    /// Time it waited for locks; part of `host`.
    #[serde(rename = "lock_wait_us", with = "micros", default)]
    pub lock_wait: Duration,
    /// Calls from the guest to the host.
    pub host_calls: u64,
    /// Bytes that it was given: its input, cache values, and what came over its HTTP connections. Files are not counted.
    #[serde(default)]
    pub bytes_in: u64,
    /// Bytes that it handed over: its output, its log, what it printed, cache values, inputs of runs that it enqueued, and
    /// what went over its HTTP connections. Files are not counted.
    #[serde(default)]
    pub bytes_out: u64,
}

mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// What a task made: a body and what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// A media type such as `text/html; charset=utf-8`; `None` if the guest named none.
    pub content_type: Option<String>,
    /// The bytes themselves.
    pub body: Vec<u8>,
}

/// Text that was kept up to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What was kept (bytes that are no UTF-8 replaced).
    pub text: String,
    /// Whether there was more.
    pub cut: bool,
}

/// All that is written down about an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// When its guest was started; the claim's instant if it never was.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Timestamp,
    /// What the guest or the host said of it, one line or a few.
    pub message: Option<String>,
    /// The guest's stack where it trapped or was ended, with files and lines where the component has them.
    pub backtrace: Option<String>,
    /// What it used.
    pub accounts: Accounts,
    /// Lines written by the `log` import: one JSON object `{"at", "level", "message"}` a line.
    pub log: Kept,
    /// What it wrote to stdout.
    pub stdout: Kept,
    /// What it wrote to stderr.
    pub stderr: Kept,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_the_same_in_texts_and_in_json() {
        for state in RunState::ALL {
            assert_eq!(serde_json::to_string(&state).unwrap(), format!("\"{}\"", state.as_str()));
            assert_eq!(format!("{state:>10}"), format!("{:>10}", state.as_str()), "as a column of a table");
        }
        for cause in [Cause::Schedule, Cause::Start, Cause::Demand, Cause::Task] {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause.as_str()));
        }
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), format!("\"{outcome}\""));
        }
    }

    #[test]
    fn a_run_is_over_in_three_of_its_states() {
        assert_eq!(RunState::ALL.map(RunState::is_over), [false, false, true, true, true]);
    }

    #[test]
    fn a_run_is_read_by_its_number() {
        assert_eq!("42".parse(), Ok(RunId(42)));
        assert!("x".parse::<RunId>().is_err() && "".parse::<RunId>().is_err());
        assert_eq!(format!("{:>4}", RunId(42)), "  42");
    }

    #[test]
    fn what_holds_a_run_back_is_told_with_its_end_if_that_is_known() {
        let held = |until| HeldBack { reason: "over its budget".to_owned(), until }.to_string();
        assert_eq!(held(None), "over its budget");
        assert_eq!(held(Some(Timestamp::from_millis(0))), "over its budget until 1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn accounts_are_read_as_they_were_written_and_by_those_who_knew_less() {
        let us = Duration::from_micros;
        let accounts = Accounts {
            fuel: 1,
            peak_memory: 2,
            guest: us(3),
            host: us(4),
            queued: us(5),
            lock_wait: us(6),
            host_calls: 7,
            bytes_in: 8,
            bytes_out: 9,
        };
        let written = serde_json::to_string(&accounts).unwrap();
        assert!(written.contains(r#""guest_us":3,"host_us":4,"queued_us":5,"lock_wait_us":6"#), "{written}");
        assert_eq!(serde_json::from_str::<Accounts>(&written).unwrap(), accounts);

        let older = r#"{"fuel":1,"peak_memory":2,"guest_us":3,"host_us":4,"host_calls":7}"#;
        let none = Duration::ZERO;
        let read = Accounts { queued: none, lock_wait: none, bytes_in: 0, bytes_out: 0, ..accounts };
        assert_eq!(serde_json::from_str::<Accounts>(older).unwrap(), read);
    }
}

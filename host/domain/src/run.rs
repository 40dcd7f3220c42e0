//! Defines a run: one piece of work of a task, due at one instant, tried in attempts until it ends.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::task::TaskKey;
use crate::time::Timestamp;

/// The id of a run in its store, greater for a later one.
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

/// The state of a run: `waiting -> running -> succeeded | failed | cancelled`, and `running -> waiting`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// The run is due now or later (`run_at` says when), and no host has claimed it.
    Waiting,
    /// A host holds a lease on it.
    Running,
    /// The run has ended, with an output.
    Succeeded,
    /// The run has ended: a permanent failure, or no attempts left.
    Failed,
    /// The run has ended without finishing: it was killed, skipped by its overlap policy, or withdrawn.
    Cancelled,
}

impl RunState {
    /// All states, in the order of a run's life.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Returns the name of the state, which is the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns whether nothing more will happen to the run.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The cause of a run, which the guest finds in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The task's schedule.
    Schedule,
    /// The task is due when the host starts.
    Start,
    /// A user requested it, by the API or the CLI.
    Demand,
    /// Another run enqueued it.
    Task,
}

impl Cause {
    /// All causes, in the order in which they are listed to people.
    pub const ALL: [Self; 4] = [Self::Schedule, Self::Start, Self::Demand, Self::Task];

    /// Returns the name of the cause, which is the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Start => "start",
            Self::Demand => "demand",
            Self::Task => "task",
        }
    }
}

/// The way an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The guest returned an output (a program: exit code 0).
    Succeeded,
    /// The guest reported that another try may help (a program: any other exit code).
    FailedTransient,
    /// The guest reported that another try is useless.
    FailedPermanent,
    /// The guest asked to be run again later, which uses up no attempt.
    Deferred,
    /// The guest used up its fuel.
    OutOfFuel,
    /// The guest was still running at its deadline.
    TimedOut,
    /// The guest requested more memory than it may have, and then trapped.
    OutOfMemory,
    /// Any other trap: unreachable, out of bounds, a panic, too many host calls or handles.
    Trapped,
    /// The attempt was ended on request, or the host shut down and did not wait.
    Killed,
    /// The attempt could not start: the component does not load, or imports something that was not granted.
    Refused,
    /// The host of the attempt is gone, or lost its lease.
    Lost,
    /// The run was not carried out: other runs of its task had not ended, or another run had its task's lock.
    Skipped,
    /// The guest sent and received nothing for as long as it may.
    Idle,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 13] = [
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
        Self::Skipped,
        Self::Idle,
    ];

    /// Returns the name of the outcome, which is the same everywhere.
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
            Self::Skipped => "skipped",
            Self::Idle => "idle",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The reason why a run that is due does not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// The reason in words, such as `over its budget of 1000000 fuel a minute`.
    pub reason: String,
    /// The instant up to which it holds, if that is known.
    pub until: Option<Timestamp>,
}

/// Prints `over its budget of 1000000 fuel a minute until 2026-11-22T10:24:53.000Z`.
impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match self.until {
            Some(until) => write!(f, " until {until}"),
            None => Ok(()),
        }
    }
}

/// The proof that a host may still write for a run: it is valid while run, attempt and fence are those in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// The run.
    pub run: RunId,
    /// The number of the attempt, from 1, one more with every claim.
    pub attempt: u32,
    /// The fencing number, greater for every later claim in this store.
    pub fence: u64,
}

/// A run that this host has claimed, with everything needed to carry it out.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Run, attempt and fence.
    pub key: ClaimKey,
    /// The task to run.
    pub task: TaskKey,
    /// The instant at which the run was due.
    pub due_at: Timestamp,
    /// The instant at which this attempt should start. It is later than `due_at` by a delay, a spread, or the delay
    /// before a retry.
    pub run_at: Timestamp,
    /// The cause of the run.
    pub cause: Cause,
    /// The input of the run.
    pub input: Vec<u8>,
    /// The number of earlier attempts that failed, without deferrals.
    pub failures: u32,
    /// The instant of the claim.
    pub claimed_at: Timestamp,
}

/// The resources that an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// Units of wasmtime's fuel.
    pub fuel: u64,
    /// The most bytes of memory at any time: linear memory, and what the host held for the guest.
    pub peak_memory: u64,
    /// Processor time of guest code.
    #[serde(rename = "guest_us", serialize_with = "micros")]
    pub guest: Duration,
    /// The time in host calls, including waits.
    #[serde(rename = "host_us", serialize_with = "micros")]
    pub host: Duration,
    /// The time without a turn on a processor although the guest could have gone on, including its start.
    #[serde(rename = "queued_us", serialize_with = "micros")]
    pub queued: Duration,
    /// The time that it waited for locks. It is part of `host`, but for the wait for its task's lock, which comes before
    /// the guest.
    #[serde(rename = "lock_wait_us", serialize_with = "micros")]
    pub lock_wait: Duration,
    /// Calls from the guest to the host.
    pub host_calls: u64,
    /// The bytes that it received: its input, cache values, and data from its HTTP connections. Files are not counted.
    pub bytes_in: u64,
    /// The bytes that it sent: its output, its log, stdout and stderr, cache values, inputs of runs that it enqueued,
    /// and data to its HTTP connections. Files are not counted.
    pub bytes_out: u64,
}

/// Returns the message of a run that another run of its task replaces.
pub fn replaced_by(run: RunId) -> String {
    format!("replaced by run {run}")
}

fn micros<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(crate::lengths::micros(*value))
}

/// The result of a task: a body and its media type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The media type, such as `text/html; charset=utf-8`; `None` if the guest named none.
    pub content_type: Option<String>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Text that was kept up to a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CappedText {
    /// The kept text (bytes that are not UTF-8 are replaced).
    pub text: String,
    /// Whether there was more.
    pub cut: bool,
}

/// Everything that is stored about an attempt. When a store is moved, its digest is that of its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The outcome.
    pub outcome: Outcome,
    /// The start of its guest, or the claim's instant if the guest never started.
    pub started_at: Timestamp,
    /// The end of the attempt.
    pub ended_at: Timestamp,
    /// The message of the guest or the host, one line or a few.
    pub message: Option<String>,
    /// The guest's stack at its trap or interruption, with files and lines if the component has them.
    pub backtrace: Option<String>,
    /// The resources that it used.
    pub accounts: Accounts,
    /// The lines of the `log` import: one JSON object `{"at", "level", "message"}` a line.
    pub log: CappedText,
    /// The text written to stdout.
    pub stdout: CappedText,
    /// The text written to stderr.
    pub stderr: CappedText,
}

impl Report {
    /// Creates the report of an attempt that was never started and used nothing, at the epoch.
    pub fn empty() -> Self {
        let at = Timestamp::from_millis(0);
        Self {
            outcome: Outcome::Refused,
            started_at: at,
            ended_at: at,
            message: None,
            backtrace: None,
            accounts: Accounts::default(),
            log: CappedText::default(),
            stdout: CappedText::default(),
            stderr: CappedText::default(),
        }
    }

    /// Returns whether the attempt left a text behind, so that its logs are worth a row of a store.
    pub fn has_logs(&self) -> bool {
        let kept = [&self.log, &self.stdout, &self.stderr];
        self.backtrace.is_some() || kept.iter().any(|kept| !kept.text.is_empty() || kept.cut)
    }
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
    fn the_reason_that_holds_a_run_back_is_printed_with_its_end_if_known() {
        let held = |until| HeldBack { reason: "over its budget".to_owned(), until }.to_string();
        assert_eq!(held(None), "over its budget");
        assert_eq!(held(Some(Timestamp::from_millis(0))), "over its budget until 1970-01-01T00:00:00.000Z");
    }
}

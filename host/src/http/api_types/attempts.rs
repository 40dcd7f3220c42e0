//! Defines the JSON of attempts that have ended, and of their logs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::lengths::micros;
use sexton_domain::run::{Accounts, CappedText, Outcome, Report};
use sexton_domain::time::Timestamp;
use sexton_store::AttemptInfo;

/// An attempt that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AttemptShape {
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The host that carried it out.
    pub host: String,
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
    pub accounts: AccountsShape,
    /// The lines of the `log` import: one JSON object `{"at", "level", "message"}` a line.
    pub log: CappedTextShape,
    /// The text written to stdout.
    pub stdout: CappedTextShape,
    /// The text written to stderr.
    pub stderr: CappedTextShape,
}

impl From<AttemptInfo> for AttemptShape {
    fn from(info: AttemptInfo) -> Self {
        let AttemptInfo { attempt, host, report } = info;
        let Report { outcome, started_at, ended_at, message, backtrace, accounts, log, stdout, stderr } = report;
        Self {
            attempt,
            host,
            outcome,
            started_at,
            ended_at,
            message,
            backtrace,
            accounts: accounts.into(),
            log: log.into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }
}

/// The resources that an attempt used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountsShape {
    /// Units of wasmtime's fuel.
    pub fuel: u64,
    /// The most bytes of memory at any time: linear memory, and what the host held for the guest.
    pub peak_memory: u64,
    /// Processor time of guest code.
    pub guest_us: u64,
    /// The time in host calls, including waits.
    pub host_us: u64,
    /// The time without a turn on a processor although the guest could have gone on, including its start.
    #[serde(default)]
    pub queued_us: u64,
    /// The time that it waited for locks, which is part of `host_us`.
    #[serde(default)]
    pub lock_wait_us: u64,
    /// Calls from the guest to the host.
    pub host_calls: u64,
    /// The bytes that it received: its input, cache values, and data from its HTTP connections. Files are not counted.
    #[serde(default)]
    pub bytes_in: u64,
    /// The bytes that it sent: its output, its log, stdout and stderr, cache values, inputs of runs that it enqueued,
    /// and data to its HTTP connections. Files are not counted.
    #[serde(default)]
    pub bytes_out: u64,
}

impl From<Accounts> for AccountsShape {
    fn from(accounts: Accounts) -> Self {
        let Accounts { fuel, peak_memory, guest, host, queued, lock_wait, host_calls, bytes_in, bytes_out } = accounts;
        let [guest_us, host_us, queued_us, lock_wait_us] = [guest, host, queued, lock_wait].map(micros);
        Self { fuel, peak_memory, guest_us, host_us, queued_us, lock_wait_us, host_calls, bytes_in, bytes_out }
    }
}

/// Text that was kept up to a limit.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CappedTextShape {
    /// The kept text (bytes that are not UTF-8 are replaced).
    pub text: String,
    /// Whether there was more.
    pub cut: bool,
}

impl From<CappedText> for CappedTextShape {
    fn from(kept: CappedText) -> Self {
        let CappedText { text, cut } = kept;
        Self { text, cut }
    }
}

/// A line of `GET /v1/runs/{run}/log`: a line of the guest, or the end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

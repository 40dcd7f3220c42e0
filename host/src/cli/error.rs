//! Defines the errors of the command line and their exit codes.

use std::io;
use std::process::ExitCode;

use super::screen::safe;
use sexton_domain::run::{Outcome, RunState};

/// The meaning of an exit code. These do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command failed: a run that failed, a manifest with errors, a host that refused.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No host responded.
    Unreachable = 3,
    /// The host has no such run, task, entry or result.
    NotFound = 4,
    /// The time to wait was over before the run was.
    TimedOut = 5,
    /// Another object exists already, or another client was first.
    Conflict = 6,
    /// The host ended because a part of it panicked that cannot be restarted.
    Broken = 7,
    /// The run was skipped: another run has the lock of its task, or its overlap policy left it out.
    Skipped = 10,
    /// The run was cancelled while it waited: for its first attempt, or to be tried again.
    Cancelled = 11,
    /// The run was killed, or another took its place.
    Killed = 12,
    /// The run reached its deadline.
    DeadlineReached = 13,
    /// The run was idle for too long.
    Idle = 14,
    /// The run had not enough memory.
    OutOfMemory = 15,
    /// The run used up its fuel.
    OutOfFuel = 16,
    /// The run trapped.
    Trapped = 17,
    /// The run could not be started.
    Refused = 18,
    /// The host of the run was lost.
    Lost = 19,
}

/// Exit codes of an awaited run, as `trigger --help` shows them.
pub(super) const OF_RUNS: &str = "Exit codes with --wait: 0 the run succeeded, 1 it failed, 5 it is not over yet, \
     10 skipped, 11 cancelled, 12 killed, 13 timed out, 14 idle, 15 out of memory, 16 out of fuel, 17 trapped, \
     18 refused, 19 lost.";

impl Exit {
    /// Returns the exit code for a run that is over without success: its state, and the outcome of its last attempt.
    pub(super) fn of_run(state: RunState, outcome: Option<Outcome>) -> Self {
        match (state, outcome) {
            (_, Some(Outcome::Skipped)) => Self::Skipped,
            (_, Some(Outcome::Killed)) => Self::Killed,
            (RunState::Cancelled, _) => Self::Cancelled,
            (_, Some(Outcome::TimedOut)) => Self::DeadlineReached,
            (_, Some(Outcome::Idle)) => Self::Idle,
            (_, Some(Outcome::OutOfMemory)) => Self::OutOfMemory,
            (_, Some(Outcome::OutOfFuel)) => Self::OutOfFuel,
            (_, Some(Outcome::Trapped)) => Self::Trapped,
            (_, Some(Outcome::Refused)) => Self::Refused,
            (_, Some(Outcome::Lost)) => Self::Lost,
            _ => Self::Failed,
        }
    }
}

/// The reason why a command ended early.
#[derive(Debug)]
pub struct CliError {
    exit: Exit,
    message: String,
    hint: Option<String>,
    quiet: bool,
}

impl CliError {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, quiet: false }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the message.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the exit code of the process.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        if self.quiet { ExitCode::SUCCESS } else { ExitCode::from(self.exit as u8) }
    }

    /// Prints at most two lines to stderr. Messages may quote guests, so they are escaped here once more.
    pub(super) fn tell(&self) {
        use io::Write;
        if self.quiet {
            return;
        }
        let mut text = format!("error: {}\n", safe(&self.message));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {}\n", safe(hint)));
        }
        // If stderr is closed, the error cannot be printed.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Writing to stdout failed. A reader that has seen enough (`| head`) causes no error.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        Self { quiet, ..Self::failed(format!("cannot write to stdout: {error}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_run_but_success_has_an_exit_code_that_the_help_names() {
        let failed = Outcome::ALL.map(|outcome| Exit::of_run(RunState::Failed, Some(outcome)) as u8);
        // In the order of the outcomes: success and deferral end no run as failed.
        assert_eq!(failed, [1, 1, 1, 1, 16, 13, 15, 17, 12, 18, 19, 10, 14]);
        let cancelled = [None, Some(Outcome::FailedTransient), Some(Outcome::Killed), Some(Outcome::Skipped)];
        assert_eq!(cancelled.map(|outcome| Exit::of_run(RunState::Cancelled, outcome) as u8), [11, 11, 12, 10]);

        let named: Vec<u8> = OF_RUNS.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        assert_eq!(named, [0, 1, 5, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }
}

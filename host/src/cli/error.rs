//! Defines the errors of the command line and their exit codes.

use std::io;
use std::process::ExitCode;

use super::screen::safe;

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

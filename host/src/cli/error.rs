//! What the command line says when it did not do what it was asked, and with which exit code.

use std::io;
use std::process::ExitCode;

use super::screen::safe;

/// What an exit code means. These do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was tried and failed: a run that failed, a manifest with errors, a host that refused.
    Failed = 1,
    /// It was asked for in the wrong way.
    Usage = 2,
    /// No host answered.
    Unreachable = 3,
    /// The host has no such run, task, entry or result.
    NotFound = 4,
    /// The waiting was over before the run was.
    TimedOut = 5,
    /// Something else is there already, or somebody was first.
    Conflict = 6,
    /// A host ended because a part of it panicked that cannot begin again.
    Broken = 7,
}

/// Why a command ended early.
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

    /// What went wrong.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Which code the process ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        if self.quiet { ExitCode::SUCCESS } else { ExitCode::from(self.exit as u8) }
    }

    /// Two lines on stderr at most. Messages may quote guests, so they are made harmless here once more.
    pub(super) fn tell(&self) {
        use io::Write;
        if self.quiet {
            return;
        }
        let mut text = format!("error: {}\n", safe(&self.message));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {}\n", safe(hint)));
        }
        // Where stderr is closed there is nobody to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Writing to stdout failed. A reader that has seen enough (`| head`) is not an error.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        Self { quiet, ..Self::failed(format!("cannot write to stdout: {error}")) }
    }
}

//! Enqueues runs, and adds schedules that make runs again and again.
//!
//! An enqueued run is stored when the call returns, whatever happens to the run that enqueued it.

mod recurring;

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::bindings::sexton::task::schedule as wit;
use crate::request::{milliseconds, since_epoch};

pub use recurring::{Added, Recurring, ScheduleError, cron, delete, every, list};

/// The reason why a run was not enqueued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The task's manifest does not grant enqueueing this task.
    AccessDenied,
    /// The task is granted, but no plugin on this host defines it.
    NotFound,
    /// This run has enqueued as many runs as it may (100), or as many runs of that task wait as may (1000), or the
    /// input is over 1 MiB.
    TooLarge,
    /// The key is empty or longer than 256 bytes.
    BadKey,
    /// The input cannot be written as JSON.
    Value(String),
    /// The host's store had an error.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessDenied => f.write_str("the task is not granted to enqueue this task"),
            Self::NotFound => f.write_str("no plugin on this host defines the task to be enqueued"),
            Self::TooLarge => f.write_str(
                "the input is over 1 MiB, or a limit is reached: runs that this run has enqueued, or waiting runs",
            ),
            Self::BadKey => f.write_str("a key has 1 to 256 bytes"),
            Self::Value(why) => write!(f, "the input cannot be written as JSON: {why}"),
            Self::Other(why) => write!(f, "cannot enqueue: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<wit::Error> for Error {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::AccessDenied => Self::AccessDenied,
            wit::Error::NotFound => Self::NotFound,
            wit::Error::TooLarge => Self::TooLarge,
            wit::Error::BadKey => Self::BadKey,
            wit::Error::Other(why) => Self::Other(why),
        }
    }
}

/// Begins to enqueue a run of `task`: now and with an empty input, unless changed.
///
/// ```no_run
/// # fn run(request: sexton_task::Request) -> Result<(), sexton_task::Failure> {
/// use sexton_task::schedule;
/// use std::time::Duration;
///
/// // With the run's id as the key, a repeated attempt does not enqueue twice.
/// let id = schedule::enqueue("mail").json(&"hello").after(Duration::from_secs(60)).key(&request.run_id).send()?;
/// # Ok(())
/// # }
/// ```
pub fn enqueue(task: &str) -> Enqueue<'_> {
    Enqueue { task: Some(task), when: wit::When::Now, input: Ok(Vec::new()), key: None }
}

/// Begins to run this very task once more, with `state` as its JSON input.
///
/// If a further attempt at the same run repeats the call, it makes no second run.
pub fn continue_later<T: Serialize + ?Sized>(state: &T) -> Enqueue<'static> {
    Enqueue { task: None, when: wit::When::Now, input: Ok(Vec::new()), key: None }.json(state)
}

/// A run that has not been enqueued.
#[derive(Debug)]
#[must_use = "nothing is enqueued before `send`"]
pub struct Enqueue<'a> {
    task: Option<&'a str>,
    when: wit::When,
    input: Result<Vec<u8>, Error>,
    key: Option<&'a str>,
}

impl<'a> Enqueue<'a> {
    /// Sets the input of the run, as bytes.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Ok(input.into());
        self
    }

    /// Sets the input of the run, as JSON. A value that cannot be written is an error of `send`.
    pub fn json<T: Serialize + ?Sized>(mut self, input: &T) -> Self {
        self.input = serde_json::to_vec(input).map_err(|e| Error::Value(e.to_string()));
        self
    }

    /// Makes the run due at `instant`.
    pub fn at(mut self, instant: SystemTime) -> Self {
        self.when = wit::When::At(since_epoch(instant));
        self
    }

    /// Makes the run due after `delay`.
    pub fn after(mut self, delay: Duration) -> Self {
        self.when = wit::When::After(milliseconds(delay));
        self
    }

    /// Enqueues at most one run of the task with this key: later calls return the run that the first one made.
    ///
    /// A run that continues itself has a key of its own, and ignores this one.
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    /// Enqueues the run, and returns its id.
    ///
    /// # Errors
    ///
    /// As [`Error`] says.
    pub fn send(self) -> Result<String, Error> {
        let input = self.input?;
        Ok(match self.task {
            Some(task) => wit::enqueue(task, self.when, &input, self.key)?,
            None => wit::continue_later(self.when, &input)?,
        })
    }
}

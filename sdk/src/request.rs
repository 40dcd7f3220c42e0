//! Describes a run, as the host passes it to a task.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use crate::Failure;
use crate::bindings::exports::sexton::task::runner as wit;

/// The cause of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The task's schedule.
    Schedule,
    /// The task is due when its host starts.
    Start,
    /// A user requested it, by the API or the command line.
    Demand,
    /// Another run enqueued it, or the task continues itself.
    Task,
}

/// The run that a task is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// The id of the run. It stays the same across attempts, so that it can serve as an idempotency key.
    pub run_id: String,
    /// The name of the task, because one component may serve several tasks.
    pub task: String,
    /// 1 for the first attempt, and one more for each that follows.
    pub attempt: u32,
    /// The instant at which this run was due, which is not the current time.
    pub due_at: SystemTime,
    /// The cause of the run.
    pub cause: Cause,
    /// The payload given when the run was enqueued, or the one that the manifest sets; empty if there is neither.
    pub input: Vec<u8>,
}

impl Request {
    /// Parses the input as JSON. An empty input reads as `null`.
    ///
    /// # Errors
    ///
    /// A permanent failure if the input is not JSON, or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let input = if self.input.is_empty() { b"null" } else { &self.input[..] };
        serde_json::from_slice(input)
            .map_err(|e| Failure::permanent(format_args!("the run's input is not as expected: {e}")))
    }

    /// Returns the input as text.
    ///
    /// # Errors
    ///
    /// A permanent failure if the input is not UTF-8.
    pub fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.input)
            .map_err(|e| Failure::permanent(format_args!("the run's input is not text: {e}")))
    }
}

impl From<wit::Request> for Request {
    fn from(request: wit::Request) -> Self {
        Self {
            run_id: request.run_id,
            task: request.task,
            attempt: request.attempt,
            due_at: instant(request.due_at),
            cause: match request.cause {
                wit::Cause::Schedule => Cause::Schedule,
                wit::Cause::Start => Cause::Start,
                wit::Cause::Demand => Cause::Demand,
                wit::Cause::Task => Cause::Task,
            },
            input: request.input,
        }
    }
}

/// A type that a task's function may take: the [`Request`] itself, or any type that serde can read from its JSON input.
pub trait FromRequest: Sized {
    /// Reads it from the request.
    ///
    /// # Errors
    ///
    /// A permanent failure if the input is not as expected.
    fn from_request(request: Request) -> Result<Self, Failure>;
}

impl FromRequest for Request {
    fn from_request(request: Request) -> Result<Self, Failure> {
        Ok(request)
    }
}

impl<T: DeserializeOwned> FromRequest for T {
    fn from_request(request: Request) -> Result<Self, Failure> {
        request.json()
    }
}

/// Converts a duration to the host's milliseconds. One that is too long becomes the longest.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Converts a duration to the nanoseconds of WASI's clocks. One that is too long becomes the longest.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Converts an instant to the host's milliseconds since 1970. An earlier one becomes 0.
pub(crate) fn since_epoch(instant: SystemTime) -> u64 {
    milliseconds(instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Converts the host's milliseconds to an instant. One beyond the clock's range becomes the epoch, rather than a panic.
pub(crate) fn instant(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
pub(crate) fn request(input: &str) -> Request {
    Request {
        run_id: "run-1".into(),
        task: "test".into(),
        attempt: 1,
        due_at: instant(0),
        cause: Cause::Demand,
        input: input.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_input_reads_as_nothing() {
        assert_eq!(request("").json::<Option<u32>>(), Ok(None));
        assert_eq!(request("").json::<()>(), Ok(()));
    }

    #[test]
    fn a_wrong_input_is_a_permanent_failure() {
        let failure = request("{\"a\":1}").json::<u32>().unwrap_err();

        assert!(matches!(failure, Failure::Permanent(_)), "{failure:?}");
    }

    #[test]
    fn instants_survive_the_way_to_the_host_and_back() {
        assert_eq!(since_epoch(instant(1_700_000_000_123)), 1_700_000_000_123);
        assert_eq!(since_epoch(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}

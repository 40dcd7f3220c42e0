//! What the host tells a task about its run.

use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use crate::Failure;
use crate::bindings::exports::sexton::task::runner as wit;

/// Why a run exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The task's schedule.
    Schedule,
    /// The task is due when its host starts.
    Start,
    /// Somebody asked for it, by the API or the command line.
    Demand,
    /// Another run enqueued it, or the task continues itself.
    Task,
}

/// What the host tells a task about the run it is asked to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Identifies the run. Stays the same across attempts, so that it can serve as an idempotency key.
    pub run_id: String,
    /// The task's name: one component may serve several tasks.
    pub task: String,
    /// 1 for the first attempt, and one more for each that follows.
    pub attempt: u32,
    /// The instant this run was due. Not the time it is.
    pub due_at: SystemTime,
    /// Why the run exists.
    pub cause: Cause,
    /// The payload given when the run was enqueued, or the one that the manifest sets; empty if there is neither.
    pub input: Vec<u8>,
}

impl Request {
    /// Read the input as JSON. An empty input reads as `null`.
    ///
    /// # Errors
    ///
    /// A permanent failure if the input is not JSON, or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let input = if self.input.is_empty() { b"null" } else { &self.input[..] };
        serde_json::from_slice(input)
            .map_err(|e| Failure::permanent(format_args!("the run's input is not as expected: {e}")))
    }

    /// Read the input as text.
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

/// What a task's function may take: the [`Request`] itself, or any type that serde can read from its JSON input.
pub trait FromRequest: Sized {
    /// Read it.
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

/// A duration as the host counts it. One that is longer than anything can last stays that.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A duration as WASI's clocks count it. One that is longer than anything can last stays that.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An instant as the host counts it. One before 1970 is 0.
pub(crate) fn since_epoch(instant: SystemTime) -> u64 {
    milliseconds(instant.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// The instant that the host means. One beyond what the clock can say is the epoch itself, rather than a panic.
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

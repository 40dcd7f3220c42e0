//! Describes why a task did not succeed.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// The reason why a task did not succeed, and what the host should do about it.
///
/// `?` converts any error to a transient failure, with the whole chain of its sources in the text. The exceptions are
/// those of this crate's own errors that no retry can repair, such as a missing grant: they become permanent.
///
/// Like every error type that `?` converts others to, it is not a [`std::error::Error`] itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The host tries again, as the task's retry policy allows.
    Transient(String),
    /// The host does not try again.
    Permanent(String),
    /// The host runs it again after this delay (whole milliseconds). That does not use up an attempt.
    Deferred(Duration),
}

impl Failure {
    /// Creates a failure that a further attempt may repair.
    pub fn transient(why: impl fmt::Display) -> Self {
        Self::Transient(why.to_string())
    }

    /// Creates a failure that no further attempt can repair.
    pub fn permanent(why: impl fmt::Display) -> Self {
        Self::Permanent(why.to_string())
    }

    /// Creates a deferral: the host runs it again after `delay`.
    pub fn deferred(delay: Duration) -> Self {
        Self::Deferred(delay)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transient(why) | Self::Permanent(why) => f.write_str(why),
            Self::Deferred(delay) => write!(f, "deferred for {delay:?}"),
        }
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            why.push_str(": ");
            why.push_str(&error.to_string());
            source = error.source();
        }
        if is_permanent(&error) { Self::Permanent(why) } else { Self::Transient(why) }
    }
}

/// Returns whether a further attempt would certainly meet the same error.
fn is_permanent(error: &dyn Any) -> bool {
    use crate::{cache, http, locks, schedule, settings};
    if let Some(error) = error.downcast_ref::<cache::Error>() {
        return !matches!(error, cache::Error::Conflict | cache::Error::Other(_));
    }
    if let Some(error) = error.downcast_ref::<locks::Error>() {
        return matches!(error, locks::Error::AccessDenied | locks::Error::BadName);
    }
    if let Some(error) = error.downcast_ref::<schedule::Error>() {
        return !matches!(error, schedule::Error::NotFound | schedule::Error::Other(_));
    }
    if let Some(error) = error.downcast_ref::<schedule::ScheduleError>() {
        return !matches!(error, schedule::ScheduleError::NotFound | schedule::ScheduleError::Other(_));
    }
    if let Some(error) = error.downcast_ref::<http::Error>() {
        return matches!(error, http::Error::Denied | http::Error::Invalid(_));
    }
    error.is::<settings::Error>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache, settings};

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("reading the count")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_becomes_transient_and_names_its_sources() {
        let error = Outer("x".parse::<u32>().unwrap_err());

        let failure = Failure::from(error);

        assert_eq!(failure, Failure::transient("reading the count: invalid digit found in string"));
    }

    #[test]
    fn errors_that_no_retry_can_repair_become_permanent() {
        let denied = Failure::from(cache::Error::AccessDenied);
        let setting = Failure::from(settings::Error::new("limit", "x", "not a number"));
        let busy = Failure::from(cache::Error::Conflict);

        assert!(matches!(denied, Failure::Permanent(_)), "{denied:?}");
        assert!(matches!(setting, Failure::Permanent(_)), "{setting:?}");
        assert!(matches!(busy, Failure::Transient(_)), "{busy:?}");
    }
}

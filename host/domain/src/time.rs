//! Defines instants as the store keeps them: whole milliseconds since the Unix epoch.
//!
//! The domain never reads a clock: code that needs `now` takes it as an argument.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// A margin greater than any zone's offset from UTC.
const MARGIN: TimeDelta = TimeDelta::days(2);

/// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the instant `ms` milliseconds after the Unix epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Converts the instant to chrono's type. One beyond chrono's calendar becomes an instant near its end. Not the
    /// very end, because chrono panics if an instant's local time, in any zone, is beyond it.
    pub fn to_utc(self) -> DateTime<Utc> {
        let (first, last) = (DateTime::<Utc>::MIN_UTC + MARGIN, DateTime::<Utc>::MAX_UTC - MARGIN);
        DateTime::from_timestamp_millis(self.0)
            .unwrap_or(if self.0.is_negative() { first } else { last })
            .clamp(first, last)
    }

    /// Returns how long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns this instant, `by` later. It saturates, so a guest's absurd delay means "never", not a panic.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Returns this instant, `by` earlier. It saturates.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.timestamp_millis())
    }
}

/// Prints RFC 3339 in UTC with milliseconds: `2026-11-22T10:24:53.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|at| at.with_timezone(&Utc).into())
            .map_err(|e| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 instant: {e}")))
    }
}

/// A source of time: the system's clock, or one that a test moves.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Returns the current instant.
    fn now(&self) -> Timestamp;

    /// Returns the reason why the clock may be wrong, for people; `None` while there is none.
    fn doubt(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_beyond_the_calendar_is_nearly_at_its_end() {
        let year = |ms| chrono::Datelike::year(&Timestamp::from_millis(ms).to_utc());
        let [first, last] = [chrono::NaiveDate::MIN, chrono::NaiveDate::MAX].map(|day| chrono::Datelike::year(&day));
        assert_eq!([i64::MIN, 0, i64::MAX].map(year), [first, 1970, last]);
        for end in [i64::MIN, i64::MAX] {
            // The instant has a local time in every zone.
            let shown = chrono_tz::TZ_VARIANTS.map(|zone| Timestamp::from_millis(end).to_utc().with_timezone(&zone));
            assert!(shown.iter().all(|local| !local.to_string().is_empty()));
        }
    }

    #[test]
    fn a_clock_is_trusted_unless_it_says_otherwise() {
        #[derive(Debug)]
        struct Stopped;
        impl Clock for Stopped {
            fn now(&self) -> Timestamp {
                Timestamp::from_millis(7)
            }
        }
        assert_eq!((Stopped.now(), Stopped.doubt()), (Timestamp::from_millis(7), None));
    }
}

//! Days, in UTC, by which history is kept apart.

use chrono::{NaiveDate, NaiveTime};

use crate::time::Timestamp;

/// Milliseconds of a day.
const DAY: i64 = 24 * 3600 * 1000;

/// Days whose partitions are made besides today's.
const AHEAD: usize = 2;

/// The first instant of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(pub(super) i64);

impl Day {
    pub(super) fn of(at: Timestamp) -> Self {
        Self(at.as_millis().div_euclid(DAY).saturating_mul(DAY))
    }

    /// The first instant after it.
    pub(super) fn end(self) -> i64 {
        self.0.saturating_add(DAY)
    }

    /// As its tables are called: `20260131`. Days that a calendar of four-digit years does not have are not called anything.
    pub(super) fn name(self) -> Option<String> {
        let name = Timestamp::from_millis(self.0).to_utc().format("%Y%m%d").to_string();
        (Self::named(&name) == Some(self)).then_some(name)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        if name.len() != 8 || !name.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let day = NaiveDate::parse_from_str(name, "%Y%m%d").ok()?;
        Some(Self(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()))
    }

    /// The day at `now`, and those after it that are made with it.
    pub(super) fn coming(now: Timestamp) -> impl Iterator<Item = Self> {
        let days = std::iter::successors(Some(Self::of(now)), |day| Some(Self(day.end())));
        days.take(AHEAD + 1)
    }
}

/// The first millisecond after the day of `at`: a statement that is about what was over before then leaves later days alone.
pub(super) fn day_after(at: Timestamp) -> i64 {
    Day::of(at).end()
}

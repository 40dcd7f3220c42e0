//! Days, in UTC, by which history is partitioned.

use chrono::{NaiveDate, NaiveTime};

use sexton_domain::time::Timestamp;

/// Milliseconds in a day.
const DAY: i64 = 24 * 3600 * 1000;

/// Days beyond today for which partitions are made.
const AHEAD: usize = 2;

/// A day, as its first instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Day(pub(super) i64);

impl Day {
    pub(super) fn of(at: Timestamp) -> Self {
        Self(at.as_millis().div_euclid(DAY).saturating_mul(DAY))
    }

    /// Returns the first instant after the day.
    pub(super) fn end(self) -> i64 {
        self.0.saturating_add(DAY)
    }

    /// Returns the day as in its tables' names: `20260131`. A day outside the calendar of four-digit years has no name.
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

    /// Returns the day of `now`, and the days after it whose partitions are made with it.
    pub(super) fn coming(now: Timestamp) -> impl Iterator<Item = Self> {
        let days = std::iter::successors(Some(Self::of(now)), |day| Some(Self(day.end())));
        days.take(AHEAD + 1)
    }
}

/// Returns the first millisecond after the day of `at`: a statement about runs over by `at` skips later days.
pub(super) fn day_after(at: Timestamp) -> i64 {
    Day::of(at).end()
}

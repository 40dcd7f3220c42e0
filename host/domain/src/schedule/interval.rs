//! Computes instants that are equally far apart, counted from 1970 or from a start.
//!
//! Without a start they are the multiples of the step since the Unix epoch, so that all hosts agree without
//! communicating. With a start, the first of them is the start itself. Whole days from a start are days of a zone's
//! calendar: they come at the same time of day, however the clocks are set in between. A time of day that the clock
//! skips is the first instant after the gap, and one that comes twice is the first of the two, as for a single instant.

use std::time::Duration;

use chrono::{Days, NaiveDateTime};
use chrono_tz::Tz;

use super::local_instants::{local, shown};
use crate::time::Timestamp;

/// A day on a clock that is never set, in milliseconds.
const DAY: i64 = 24 * 3600 * 1000;

/// The number of steps around the one that plain arithmetic finds that must be examined to find the right one. The
/// offsets of a zone are never more than two days apart, and the shortest step that is counted on the calendar is a
/// day.
const AROUND: i64 = 3;

/// Equidistant instants with numbers; 0 is the epoch or the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval {
    /// The step in milliseconds, more than zero.
    step: i64,
    counted: Counted,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    /// Multiples of the step since the epoch.
    FromEpoch,
    /// Multiples of the step since an instant.
    From(i64),
    /// Days on the calendar, counted from the time that a zone's clocks show at an instant.
    OnCalendar { start: NaiveDateTime, zone: Tz, at: i64, days: u64 },
}

impl Interval {
    /// Creates an interval. Returns `None` if the step is less than a millisecond.
    pub(super) fn new(step: Duration, start: Option<Timestamp>, zone: Tz) -> Option<Self> {
        let step = i64::try_from(step.as_millis()).ok().filter(|step| *step > 0)?;
        let counted = match start {
            None => Counted::FromEpoch,
            Some(at) => match (local(zone, at), u64::try_from(step / DAY)) {
                (Some(start), Ok(days)) if step % DAY == 0 => {
                    Counted::OnCalendar { start, zone, at: at.as_millis(), days }
                }
                _ => Counted::From(at.as_millis()),
            },
        };
        Some(Self { step, counted })
    }

    /// Returns whether days are counted on a calendar.
    pub(super) fn is_on_calendar(&self) -> bool {
        matches!(self.counted, Counted::OnCalendar { .. })
    }

    /// Returns the time that the clock would show at the instant `number` if no clock were set; `None` unless days are
    /// counted.
    pub(super) fn wall_time(&self, number: i64) -> Option<NaiveDateTime> {
        let Counted::OnCalendar { start, days, .. } = self.counted else { return None };
        start.checked_add_days(Days::new(days.checked_mul(u64::try_from(number).ok()?)?))
    }

    /// Returns the instant with this number; `None` before the start, and beyond the calendar.
    pub(super) fn at(&self, number: i64) -> Option<Timestamp> {
        let after = |first: i64| number.checked_mul(self.step)?.checked_add(first);
        let ms = match self.counted {
            Counted::FromEpoch => after(0)?,
            Counted::From(_) | Counted::OnCalendar { .. } if number < 0 => return None,
            Counted::From(start) => after(start)?,
            // The start itself may be the second time that the clock shows it.
            Counted::OnCalendar { at, .. } if number == 0 => at,
            Counted::OnCalendar { zone, .. } => return Some(shown(zone, self.wall_time(number)?)?.first()),
        };
        Some(Timestamp::from_millis(ms))
    }

    /// Returns the number of the last instant that is not after `at`; -1 if that is before the start.
    pub(super) fn number_until(&self, at: Timestamp) -> i64 {
        let since = |first: i64| at.as_millis().saturating_sub(first).div_euclid(self.step);
        match self.counted {
            Counted::FromEpoch => since(0),
            Counted::From(start) => since(start).max(-1),
            Counted::OnCalendar { at: start, .. } => {
                let near = since(start);
                let (from, to) = ((near - AROUND).max(0), near.saturating_add(AROUND));
                let until = (from..=to).take_while(|number| self.at(*number).is_some_and(|instant| instant <= at));
                // All instants before the first that was examined have passed, if there are any.
                until.last().unwrap_or(from - 1)
            }
        }
    }

    /// Returns the first instant after `at`.
    pub(super) fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.at(self.number_until(at).checked_add(1)?)
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America::Havana, Europe::Berlin, Pacific::Apia, TZ_VARIANTS};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).expect("an instant").to_utc().into()
    }

    /// Returns the next `n` instants, as the clocks of `zone` show them.
    fn next(every_days: u64, start: Option<&str>, zone: Tz, after: &str, n: usize) -> Vec<String> {
        let step = Duration::from_secs(every_days * 86_400);
        let interval = Interval::new(step, start.map(at), zone).expect("a step");
        let all = std::iter::successors(interval.next_after(at(after)), |last| interval.next_after(*last));
        all.take(n).map(|at| at.to_utc().with_timezone(&zone).format("%a %F %H:%M %:z").to_string()).collect()
    }

    #[test]
    fn two_weeks_from_a_monday_are_mondays_at_the_same_time_of_day() {
        let monday = Some("2027-03-15T09:00:00+01:00");
        assert_eq!(
            next(14, monday, Berlin, "2027-01-01T00:00:00Z", 3),
            ["Mon 2027-03-15 09:00 +01:00", "Mon 2027-03-29 09:00 +02:00", "Mon 2027-04-12 09:00 +02:00"]
        );
        // Without a start the days are Thursdays, because 1970 began on one.
        assert_eq!(next(14, None, Berlin, "2027-01-01T00:00:00Z", 1), ["Thu 2027-01-14 01:00 +01:00"]);
    }

    #[test]
    fn a_skipped_time_runs_right_after_the_gap_and_a_repeated_time_runs_once() {
        let spring = next(1, Some("2027-03-27T02:30:00+01:00"), Berlin, "2027-03-26T00:00:00Z", 3);
        assert_eq!(
            spring,
            ["Sat 2027-03-27 02:30 +01:00", "Sun 2027-03-28 03:00 +02:00", "Mon 2027-03-29 02:30 +02:00"]
        );
        let autumn = next(1, Some("2027-10-30T02:30:00+02:00"), Berlin, "2027-10-30T12:00:00Z", 2);
        assert_eq!(autumn, ["Sun 2027-10-31 02:30 +02:00", "Mon 2027-11-01 02:30 +01:00"]);
        let midnight = next(1, Some("2027-03-13T00:00:00-05:00"), Havana, "2027-03-13T12:00:00Z", 2);
        assert_eq!(midnight, ["Sun 2027-03-14 01:00 -04:00", "Mon 2027-03-15 00:00 -04:00"]);
        // Samoa had no 30th of December in 2011.
        let left_out = next(1, Some("2011-12-29T00:00:00-10:00"), Apia, "2011-12-29T12:00:00Z", 2);
        assert_eq!(left_out, ["Sat 2011-12-31 00:00 +14:00", "Sun 2012-01-01 00:00 +14:00"]);
    }

    #[test]
    fn hours_from_a_start_are_lengths_of_time() {
        let start = at("2027-03-28T00:10:00+01:00");
        let interval = Interval::new(Duration::from_secs(90 * 60), Some(start), Berlin).unwrap();
        assert_eq!(interval.next_after(at("2020-01-01T00:00:00Z")), Some(start));
        assert_eq!(interval.next_after(start), Some(at("2027-03-28T00:40:00Z")));
        assert_eq!(interval.next_after(at("2027-03-28T00:40:00Z")), Some(at("2027-03-28T02:10:00Z")));
        assert_eq!((interval.at(-1), interval.number_until(at("2027-03-01T00:00:00Z"))), (None, -1));
    }

    #[test]
    fn a_start_at_a_time_that_comes_twice_is_that_very_instant() {
        // 02:30 comes at 00:30 UTC, and again an hour later.
        for start in ["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"] {
            let interval = Interval::new(Duration::from_secs(86_400), Some(at(start)), Berlin).unwrap();
            assert_eq!(interval.next_after(at("2027-10-30T12:00:00Z")), Some(at(start)));
            assert_eq!(interval.next_after(at(start)), Some(at("2027-11-01T01:30:00Z")));
        }
    }

    #[test]
    fn less_than_a_millisecond_is_no_step() {
        for start in [None, Some(at("2027-01-01T00:00:00Z"))] {
            let new = |step| Interval::new(step, start, Berlin).is_some();
            let [none, less, least] = [Duration::ZERO, Duration::from_micros(999), Duration::from_millis(1)].map(new);
            assert_eq!((none, less, least), (false, false, true));
        }
    }

    proptest! {
        /// Compares whole days with a walk through the calendar day by day, for any instant.
        #[test]
        fn whole_days_are_those_of_a_walk_through_the_calendar(
            zone in proptest::sample::select(&TZ_VARIANTS[..]),
            start in 0_i64..2_000_000_000,
            days in 1_u64..40,
            later in 0_i64..100_000_000,
        ) {
            let start = Timestamp::from_millis(start * 1000);
            let interval = Interval::new(Duration::from_secs(days * 86_400), Some(start), zone).unwrap();
            let after = start.plus(Duration::from_secs(later.unsigned_abs()));

            let clock = local(zone, start).unwrap();
            let dates = (0..).step_by(usize::try_from(days).unwrap()).map(|days| clock + Days::new(days));
            let mut walk = dates.map(|date| shown(zone, date).unwrap().first());
            // The start itself is the first instant, even if its time comes twice.
            let expected = if after < start { Some(start) } else { walk.find(|at| *at > after) };

            prop_assert_eq!(interval.next_after(after), expected, "{} {} {}", zone, start, after);
            let number = interval.number_until(after);
            prop_assert!(interval.at(number).unwrap() <= after || number == 0);
            prop_assert!(interval.at(number + 1).unwrap() >= after);
        }
    }
}

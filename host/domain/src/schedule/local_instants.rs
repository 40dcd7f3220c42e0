//! Converts between instants and the times that a zone's clocks show: once, twice (a fold), or never (a gap).

use chrono::{Datelike, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::Tz;

use super::dst;
use crate::time::Timestamp;

/// The seconds on either side of a time in which its gap is searched: more than all offsets and changes together.
const AROUND: i64 = 36 * 3600;

/// The instants at which a clock shows a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalInstants {
    /// The clock shows it once, which is the normal case.
    Once(Timestamp),
    /// The clock is set back over it.
    Twice(Timestamp, Timestamp),
    /// The clock is set forward over it, at this instant.
    Skipped(Timestamp),
}

impl LocalInstants {
    /// Returns the first instant at which the clock shows the time, or the one that follows the gap.
    pub(super) fn first(self) -> Timestamp {
        match self {
            Self::Once(at) | Self::Twice(at, _) | Self::Skipped(at) => at,
        }
    }

    /// Returns the first such instant after `after`, or the last one if all of them are before.
    pub(super) fn first_after(self, after: Timestamp) -> Timestamp {
        match self {
            Self::Twice(first, second) if first <= after => second,
            other => other.first(),
        }
    }

    /// Returns the last such instant that is not after `until`, or the first one if all of them are after it.
    pub(super) fn last_until(self, until: Timestamp) -> Timestamp {
        match self {
            Self::Twice(_, second) if second <= until => second,
            other => other.first(),
        }
    }
}

/// Returns the instants at which the clocks of `zone` show `local`. Returns `None` beyond the years 1 to 9999, which
/// have four digits.
pub(super) fn shown(zone: Tz, local: NaiveDateTime) -> Option<LocalInstants> {
    within(local)?;
    match zone.from_local_datetime(&local) {
        LocalResult::Single(at) => Some(LocalInstants::Once(at.to_utc().into())),
        LocalResult::Ambiguous(first, second) => {
            Some(LocalInstants::Twice(first.to_utc().into(), second.to_utc().into()))
        }
        LocalResult::None => {
            let wanted = local.and_utc().timestamp();
            let (mut from, until) = (wanted - AROUND, wanted + AROUND);
            while let Some(change) = dst::next_change(zone, from, until)? {
                if (change + dst::offset(zone, change - 1)?..change + dst::offset(zone, change)?).contains(&wanted) {
                    return Some(LocalInstants::Skipped(Timestamp::from_millis(change * 1000)));
                }
                from = change;
            }
            None
        }
    }
}

/// Returns the time that the clocks of `zone` show at `at`. Returns `None` beyond the years 1 to 9999.
pub(super) fn local(zone: Tz, at: Timestamp) -> Option<NaiveDateTime> {
    let utc = at.to_utc();
    within(utc.naive_utc())?;
    Some(utc.with_timezone(&zone).naive_local())
}

/// Returns the first instant of a day, which is not 00:00 if the clocks are set forward over it.
pub(super) fn day_start(zone: Tz, day: NaiveDate) -> Option<Timestamp> {
    Some(shown(zone, day.and_time(NaiveTime::MIN))?.first())
}

fn within(local: NaiveDateTime) -> Option<()> {
    (1..=9999).contains(&local.year()).then_some(())
}

#[cfg(test)]
mod tests {
    use chrono_tz::{America::Havana, Europe::Berlin, Pacific::Apia, TZ_VARIANTS};
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").expect("a time")
    }

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).expect("an instant").to_utc().into()
    }

    #[test]
    fn a_time_in_a_gap_is_never_shown_and_the_ends_of_the_gap_are_distinguished() {
        let change = Some(LocalInstants::Skipped(at("2027-03-28T01:00:00Z")));
        assert_eq!(shown(Berlin, time("2027-03-28 02:00")), change);
        assert_eq!(shown(Berlin, time("2027-03-28 02:59")), change);
        assert_eq!(shown(Berlin, time("2027-03-28 01:59")), Some(LocalInstants::Once(at("2027-03-28T00:59:00Z"))));
        assert_eq!(shown(Berlin, time("2027-03-28 03:00")), Some(LocalInstants::Once(at("2027-03-28T01:00:00Z"))));
        // Zones are right before 1970, too.
        assert_eq!(shown(Berlin, time("1940-04-01 02:30")), Some(LocalInstants::Skipped(at("1940-04-01T01:00:00Z"))));
    }

    #[test]
    fn a_time_in_a_fold_is_shown_twice_and_the_ends_of_the_fold_are_distinguished() {
        let (first, second) = (at("2027-10-31T00:30:00Z"), at("2027-10-31T01:30:00Z"));
        assert_eq!(shown(Berlin, time("2027-10-31 02:30")), Some(LocalInstants::Twice(first, second)));
        assert_eq!(shown(Berlin, time("2027-10-31 01:59")), Some(LocalInstants::Once(at("2027-10-30T23:59:00Z"))));
        assert_eq!(shown(Berlin, time("2027-10-31 03:00")), Some(LocalInstants::Once(at("2027-10-31T02:00:00Z"))));
        let after = |after| shown(Berlin, time("2027-10-31 02:30")).expect("shown").first_after(after);
        let before = first.minus(std::time::Duration::from_millis(1));
        assert_eq!([after(before), after(first), after(second)], [first, second, second]);
    }

    #[test]
    fn a_day_begins_when_its_first_minute_does_even_where_that_is_not_midnight_or_the_day_is_left_out() {
        let first = |zone, text| day_start(zone, time(text).date());
        assert_eq!(first(Havana, "2027-03-14 00:00"), Some(at("2027-03-14T05:00:00Z")), "00:00 is skipped");
        assert_eq!(first(Apia, "2011-12-30 00:00"), Some(at("2011-12-30T10:00:00Z")), "the day is skipped");
        assert_eq!(first(Apia, "2011-12-31 00:00"), first(Apia, "2011-12-30 00:00"));
    }

    proptest! {
        #[test]
        fn every_instant_is_among_those_at_which_its_time_is_shown(
            zone in proptest::sample::select(&TZ_VARIANTS[..]),
            second in -5_000_000_000_i64..10_000_000_000,
        ) {
            let at = Timestamp::from_millis(second * 1000);
            let shown = shown(zone, local(zone, at).expect("within the calendar")).expect("it is shown");
            prop_assert!(match shown {
                LocalInstants::Once(one) => one == at,
                LocalInstants::Twice(first, second) => first < second && (first == at || second == at),
                LocalInstants::Skipped(_) => false,
            }, "{zone} {at}: {shown:?}");
        }
    }
}

//! Holds the seconds of a wall clock that a crontab matches. Knows dates, but neither zones nor instants.
//!
//! A wall clock's seconds are numbered from 1970-01-01 00:00:00 *on that clock*, so that arithmetic on them is plain.

use std::sync::Arc;

use chrono::{Datelike, NaiveDate};

use super::counted::Counted;

const SECONDS_OF_DAY: i64 = 24 * 3600;

/// The Gregorian calendar repeats after this many months, weekdays included. A date that does not occur within them
/// never does.
const MONTHS_OF_CYCLE: u32 = 400 * 12;

/// The seconds of a crontab that has no field for them: the first second of each minute.
pub(super) const FIRST_SECOND: u64 = 1;

/// The pattern of a week, in seven bits, times this number is that pattern six times end to end. That is more than any
/// month needs, whatever its first weekday is.
const SIX_WEEKS: u64 = 0x8_1020_4081;

/// The way in which the two day fields combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// A day must be in both: one of the fields begins with `*`.
    Both,
    /// A day must be in at least one of them.
    Either,
}

/// The fields as sets, in which bit n stands for the value n. They are as small as they can be, because a host may hold
/// a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    /// Bits 0 to 59.
    pub(super) minutes: u64,
    /// The parts that few crontabs have.
    pub(super) extras: Option<Arc<Extras>>,
    /// Bits 0 to 23.
    pub(super) hours: u32,
    /// Bits 1 to 31.
    pub(super) days: u32,
    /// Bits 1 to 12.
    pub(super) months: u16,
    /// Bits 0 to 6; Sunday is 0.
    pub(super) weekdays: u8,
    /// The way in which `days` and `weekdays` combine.
    pub(super) join: Days,
}

/// Seconds and counted days. They are allocated apart, so that crontabs without them take less memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// Bits 0 to 59.
    pub(super) seconds: u64,
    /// The days written with `L`, `W` and `#`.
    pub(super) counted: Counted,
}

impl Calendar {
    /// Returns the seconds of a minute that match; bit n stands for the second n.
    pub(super) fn seconds(&self) -> u64 {
        self.extras.as_ref().map_or(FIRST_SECOND, |extras| extras.seconds)
    }

    /// Returns the days that are counted from a month's end or by its weeks, if there are any.
    pub(super) fn counted(&self) -> Option<&Counted> {
        self.extras.as_ref().map(|extras| &extras.counted).filter(|counted| !counted.is_empty())
    }

    /// Returns whether a wall clock's second matches.
    pub(super) fn contains(&self, second: i64) -> bool {
        let (day, time) = (second.div_euclid(SECONDS_OF_DAY), second.rem_euclid(SECONDS_OF_DAY));
        date(day).is_some_and(|date| self.has_date(date) && self.time_from(time) == Some(time))
    }

    /// Returns the first second after `second` that matches; `None` if there is none (or chrono's calendar ends
    /// before).
    pub(super) fn next_after(&self, second: i64) -> Option<i64> {
        let first = second.checked_add(1)?;
        let (day, time) = (first.div_euclid(SECONDS_OF_DAY), first.rem_euclid(SECONDS_OF_DAY));
        let today = date(day)?;
        if self.has_date(today)
            && let Some(time) = self.time_from(time)
        {
            return Some(day * SECONDS_OF_DAY + time);
        }
        Some(self.day_after(today)? * SECONDS_OF_DAY + self.time_from(0)?)
    }

    /// Counts the seconds in `(after, to]` that match, by days.
    pub(super) fn count(&self, after: i64, to: i64) -> u64 {
        let (first_day, last_day) = (after.div_euclid(SECONDS_OF_DAY), to.div_euclid(SECONDS_OF_DAY));
        let up_to = |second: i64| {
            let day = second.div_euclid(SECONDS_OF_DAY);
            if self.matches_day(day) { self.times_until(second.rem_euclid(SECONDS_OF_DAY)) } else { 0 }
        };
        let whole_day = self.times_until(SECONDS_OF_DAY - 1);
        let days = self.days_until(first_day, last_day);
        // All seconds of the days from the first to the one before the last, without those before `after`, and with
        // those of the last day.
        (days * whole_day + up_to(to)).saturating_sub(up_to(after))
    }

    /// Counts the days in `first..last` that match.
    fn days_until(&self, first: i64, last: i64) -> u64 {
        let mut days = u64::from(first < last && self.matches_day(first));
        let mut day = first;
        while let Some(next) = date(day).and_then(|today| self.day_after(today)).filter(|next| *next < last) {
            days += 1;
            day = next;
        }
        days
    }

    fn matches_day(&self, day: i64) -> bool {
        date(day).is_some_and(|date| self.has_date(date))
    }

    fn has_date(&self, date: NaiveDate) -> bool {
        self.has_month(date.month()) && has(self.days_of(date.year(), date.month()), date.day())
    }

    /// Counts the seconds of a day, up to and with the `time`th, that match.
    fn times_until(&self, time: i64) -> u64 {
        let time = u32::try_from(time).expect("a day has 86,400 seconds");
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let below = |set: u64, value: u32| u64::from((set & !(!0 << value)).count_ones());
        let (hours, seconds) = (u64::from(self.hours), u64::from(self.seconds().count_ones()));
        let an_hour = u64::from(self.minutes.count_ones()) * seconds;
        let of_minute = if has(self.minutes, minute) { below(self.seconds(), second + 1) } else { 0 };
        let of_hour = if has(hours, hour) { below(self.minutes, minute) * seconds + of_minute } else { 0 };
        below(hours, hour) * an_hour + of_hour
    }

    /// Returns the first day after `today` that matches, counted from 1970-01-01.
    fn day_after(&self, today: NaiveDate) -> Option<i64> {
        let (mut year, mut month) = (today.year(), today.month());
        let mut later = above(today.day());
        for _ in 0..=MONTHS_OF_CYCLE {
            if self.has_month(month) {
                let days = self.days_of(year, month) & later;
                if days != 0 {
                    let found = NaiveDate::from_ymd_opt(year, month, days.trailing_zeros())?;
                    return Some(i64::from(found.to_epoch_days()));
                }
            }
            later = !0;
            (year, month) = if month == 12 { (year.checked_add(1)?, 1) } else { (year, month + 1) };
        }
        None
    }

    /// Returns the first second of a day, from its `time`th on, that matches.
    fn time_from(&self, time: i64) -> Option<i64> {
        let time = u32::try_from(time).expect("a day has 86,400 seconds");
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        let (hours, minutes) = (u64::from(self.hours), self.minutes);
        let (earliest_minute, earliest_second) = (minutes.trailing_zeros(), self.seconds().trailing_zeros());
        let at = |hour: u32, minute: u32, second: u32| Some(i64::from(hour * 3600 + minute * 60 + second));
        if has(hours, hour) {
            let seconds = self.seconds() & (!0 << second);
            if has(minutes, minute) && seconds != 0 {
                return at(hour, minute, seconds.trailing_zeros());
            }
            let later = minutes & above(minute);
            if later != 0 {
                return at(hour, later.trailing_zeros(), earliest_second);
            }
        }
        let later = hours & above(hour);
        if later == 0 { None } else { at(later.trailing_zeros(), earliest_minute, earliest_second) }
    }

    /// Returns the days of a month that match, without regard to the month field.
    fn days_of(&self, year: i32, month: u32) -> u64 {
        let Some(first) = NaiveDate::from_ymd_opt(year, month, 1) else { return 0 };
        let length = u32::from(first.num_days_in_month());
        // The pattern of the week is laid end to end over the month and shifted so that bit 1 is the weekday of the
        // 1st.
        let turn = first.weekday().num_days_from_sunday();
        let mut days = u64::from(self.days);
        let mut weeks = ((u64::from(self.weekdays) * SIX_WEEKS) >> turn) << 1;
        if let Some(counted) = self.counted() {
            days |= counted.dates(turn, length);
            weeks |= counted.weekdays(turn, length);
        }
        let days = match self.join {
            Days::Both => days & weeks,
            Days::Either => days | weeks,
        };
        days & ((1 << (length + 1)) - 2)
    }

    fn has_month(&self, month: u32) -> bool {
        has(u64::from(self.months), month)
    }
}

fn has(set: u64, value: u32) -> bool {
    set & (1 << value) != 0
}

/// Returns the set of all values greater than this one.
fn above(value: u32) -> u64 {
    !0 << (value + 1)
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

//! Which minutes of a wall clock a crontab means. Knows dates, but neither zones nor instants.
//!
//! A wall clock's minutes are numbered from 1970-01-01 00:00 *on that clock*, so that arithmetic on them is plain.

use chrono::{Datelike, NaiveDate};

const MINUTES_OF_DAY: i64 = 24 * 60;

/// The Gregorian calendar repeats after so many months, weekdays included: what does not come by then never comes.
const MONTHS_OF_CYCLE: u32 = 400 * 12;

/// How the two day fields go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// A day must be in both: one of the fields begins with `*`.
    Both,
    /// It is enough that a day is in one of them.
    Either,
}

/// The five fields as sets: bit n stands for the value n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    /// 0 to 59.
    pub(super) minutes: u64,
    /// 0 to 23.
    pub(super) hours: u64,
    /// 1 to 31.
    pub(super) days: u64,
    /// 1 to 12.
    pub(super) months: u64,
    /// 0 to 6, Sunday is 0.
    pub(super) weekdays: u64,
    /// How `days` and `weekdays` go together.
    pub(super) join: Days,
}

impl Calendar {
    /// Whether a wall clock's minute is meant.
    pub(super) fn contains(&self, minute: i64) -> bool {
        let (day, time) = (minute.div_euclid(MINUTES_OF_DAY), minute.rem_euclid(MINUTES_OF_DAY));
        date(day).is_some_and(|date| {
            has(self.months, date.month())
                && has(self.days_of(date.year(), date.month()), date.day())
                && self.time_from(time) == Some(time)
        })
    }

    /// The first minute after `minute` that is meant; `None` if there is none (or chrono's calendar ends before).
    pub(super) fn next_after(&self, minute: i64) -> Option<i64> {
        let first = minute.checked_add(1)?;
        let (day, time) = (first.div_euclid(MINUTES_OF_DAY), first.rem_euclid(MINUTES_OF_DAY));
        let today = date(day)?;
        if has(self.months, today.month())
            && has(self.days_of(today.year(), today.month()), today.day())
            && let Some(time) = self.time_from(time)
        {
            return Some(day * MINUTES_OF_DAY + time);
        }
        Some(self.day_after(today)? * MINUTES_OF_DAY + self.time_from(0)?)
    }

    /// The first day after `today` that is meant, counted from 1970-01-01.
    fn day_after(&self, today: NaiveDate) -> Option<i64> {
        let (mut year, mut month) = (today.year(), today.month());
        let mut later = !0_u64 << (today.day() + 1);
        for _ in 0..=MONTHS_OF_CYCLE {
            if has(self.months, month) {
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

    /// The first minute of a day, from its `time`th on, that is meant.
    fn time_from(&self, time: i64) -> Option<i64> {
        let (hour, minute) = (time / 60, time % 60);
        let minutes = self.minutes & (!0 << minute);
        if minutes != 0 && self.hours & (1 << hour) != 0 {
            return Some(hour * 60 + i64::from(minutes.trailing_zeros()));
        }
        let hours = self.hours & (!0 << (hour + 1));
        (hours != 0).then(|| i64::from(hours.trailing_zeros() * 60 + self.minutes.trailing_zeros()))
    }

    /// The days of a month that are meant, the month itself not considered.
    fn days_of(&self, year: i32, month: u32) -> u64 {
        let Some(first) = NaiveDate::from_ymd_opt(year, month, 1) else { return 0 };
        let length = u32::from(first.num_days_in_month());
        // A week's pattern, turned so that bit 1 is the weekday of the 1st, and laid end to end over the month.
        let turn = first.weekday().num_days_from_sunday();
        let week = ((self.weekdays >> turn) | (self.weekdays << (7 - turn))) & 0x7f;
        let weeks = (0..5).fold(0, |weeks, n| weeks | (week << (1 + 7 * n)));
        let days = match self.join {
            Days::Both => self.days & weeks,
            Days::Either => self.days | weeks,
        };
        days & ((1 << (length + 1)) - 2)
    }
}

fn has(set: u64, value: u32) -> bool {
    set & (1 << value) != 0
}

fn date(day: i64) -> Option<NaiveDate> {
    NaiveDate::from_epoch_days(i32::try_from(day).ok()?)
}

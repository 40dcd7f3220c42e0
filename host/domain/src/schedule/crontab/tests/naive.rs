//! Reads a crontab as the manual page describes it, value by value, for comparison with the real parser. It uses
//! neither bits nor leaps nor the code under test, and reads only well-formed texts without `H`.

use chrono::{DateTime, Datelike, Timelike};

pub(super) struct Naive {
    seconds: Vec<bool>,
    minutes: Vec<bool>,
    hours: Vec<bool>,
    days: Vec<bool>,
    months: Vec<bool>,
    /// 0 to 7; both Sundays are alike.
    weekdays: Vec<bool>,
    either: bool,
    /// Whether the job follows the clock.
    pub(super) wild: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Naive {
    /// Reads five fields, or six, the first of which are seconds.
    pub(super) fn read(text: &str) -> Self {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (seconds, fields) = if fields.len() == 6 { (fields[0], &fields[1..]) } else { ("0", &fields[..]) };
        let [minutes, hours, days, months, weekdays] = <[&str; 5]>::try_from(fields).unwrap();
        let star = |field: &str| field.starts_with('*');
        let mut weekday_values = values(weekdays, 0, 7, &WEEKDAYS);
        let sunday = weekday_values[0] || weekday_values[7];
        (weekday_values[0], weekday_values[7]) = (sunday, sunday);
        Self {
            seconds: values(seconds, 0, 59, &[]),
            minutes: values(minutes, 0, 59, &[]),
            hours: values(hours, 0, 23, &[]),
            days: values(days, 1, 31, &[]),
            months: values(months, 1, 12, &MONTHS),
            weekdays: weekday_values,
            either: !star(days) && !star(weekdays),
            wild: star(seconds) || star(minutes) || star(hours),
        }
    }

    /// Returns whether the second `shown`, counted from 1970-01-01 00:00 on a wall clock, matches.
    pub(super) fn means(&self, shown: i64) -> bool {
        let at = DateTime::from_timestamp(shown, 0).unwrap().naive_utc();
        self.means_time(at.hour(), at.minute(), at.second())
            && self.matches_day(at.day(), at.month(), at.weekday().num_days_from_sunday())
    }

    pub(super) fn means_time(&self, hour: u32, minute: u32, second: u32) -> bool {
        self.minutes[minute as usize] && self.hours[hour as usize] && self.seconds[second as usize]
    }

    pub(super) fn matches_day(&self, day: u32, month: u32, weekday: u32) -> bool {
        let (day, weekday) = (self.days[day as usize], self.weekdays[weekday as usize]);
        self.months[month as usize] && if self.either { day || weekday } else { day && weekday }
    }
}

/// Returns which values from 0 to `high` are in a field.
fn values(text: &str, low: usize, high: usize, names: &[&str]) -> Vec<bool> {
    let number = |text: &str| {
        let named = names.iter().position(|name| *name == text.to_lowercase());
        named.map_or_else(|| text.parse().unwrap(), |at| at + low)
    };
    let mut values = vec![false; high + 1];
    for item in text.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first), number(last)),
            None if range == "*" => (low, high),
            None => (number(range), number(range)),
        };
        let step: usize = step.parse().unwrap();
        let mut value = first;
        while value <= last {
            values[value] = true;
            value += step;
        }
    }
    values
}

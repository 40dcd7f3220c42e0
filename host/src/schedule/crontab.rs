//! crontab(5): five fields, or a macro, read as cronie reads them.
//!
//! The fields are checked here, with messages for people, and rewritten in the plainer dialect of the `cron` crate,
//! which expands them. That crate counts Sunday as 1, wants seconds, takes both day fields together, and takes `5/15`
//! for a range: nothing of that is ever shown to it, nor is any instant of a zone.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use chrono_tz::Tz;
use cron::{Schedule, TimeUnitSpec};

use super::calendar::{Calendar, Days};
use super::walk;
use crate::time::Timestamp;

/// A five-field crontab(5) expression, or one of the macros `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`,
/// `@yearly` and `@annually`.
///
/// Lists, ranges, steps, names of months and days in any case, 0 and 7 for Sunday. Where neither day field begins with
/// `*`, it is enough that a day is in one of them. Unlike cronie, what follows a `*` must be a step, and `@reboot` is
/// no schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crontab {
    text: String,
    calendar: Calendar,
    /// Minute or hour begins with `*`: the job follows the clock when that is set.
    wild: bool,
}

/// Why a text is not a crontab expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCrontab {
    /// Too few fields, or too many.
    #[error("`{text}` has {found}, a crontab has five: minute hour day-of-month month day-of-week{hint}")]
    Fields {
        /// What was read.
        text: String,
        /// `1 field`, `6 fields`.
        found: String,
        /// What may have been meant.
        hint: &'static str,
    },
    /// A macro that does not exist.
    #[error("`{0}` is no crontab macro; use @hourly, @daily, @midnight, @weekly, @monthly, @yearly or @annually{1}")]
    Macro(String, &'static str),
    /// A field with something wrong in it.
    #[error("{field} `{text}`: {problem}; use {allowed}")]
    Field {
        /// Which field: `minute`, `day-of-week`, ...
        field: &'static str,
        /// All of the field.
        text: String,
        /// What is wrong with it.
        problem: String,
        /// What may stand there.
        allowed: &'static str,
    },
    /// There is no such date.
    #[error("`{0}` never comes; use days that these months have")]
    Never(String),
}

/// A macro stands for five fields.
const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// What one of the five fields may hold.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    /// Names of the values from `low` on.
    names: &'static [&'static str],
    allowed: &'static str,
    /// The value as the `cron` crate has it.
    foreign: fn(u32) -> u32,
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        low: 0,
        high: 59,
        names: &[],
        allowed: "0-59, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "hour",
        low: 0,
        high: 23,
        names: &[],
        allowed: "0-23, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "day-of-month",
        low: 1,
        high: 31,
        names: &[],
        allowed: "1-31, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "month",
        low: 1,
        high: 12,
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        allowed: "1-12, jan-dec, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        foreign: same,
    },
    Field {
        name: "day-of-week",
        low: 0,
        high: 7,
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        allowed: "0-7 (0 and 7 are Sunday), sun-sat, `*`, `a-b`, `*/n`, `a-b/n` or a list of them",
        foreign: |day| day % 7 + 1,
    },
];

fn same(value: u32) -> u32 {
    value
}

impl Crontab {
    /// Read an expression.
    ///
    /// # Errors
    ///
    /// [`BadCrontab`], which points at the field and says what may stand there; also for a date that never comes, such
    /// as the 31st of February.
    pub fn parse(text: &str) -> Result<Self, BadCrontab> {
        let plain = text.trim_matches([' ', '\t']);
        let plain = if plain.starts_with('@') { expand_macro(plain)? } else { plain };
        let fields: Vec<&str> = plain.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
        let Ok(fields) = <[&str; 5]>::try_from(fields.as_slice()) else {
            let found = if fields.len() == 1 { "1 field".into() } else { format!("{} fields", fields.len()) };
            let hint = if matches!(fields.len(), 6 | 7) { " (seconds and years are no part of it)" } else { "" };
            return Err(BadCrontab::Fields { text: excerpt(plain), found, hint });
        };
        let calendar = expand(fields)?;
        // Any day will do to look from: the search goes once around the calendar.
        if calendar.next_after(0).is_none() {
            return Err(BadCrontab::Never(excerpt(plain)));
        }
        let wild = fields[0].starts_with('*') || fields[1].starts_with('*');
        Ok(Self { text: text.to_owned(), calendar, wild })
    }

    /// The first instant after `after`, by the clocks of `zone`; `None` if there is none before the calendar ends.
    ///
    /// Changes of the clock are treated as by Vixie's cron. A job whose minute or hour begins with `*` follows the clock.
    /// Any other that falls into a gap of up to three hours is due once right after it, and is not due again when the
    /// clock is set back by up to three hours. Allocates nothing.
    pub fn next_after(&self, zone: Tz, after: Timestamp) -> Option<Timestamp> {
        let second = walk::next_after(&self.calendar, self.wild, zone, after.as_millis().div_euclid(1000))?;
        Some(Timestamp::from_millis(second.checked_mul(1000)?))
    }
}

/// What an explanation needs to know.
impl Crontab {
    /// The minutes of a wall clock that are meant.
    pub(super) fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Whether it follows the clock when that is set.
    pub(super) fn follows_clock(&self) -> bool {
        self.wild
    }

    /// The first wall-clock minute in `minutes`, counted from 1970-01-01 00:00 on that clock, that is meant.
    pub(super) fn first_meant(&self, minutes: std::ops::Range<i64>) -> Option<i64> {
        self.calendar.next_after(minutes.start.checked_sub(1)?).filter(|minute| *minute < minutes.end)
    }
}

impl FromStr for Crontab {
    type Err = BadCrontab;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The expression as it was written.
impl fmt::Display for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

fn expand_macro(text: &str) -> Result<&'static str, BadCrontab> {
    MACROS.iter().find(|(name, _)| *name == text).map(|(_, fields)| *fields).ok_or_else(|| {
        let hint = if text == "@reboot" { " (for a run at every start: `on-start = true`)" } else { "" };
        BadCrontab::Macro(excerpt(text), hint)
    })
}

/// Check the fields, have the `cron` crate expand them, and keep what comes out as bits.
fn expand(fields: [&str; 5]) -> Result<Calendar, BadCrontab> {
    let foreign = translate(fields)?;
    let schedule = Schedule::from_str(&foreign).map_err(|e| BadCrontab::Field {
        field: "crontab",
        text: excerpt(&fields.join(" ")),
        problem: e.to_string().lines().collect::<Vec<_>>().join(" "),
        allowed: "five fields as in crontab(5)",
    })?;
    let [_, _, days, _, weekdays] = fields;
    Ok(Calendar {
        minutes: bits(schedule.minutes()),
        hours: bits(schedule.hours()),
        days: bits(schedule.days_of_month()),
        months: bits(schedule.months()),
        weekdays: bits(schedule.days_of_week()) >> 1, // there, Sunday is 1
        join: if days.starts_with('*') || weekdays.starts_with('*') { Days::Both } else { Days::Either },
    })
}

fn bits(values: &impl TimeUnitSpec) -> u64 {
    values.iter().fold(0, |bits, value| bits | (1 << value))
}

/// The fields in the `cron` crate's dialect: seconds first, no names, no steps beyond a range, Sunday is 1.
pub(super) fn translate(fields: [&str; 5]) -> Result<String, BadCrontab> {
    let mut foreign = String::from("0");
    for (field, text) in FIELDS.iter().zip(fields) {
        let mut separator = ' ';
        for item in text.split(',') {
            let (first, last, step) = field.item(item).map_err(|problem| BadCrontab::Field {
                field: field.name,
                text: excerpt(text),
                problem,
                allowed: field.allowed,
            })?;
            let mut point = |value| {
                write!(foreign, "{separator}{}", (field.foreign)(value)).expect("a String takes all that is written");
                separator = ',';
            };
            // Value by value where the dialects' numbers do not run side by side: a step beyond the end, Sunday as 7.
            if (field.foreign)(first) + (last - first) != (field.foreign)(last) || step > last - first {
                (first..=last).step_by(step as usize).for_each(point);
            } else {
                point(first);
                write!(foreign, "-{}/{step}", (field.foreign)(last)).expect("a String takes all that is written");
            }
        }
    }
    Ok(foreign)
}

impl Field {
    /// First, last and step of one item of a list.
    fn item(&self, item: &str) -> Result<(u32, u32, u32), String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.low, self.high),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None if step.is_some() => {
                return Err(format!("a step needs a range before it (`{}-{}/n` or `*/n`)", excerpt(range), self.high));
            }
            None => {
                let value = self.value(range)?;
                (value, value)
            }
        };
        if first > last {
            return Err(format!("`{}` runs backwards", excerpt(range)));
        }
        Ok((first, last, step.unwrap_or(1)))
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text
                .parse()
                .ok()
                .filter(|value| (self.low..=self.high).contains(value))
                .ok_or_else(|| format!("`{}` is out of range", excerpt(text)));
        }
        let named = self.names.iter().zip(self.low..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        named.map(|(_, value)| value).ok_or_else(|| match text {
            "" => "a value is missing".into(),
            _ => format!("`{}` is no value", excerpt(text)),
        })
    }

    fn step(&self, text: &str) -> Result<u32, String> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        // A step that is too large for the type is just as good as the largest: only the first value is left.
        let step = if digits { text.parse().unwrap_or(u32::MAX) } else { 0 };
        if step == 0 { Err(format!("`{}` is no step, which is 1 or more", excerpt(text))) } else { Ok(step) }
    }
}

/// The beginning of a text that a message quotes, on one line.
fn excerpt(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect()
}

#[cfg(test)]
mod tests;

//! Reads crontab(5): five fields, or a macro, as cronie reads them. Beyond cronie it knows seconds, a place in the hour
//! that depends on a name (`H`), days counted from a month's end or by its weeks (`L`, `W`, `#`), a zone, and a choice
//! of what happens when the clocks change.
//!
//! The reference is cronie at its commit e6c2853 (May 2025), after its release 1.7.2. It is the first in which a range
//! ends on Sunday again (`fri-sun`, `6-0`) and in which only a step may follow a `*`.

mod counting;
mod error;
mod expand;
mod field;
mod occurrence;
mod spread;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono_tz::Tz;

pub use error::BadCrontab;
use error::LONGEST;
use error::excerpt;
use expand::expand;
use field::{DAYS, FIELDS, WEEKDAYS, is_spread};

use super::calendar::{Calendar, Days, Extras, FIRST_SECOND};
use super::counted::Counted;
use super::dst::{self, Count, Job};
use super::zones::zone_named;
use crate::time::Timestamp;

/// The most seconds that are counted: 50 years of 366 days. A host is not down for longer.
const LONGEST_COUNT: i64 = 50 * 366 * 24 * 3600;

/// The most instants near changes of the clock that are counted one by one. A crontab that fires every minute has 360
/// after each change, so this is enough for fifty years of two changes each.
const AROUND_CHANGES: u64 = 40_000;

/// A crontab(5) expression: minute, hour, day-of-month, month and day-of-week, or one of the macros `@hourly`,
/// `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and `@annually`.
///
/// It knows lists, ranges (also `fri-sun`), steps, names of months and days in any case, 0 and 7 for Sunday, and `a~b`,
/// one value of a range. If neither day field begins with `*`, a day needs to be in only one of them. Unlike in cronie,
/// `a~b` is the same value for ever, a range that runs backwards is refused (cronie accepts it, but then it is never
/// due), and `@reboot` is no schedule.
///
/// Beyond cronie it knows these:
///
/// - systemd's words (`hourly`, `quarterly`);
/// - counted days (`L`, `15W`, `fri#2`);
/// - `CRON_TZ=Europe/Berlin ` or `TZ=Europe/Berlin ` before the fields, which names the zone whose clocks count;
/// - `H`, `H(a-b)`, `H/n` and `H(a-b)/n`, values that a name spreads ([`Crontab::for_name`]);
/// - a field for seconds before the others ([`Crontab::parse_with_seconds`]).
///
/// It takes 56 bytes, besides its text and the rare parts, which clones share, because a host may hold a million.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crontab {
    text: Arc<str>,
    calendar: Calendar,
    zone: Option<Tz>,
    dst: Dst,
    /// Whether the text was read as six fields.
    seconds: bool,
    /// Whether second, minute or hour begins with `*`. Such a job follows the clock when the clock is set.
    wild: bool,
    /// Whether the text has an `H` or a `~`.
    spread: bool,
}

/// Policy for changes of the clocks in a crontab's zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dst {
    /// Follows Vixie's cron. A crontab whose second, minute or hour begins with `*` follows the clock. A fixed time
    /// that falls into a gap is due once right after the gap, and one that comes twice is due the first time only. A
    /// change by more than three hours, or a gap of exactly three, is a new clock: skipped times are not made up for,
    /// and repeated times are due again.
    #[default]
    Vixie,
    /// Does the same, but leaves out times that fall into a gap.
    Skip,
    /// Reads the fields in UTC, whatever the zone is, so no change affects them.
    Utc,
}

/// The number of fields that is expected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Minutes,
    Seconds,
}

/// Macros, each of which stands for five fields.
const MACROS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Words of systemd.time(7), in any case, which stand for five fields as well. Weeks begin on Monday there, and on
/// Sunday in cron.
const WORDS: [(&str, &str); 9] = [
    ("minutely", "* * * * *"),
    ("hourly", "0 * * * *"),
    ("daily", "0 0 * * *"),
    ("weekly", "0 0 * * 1"),
    ("monthly", "0 0 1 * *"),
    ("quarterly", "0 0 1 1,4,7,10 *"),
    ("semiannually", "0 0 1 1,7 *"),
    ("yearly", "0 0 1 1 *"),
    ("annually", "0 0 1 1 *"),
];

impl Crontab {
    /// Reads an expression of five fields. An `H` is placed as for a task without a name until a name is set.
    ///
    /// # Errors
    ///
    /// [`BadCrontab`], which points at the field and says what may stand there. A date that never comes, such as the
    /// 31st of February, is an error too. The message is one line of less than 300 bytes.
    pub fn parse(text: &str) -> Result<Self, BadCrontab> {
        Self::read(text, Form::Minutes, "")
    }

    /// Reads an expression of six fields, the first of which is the second of the minute. A macro is due at second 0.
    ///
    /// # Errors
    ///
    /// Those of [`Crontab::parse`].
    pub fn parse_with_seconds(text: &str) -> Result<Self, BadCrontab> {
        Self::read(text, Form::Seconds, "")
    }

    /// Places each `H` and `~` as `name` has it. The result is the same on every host and in every version of Sexton.
    #[must_use]
    pub fn for_name(&self, name: &str) -> Self {
        if !self.spread {
            return self.clone();
        }
        let form = if self.seconds { Form::Seconds } else { Form::Minutes };
        let Ok(named) = Self::read(&self.text, form, name) else {
            debug_assert!(false, "`{}` is refused under the name `{name}`, and was not under another", self.text);
            return self.clone();
        };
        Self { text: Arc::clone(&self.text), dst: self.dst, ..named }
    }

    /// Replaces the policy for changes of the clock.
    #[must_use]
    pub fn with_dst(self, dst: Dst) -> Self {
        Self { dst, ..self }
    }

    /// Returns the policy for changes of the clock.
    pub fn dst(&self) -> Dst {
        self.dst
    }

    /// Returns the zone that the text names itself. It takes precedence over the task's.
    pub fn zone(&self) -> Option<Tz> {
        self.zone
    }

    /// Returns whether the text has six fields. Then [`Crontab::parse_with_seconds`] reads it and [`Crontab::parse`]
    /// does not, except for macros.
    pub fn has_seconds(&self) -> bool {
        self.seconds
    }

    /// Returns whether the text has an `H` or a `~`, whose place differs for each name.
    pub fn has_place_of_its_own(&self) -> bool {
        self.spread
    }

    /// Returns the first instant after `after`, by the clocks of its own zone or else of `zone`; `None` if there is
    /// none before the calendar ends. [`Dst`] tells what happens when those clocks are set. Allocates nothing.
    pub fn next_after(&self, zone: Tz, after: Timestamp) -> Option<Timestamp> {
        let after = after.as_millis().div_euclid(1000);
        let second = match self.dst {
            Dst::Utc => self.calendar.next_after(after)?,
            Dst::Vixie | Dst::Skip => dst::next_after(self.job(), self.zone.unwrap_or(zone), after)?,
        };
        Some(Timestamp::from_millis(second.checked_mul(1000)?))
    }

    /// Counts the instants in `(after, to]` without stepping through them: a year of minutes takes less than a
    /// millisecond. Counts no further than [`LONGEST_COUNT`] after `after`, so that a wrong clock costs nothing.
    pub(super) fn count(&self, zone: Tz, after: Timestamp, to: Timestamp) -> Count {
        let second = |at: Timestamp| at.as_millis().div_euclid(1000);
        let (after, wanted) = (second(after), second(to));
        let to = wanted.min(after.saturating_add(LONGEST_COUNT));
        let count = match self.dst {
            Dst::Utc => Count { instants: self.calendar.count(after, to), complete: true },
            Dst::Vixie | Dst::Skip => dst::count(self.job(), self.zone.unwrap_or(zone), after, to, AROUND_CHANGES),
        };
        Count { complete: count.complete && to == wanted, ..count }
    }

    fn job(&self) -> Job<'_> {
        Job { calendar: &self.calendar, wild: self.wild, makes_up: self.dst == Dst::Vixie }
    }

    fn read(text: &str, form: Form, name: &str) -> Result<Self, BadCrontab> {
        if text.len() > LONGEST {
            return Err(BadCrontab::Long(text.len()));
        }
        let (zone, plain) = own_zone(text.trim_matches(BLANKS))?;
        let fields = match expand_macro(plain)? {
            Some(fields) => split(fields, Form::Minutes)?,
            None => split(plain, form)?,
        };
        let [second, minute, hour, days, _, weekdays] = fields;
        let mut sets = [0; 6];
        for (at, set) in sets.iter_mut().enumerate() {
            *set = if at == 0 && second == "0" { FIRST_SECOND } else { expand(at, fields[at], name)? };
        }
        let counted = FIELDS[DAYS].counted(days)?.with(FIELDS[WEEKDAYS].counted(weekdays)?);
        let join = if days.starts_with('*') || weekdays.starts_with('*') { Days::Both } else { Days::Either };
        let calendar = calendar(sets, counted, join);
        if let Some(hint) = occurrence::never(&calendar, fields) {
            return Err(BadCrontab::Never(excerpt(plain), hint));
        }
        Ok(Self {
            text: text.into(),
            calendar,
            zone,
            dst: Dst::default(),
            seconds: form == Form::Seconds,
            wild: [second, minute, hour].iter().any(|field| field.starts_with('*')),
            spread: fields.iter().any(|field| is_spread(field)),
        })
    }
}

/// Accessors for [`explain`](super::explain).
impl Crontab {
    /// Returns the seconds of a wall clock that match.
    pub(super) fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Returns whether the crontab follows the clock when the clock is set.
    pub(super) fn follows_clock(&self) -> bool {
        self.wild
    }

    /// Returns the first wall-clock second in `seconds` that matches, counted from 1970-01-01 00:00:00 on that clock.
    pub(super) fn first_match(&self, seconds: std::ops::Range<i64>) -> Option<i64> {
        self.calendar.next_after(seconds.start.checked_sub(1)?).filter(|second| *second < seconds.end)
    }
}

impl FromStr for Crontab {
    type Err = BadCrontab;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Prints the expression as it was written.
impl fmt::Display for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// Splits off the zone that `CRON_TZ=` or `TZ=` names before the fields. Returns it and the rest.
fn own_zone(text: &str) -> Result<(Option<Tz>, &str), BadCrontab> {
    for variable in ["CRON_TZ", "TZ"] {
        let Some(rest) = text.strip_prefix(variable).and_then(|rest| rest.strip_prefix('=')) else { continue };
        let (name, fields) = rest.split_once(BLANKS).unwrap_or((rest, ""));
        let zone = zone_named(name).map_err(|meant| BadCrontab::Zone { variable, text: excerpt(name), meant })?;
        return Ok((Some(zone), fields.trim_start_matches(BLANKS)));
    }
    Ok((None, text))
}

/// Returns the five fields that a macro or a word stands for; `None` if the text is neither.
fn expand_macro(text: &str) -> Result<Option<&'static str>, BadCrontab> {
    let known = MACROS.iter().find(|(name, _)| *name == text);
    let known = known.or_else(|| WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)));
    match known {
        Some((_, fields)) => Ok(Some(fields)),
        None if text.starts_with('@') => {
            let hint = match text {
                "@reboot" => " (for a run at every start: `on-start = true`)",
                _ if text.starts_with("@every") => " (`@every 5m` stands alone and has no zone)",
                _ => "",
            };
            Err(BadCrontab::Macro(excerpt(text), hint))
        }
        None => Ok(None),
    }
}

/// Splits a text into six fields. The first is `0` if the form has five.
fn split(text: &str, form: Form) -> Result<[&str; 6], BadCrontab> {
    let mut fields = ["0"; 6];
    let first = if form == Form::Seconds { 0 } else { 1 };
    let mut found = 0;
    for field in text.split(BLANKS).filter(|field| !field.is_empty()) {
        if let Some(place) = fields.get_mut(first + found) {
            *place = field;
        }
        found += 1;
    }
    if first + found == fields.len() {
        return Ok(fields);
    }
    let wanted = match form {
        Form::Minutes => "has five: minute hour day-of-month month day-of-week",
        Form::Seconds => "with seconds has six: second minute hour day-of-month month day-of-week",
    };
    let hint = match (form, found) {
        (Form::Minutes, 6) => " (seconds are for `cron-seconds`)",
        (Form::Seconds, 5) => " (without seconds it is for `cron`)",
        (_, 7) => " (a crontab has no years)",
        _ => "",
    };
    let found = if found == 1 { "1 field".into() } else { format!("{found} fields") };
    Err(BadCrontab::Fields { text: excerpt(text), found, wanted, hint })
}

fn calendar(sets: [u64; 6], counted: Counted, join: Days) -> Calendar {
    const FITS: &str = "a value of a field is one of those that the field may hold";
    let [seconds, minutes, hours, days, months, weekdays] = sets;
    let usual = seconds == FIRST_SECOND && counted.is_empty();
    Calendar {
        extras: (!usual).then(|| Arc::new(Extras { seconds, counted })),
        minutes,
        hours: u32::try_from(hours).expect(FITS),
        days: u32::try_from(days).expect(FITS),
        months: u16::try_from(months).expect(FITS),
        weekdays: u8::try_from(weekdays).expect(FITS),
        join,
    }
}

#[cfg(test)]
mod tests;

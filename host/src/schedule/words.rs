//! An instant in people's words: as at(1) has them, with the usual dates, lengths of time and zones.
//!
//! | written | meant |
//! |---|---|
//! | `2027-03-28T14:30:00+02:00` | RFC 3339; seconds may be left out |
//! | `2027-03-28 14:30`, `28.03.2027 14:30`, `03/28/2027 2:30pm`, `28 march 2027` | by the clocks of the zone |
//! | `14:30`, `2:30pm`, `4am`, `noon`, `midnight`, `teatime` (16:00) | the next time it comes |
//! | `today 14:30`, `tomorrow 4am`, `friday 17:00`, `jul 4 noon` | that day, the next time it comes |
//! | `next friday` | the first Friday after today, so never today |
//! | `now`, `now + 10 minutes`, `in 1h 30m`, `next week`, `next month` | from now; `next` is `+ 1` |
//! | `tomorrow 4am + 2 hours` | sums with `+` and `-` after anything |
//! | `14:30 UTC`, `tomorrow noon Europe/Berlin` | by the clocks of that zone |
//!
//! A day without a time is 00:00 of that day (at(1) takes the time of day that it is: a date would mean another instant
//! at each reading). Seconds, minutes and hours are lengths of time; days, weeks, months and years are counted on the
//! calendar, at the same time of day, and a day that a month does not have becomes its last. A time that the clock skips
//! is the first instant after the gap; one that comes twice is the first of them that is ahead.
//!
//! Of the words of at(1), four digits as a time (`1430`) are not taken, as they would be a year after a month, nor
//! years of two digits. Libraries that read such texts know offsets, but no zones with gaps and folds, or guess at
//! what they do not understand; a run at the wrong hour is worse than an error.

mod reading;

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;

use super::local::{local, shown};
use crate::time::Timestamp;
use reading::{Day, Reading, Shift, Unit};

/// The longest text that is read, in bytes.
const LONGEST: usize = 120;

/// Why a text means no instant. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    /// Nothing is written.
    #[error("no instant is written; write one such as `2027-03-28 14:30`, `tomorrow 4am` or `now + 10 minutes`")]
    Empty,
    /// It is longer than anything that could be meant.
    #[error("an instant has at most {LONGEST} characters, this text has {0}")]
    Long(usize),
    /// A word that means nothing where it stands.
    #[error("`{word}` is not understood; {wanted}")]
    Word {
        /// The word.
        word: String,
        /// What may stand there.
        wanted: &'static str,
    },
    /// The text ends too early.
    #[error("something is missing after `{after}`; {wanted}")]
    Missing {
        /// The last word.
        after: String,
        /// What may stand there.
        wanted: &'static str,
    },
    /// ISO 8601 allows it, RFC 3339 does not, and it looks like a sum of words.
    #[error("the offset of `{text}` has no colon; write `{colon}`")]
    Offset {
        /// What is written.
        text: String,
        /// The same with a colon.
        colon: String,
    },
    /// Two words say the same kind of thing.
    #[error("`{word}` says {what} once more; leave one of them out")]
    Twice {
        /// The later of them.
        word: String,
        /// `the day`, `the time` or `the zone`.
        what: &'static str,
    },
    /// There is no such day or time.
    #[error("there is no `{0}`; {1}")]
    Nothing(String, &'static str),
    /// Words that mean the future, of which none is left.
    #[error("`{text}` has passed: it is {now}; write a later time, or a whole date if the past is meant")]
    Passed {
        /// What was written.
        text: String,
        /// The time it is, in the zone.
        now: String,
    },
    /// It depends on when it is read.
    #[error("`{0}` means another instant each time it is read; write a date such as `2027-03-28 14:30`")]
    Relative(String),
    /// Beyond the calendar.
    #[error("`{0}` is beyond the years 1 to 9999; write an instant within them")]
    Far(String),
}

/// The instant that `text` means to somebody in `zone` at `now`.
///
/// A whole date may have passed, then the instant is before `now`; what the caller makes of that is its business. All
/// other words mean the future, or `now` itself.
///
/// # Errors
///
/// [`BadWords`], one line that says which word was not understood and what may stand there.
pub fn instant(text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, BadWords> {
    Words::read(text)?.instant(zone, now)
}

/// The time that `text` names, if the clock skips it: then `at`, the [`instant`] that it means, is one after the gap.
pub(super) fn skipped(text: &str, zone: Tz, at: Timestamp) -> Option<(NaiveTime, NaiveTime)> {
    Words::read(text).ok()?.skipped(zone, at)
}

/// The same as one line for people.
pub fn displaced(text: &str, zone: Tz, at: Timestamp) -> Option<String> {
    Words::read(text).ok()?.displaced(zone, at)
}

/// An instant that does not depend on when it is read: RFC 3339, or a whole date on the clocks of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absolute(Words);

impl Absolute {
    /// Read the words of [`instant`] that begin with a whole date.
    ///
    /// # Errors
    ///
    /// [`BadWords`], as for [`instant`], and for words such as `tomorrow`.
    pub fn read(text: &str) -> Result<Self, BadWords> {
        let words = Words::read(text)?;
        match &words.meaning {
            Meaning::Instant(_) => {}
            Meaning::Read(Reading { day: Some(Day::Date(_)), .. }) => {}
            Meaning::Read(_) => return Err(BadWords::Relative(words.text)),
        }
        // What is beyond the calendar in one zone is so in all, but for a day.
        words.instant(Tz::UTC, Timestamp::default())?;
        Ok(Self(words))
    }

    /// What to say if the clock skips the time that is written, so that another is meant; one line.
    pub fn displaced(&self, zone: Tz) -> Option<String> {
        self.0.displaced(zone, self.instant(zone).ok()?)
    }

    /// The instant, by the clocks of `zone` unless the text names another.
    ///
    /// # Errors
    ///
    /// [`BadWords::Far`].
    pub fn instant(&self, zone: Tz) -> Result<Timestamp, BadWords> {
        self.0.instant(zone, Timestamp::default())
    }
}

/// Words that were understood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    /// The beginning of the text, on one line.
    text: String,
    meaning: Meaning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    Instant(Timestamp),
    Read(Reading),
}

impl Words {
    fn read(text: &str) -> Result<Self, BadWords> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(BadWords::Long(text.chars().count()));
        }
        let meaning = match offset_instant(text) {
            Some(at) => Meaning::Instant(at),
            None if let Some(colon) = with_colon(text) => {
                return Err(BadWords::Offset { text: excerpt(text), colon });
            }
            None => Meaning::Read(reading::read(text)?),
        };
        Ok(Self { text: excerpt(text), meaning })
    }

    /// The time that is written and the one that the clock shows at `at` instead, if it skips that.
    fn skipped(&self, zone: Tz, at: Timestamp) -> Option<(NaiveTime, NaiveTime)> {
        let Meaning::Read(reading) = &self.meaning else { return None };
        let shown = local(reading.zone.unwrap_or(zone), at)?.time();
        let named = match (reading.time, reading.day) {
            (Some(time), _) => time,
            (None, Some(Day::Now | Day::Next(_)) | None) => return None,
            (None, Some(_)) => NaiveTime::MIN,
        };
        (reading.shifts.is_empty() && named != shown).then_some((named, shown))
    }

    /// What to say if the clock skips the time that is written, and `at` is meant.
    fn displaced(&self, zone: Tz, at: Timestamp) -> Option<String> {
        let (skipped, meant) = self.skipped(zone, at)?;
        let [skipped, meant] = [skipped, meant].map(|time| time.format("%H:%M"));
        Some(format!("the clock skips {skipped} in `{}`: {meant} is meant", self.text))
    }

    fn instant(&self, zone: Tz, now: Timestamp) -> Result<Timestamp, BadWords> {
        let far = || BadWords::Far(self.text.clone());
        let reading = match &self.meaning {
            Meaning::Instant(at) => return local(Tz::UTC, *at).map(|_| *at).ok_or_else(far),
            Meaning::Read(reading) => reading,
        };
        let zone = reading.zone.unwrap_or(zone);
        let clock = local(zone, now).ok_or_else(far)?;
        let passed = || BadWords::Passed {
            text: self.text.clone(),
            now: format!("{} {}", clock.format("%Y-%m-%d %H:%M:%S"), zone.name()),
        };
        let mut at = match base(reading, zone, now, clock).ok_or_else(far)? {
            Some(at) => at,
            None => return Err(passed()),
        };
        for shift in &reading.shifts {
            at = shifted(at, *shift, zone).ok_or_else(far)?;
        }
        if at < now && !matches!(reading.day, Some(Day::Date(_))) {
            return Err(passed());
        }
        local(zone, at).map(|_| at).ok_or_else(far)
    }
}

/// An instant with its offset: RFC 3339, or the same without seconds or with spaces.
fn offset_instant(text: &str) -> Option<Timestamp> {
    const WITHOUT_SECONDS: [&str; 3] = ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%d %H:%M%:z", "%Y-%m-%d %H:%M:%S%:z"];
    // A year of more than four digits, which chrono takes, is a slip here.
    if text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    // RFC 3339 has `T` and `Z` in any case, as all words are.
    let text = text.to_ascii_uppercase();
    // chrono takes an offset without a colon, too.
    let has_colon = text.len().checked_sub(3).is_some_and(|at| text.as_bytes()[at] == b':');
    let other = || WITHOUT_SECONDS.iter().find_map(|format| DateTime::parse_from_str(&text, format).ok());
    let other = || other().filter(|_| has_colon);
    let at = DateTime::parse_from_rfc3339(&text).ok().or_else(other)?;
    Some(at.with_timezone(&Utc).into())
}

/// An instant whose offset has no colon, such as `+0200`, with one.
fn with_colon(text: &str) -> Option<String> {
    let (rest, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let sign = rest.as_bytes().get(rest.len().checked_sub(3)?)?;
    let colon = format!("{rest}:{minutes}");
    (matches!(sign, b'+' | b'-') && offset_instant(&colon).is_some()).then_some(colon)
}

/// What is meant before anything is added to it. The outer `None` is beyond the calendar, the inner has passed.
fn base(reading: &Reading, zone: Tz, now: Timestamp, clock: NaiveDateTime) -> Option<Option<Timestamp>> {
    let time = reading.time.unwrap_or(NaiveTime::MIN);
    let today = clock.date();
    let in_days = |days: u64| Some(today.checked_add_days(Days::new(days))?.and_time(time));
    let ahead = |local: NaiveDateTime| Some(shown(zone, local)?.first_after(now));
    let first_ahead = |local: Option<NaiveDateTime>| Some(Some(ahead(local?)?).filter(|at| *at > now));
    Some(match reading.day {
        None if reading.time.is_none() => Some(now),
        Some(Day::Now) => Some(now),
        Some(Day::Date(day)) => Some(shown(zone, day.and_time(time))?.first()),
        // Three days: today's may have passed, and tomorrow may be left out on a way over the date line.
        None => first_of([0, 1, 2], |days| first_ahead(in_days(days)))?,
        Some(Day::Ahead(days)) => first_ahead(in_days(days))?,
        Some(Day::Weekday { day, next }) => {
            let until = u64::from(day.days_since(today.weekday()));
            let until = if next && until == 0 { 7 } else { until };
            first_of([until, until + 7], |days| first_ahead(in_days(days)))?
        }
        Some(Day::OfYear { month, day }) => {
            // The 29th of February comes again after eight years at the latest.
            let days = (0..=8).filter_map(|years| NaiveDate::from_ymd_opt(today.year() + years, month, day));
            first_of(days, |day| first_ahead(Some(day.and_time(time))))?
        }
        Some(Day::Next(unit)) => match reading.time {
            None => Some(shifted(now, Shift { back: false, count: 1, unit }, zone)?),
            Some(time) => Some(ahead(moved(clock, Shift { back: false, count: 1, unit })?.date().and_time(time))?),
        },
    })
}

/// The first that has not passed.
fn first_of<T>(
    candidates: impl IntoIterator<Item = T>,
    at: impl Fn(T) -> Option<Option<Timestamp>>,
) -> Option<Option<Timestamp>> {
    for candidate in candidates {
        if let Some(found) = at(candidate)? {
            return Some(Some(found));
        }
    }
    Some(None)
}

/// `at` and a length of time, or a stretch of the calendar.
fn shifted(at: Timestamp, shift: Shift, zone: Tz) -> Option<Timestamp> {
    if let Some(ms) = shift.unit.millis() {
        let by = i64::from(shift.count).checked_mul(ms)?;
        let by = if shift.back { -by } else { by };
        return at.as_millis().checked_add(by).map(Timestamp::from_millis);
    }
    // The clock may be showing this very time for the second time.
    if shift.count == 0 {
        return Some(at);
    }
    Some(shown(zone, moved(local(zone, at)?, shift)?)?.first())
}

/// `local` and a stretch of the calendar; `None` beyond its end.
fn moved(local: NaiveDateTime, shift: Shift) -> Option<NaiveDateTime> {
    let Shift { back, count, unit } = shift;
    let days = match unit {
        Unit::Day => Some(count),
        Unit::Week => Some(count.checked_mul(7)?),
        _ => None,
    };
    let months = match unit {
        Unit::Year => Months::new(count.checked_mul(12)?),
        _ => Months::new(count),
    };
    match (days.map(|days| Days::new(u64::from(days))), back) {
        (Some(days), false) => local.checked_add_days(days),
        (Some(days), true) => local.checked_sub_days(days),
        (None, false) => local.checked_add_months(months),
        (None, true) => local.checked_sub_months(months),
    }
}

/// Whether a word is a whole date, or was meant as one: three numbers of which one has the four digits of a year.
pub(super) fn is_date(word: &str) -> bool {
    ['-', '/', '.'].into_iter().any(|separator| {
        let fields: Vec<&str> = word.split(separator).collect();
        fields.len() == 3
            && fields.iter().all(|field| field.bytes().take_while(u8::is_ascii_digit).count() > 0)
            && (fields[0].len() == 4 || fields[2].len() >= 4)
    })
}

/// `c`, or a space for what would end a line or is obeyed by a terminal.
pub(crate) fn on_one_line(c: char) -> char {
    if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }
}

/// The beginning of a text that a message quotes, on one line.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().map(on_one_line).take(60).collect()
}

#[cfg(test)]
mod tests;

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
//! | `2 hours ago`, `now - 2 days`, `yesterday 4am` | where the past is meant |
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

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::local_instants::{LocalInstants, local, shown};
use crate::time::Timestamp;
use reading::{Day, ParsedText, Shift, Unit};

/// The longest text that is read, in bytes.
const LONGEST: usize = 120;

/// The reason why a text means no instant. One line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInstantText {
    /// The text is empty.
    #[error("no instant is written; write one such as `2027-03-28 14:30`, `tomorrow 4am` or `now + 10 minutes`")]
    Empty,
    /// The text is longer than any instant needs to be.
    #[error("an instant has at most {LONGEST} characters, this text has {0}")]
    Long(usize),
    /// A word has no meaning at its place.
    #[error("`{word}` is not understood; {wanted}")]
    Word {
        /// The word.
        word: String,
        /// The words that may stand there.
        wanted: &'static str,
    },
    /// The text ends too early.
    #[error("something is missing after `{after}`; {wanted}")]
    Missing {
        /// The last word.
        after: String,
        /// The words that may follow.
        wanted: &'static str,
    },
    /// The offset has no colon. ISO 8601 allows that, RFC 3339 does not, and the text looks like a sum of words.
    #[error("the offset of `{text}` has no colon; write `{colon}`")]
    Offset {
        /// The offset as written.
        text: String,
        /// The offset with a colon.
        colon: String,
    },
    /// Two words state the same kind of thing.
    #[error("`{word}` says {what} once more; leave one of them out")]
    Twice {
        /// The later of them.
        word: String,
        /// `the day`, `the time` or `the zone`.
        what: &'static str,
    },
    /// The day or time does not exist.
    #[error("there is no `{0}`; {1}")]
    Nothing(String, &'static str),
    /// The words mean the future, but the instant has passed.
    #[error("`{text}` has passed: it is {now}; write a later time, or a whole date if the past is meant")]
    Passed {
        /// The text.
        text: String,
        /// The current time in the zone.
        now: String,
    },
    /// The past is meant, but the instant is ahead.
    #[error("`{text}` is ahead: it is {now}; write an earlier time, such as `2 hours ago` or `yesterday`")]
    Ahead {
        /// The text.
        text: String,
        /// The current time in the zone.
        now: String,
    },
    /// The meaning depends on when the text is read.
    #[error("`{0}` means another instant each time it is read; write a date such as `2027-03-28 14:30`")]
    Relative(String),
    /// The instant is beyond the calendar.
    #[error("`{0}` is beyond the years 1 to 9999; write an instant within them")]
    Far(String),
}

/// Returns the instant that `text` means in `zone` at `now`.
///
/// A whole date may have passed. In that case the instant is before `now`, and the caller decides what follows. All
/// other words mean the future, or `now` itself.
///
/// # Errors
///
/// [`BadInstantText`], one line that says which word was not understood and what may stand there.
pub fn instant(text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, BadInstantText> {
    ParsedInstant::read(text)?.instant(zone, now, Side::Ahead)
}

/// Returns the instant that `text` means in `zone`, where the past is meant: `14:30` and `friday` are the last ones,
/// and `2 hours ago` is that long before `now`.
///
/// A whole date may be ahead. In that case the instant is after `now`, and the caller decides what follows.
///
/// # Errors
///
/// [`BadInstantText`], as for [`instant`], and [`BadInstantText::Ahead`] if the instant is after `now`.
pub fn past_instant(text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, BadInstantText> {
    ParsedInstant::read(text)?.instant(zone, now, Side::Behind)
}

/// The side of the current instant on which a text's instant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ahead,
    Behind,
}

impl Side {
    /// Returns the instant of `shown` that is the nearest one on this side of `now`, if there is one.
    fn nearest(self, shown: LocalInstants, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Ahead => Some(shown.first_after(now)).filter(|at| *at > now),
            Self::Behind => Some(shown.last_until(now)).filter(|at| *at <= now),
        }
    }

    /// Returns `count` as a number that is added on this side.
    fn away(self, count: i64) -> i64 {
        if self == Self::Ahead { count } else { -count }
    }
}

/// Returns the time that `text` names if the clock skips it, and the time of `at`, the [`instant`] after the gap that
/// it means.
pub(super) fn skipped(text: &str, zone: Tz, at: Timestamp) -> Option<(NaiveTime, NaiveTime)> {
    ParsedInstant::read(text).ok()?.skipped(zone, at)
}

/// Returns the same as one line for people.
pub fn gap_note(text: &str, zone: Tz, at: Timestamp) -> Option<String> {
    ParsedInstant::read(text).ok()?.gap_note(zone, at)
}

/// An instant that does not depend on when it is read: RFC 3339, or a whole date on the clocks of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsoluteInstant(ParsedInstant);

impl AbsoluteInstant {
    /// Parses words of [`instant`] that begin with a whole date.
    ///
    /// # Errors
    ///
    /// [`BadInstantText`], as for [`instant`], and for words such as `tomorrow`.
    pub fn read(text: &str) -> Result<Self, BadInstantText> {
        let words = ParsedInstant::read(text)?;
        match &words.meaning {
            Meaning::Instant(_) => {}
            Meaning::Read(ParsedText { day: Some(Day::Date(_)), .. }) => {}
            Meaning::Read(_) => return Err(BadInstantText::Relative(words.text)),
        }
        // An instant that is beyond the calendar in one zone is beyond it in all zones, give or take a day.
        words.instant(Tz::UTC, Timestamp::default(), Side::Ahead)?;
        Ok(Self(words))
    }

    /// Returns one line that says so if the clock skips the written time and another instant is meant.
    pub fn gap_note(&self, zone: Tz) -> Option<String> {
        self.0.gap_note(zone, self.instant(zone).ok()?)
    }

    /// Returns the instant, by the clocks of `zone` unless the text names another.
    ///
    /// # Errors
    ///
    /// [`BadInstantText::Far`].
    pub fn instant(&self, zone: Tz) -> Result<Timestamp, BadInstantText> {
        self.0.instant(zone, Timestamp::default(), Side::Ahead)
    }
}

/// A text that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ParsedInstant {
    /// The beginning of the text, on one line.
    text: String,
    meaning: Meaning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    Instant(Timestamp),
    Read(ParsedText),
}

impl ParsedInstant {
    fn read(text: &str) -> Result<Self, BadInstantText> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(BadInstantText::Long(text.chars().count()));
        }
        let meaning = match offset_instant(text) {
            Some(at) => Meaning::Instant(at),
            None if let Some(colon) = with_colon(text) => {
                return Err(BadInstantText::Offset { text: excerpt(text), colon });
            }
            None => Meaning::Read(reading::read(text)?),
        };
        Ok(Self { text: excerpt(text), meaning })
    }

    /// Returns the written time, and the time that the clock shows at `at` instead, if the clock skips the written one.
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

    /// Returns a sentence if the clock skips the written time and `at` is meant instead.
    fn gap_note(&self, zone: Tz, at: Timestamp) -> Option<String> {
        let (skipped, meant) = self.skipped(zone, at)?;
        let [skipped, meant] = [skipped, meant].map(|time| time.format("%H:%M"));
        Some(format!("the clock skips {skipped} in `{}`: {meant} is meant", self.text))
    }

    fn instant(&self, zone: Tz, now: Timestamp, side: Side) -> Result<Timestamp, BadInstantText> {
        let far = || BadInstantText::Far(self.text.clone());
        let reading = match &self.meaning {
            Meaning::Instant(at) => return local(Tz::UTC, *at).map(|_| *at).ok_or_else(far),
            Meaning::Read(reading) => reading,
        };
        let zone = reading.zone.unwrap_or(zone);
        let clock = local(zone, now).ok_or_else(far)?;
        let elsewhere = || {
            let (text, now) = (self.text.clone(), format!("{} {}", clock.format("%Y-%m-%d %H:%M:%S"), zone.name()));
            match side {
                Side::Ahead => BadInstantText::Passed { text, now },
                Side::Behind => BadInstantText::Ahead { text, now },
            }
        };
        let mut at = match base(reading, zone, (now, clock), side).ok_or_else(far)? {
            Some(at) => at,
            None => return Err(elsewhere()),
        };
        for shift in &reading.shifts {
            at = shifted(at, *shift, zone).ok_or_else(far)?;
        }
        let is_elsewhere = if side == Side::Ahead { at < now } else { at > now };
        if is_elsewhere && !matches!(reading.day, Some(Day::Date(_))) {
            return Err(elsewhere());
        }
        local(zone, at).map(|_| at).ok_or_else(far)
    }
}

/// Parses an instant with its offset: RFC 3339, or the same without seconds or with spaces.
fn offset_instant(text: &str) -> Option<Timestamp> {
    const WITHOUT_SECONDS: [&str; 3] = ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%d %H:%M%:z", "%Y-%m-%d %H:%M:%S%:z"];
    // chrono accepts a year of more than four digits, but here it is a typing mistake.
    if text.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    // RFC 3339 allows `T` and `Z` in any case, like all words here.
    let text = text.to_ascii_uppercase();
    // chrono accepts an offset without a colon, too.
    let has_colon = text.len().checked_sub(3).is_some_and(|at| text.as_bytes()[at] == b':');
    let other = || WITHOUT_SECONDS.iter().find_map(|format| DateTime::parse_from_str(&text, format).ok());
    let other = || other().filter(|_| has_colon);
    let at = DateTime::parse_from_rfc3339(&text).ok().or_else(other)?;
    Some(at.with_timezone(&Utc).into())
}

/// Adds the colon to an instant whose offset has none, such as `+0200`.
fn with_colon(text: &str) -> Option<String> {
    let (rest, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let sign = rest.as_bytes().get(rest.len().checked_sub(3)?)?;
    let colon = format!("{rest}:{minutes}");
    (matches!(sign, b'+' | b'-') && offset_instant(&colon).is_some()).then_some(colon)
}

/// Returns the instant before anything is added to it. The outer `None` is beyond the calendar; the inner one is not on
/// the `side` that is meant.
fn base(
    reading: &ParsedText,
    zone: Tz,
    (now, clock): (Timestamp, NaiveDateTime),
    side: Side,
) -> Option<Option<Timestamp>> {
    let time = reading.time.unwrap_or(NaiveTime::MIN);
    let today = clock.date();
    let in_days = |days: i64| today.checked_add_signed(TimeDelta::try_days(days)?).map(|day| day.and_time(time));
    let nearest = |local: Option<NaiveDateTime>| Some(side.nearest(shown(zone, local?)?, now));
    Some(match reading.day {
        None if reading.time.is_none() => Some(now),
        Some(Day::Now) => Some(now),
        Some(Day::Date(day)) => Some(shown(zone, day.and_time(time))?.first()),
        // Three days are tried, because today's time may be on the other side, and the next day may be left out by a
        // move over the date line.
        None => first_of([0, 1, 2], |days| nearest(in_days(side.away(days))))?,
        Some(Day::FromToday(days)) => nearest(in_days(days))?,
        // These are ahead, whatever day it is.
        Some(Day::Weekday { next: true, .. } | Day::Next(_)) if side == Side::Behind => None,
        Some(Day::Weekday { day, next }) => {
            let away = match side {
                Side::Ahead => day.days_since(today.weekday()),
                Side::Behind => today.weekday().days_since(day),
            };
            let away = if next && away == 0 { 7 } else { i64::from(away) };
            first_of([away, away + 7], |days| nearest(in_days(side.away(days))))?
        }
        Some(Day::OfYear { month, day }) => {
            // The 29th of February comes again after at most eight years.
            let year = |years: i32| today.year() + if side == Side::Ahead { years } else { -years };
            let days = (0..=8).filter_map(|years| NaiveDate::from_ymd_opt(year(years), month, day));
            first_of(days, |day| nearest(Some(day.and_time(time))))?
        }
        Some(Day::Next(unit)) => match reading.time {
            None => Some(shifted(now, Shift { back: false, count: 1, unit }, zone)?),
            Some(time) => {
                let day = moved(clock, Shift { back: false, count: 1, unit })?.date();
                Some(shown(zone, day.and_time(time))?.first_after(now))
            }
        },
    })
}

/// Returns the first candidate that is on the side that is meant.
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

/// Adds a length of time, or a stretch of the calendar, to `at`.
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

/// Adds a stretch of the calendar to `local`; `None` beyond its end.
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

/// Returns whether a word is a whole date, or was meant as one: three numbers, one of which has the four digits of a
/// year.
pub(super) fn is_date(word: &str) -> bool {
    ['-', '/', '.'].into_iter().any(|separator| {
        let fields: Vec<&str> = word.split(separator).collect();
        fields.len() == 3
            && fields.iter().all(|field| field.bytes().take_while(u8::is_ascii_digit).count() > 0)
            && (fields[0].len() == 4 || fields[2].len() >= 4)
    })
}

/// Returns `c`, or a space if `c` would end a line or control a terminal.
pub fn on_one_line(c: char) -> char {
    if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }
}

/// Returns the beginning of a text for a message, on one line.
pub fn excerpt(text: &str) -> String {
    text.chars().map(on_one_line).take(60).collect()
}

#[cfg(test)]
mod tests;

//! Parses the words one by one: which day, which time, which zone, and what is added. Knows no instants.

use chrono::{NaiveDate, NaiveTime, Weekday};
use chrono_tz::Tz;

use super::{BadInstantText, excerpt};
use crate::schedule::zones;

/// The content of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParsedText {
    pub(super) day: Option<Day>,
    pub(super) time: Option<NaiveTime>,
    pub(super) zone: Option<Tz>,
    pub(super) shifts: Vec<Shift>,
}

/// The day that a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Day {
    /// The current instant, not a day.
    Now,
    /// A number of days from today, which is below 0 for the past.
    FromToday(i64),
    /// `friday`; with `next`, not today.
    Weekday { day: Weekday, next: bool },
    /// `next week`: the next one of these units.
    Next(Unit),
    /// A day of the year, which every year has except for the 29th of February.
    OfYear { month: u32, day: u32 },
    /// A whole date.
    Date(NaiveDate),
}

/// A number of units, added or subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) back: bool,
    pub(super) count: u32,
    pub(super) unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    /// Returns the length in milliseconds; `None` for units whose length depends on the calendar, and for days on the
    /// clock.
    pub(super) fn millis(self) -> Option<i64> {
        match self {
            Self::Second => Some(1000),
            Self::Minute => Some(60_000),
            Self::Hour => Some(3_600_000),
            Self::Day | Self::Week | Self::Month | Self::Year => None,
        }
    }

    fn named(word: &str) -> Option<Self> {
        Some(match word {
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Second,
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Minute,
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Hour,
            "d" | "day" | "days" => Self::Day,
            "w" | "wk" | "wks" | "week" | "weeks" => Self::Week,
            "mo" | "month" | "months" => Self::Month,
            "y" | "yr" | "yrs" | "year" | "years" => Self::Year,
            _ => return None,
        })
    }
}

const WANTED: &str = "write a day (`2027-03-28`, `tomorrow`, `friday`, `4 july`), a time (`14:30`, `4am`, `noon`), a zone \
                      (`Europe/Berlin`), `in 2 hours`, or `+ 10 minutes`";
const LENGTH: &str = "write a length of time such as `10 minutes`, `2 hours` or `1h 30m`";
const AGO: &str = "write a length of time before `ago`, such as `2 hours ago`";
const UNIT: &str = "write seconds, minutes, hours, days, weeks, months or years";
const AFTER_NEXT: &str = "write a weekday, day, week, month or year after `next`";
const TIME: &str = "write a time such as `14:30` (0:00 to 23:59), `2:30pm` (1 to 12) or `noon`";
const DATE: &str = "write a day as `2027-03-28` (also 28.03.2027, or month/day/year: 03/28/2027)";
const DAY: &str = "write a day that this month has";
const NUMBER: &str = "write a time as `14:30` or `4am`, a day as `4 july` or `2027-03-28`, a length as `in 2 hours`";

/// Parses `text`.
pub(super) fn read(text: &str) -> Result<ParsedText, BadInstantText> {
    let words = split(&text.to_ascii_lowercase());
    let mut reader = Reader { words: &words, at: 0, read: ParsedText::default() };
    while let Some(word) = reader.take() {
        reader.word(word)?;
    }
    match reader.read {
        ParsedText { day: None, time: None, shifts, .. } if shifts.is_empty() => Err(BadInstantText::Empty),
        read => Ok(read),
    }
}

/// Splits a text into words: `2027-03-28t14:30z` and `now+10min` are several of them.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split_whitespace().map(|word| word.trim_end_matches(',')) {
        if zones::named(word).is_some() {
            words.push(word.to_owned()); // such as Etc/GMT+5
            continue;
        }
        for (n, part) in word.split('+').enumerate() {
            if n > 0 {
                words.push("+".to_owned());
            }
            match part.strip_prefix('-') {
                Some(rest) => words.extend(["-".to_owned(), rest.to_owned()]),
                None => split_instant(part, &mut words),
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Splits a date and a time joined by a `t`, and a time that ends in `z`.
fn split_instant(word: &str, words: &mut Vec<String>) {
    let parts = word.split_once('t').filter(|(day, _)| day.len() == 10 && day.bytes().all(is_of_date));
    let (day, time) = parts.map_or((None, word), |(day, time)| (Some(day), time));
    words.extend(day.map(str::to_owned));
    match time.strip_suffix('z').filter(|time| time.starts_with(|c: char| c.is_ascii_digit()) && time.contains(':')) {
        Some(time) => words.extend([time.to_owned(), "z".to_owned()]),
        None => words.push(time.to_owned()),
    }
}

fn is_of_date(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'-'
}

struct Reader<'a> {
    words: &'a [String],
    at: usize,
    read: ParsedText,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn take(&mut self) -> Option<&'a str> {
        let word = self.peek()?;
        self.at += 1;
        Some(word)
    }

    /// Takes the next word, which must be there.
    fn expect(&mut self, after: &str, wanted: &'static str) -> Result<&'a str, BadInstantText> {
        self.take().ok_or_else(|| BadInstantText::Missing { after: excerpt(after), wanted })
    }

    /// Parses one word, and those that belong to it.
    fn word(&mut self, word: &'a str) -> Result<(), BadInstantText> {
        match word {
            "at" | "on" if self.peek().is_some() => Ok(()),
            "now" => self.day(word, Day::Now),
            "yesterday" => self.day(word, Day::FromToday(-1)),
            "today" => self.day(word, Day::FromToday(0)),
            "tomorrow" => self.day(word, Day::FromToday(1)),
            "midnight" => self.time(word, 0, 0, 0),
            "noon" => self.time(word, 12, 0, 0),
            "teatime" => self.time(word, 16, 0, 0),
            "next" => self.next(),
            "in" => {
                self.day(word, Day::Now)?;
                self.lengths(word, false)
            }
            "+" => self.lengths(word, false),
            "-" => self.lengths(word, true),
            _ if self.ends_in_ago() => self.ago(word),
            _ => self.name(word),
        }
    }

    /// Returns whether the word just taken begins a length of time that ends in `ago`.
    fn ends_in_ago(&self) -> bool {
        let is_of_length = |word: &str| {
            matches!(word, "a" | "an" | "and")
                || word.starts_with(|c: char| c.is_ascii_digit())
                || Unit::named(word).is_some()
        };
        let mut rest = self.words[self.at - 1..].iter().map(String::as_str).skip_while(|word| is_of_length(word));
        rest.next() == Some("ago")
    }

    /// Parses `2 hours ago`, whose first word was taken.
    fn ago(&mut self, word: &'a str) -> Result<(), BadInstantText> {
        self.at -= 1;
        self.lengths(word, true)?;
        match self.expect(word, AGO)? {
            end @ "ago" => self.day(end, Day::Now),
            other => Err(wrong(other, AGO)),
        }
    }

    fn name(&mut self, word: &'a str) -> Result<(), BadInstantText> {
        if let Some(day) = weekday(word) {
            return self.day(word, Day::Weekday { day, next: false });
        }
        if let Some(month) = month(word) {
            let number = self.expect(word, "write the day of the month")?;
            let day = ordinal(number).ok_or_else(|| wrong(number, "write the day of the month"))?;
            return self.day_of(word, day, month);
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return self.digits(word);
        }
        if let Some(zone) = zones::named(word) {
            let before = self.read.zone.replace(zone);
            return if before.is_some() { Err(twice(word, "the zone")) } else { Ok(()) };
        }
        Err(wrong(word, WANTED))
    }

    fn digits(&mut self, word: &'a str) -> Result<(), BadInstantText> {
        if let Some(day) = ordinal(word) {
            let of = self.peek() == Some("of");
            self.at += usize::from(of);
            match self.peek() {
                Some(next) if month(next).is_some() => {
                    self.at += 1;
                    return self.day_of(word, day, month(next).expect("it was one just now"));
                }
                Some(half @ ("am" | "pm" | "a.m." | "p.m.")) => {
                    self.at += 1;
                    return self.clock(&format!("{word}{half}"));
                }
                _ => return Err(wrong(word, NUMBER)),
            }
        }
        if word.contains(['-', '/']) || word.matches('.').count() == 2 && !word.ends_with("m.") {
            let day = date(word)?;
            return self.day(word, Day::Date(day));
        }
        match self.peek() {
            Some(half @ ("am" | "pm" | "a.m." | "p.m.")) => {
                self.at += 1;
                self.clock(&format!("{word}{half}"))
            }
            _ => self.clock(word),
        }
    }

    /// Parses a time of day: `14:30`, `14:30:15`, `2:30pm`, `4am`.
    fn clock(&mut self, word: &str) -> Result<(), BadInstantText> {
        let halves = [("am", 0), ("a.m.", 0), ("pm", 12), ("p.m.", 12)];
        let half = halves.iter().find_map(|(name, hours)| Some((word.strip_suffix(name)?, *hours)));
        let (digits, half) = half.map_or((word, None), |(digits, hours)| (digits, Some(hours)));
        let fields: Option<Vec<u32>> = digits.split(':').map(|field| number(field, 2)).collect();
        let (hour, minute, second) = match (fields.as_deref(), half) {
            (Some([hour]), Some(_)) => (*hour, 0, 0),
            (Some([hour, minute]), _) => (*hour, *minute, 0),
            (Some([hour, minute, second]), _) => (*hour, *minute, *second),
            _ => return Err(wrong(word, NUMBER)),
        };
        let hour = match half {
            Some(_) if !(1..=12).contains(&hour) => return Err(BadInstantText::Nothing(excerpt(word), TIME)),
            Some(hours) => hour % 12 + hours,
            None => hour,
        };
        self.time(word, hour, minute, second)
    }

    fn time(&mut self, word: &str, hour: u32, minute: u32, second: u32) -> Result<(), BadInstantText> {
        let time = NaiveTime::from_hms_opt(hour, minute, second);
        let time = time.ok_or_else(|| BadInstantText::Nothing(excerpt(word), TIME))?;
        let short = matches!(self.read.day, Some(Day::Now | Day::Next(Unit::Second | Unit::Minute | Unit::Hour)));
        if self.read.time.replace(time).is_some() || short {
            return Err(twice(word, "the time"));
        }
        Ok(())
    }

    fn day(&mut self, word: &str, day: Day) -> Result<(), BadInstantText> {
        if self.read.day.replace(day).is_some() {
            return Err(twice(word, "the day"));
        }
        let short = matches!(day, Day::Now | Day::Next(Unit::Second | Unit::Minute | Unit::Hour));
        if short && self.read.time.is_some() { Err(twice(word, "the time")) } else { Ok(()) }
    }

    /// Parses a day of a month, and its year if that follows.
    fn day_of(&mut self, word: &str, day: u32, month: u32) -> Result<(), BadInstantText> {
        let nothing = || BadInstantText::Nothing(format!("{day} {}", MONTHS[month as usize - 1]), DAY);
        let Some(year) = self.peek().and_then(|year| number(year, 4).filter(|_| year.len() == 4)) else {
            // 2000 is a leap year, which has all days.
            NaiveDate::from_ymd_opt(2000, month, day).ok_or_else(nothing)?;
            return self.day(word, Day::OfYear { month, day });
        };
        self.at += 1;
        let date = NaiveDate::from_ymd_opt(i32::try_from(year).unwrap_or(i32::MAX), month, day);
        self.day(word, Day::Date(date.ok_or_else(nothing)?))
    }

    fn next(&mut self) -> Result<(), BadInstantText> {
        let word = self.expect("next", AFTER_NEXT)?;
        if let Some(day) = weekday(word) {
            return self.day(word, Day::Weekday { day, next: true });
        }
        match Unit::named(word).filter(|_| word.len() > 3 || word == "day") {
            Some(unit) => self.day(word, Day::Next(unit)),
            None => Err(wrong(word, AFTER_NEXT)),
        }
    }

    /// Parses one length of time or several: `2 hours`, `1h 30m`, `1h30m`, `1 hour and 30 minutes`, `an hour`.
    fn lengths(&mut self, after: &str, back: bool) -> Result<(), BadInstantText> {
        self.length(after, back)?;
        loop {
            match self.peek() {
                Some("and") => {
                    self.at += 1;
                    self.length("and", back)?;
                }
                Some(word) if self.begins_length(word) => self.length(after, back)?,
                _ => return Ok(()),
            }
        }
    }

    /// Returns whether a word begins a length of time, and not a time or a date.
    fn begins_length(&self, word: &str) -> bool {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let after = self.words.get(self.at + 1);
        rest.len() < word.len()
            && match rest {
                "" => after.is_some_and(|unit| Unit::named(unit).is_some()),
                unit => Unit::named(unit.trim_end_matches(|c: char| !c.is_ascii_alphabetic())).is_some(),
            }
    }

    fn length(&mut self, after: &str, back: bool) -> Result<(), BadInstantText> {
        let word = self.expect(after, LENGTH)?;
        let mut rest = word;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let count = match word {
                "a" | "an" => Some(1),
                _ => number(&rest[..digits], 9),
            };
            let count = count.ok_or_else(|| wrong(word, LENGTH))?;
            rest = if matches!(word, "a" | "an") { "" } else { &rest[digits..] };
            let letters = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let unit = if rest.is_empty() { self.expect(word, UNIT)? } else { &rest[..letters] };
            rest = &rest[if rest.is_empty() { 0 } else { letters }..];
            let named = Unit::named(unit).ok_or_else(|| wrong(if unit.is_empty() { word } else { unit }, UNIT))?;
            self.read.shifts.push(Shift { back, count, unit: named });
        }
        Ok(())
    }
}

fn wrong(word: &str, wanted: &'static str) -> BadInstantText {
    BadInstantText::Word { word: excerpt(word), wanted }
}

fn twice(word: &str, what: &'static str) -> BadInstantText {
    BadInstantText::Twice { word: excerpt(word), what }
}

/// Parses a number of one digit to `most`.
fn number(text: &str, most: usize) -> Option<u32> {
    let digits = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// Parses `4`, `4th`, `1st`.
fn ordinal(text: &str) -> Option<u32> {
    number(["st", "nd", "rd", "th"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text), 2)
}

/// Parses a date: `2027-03-28`, `2027/03/28`, `28.03.2027`, `03/28/2027`.
fn date(word: &str) -> Result<NaiveDate, BadInstantText> {
    let fields = |separator: char| {
        let fields: Vec<&str> = word.split(separator).collect();
        <[&str; 3]>::try_from(fields).ok()
    };
    let [year, month, day] = match (fields('-'), fields('/'), fields('.')) {
        (Some(fields), ..) => fields,
        (_, Some([year, month, day]), _) if year.len() == 4 => [year, month, day],
        (_, Some([month, day, year]), _) => [year, month, day],
        (.., Some([day, month, year])) => [year, month, day],
        _ => return Err(wrong(word, DATE)),
    };
    let (Some(month), Some(day), 4) = (number(month, 2), number(day, 2), year.len()) else {
        return Err(wrong(word, DATE));
    };
    let year = number(year, 4).ok_or_else(|| wrong(word, DATE))?;
    let year = i32::try_from(year).expect("four digits");
    NaiveDate::from_ymd_opt(year, month, day).ok_or_else(|| BadInstantText::Nothing(excerpt(word), DATE))
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Parses a month: its name, or its first three letters.
fn month(word: &str) -> Option<u32> {
    let plain = if word == "sept" { "sep" } else { word.strip_suffix('.').unwrap_or(word) };
    let found = MONTHS.iter().position(|name| *name == plain || name[..3] == *plain)?;
    u32::try_from(found + 1).ok()
}

/// Parses a weekday: its name, or a usual short form.
fn weekday(word: &str) -> Option<Weekday> {
    Some(match word {
        "mon" | "monday" => Weekday::Mon,
        "tue" | "tues" | "tuesday" => Weekday::Tue,
        "wed" | "wednesday" => Weekday::Wed,
        "thu" | "thur" | "thurs" | "thursday" => Weekday::Thu,
        "fri" | "friday" => Weekday::Fri,
        "sat" | "saturday" => Weekday::Sat,
        "sun" | "sunday" => Weekday::Sun,
        _ => return None,
    })
}

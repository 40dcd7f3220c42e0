//! Reads an added schedule as people and programs request it, and says in one line what is wrong with it.

use std::fmt;
use std::time::Duration;

use chrono_tz::Tz;

use super::{BadDefinition, Definition, Trigger, instant_parser, parse};
use crate::lengths;
use crate::time::Timestamp;

/// The furthest instant ahead that a request may name: ten years. A further one is more likely a mistake.
pub const FURTHEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// The longest delay or interval.
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);

/// The shortest interval, as in a manifest.
const SHORTEST: Duration = Duration::from_millis(10);

/// The age up to which an instant still counts as ahead, because it may have passed while the request was on its way.
const JUST_NOW: Duration = Duration::from_secs(1);

const MILLISECOND: Duration = Duration::from_millis(1);

/// A schedule as it is requested. Durations have a unit, and instants are RFC 3339 or words such as `next friday 17:00`.
/// One of `cron`, `every`, `at` and `in` says when it is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// A crontab(5) expression.
    pub cron: Option<String>,
    /// An interval.
    pub every: Option<String>,
    /// An instant.
    pub at: Option<String>,
    /// `in`: the time from now to the instant.
    pub after_now: Option<String>,
    /// The zone of the crontab, unless that names one, and of the instants; UTC if it is left out.
    pub zone: Option<String>,
    /// The time from the instant at which a run is due to its start.
    pub delay: Option<String>,
    /// No instant before this one is due.
    pub start: Option<String>,
    /// No instant after this one is due.
    pub end: Option<String>,
    /// The instant of the first run, which starts without the delay; those of `cron` or `every` follow.
    pub first: Option<String>,
    /// The most runs.
    pub times: Option<u32>,
}

/// The part of a request that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPart {
    /// The request as a whole.
    Schedule,
    /// A crontab.
    Crontab,
    /// A zone.
    Zone,
    /// An instant.
    Instant,
    /// A duration.
    Duration,
    /// A trigger that only a manifest can have.
    OnlyInManifests,
}

/// The reason why a request is refused, in one line that names the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRequest {
    /// The part that is wrong.
    pub part: BadPart,
    message: String,
}

impl BadRequest {
    fn new(part: BadPart, message: impl Into<String>) -> Self {
        Self { part, message: message.into() }
    }
}

impl fmt::Display for BadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BadRequest {}

impl From<BadDefinition> for BadRequest {
    fn from(why: BadDefinition) -> Self {
        Self::new(BadPart::OnlyInManifests, why.to_string())
    }
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Requested {
    /// The definition.
    pub definition: Definition,
    /// A line for each deviation from what was written, such as an instant that the clocks skip.
    pub notes: Vec<String>,
}

impl Requested {
    /// Returns the instant after which the schedule is due. An instant that was ahead when the request was sent still is.
    #[must_use]
    pub fn cursor(&self, now: Timestamp) -> Timestamp {
        self.earliest().map_or(now, |at| now.min(at.minus(MILLISECOND)))
    }

    /// Checks that the schedule is not over already.
    ///
    /// # Errors
    ///
    /// [`BadPart::Instant`] if its only instant, or its first one, is in the past.
    pub fn is_ahead(&self, now: Timestamp) -> Result<(), BadRequest> {
        match self.earliest() {
            Some(at) if at.plus(JUST_NOW) < now => {
                Err(BadRequest::new(BadPart::Instant, format!("{at} is in the past; give a time in the future")))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the schedule is due at some instant from `now` on.
    ///
    /// # Errors
    ///
    /// [`BadPart::Schedule`] if it is not.
    pub fn is_due_from(&self, now: Timestamp) -> Result<(), BadRequest> {
        let from = if let Trigger::At(at) = self.definition.trigger { at.minus(MILLISECOND) } else { now };
        match self.definition.next_after(from) {
            Some(_) => Ok(()),
            None => {
                let never = "within these bounds it is never due; see `start` and `end`";
                Err(BadRequest::new(BadPart::Schedule, never))
            }
        }
    }

    /// Returns the instant before which nothing is due, if the request names it.
    fn earliest(&self) -> Option<Timestamp> {
        match self.definition.trigger {
            Trigger::At(at) => Some(at),
            _ => self.definition.first,
        }
    }
}

impl Request {
    /// Reads the request at `now`. `name` places `H` and `~` of its crontab; `schedule explain --task` uses the same name,
    /// so that both show the same instants.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] if a part cannot be read, or if the schedule would never be due.
    pub fn read(&self, name: &str, now: Timestamp) -> Result<Requested, BadRequest> {
        let requested = self.parse(name, now)?;
        requested.is_due_from(now)?;
        Ok(requested)
    }

    /// Reads the request as [`Request::read`] does, even if the schedule is over by `now`.
    ///
    /// # Errors
    ///
    /// [`BadRequest`] if a part cannot be read.
    pub fn parse(&self, name: &str, now: Timestamp) -> Result<Requested, BadRequest> {
        let asked_zone = self.zone.as_deref().map(zone).transpose()?;
        let trigger = self.trigger(asked_zone.unwrap_or(Tz::UTC), now)?;
        let mut notes: Vec<String> = parse::two_zones(&trigger, asked_zone).into_iter().collect();
        let mut definition = Definition::of(trigger, asked_zone.unwrap_or(Tz::UTC))?.for_name(name);
        let zone = definition.zone;
        let at = |field, text: &Option<String>| text.as_deref().map(|text| instant(field, text, zone, now)).transpose();
        (definition.start, definition.end) = (at("start", &self.start)?, at("end", &self.end)?);
        definition.first = at("first", &self.first)?;
        check_first(&definition)?;
        if let Some(delay) = &self.delay {
            definition.delay = duration("delay", delay, YEAR)?;
        }
        if self.times == Some(0) {
            return Err(BadRequest::new(BadPart::Schedule, "`times` is 1 or more"));
        }
        definition.times = self.times;
        let due = if let Trigger::At(at) = definition.trigger { Some(at) } else { None };
        let instants = [
            ("at", &self.at, due),
            ("start", &self.start, definition.start),
            ("end", &self.end, definition.end),
            ("first", &self.first, definition.first),
        ];
        notes.extend(instants.into_iter().filter_map(|(field, text, at)| {
            instant_parser::gap_note(text.as_deref()?, zone, at?).map(|moved| format!("`{field}`: {moved}"))
        }));
        Ok(Requested { definition, notes })
    }

    fn trigger(&self, zone: Tz, now: Timestamp) -> Result<Trigger, BadRequest> {
        let bad = |part, message: &str| Err(BadRequest::new(part, message));
        match (&self.cron, &self.every, &self.at, &self.after_now) {
            (Some(crontab), None, None, None) => parse::crontab(crontab, false)
                .map_err(|error| BadRequest::new(BadPart::Crontab, format!("`cron`: {error}"))),
            (None, Some(every), None, None) => match duration("every", every, YEAR)? {
                short if short < SHORTEST => bad(BadPart::Duration, "`every` is 10ms or more"),
                interval => Ok(Trigger::Every(interval)),
            },
            (None, None, Some(at), None) => instant("at", at, zone, now).map(Trigger::At),
            (None, None, None, Some(after)) => Ok(Trigger::At(now.plus(duration("in", after, FURTHEST)?))),
            (None, None, None, None) => {
                bad(BadPart::Schedule, "it does not say when it is due: give one of `cron`, `every`, `at` and `in`")
            }
            _ => bad(BadPart::Schedule, "`cron`, `every`, `at` and `in` exclude one another"),
        }
    }
}

/// Refuses a first instant of a schedule that has only one, and one after the last.
fn check_first(definition: &Definition) -> Result<(), BadRequest> {
    let Some(first) = definition.first else { return Ok(()) };
    let bad = |message| Err(BadRequest::new(BadPart::Schedule, message));
    match definition.trigger {
        Trigger::At(_) => bad("`first` is for `cron` and `every`; `at` and `in` are due once"),
        _ if definition.end.is_some_and(|end| end < first) => bad("`first` is after `end`"),
        _ => Ok(()),
    }
}

fn zone(text: &str) -> Result<Tz, BadRequest> {
    super::zone(text).map_err(|error| BadRequest::new(BadPart::Zone, error))
}

/// Reads an instant in words, by the clocks of `zone`: RFC 3339, `next friday 17:00`, `in 2 hours`.
///
/// # Errors
///
/// [`BadPart::Instant`], which names the field, if the words mean no instant, or one more than [`FURTHEST`] ahead.
pub fn instant(field: &str, text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, BadRequest> {
    let bad = |why: String| BadRequest::new(BadPart::Instant, format!("`{field}`: {why}"));
    let at = instant_parser::instant(text, zone, now).map_err(|error| bad(error.to_string()))?;
    if at.since(now) > FURTHEST {
        return Err(bad(format!("{at} is more than ten years ahead")));
    }
    Ok(at)
}

/// Reads an instant for which the past is meant, by the clocks of `zone`: a length of time back from `now` such as `7d`, or words
/// such as `2 hours ago`, `yesterday 4am`, `friday` and `2027-03-28`.
///
/// # Errors
///
/// [`BadPart::Instant`] or [`BadPart::Duration`], which names the field, if the words mean no instant, or one ahead
/// without a whole date.
pub fn past_instant(field: &str, text: &str, zone: Tz, now: Timestamp) -> Result<Timestamp, BadRequest> {
    if lengths::parse(text).is_ok() {
        return Ok(now.minus(duration(field, text, FURTHEST)?));
    }
    let bad = |why: instant_parser::BadInstantText| BadRequest::new(BadPart::Instant, format!("`{field}`: {why}"));
    instant_parser::past_instant(text, zone, now).map_err(bad)
}

/// Reads a duration with its unit, such as `30s`, `1m 30s`, `500ms`.
///
/// # Errors
///
/// [`BadPart::Duration`], which names the field, if the text has no unit, is no duration, or is longer than `at_most`.
pub fn duration(field: &str, text: &str, at_most: Duration) -> Result<Duration, BadRequest> {
    let bad = |why: String| BadRequest::new(BadPart::Duration, format!("`{field}`: {why}"));
    let parsed = lengths::parse(text).map_err(bad)?;
    if parsed > at_most {
        return Err(bad(format!("`{text}` is longer than {}", lengths::exact(at_most))));
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02 10:00 UTC, a Monday.
    const NOW: Timestamp = Timestamp::from_millis(1_772_445_600_000);

    fn request(change: impl FnOnce(&mut Request)) -> Result<Requested, BadRequest> {
        let mut request = Request::default();
        change(&mut request);
        request.read("default/report/weekly", NOW)
    }

    #[test]
    fn each_part_that_is_wrong_is_named_with_its_field() {
        let refused = |change: fn(&mut Request)| {
            let why = request(change).unwrap_err();
            (why.part, why.to_string())
        };
        type Change = fn(&mut Request);
        let cases: [(Change, BadPart, &str); 10] = [
            (|_| (), BadPart::Schedule, "it does not say when it is due: give one of `cron`, `every`, `at` and `in`"),
            (
                |r| (r.every, r.at) = (Some("1h".into()), Some("noon".into())),
                BadPart::Schedule,
                "`cron`, `every`, `at` and `in` exclude one another",
            ),
            (
                |r| r.every = Some("5".into()),
                BadPart::Duration,
                "`every`: `5` has no unit; write `5s` if seconds are meant",
            ),
            (|r| r.every = Some("1ms".into()), BadPart::Duration, "`every` is 10ms or more"),
            (|r| r.after_now = Some("11y".into()), BadPart::Duration, "`in`: `11y` is longer than 3660d"),
            (
                |r| r.at = Some("2046-01-01T00:00:00Z".into()),
                BadPart::Instant,
                "`at`: 2046-01-01T00:00:00.000Z is more than ten years ahead",
            ),
            (|r| (r.every, r.times) = (Some("1h".into()), Some(0)), BadPart::Schedule, "`times` is 1 or more"),
            (
                |r| (r.every, r.start, r.end) = (Some("1h".into()), Some("in 2h".into()), Some("in 1h".into())),
                BadPart::Schedule,
                "within these bounds it is never due; see `start` and `end`",
            ),
            (
                |r| (r.at, r.first) = (Some("in 2h".into()), Some("in 1h".into())),
                BadPart::Schedule,
                "`first` is for `cron` and `every`; `at` and `in` are due once",
            ),
            (
                |r| (r.every, r.first, r.end) = (Some("1h".into()), Some("in 3h".into()), Some("in 2h".into())),
                BadPart::Schedule,
                "`first` is after `end`",
            ),
        ];

        for (change, part, message) in cases {
            assert_eq!(refused(change), (part, message.to_owned()));
        }
        let unknown = request(|r| (r.cron, r.zone) = (Some("0 9 * * *".into()), Some("Europe/Berln".into())));
        assert_eq!(unknown.unwrap_err().part, BadPart::Zone);
        assert_eq!(request(|r| r.cron = Some("0 25 * * *".into())).unwrap_err().part, BadPart::Crontab);
    }

    #[test]
    fn an_instant_is_over_a_second_after_it_and_due_until_then() {
        let at = request(|r| r.after_now = Some("1h".into())).unwrap();
        let due = NOW.plus(Duration::from_secs(3600));

        assert_eq!(at.is_ahead(due.plus(JUST_NOW)), Ok(()));
        assert_eq!(at.is_ahead(due.plus(JUST_NOW).plus(MILLISECOND)).unwrap_err().part, BadPart::Instant);
        assert_eq!(at.cursor(due.plus(JUST_NOW)), due.minus(MILLISECOND), "it is still due");
        assert_eq!(at.cursor(NOW), NOW);
    }

    #[test]
    fn a_first_instant_that_was_ahead_when_it_was_requested_still_is() {
        let first = request(|r| (r.every, r.first) = (Some("1h".into()), Some("in 10m".into()))).unwrap();
        let at = NOW.plus(Duration::from_secs(600));

        assert_eq!((first.definition.first, first.definition.next_after(NOW)), (Some(at), Some(at)));
        assert_eq!((first.cursor(NOW), first.cursor(at.plus(JUST_NOW))), (NOW, at.minus(MILLISECOND)));
        assert_eq!(first.is_ahead(at.plus(JUST_NOW)), Ok(()));
        assert!(first.is_ahead(at.plus(JUST_NOW).plus(MILLISECOND)).is_err());
    }

    #[test]
    fn whatever_deviates_from_what_was_written_is_in_the_notes() {
        let gap =
            request(|r| (r.at, r.zone) = (Some("2026-03-29 02:30".into()), Some("Europe/Berlin".into()))).unwrap();
        assert_eq!(gap.notes.len(), 1, "{:?}", gap.notes);
        assert!(gap.notes[0].starts_with("`at`: "), "{:?}", gap.notes);
        assert_eq!(request(|r| r.every = Some("1h".into())).unwrap().notes, Vec::<String>::new());
    }
}

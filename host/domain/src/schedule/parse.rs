//! Parses a schedule: a crontab, `every 10m`, or an instant in words. Every face parses schedules here. Manifests and
//! the API have a key for each kind; `schedule explain` takes any of them.

use std::time::Duration;

use chrono_tz::Tz;

use super::explain::{Explanation, Mark, explain};
use super::{Crontab, Plan, Timing, Trigger, instant_parser};
use crate::time::Timestamp;

/// The longest text that is read, in bytes.
const LONGEST: usize = 1000;

/// The shortest and the longest time between two instants, as in manifests.
const SHORTEST_STEP: Duration = Duration::from_millis(10);
const LONGEST_STEP: Duration = Duration::from_secs(366 * 24 * 3600);

/// The context in which a text is parsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParseContext<'a> {
    /// The zone whose clocks count, unless the text names a zone itself; UTC if there is none.
    pub zone: Option<Tz>,
    /// Whether a crontab has a field for seconds before the others.
    pub seconds: bool,
    /// The name of the task, on which `H` and `~` depend.
    pub name: Option<&'a str>,
    /// No instant before this one is due, and an interval is counted from here.
    pub start: Option<Timestamp>,
}

/// A parsed schedule, with notes about its text.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedSchedule {
    /// The trigger that the text stands for.
    pub trigger: Trigger,
    /// The zone whose clocks count.
    pub zone: Tz,
    /// The ways in which the schedule deviates from its text, a line each.
    pub notes: Vec<String>,
    start: Option<Timestamp>,
    /// The gap that the written time falls into, if the clock skips it.
    skipped: Option<Mark>,
}

impl ParsedSchedule {
    /// Returns the schedule as the plan of a task.
    pub fn plan(&self) -> Plan<'_> {
        let timing = Timing { start: self.start, ..Timing::default() };
        Plan { timing, ..Plan::of(&self.trigger, self.zone) }
    }

    /// Explains the schedule as [`explain`] does, with the gap that the words of an instant fell into.
    pub fn explain(&self, from: Timestamp, count: usize) -> Explanation {
        let mut explained = explain(&self.plan(), from, count);
        if let (Some(fire), Some(_)) = (explained.fires.first_mut(), &self.skipped) {
            fire.mark.clone_from(&self.skipped);
        }
        explained
    }
}

/// Parses `text` at the time `now`.
///
/// A text is an interval if it is `every` or `@every` with a length of time, and a crontab if it reads as one. Any
/// other text is read as an [instant in words](super::instant_parser). No text reads as both (a test holds that).
///
/// # Errors
///
/// One line that says what is wrong, for the kind of schedule that the text resembles most.
pub fn read(text: &str, reading: ParseContext<'_>, now: Timestamp) -> Result<ParsedSchedule, String> {
    if text.len() > LONGEST {
        return Err(format!("a schedule has at most {LONGEST} bytes, this text has {}", text.len()));
    }
    let plain = text.trim();
    let given = |trigger: Trigger| {
        let zone = trigger.zone_or(reading.zone.unwrap_or(Tz::UTC));
        let mut notes = Vec::new();
        notes.extend(two_zones(&trigger, reading.zone));
        notes.extend(reading.name.is_none().then(|| of_its_own(&trigger)).flatten());
        ParsedSchedule { trigger, zone, notes, start: reading.start, skipped: None }
    };
    if let Some(rest) = plain.strip_prefix("every").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return every(rest.trim(), "every").map(|step| given(Trigger::Every(step)));
    }
    // The space around the fields of a crontab is left to the crontab parser, as everywhere else.
    match crontab(text, reading.seconds) {
        Ok(Trigger::Cron(crontab)) => {
            let named = reading.name.map_or_else(|| crontab.clone(), |name| crontab.for_name(name));
            return Ok(given(Trigger::Cron(named)));
        }
        Ok(trigger) => return Ok(given(trigger)),
        Err(wrong) if reading.seconds || looks_like_crontab(plain) => return Err(wrong),
        Err(_) => {}
    }
    let zone = reading.zone.unwrap_or(Tz::UTC);
    let at = instant_parser::instant(plain, zone, now).map_err(|wrong| wrong.to_string())?;
    let skipped = instant_parser::skipped(plain, zone, at).map(|(skipped, run_at)| Mark::Gap {
        skipped: skipped.format("%H:%M").to_string(),
        run_at: run_at.format("%H:%M").to_string(),
    });
    Ok(ParsedSchedule { skipped, ..given(Trigger::At(at)) })
}

/// Parses a text in the place of a crontab: a crontab, or `@every` and a length of time, which is an interval.
///
/// # Errors
///
/// One line that points at what is wrong.
pub fn crontab(text: &str, seconds: bool) -> Result<Trigger, String> {
    if let Some(rest) = text.trim().strip_prefix("@every").filter(|rest| rest.starts_with([' ', '\t'])) {
        return every(rest.trim(), "@every").map(Trigger::Every);
    }
    let read = if seconds { Crontab::parse_with_seconds(text) } else { Crontab::parse(text) };
    read.map(Trigger::Cron).map_err(|wrong| wrong.to_string())
}

/// Returns a note if a crontab names its zone and another one is passed beside it.
pub fn two_zones(trigger: &Trigger, given: Option<Tz>) -> Option<String> {
    let (own, given) = (trigger.own_zone()?, given?);
    (own != given)
        .then(|| format!("the crontab names {}, which overrides the zone {} beside it", own.name(), given.name()))
}

/// Returns a note if a crontab has values that depend on a task's name, and there is no name.
fn of_its_own(trigger: &Trigger) -> Option<String> {
    const NOTE: &str = "where `H` and `~` fall depends on the task's name; the instants here are those of no task";
    matches!(trigger, Trigger::Cron(crontab) if crontab.has_place_of_its_own()).then(|| NOTE.to_owned())
}

/// Returns whether a text that does not parse as a crontab was probably meant as one.
fn looks_like_crontab(text: &str) -> bool {
    let is_field = |word: &str| word.chars().all(|c| c.is_ascii_digit() || "*,/-~?#HLW()".contains(c));
    let fields = text.split_whitespace().take_while(|word| is_field(word)).count();
    let dated = text.split_whitespace().next().is_some_and(instant_parser::is_date);
    let begins = ["@", "CRON_TZ=", "TZ="].iter().any(|beginning| text.starts_with(beginning));
    begins || text.contains('*') || (fields >= 2 && !dated)
}

fn every(text: &str, word: &str) -> Result<Duration, String> {
    let write = format!("write `{word} 10m`, or for days and times a crontab such as `30 2 * * mon`");
    if text.is_empty() {
        return Err(format!("a length of time is missing after `{word}`; {write}"));
    }
    let one = if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { "1 " };
    let step = humantime::parse_duration(&format!("{one}{text}"))
        .map_err(|_| format!("`{}` is not a length of time; {write}", instant_parser::excerpt(text)))?;
    if !(SHORTEST_STEP..=LONGEST_STEP).contains(&step) {
        return Err(format!(
            "`{}` is out of range; write `{word} 10ms` to `{word} 366d`",
            instant_parser::excerpt(text)
        ));
    }
    // Instants are whole milliseconds, and so are the steps between them.
    Ok(Duration::from_millis(crate::lengths::millis(step)))
}

#[cfg(test)]
mod tests;

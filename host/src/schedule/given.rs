//! A schedule as it is written: a crontab, `every 10m`, or the words of an instant. Every face reads it here: manifests and the
//! API have a key for each kind, `schedule explain` takes any of them.

use std::time::Duration;

use chrono_tz::Tz;

use super::explain::{Explanation, Mark, explain};
use super::{Crontab, Plan, Timing, Trigger, words};
use crate::time::Timestamp;

/// The longest text that is read, in bytes.
const LONGEST: usize = 1000;

/// The shortest and the longest time between two instants, as in manifests.
const SHORTEST_STEP: Duration = Duration::from_millis(10);
const LONGEST_STEP: Duration = Duration::from_secs(366 * 24 * 3600);

/// How a text is to be read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading<'a> {
    /// By whose clocks, unless the text names a zone itself; none: UTC.
    pub zone: Option<Tz>,
    /// A crontab has a field for seconds before the others.
    pub seconds: bool,
    /// The task whose it is, on which `H` and `~` depend.
    pub name: Option<&'a str>,
    /// Nothing is due before, and an interval is counted from here.
    pub start: Option<Timestamp>,
}

/// A schedule, and what is odd about how it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// What it was taken for.
    pub trigger: Trigger,
    /// By whose clocks it goes.
    pub zone: Tz,
    /// What deviates from what was written, a line each.
    pub notes: Vec<String>,
    start: Option<Timestamp>,
    /// The clock skips the time that was given.
    skipped: Option<Mark>,
}

impl Given {
    /// It as a task's schedule would be.
    pub fn plan(&self) -> Plan<'_> {
        let timing = Timing { start: self.start, ..Timing::default() };
        Plan { timing, ..Plan::of(&self.trigger, self.zone) }
    }

    /// As [`explain`] has it, with the gap that the words of an instant fell into.
    pub fn explain(&self, from: Timestamp, count: usize) -> Explanation {
        let mut explained = explain(&self.plan(), from, count);
        if let (Some(fire), Some(_)) = (explained.fires.first_mut(), &self.skipped) {
            fire.mark.clone_from(&self.skipped);
        }
        explained
    }
}

/// The schedule that `text` is, at `now`.
///
/// `every` and a length of time is that, `@every` and a length of time too. What reads as a crontab is one; anything else is
/// the [words of an instant](super::words). No text reads as both (a test holds that).
///
/// # Errors
///
/// One line that says what is wrong with what it looks like most.
pub fn read(text: &str, reading: Reading<'_>, now: Timestamp) -> Result<Given, String> {
    if text.len() > LONGEST {
        return Err(format!("a schedule has at most {LONGEST} bytes, this text has {}", text.len()));
    }
    let plain = text.trim();
    let given = |trigger: Trigger| {
        let zone = trigger.zone_or(reading.zone.unwrap_or(Tz::UTC));
        let mut notes = Vec::new();
        notes.extend(two_zones(&trigger, reading.zone));
        notes.extend(reading.name.is_none().then(|| of_its_own(&trigger)).flatten());
        Given { trigger, zone, notes, start: reading.start, skipped: None }
    };
    if let Some(rest) = plain.strip_prefix("every").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return every(rest.trim(), "every").map(|step| given(Trigger::Every(step)));
    }
    // What is around the fields of a crontab is for its own reader, as wherever else one is written.
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
    let at = words::instant(plain, zone, now).map_err(|wrong| wrong.to_string())?;
    let skipped = words::skipped(plain, zone, at).map(|(skipped, run_at)| Mark::Gap {
        skipped: skipped.format("%H:%M").to_string(),
        run_at: run_at.format("%H:%M").to_string(),
    });
    Ok(Given { skipped, ..given(Trigger::At(at)) })
}

/// What a text in the place of a crontab means: that, or `@every` and a length of time, which is an interval.
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

/// What to say where a crontab names its zone and another is given beside it.
pub fn two_zones(trigger: &Trigger, given: Option<Tz>) -> Option<String> {
    let (own, given) = (trigger.own_zone()?, given?);
    (own != given)
        .then(|| format!("the crontab names {}, which goes before the zone {} beside it", own.name(), given.name()))
}

/// What to say where a crontab has values that depend on a task's name, and there is none.
fn of_its_own(trigger: &Trigger) -> Option<String> {
    const NOTE: &str = "where `H` and `~` fall depends on the task's name; the instants here are those of no task";
    matches!(trigger, Trigger::Cron(crontab) if crontab.has_place_of_its_own()).then(|| NOTE.to_owned())
}

/// Whether a text that reads as no crontab was probably meant as one.
fn looks_like_crontab(text: &str) -> bool {
    let is_field = |word: &str| word.chars().all(|c| c.is_ascii_digit() || "*,/-~?#HLW()".contains(c));
    let fields = text.split_whitespace().take_while(|word| is_field(word)).count();
    let dated = text.split_whitespace().next().is_some_and(words::is_date);
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
        .map_err(|_| format!("`{}` is not a length of time; {write}", words::excerpt(text)))?;
    if !(SHORTEST_STEP..=LONGEST_STEP).contains(&step) {
        return Err(format!("`{}` is out of range; write `{word} 10ms` to `{word} 366d`", words::excerpt(text)));
    }
    // Instants are whole milliseconds, and so are the steps between them.
    Ok(Duration::from_millis(u64::try_from(step.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;

//! What an added schedule says: when it is due, and within which bounds. Pure, like all of this room.
//!
//! A million of them may lie in a store, so that there is a short text for each, and equal ones can be shared.

use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{CatchUp, Crontab, Look, Plan, Timing, Trigger};
use crate::time::Timestamp;

const MILLISECOND: Duration = Duration::from_millis(1);

/// When an added schedule is due, and when what it makes may start.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// A crontab, an interval or an instant; nothing else can be added.
    pub trigger: Trigger,
    /// The zone by whose clocks it goes: the one that a crontab names, or the one that was given.
    pub zone: Tz,
    /// How long after it is due a run starts.
    pub delay: Duration,
    /// Nothing is due before.
    pub start: Option<Timestamp>,
    /// Nothing is due after.
    pub end: Option<Timestamp>,
    /// So many runs are made, and no more.
    pub times: Option<u32>,
    /// The name that its `H` and `~` fall by, if its crontab has any.
    pub name: Option<Box<str>>,
}

/// Why a text or a trigger is no [`Definition`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDefinition {
    /// A trigger that goes by how a task's runs went, or by how hosts start: only a manifest can have it.
    #[error("an added schedule cannot have `{0}`")]
    NotSupported(&'static str),
    /// It was written by another program, or is damaged.
    #[error("a definition that cannot be read: {0}")]
    Unreadable(String),
}

/// What a look at the clock finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The instant to make a run for: of several the latest, as an added schedule has one run at a time.
    pub fire: Option<Timestamp>,
    /// How many instants before that are left out.
    pub left_out: u64,
    /// Whether there are more than that: too many to count.
    pub uncounted: bool,
    /// Everything up to here is dealt with.
    pub cursor: Timestamp,
    /// The first instant after that; `None`: nothing will ever be due again.
    pub next: Option<Timestamp>,
}

/// How a definition is written down: as little as there is to say.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    cron: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    name: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<i64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    zone: Option<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Definition {
    /// What is due by `trigger`, read in `zone`, without bounds.
    ///
    /// # Errors
    ///
    /// [`BadDefinition::NotSupported`] if such a trigger cannot be added.
    pub fn of(trigger: Trigger, zone: Tz) -> Result<Self, BadDefinition> {
        word(&trigger)?;
        let zone = trigger.zone_or(zone);
        Ok(Self { trigger, zone, delay: Duration::ZERO, start: None, end: None, times: None, name: None })
    }

    /// The same with each `H` and `~` where `name` has it. The name is written down with it.
    #[must_use]
    pub fn for_name(self, name: &str) -> Self {
        match self.trigger {
            Trigger::Cron(crontab) if crontab.has_place_of_its_own() => {
                Self { trigger: Trigger::Cron(crontab.for_name(name)), name: Some(name.into()), ..self }
            }
            trigger => Self { trigger, ..self },
        }
    }

    /// It in a line of JSON: the same text for the same definition.
    pub fn text(&self) -> String {
        let mut text = Text {
            // What a crontab names itself is in its text.
            zone: (self.zone != Tz::UTC && self.trigger.own_zone().is_none()).then(|| self.zone.name().into()),
            delay_ms: (self.delay > Duration::ZERO).then(|| millis(self.delay)),
            start_ms: self.start.map(Timestamp::as_millis),
            end_ms: self.end.map(Timestamp::as_millis),
            times: self.times,
            name: self.name.as_deref().map(Into::into),
            ..Text::default()
        };
        match &self.trigger {
            Trigger::Cron(crontab) => text.cron = Some(crontab.to_string().into()),
            Trigger::Every(interval) => text.every_ms = Some(millis(*interval)),
            Trigger::At(at) => text.at_ms = Some(at.as_millis()),
            _ => {}
        }
        serde_json::to_string(&text).expect("numbers and texts are JSON")
    }

    /// Read what [`Definition::text`] wrote.
    ///
    /// # Errors
    ///
    /// [`BadDefinition::Unreadable`] if it is something else.
    pub fn read(text: &str) -> Result<Self, BadDefinition> {
        let unreadable = |why: &dyn std::fmt::Display| BadDefinition::Unreadable(why.to_string());
        let read: Text<'_> = serde_json::from_str(text).map_err(|e| unreadable(&e))?;
        let trigger = match (read.cron, read.every_ms, read.at_ms) {
            (Some(crontab), None, None) => Trigger::Cron(Crontab::parse(&crontab).map_err(|e| unreadable(&e))?),
            (None, Some(ms), None) => Trigger::Every(Duration::from_millis(ms)),
            (None, None, Some(ms)) => Trigger::At(Timestamp::from_millis(ms)),
            _ => return Err(unreadable(&"it needs one of `cron`, `every_ms` and `at_ms`")),
        };
        let zone = read.zone.map_or(Ok(Tz::UTC), |zone| Tz::from_str(&zone)).map_err(|e| unreadable(&e))?;
        let definition = Self {
            zone: trigger.zone_or(zone),
            trigger,
            delay: Duration::from_millis(read.delay_ms.unwrap_or(0)),
            start: read.start_ms.map(Timestamp::from_millis),
            end: read.end_ms.map(Timestamp::from_millis),
            times: read.times,
            name: None,
        };
        Ok(match read.name {
            Some(name) => definition.for_name(&name),
            None => definition,
        })
    }

    /// The instant that it is, if it is one and nothing else: those need no definition of their own in memory.
    pub fn plain_instant(&self) -> Option<Timestamp> {
        let Trigger::At(at) = self.trigger else { return None };
        let bare = self.delay == Duration::ZERO && self.start.is_none() && self.end.is_none() && self.times.is_none();
        bare.then_some(at)
    }

    /// The first instant after `after` that is due and within the bounds.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        self.plan().next_after(after)
    }

    /// It as a task's schedule would be. How many runs there were is not known here.
    pub fn plan(&self) -> Plan<'_> {
        let timing = Timing { start: self.start, end: self.end, delay: self.delay, ..Timing::default() };
        Plan { timing, ..Plan::of(&self.trigger, self.zone) }
    }

    /// What has come due since `cursor`. What is later than `grace` was missed, and is dealt with as `catch_up` has it.
    pub fn look(&self, cursor: Timestamp, now: Timestamp, grace: Duration, catch_up: CatchUp) -> Looked {
        let from = self.start.map_or(cursor, |start| cursor.max(start.minus(MILLISECOND)));
        // A look that goes no further than the end finds the latest instant before it, however long that is ago.
        let until = self.end.map_or(now, |end| now.min(end.plus(MILLISECOND)));
        if until <= from {
            return Looked { fire: None, left_out: 0, uncounted: false, cursor, next: self.next_after(cursor) };
        }
        let look = Look { cursor: Some(from), now: until, grace: grace.saturating_sub(now.since(until)) };
        // Who wants something done once wants it done late rather than never.
        let catch_up = match (&self.trigger, catch_up) {
            (Trigger::At(_), CatchUp::None) => CatchUp::Latest,
            _ => catch_up,
        };
        let timing = Timing { start: self.start, ..Timing::default() };
        let plan = Plan { timing, catch_up, ..Plan::of(&self.trigger, self.zone) };
        let due = plan.due(look, 0);
        let mut fire = due.fire;
        fire.retain(|at| self.end.is_none_or(|end| *at <= end));
        let latest = fire.pop();
        let left_out = due.left_out + fire.len() as u64;
        Looked {
            fire: latest,
            left_out,
            uncounted: due.uncounted,
            cursor: due.cursor,
            next: self.next_after(due.cursor),
        }
    }
}

/// What a trigger that can be added is called.
fn word(trigger: &Trigger) -> Result<&'static str, BadDefinition> {
    match trigger {
        Trigger::Cron(_) => Ok("cron"),
        Trigger::Every(_) => Ok("every"),
        Trigger::At(_) => Ok("at"),
        Trigger::OnDemand => Err(BadDefinition::NotSupported("on-demand")),
        Trigger::OnStart => Err(BadDefinition::NotSupported("on-start")),
        Trigger::After(_) => Err(BadDefinition::NotSupported("after")),
        Trigger::Pace(_) => Err(BadDefinition::NotSupported("pace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Cooldowns;

    /// `seconds` after noon, 2027-01-15 in UTC: a multiple of every minute and hour.
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_014_400_000 + seconds * 1000)
    }

    const GRACE: Duration = Duration::from_secs(2);

    fn every(seconds: u64) -> Definition {
        Definition::of(Trigger::Every(Duration::from_secs(seconds)), Tz::UTC).unwrap()
    }

    #[test]
    fn a_definition_reads_as_it_was_written_and_the_same_one_is_written_the_same() {
        let cron = Trigger::Cron(Crontab::parse("*/5 9-17 * * mon-fri").unwrap());
        let plain = Definition::of(cron.clone(), Tz::UTC).unwrap();
        let bounded = Definition {
            delay: Duration::from_millis(1500),
            start: Some(at(0)),
            end: Some(at(60)),
            times: Some(3),
            ..Definition::of(cron, Tz::Europe__Berlin).unwrap()
        };

        for definition in [plain.clone(), bounded, every(60), Definition::of(Trigger::At(at(7)), Tz::UTC).unwrap()] {
            let text = definition.text();
            assert_eq!(Definition::read(&text).unwrap(), definition, "{text}");
            assert_eq!(Definition::read(&text).unwrap().text(), text);
        }
        assert_eq!(plain.text(), r#"{"cron":"*/5 9-17 * * mon-fri"}"#);
    }

    #[test]
    fn what_falls_by_a_name_falls_by_the_same_name_when_it_is_read_again() {
        let cron = |text: &str| Trigger::Cron(Crontab::parse(text).unwrap());
        let named = |text, name| Definition::of(cron(text), Tz::UTC).unwrap().for_name(name);

        for text in ["H H * * *", "0~59 4 * * *"] {
            let definition = named(text, "report/nightly");
            let again = Definition::read(&definition.text()).unwrap();
            assert_eq!(again, definition, "{}", definition.text());
            let as_explained = Crontab::parse(text).unwrap().for_name("report/nightly");
            assert_eq!(again.trigger, Trigger::Cron(as_explained));
            assert_ne!(again.next_after(at(0)), named(text, "report/weekly").next_after(at(0)));
        }
        assert_eq!(named("5 4 * * *", "report/nightly").text(), r#"{"cron":"5 4 * * *"}"#);
    }

    #[test]
    fn what_is_no_definition_is_told() {
        for wrong in ["", "{}", r#"{"cron":"x"}"#, r#"{"every_ms":1,"at_ms":1}"#, r#"{"at_ms":1,"zone":"Mars"}"#] {
            assert!(matches!(Definition::read(wrong), Err(BadDefinition::Unreadable(_))), "{wrong}");
        }
    }

    #[test]
    fn only_what_goes_by_the_clock_can_be_added() {
        let after = Cooldowns { success: GRACE, fail: GRACE };
        for (trigger, word) in
            [(Trigger::OnDemand, "on-demand"), (Trigger::OnStart, "on-start"), (Trigger::After(after), "after")]
        {
            assert_eq!(Definition::of(trigger, Tz::UTC), Err(BadDefinition::NotSupported(word)));
        }
    }

    #[test]
    fn nothing_is_due_before_the_start_or_after_the_end() {
        let bounded = Definition { start: Some(at(60)), end: Some(at(120)), ..every(60) };

        assert_eq!(bounded.next_after(at(-600)), Some(at(60)));
        assert_eq!(bounded.next_after(at(60)), Some(at(120)));
        assert_eq!(bounded.next_after(at(120)), None);
        let early = bounded.look(at(-600), at(30), GRACE, CatchUp::All(9));
        assert_eq!((early.fire, early.next), (None, Some(at(60))));
        let last = bounded.look(at(60), at(121), GRACE, CatchUp::None);
        assert_eq!((last.fire, last.next), (Some(at(120)), None));
    }

    #[test]
    fn an_interval_is_counted_from_its_start_and_a_delay_is_of_its_runs() {
        let from_seven = Definition { start: Some(at(7)), delay: Duration::from_secs(5), ..every(60) };

        let look = from_seven.look(at(0), at(68), GRACE, CatchUp::None);

        assert_eq!((look.fire, look.next), (Some(at(67)), Some(at(127))));
        assert_eq!((look.left_out, from_seven.plan().start_of(at(67))), (1, at(72)));
    }

    #[test]
    fn an_instant_without_bounds_needs_no_definition_of_its_own() {
        let once = Definition::of(Trigger::At(at(60)), Tz::UTC).unwrap();
        assert_eq!(once.plain_instant(), Some(at(60)));
        let delayed = Definition { delay: GRACE, ..once.clone() };
        let [bound_by_start, bound_by_end] =
            [(Some(at(0)), None), (None, Some(at(99)))].map(|(start, end)| Definition { start, end, ..once.clone() });
        let counted = Definition { times: Some(1), ..once };
        for other in [delayed, bound_by_start, bound_by_end, counted, every(60)] {
            assert_eq!(other.plain_instant(), None, "{other:?}");
        }
    }

    #[test]
    fn of_what_was_missed_the_latest_instant_before_the_end_is_caught_up() {
        let bounded = Definition { end: Some(at(150)), ..every(60) };
        let days = 3 * 24 * 3600;

        let look = |catch_up| bounded.look(at(0), at(days), GRACE, catch_up);

        let latest = Looked {
            fire: Some(at(120)),
            left_out: 1,
            uncounted: false,
            cursor: look(CatchUp::None).cursor,
            next: None,
        };
        assert_eq!(look(CatchUp::Latest), latest);
        assert_eq!(look(CatchUp::All(5)), latest);
        assert_eq!((look(CatchUp::None).fire, look(CatchUp::None).left_out), (None, 2));
    }

    #[test]
    fn what_is_due_but_once_is_late_rather_than_left_out() {
        let once = Definition::of(Trigger::At(at(60)), Tz::UTC).unwrap();

        let late = once.look(at(0), at(3 * 24 * 3600), GRACE, CatchUp::None);

        assert_eq!((late.fire, late.left_out, late.next), (Some(at(60)), 0, None));
    }

    #[test]
    fn of_several_instants_at_once_the_latest_is_fired() {
        let look = every(1).look(at(0), at(2), GRACE, CatchUp::None);

        assert_eq!(look, Looked { fire: Some(at(2)), left_out: 1, uncounted: false, cursor: at(2), next: Some(at(3)) });
    }
}

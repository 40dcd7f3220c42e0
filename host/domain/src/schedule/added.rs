//! Defines an added schedule: when it is due, and within which bounds. Pure, like all of this room.
//!
//! A store may hold a million of them, so each has a short text form, and equal ones can be shared.

use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{CatchUp, Crontab, Look, Plan, Timing, Trigger};
use crate::lengths::millis;
use crate::time::Timestamp;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Defines when an added schedule is due and when its runs may start.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// A crontab, an interval or an instant; no other trigger can be added.
    pub trigger: Trigger,
    /// The zone whose clocks count: the one that the crontab names, or else the one that was passed.
    pub zone: Tz,
    /// The time from the instant at which a run is due to its start.
    pub delay: Duration,
    /// No instant before this one is due.
    pub start: Option<Timestamp>,
    /// No instant after this one is due.
    pub end: Option<Timestamp>,
    /// The first run is due at this instant, and starts without the delay. Those of the trigger follow after it.
    pub first: Option<Timestamp>,
    /// The most runs that are made.
    pub times: Option<u32>,
    /// The name that places the crontab's `H` and `~`, if it has any.
    pub name: Option<Box<str>>,
}

/// The reason why a text or a trigger is no [`Definition`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDefinition {
    /// The trigger depends on how a task's runs ended or on when hosts start, so only a manifest can have it.
    #[error("an added schedule cannot have `{0}`")]
    NotSupported(&'static str),
    /// Another program wrote the text, or it is damaged.
    #[error("a definition that cannot be read: {0}")]
    Unreadable(String),
}

/// The result of [`Definition::look`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedDue {
    /// The instant to make a run for. If several are due it is the latest, because an added schedule has one run at a
    /// time.
    pub fire: Option<Timestamp>,
    /// The number of earlier instants that are left out.
    pub left_out: u64,
    /// Whether more than `left_out` instants were left out, because there were too many to count.
    pub uncounted: bool,
    /// Every instant up to this one has been dealt with.
    pub cursor: Timestamp,
    /// The first instant after `cursor` that is due; `None` if no instant will be due again.
    pub next: Option<Timestamp>,
}

/// The stored form of a definition. It leaves out every field that has its default.
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
    first_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
}

impl Definition {
    /// Creates a definition that is due by `trigger`, read in `zone`, without bounds.
    ///
    /// # Errors
    ///
    /// [`BadDefinition::NotSupported`] if such a trigger cannot be added.
    pub fn of(trigger: Trigger, zone: Tz) -> Result<Self, BadDefinition> {
        word(&trigger)?;
        let zone = trigger.zone_or(zone);
        Ok(Self { trigger, zone, delay: Duration::ZERO, start: None, end: None, first: None, times: None, name: None })
    }

    /// Places each `H` and `~` as `name` has it. The name is stored with the definition.
    #[must_use]
    pub fn for_name(self, name: &str) -> Self {
        match self.trigger {
            Trigger::Cron(crontab) if crontab.has_place_of_its_own() => {
                Self { trigger: Trigger::Cron(crontab.for_name(name)), name: Some(name.into()), ..self }
            }
            trigger => Self { trigger, ..self },
        }
    }

    /// Returns the definition as one line of JSON. Equal definitions have the same text.
    pub fn text(&self) -> String {
        let mut text = Text {
            // A zone that the crontab itself names is part of the crontab's text.
            zone: (self.zone != Tz::UTC && self.trigger.own_zone().is_none()).then(|| self.zone.name().into()),
            delay_ms: (self.delay > Duration::ZERO).then(|| millis(self.delay)),
            start_ms: self.start.map(Timestamp::as_millis),
            end_ms: self.end.map(Timestamp::as_millis),
            first_ms: self.first.map(Timestamp::as_millis),
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

    /// Reads a text that [`Definition::text`] wrote.
    ///
    /// # Errors
    ///
    /// [`BadDefinition::Unreadable`] if the text is anything else.
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
            first: read.first_ms.map(Timestamp::from_millis),
            times: read.times,
            name: None,
        };
        Ok(match read.name {
            Some(name) => definition.for_name(&name),
            None => definition,
        })
    }

    /// Returns the instant, if the definition is an instant and nothing else. Such definitions need no memory of their
    /// own.
    pub fn plain_instant(&self) -> Option<Timestamp> {
        let Trigger::At(at) = self.trigger else { return None };
        let unbound = self.start.is_none() && self.end.is_none() && self.first.is_none() && self.times.is_none();
        let bare = self.delay == Duration::ZERO && unbound;
        bare.then_some(at)
    }

    /// Returns the first instant after `after` that is due and within the bounds.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self.first {
            Some(first) if after < first => Some(first),
            _ => self.plan().next_after(after),
        }
    }

    /// Returns the time from the due instant `at` to the earliest start of its run.
    pub fn delay_of(&self, at: Timestamp) -> Duration {
        if self.first == Some(at) { Duration::ZERO } else { self.delay }
    }

    /// Returns the definition as the plan of a task. How many runs it has made is not known here.
    pub fn plan(&self) -> Plan<'_> {
        let timing = Timing { start: self.start, end: self.end, delay: self.delay, ..Timing::default() };
        Plan { timing, ..Plan::of(&self.trigger, self.zone) }
    }

    /// Returns the instants that have come due since `cursor`. Those later than `grace` were missed and are treated by
    /// `catch_up`.
    pub fn look(&self, cursor: Timestamp, now: Timestamp, grace: Duration, catch_up: CatchUp) -> AddedDue {
        let Some(first) = self.first.filter(|first| cursor < *first) else {
            return self.look_at_trigger(cursor, now, grace, catch_up);
        };
        if now < first {
            return AddedDue { fire: None, left_out: 0, uncounted: false, cursor, next: Some(first) };
        }
        let later = self.look_at_trigger(first, now, grace, catch_up);
        let is_missed = catch_up == CatchUp::None && now.since(first) > grace;
        let fire = later.fire.or(Some(first).filter(|_| later.left_out == 0 && !is_missed));
        AddedDue {
            fire,
            left_out: later.left_out + u64::from(fire != Some(first)),
            cursor: later.cursor.max(first),
            ..later
        }
    }

    /// Does the same for the instants of the trigger.
    fn look_at_trigger(&self, cursor: Timestamp, now: Timestamp, grace: Duration, catch_up: CatchUp) -> AddedDue {
        let from = self.start.map_or(cursor, |start| cursor.max(start.minus(MILLISECOND)));
        // A look that goes no further than the end finds the latest instant before the end, however long ago that is.
        let until = self.end.map_or(now, |end| now.min(end.plus(MILLISECOND)));
        if until <= from {
            return AddedDue { fire: None, left_out: 0, uncounted: false, cursor, next: self.next_after(cursor) };
        }
        let look = Look { cursor: Some(from), now: until, grace: grace.saturating_sub(now.since(until)) };
        // Something that was scheduled for one instant should happen late rather than never.
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
        AddedDue {
            fire: latest,
            left_out,
            uncounted: due.uncounted,
            cursor: due.cursor,
            next: self.next_after(due.cursor),
        }
    }
}

/// Returns the manifest's word for a trigger that can be added.
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

    /// Returns the instant `seconds` after noon on 2027-01-15 in UTC, which is a multiple of every minute and hour.
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_014_400_000 + seconds * 1000)
    }

    const GRACE: Duration = Duration::from_secs(2);

    fn every(seconds: u64) -> Definition {
        Definition::of(Trigger::Every(Duration::from_secs(seconds)), Tz::UTC).unwrap()
    }

    #[test]
    fn definitions_round_trip_and_equal_ones_have_equal_texts() {
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
    fn a_definition_that_was_read_keeps_the_name_that_places_its_h() {
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
    fn text_that_is_no_definition_is_an_error() {
        for wrong in ["", "{}", r#"{"cron":"x"}"#, r#"{"every_ms":1,"at_ms":1}"#, r#"{"at_ms":1,"zone":"Mars"}"#] {
            assert!(matches!(Definition::read(wrong), Err(BadDefinition::Unreadable(_))), "{wrong}");
        }
    }

    #[test]
    fn only_triggers_that_follow_the_clock_can_be_added() {
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

        let latest = AddedDue {
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
    fn a_single_instant_is_late_rather_than_left_out() {
        let once = Definition::of(Trigger::At(at(60)), Tz::UTC).unwrap();

        let late = once.look(at(0), at(3 * 24 * 3600), GRACE, CatchUp::None);

        assert_eq!((late.fire, late.left_out, late.next), (Some(at(60)), 0, None));
    }

    #[test]
    fn the_first_run_has_an_instant_of_its_own_before_those_of_the_trigger() {
        let first = Definition { first: Some(at(90)), delay: Duration::from_secs(5), ..every(60) };
        let look = |cursor, now| first.look(at(cursor), at(now), GRACE, CatchUp::None);

        assert_eq!((first.next_after(at(0)), first.next_after(at(90))), (Some(at(90)), Some(at(120))));
        assert_eq!((look(0, 89).fire, look(0, 89).next), (None, Some(at(90))), "nothing is due before it");
        let due = look(0, 90);
        assert_eq!((due.fire, due.left_out, due.cursor, due.next), (Some(at(90)), 0, at(90), Some(at(120))));
        assert_eq!((first.delay_of(at(90)), first.delay_of(at(120))), (Duration::ZERO, Duration::from_secs(5)));
        assert_eq!(look(90, 120).fire, Some(at(120)));
        assert_eq!(Definition::read(&first.text()), Ok(first.clone()));
        assert_eq!(first.plain_instant(), None);
    }

    #[test]
    fn a_first_instant_that_was_missed_is_treated_as_those_of_the_trigger_are() {
        let first = Definition { first: Some(at(90)), ..every(60) };
        let look = |now, catch_up| {
            let due = first.look(at(0), at(now), GRACE, catch_up);
            (due.fire, due.left_out, due.next)
        };

        assert_eq!(look(95, CatchUp::None), (None, 1, Some(at(120))));
        assert_eq!(look(95, CatchUp::Latest), (Some(at(90)), 0, Some(at(120))));
        assert_eq!(look(121, CatchUp::None), (Some(at(120)), 1, Some(at(180))), "the latest of what is due is run");
        assert_eq!(look(130, CatchUp::Latest), (Some(at(120)), 1, Some(at(180))));
        assert_eq!(look(130, CatchUp::None), (None, 2, Some(at(180))));
    }

    #[test]
    fn of_several_instants_at_once_the_latest_is_fired() {
        let look = every(1).look(at(0), at(2), GRACE, CatchUp::None);

        assert_eq!(
            look,
            AddedDue { fire: Some(at(2)), left_out: 1, uncounted: false, cursor: at(2), next: Some(at(3)) }
        );
    }
}

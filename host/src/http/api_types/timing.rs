//! Describes the bounds and delays around a task's trigger, for people and programs.

use chrono::SecondsFormat;
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;

use super::schedule::MarkShape;
use super::{Due, approximate};
use sexton_domain::lengths;
use sexton_domain::lengths::millis;
use sexton_domain::schedule::{SET_BACK, Timing, explain, plausible};
use sexton_domain::task::{Name, Task};
use sexton_domain::time::Timestamp;
use sexton_store::added::ScheduleInfo;

/// Bounds on when a task is due, and how much later its runs start. A missing bound is `None`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Around {
    /// No instant before this one is due.
    pub start: Option<Timestamp>,
    /// No instant after this one is due.
    pub end: Option<Timestamp>,
    /// The most runs that its schedule makes.
    pub times: Option<u32>,
    /// The time from the instant at which a run is due to its start.
    pub delay_ms: u64,
    /// The most that is added to that at random, anew for every run.
    pub jitter_ms: u64,
    /// The most that is added to that, the same amount for all of the task's runs.
    pub spread_ms: u64,
    /// A run that has not started this long after it could have is cancelled.
    pub start_within_ms: Option<u64>,
    /// Instants that were missed longer ago are left out.
    pub catch_up_within_ms: Option<u64>,
}

impl Around {
    /// Describes `timing` for programs.
    pub fn of(timing: &Timing) -> Self {
        Self {
            start: timing.start,
            end: timing.end,
            times: timing.times,
            delay_ms: millis(timing.delay),
            jitter_ms: millis(timing.jitter),
            spread_ms: millis(timing.spread),
            start_within_ms: timing.start_within.map(millis),
            catch_up_within_ms: timing.catch_up_within.map(millis),
        }
    }
}

/// Describes it for people: `3 times, delay 5s`; `None` if there is nothing to say.
pub fn words(task: &Task) -> Option<String> {
    let Timing { start, end, times, delay, jitter, spread, start_within, catch_up_within } = task.timing;
    let mut words = Vec::new();
    words.extend(times.map(|times| if times == 1 { "once".to_owned() } else { format!("{times} times") }));
    words.extend(start.map(|at| format!("from {}", local(at, task.zone))));
    words.extend(end.map(|at| format!("until {}", local(at, task.zone))));
    let later = [("delay", delay), ("jitter", jitter), ("spread", spread)];
    let later = later.into_iter().filter(|(_, by)| !by.is_zero());
    let within = [("start within", start_within), ("catch up within", catch_up_within)];
    let within = within.into_iter().filter_map(|(word, by)| Some((word, by?)));
    words.extend(later.chain(within).map(|(word, by)| format!("{word} {}", lengths::exact(by))));
    (!words.is_empty()).then(|| words.join(", "))
}

/// Returns why a schedule makes no runs although instants pass, for people: its clock was set back. `None` if it was
/// not.
pub fn set_back(task: &Task, cursor: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let cursor = cursor.filter(|_| task.trigger.is_by_clock())?;
    let word = format!("resume {}{}", task.key.task, tenant_option(&task.key.tenant));
    ahead(cursor, now, task.zone).map(|ahead| format!("{ahead}; `sexton {word}` lets it continue from now"))
}

/// Does the same for an added schedule with instants of `zone`.
pub fn set_back_added(info: &ScheduleInfo, zone: Tz, now: Timestamp) -> Option<String> {
    let ahead = ahead(info.cursor, now, zone).filter(|_| info.finished_at.is_none())?;
    let word = format!("schedule reset {}{}", info.key.key, tenant_option(&info.key.tenant));
    Some(format!("{ahead}; `sexton {word}` lets it continue from now"))
}

/// Returns how far a schedule whose progress is `cursor` is ahead of the clock, if that is because the clock was set
/// back.
fn ahead(cursor: Timestamp, now: Timestamp, zone: Tz) -> Option<String> {
    let cursor = plausible(Some(cursor), now).filter(|cursor| cursor.since(now) > SET_BACK)?;
    let (by, until) = (approximate(cursor.since(now)), local(cursor, zone));
    Some(format!("the clock was set back by {by}: instants up to {until} were handled already"))
}

/// Returns the option that a command needs for objects of a tenant.
fn tenant_option(tenant: &Name) -> String {
    if *tenant == Name::default_tenant() { String::new() } else { format!(" --tenant {tenant}") }
}

impl Due {
    /// Lists the first `count` instants after `now` at which `task` is due. Its schedule has come to `cursor` and has
    /// made `fired` runs.
    pub fn list(task: &Task, cursor: Option<Timestamp>, fired: u64, now: Timestamp, count: usize) -> Vec<Self> {
        let plan = task.plan();
        let mut after = now;
        let due = |(at, starts): (Timestamp, Timestamp)| {
            let mark = explain::mark(&plan, after.min(at), at).as_ref().map(MarkShape::of);
            after = at;
            Self { at, local: local(at, task.zone), mark, starts_at: Some(starts).filter(|starts| *starts > at) }
        };
        plan.upcoming(now, cursor, fired).take(count).map(due).collect()
    }

    /// Returns the effect of a clock change for people: `, the clock skips 02:30: run at 03:00`; empty if there is
    /// none.
    pub fn marked(&self) -> String {
        self.mark.as_ref().map(|mark| format!(", {}", mark.text)).unwrap_or_default()
    }

    /// Returns the delay of its start for people: `, starts 5s later`; empty if there is none.
    pub fn later(&self) -> String {
        self.starts_at
            .map(|starts| format!(", starts {} later", approximate(starts.since(self.at))))
            .unwrap_or_default()
    }
}

/// Formats an instant as the clocks of `zone` show it, in RFC 3339.
pub(super) fn local(at: Timestamp, zone: Tz) -> String {
    at.to_utc().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::plugins::manifest::Manifest;

    fn task(text: &str) -> Task {
        let manifest = Manifest::parse("t.toml", &format!("[tasks.t]\nevery = \"1h\"\n{text}")).unwrap();
        manifest.tasks(&Name::default_tenant(), &Name::new("t").unwrap(), Path::new("/")).remove(0)
    }

    #[test]
    fn bounds_of_a_trigger_are_explained_and_missing_ones_are_left_out() {
        let all = "times = 3\nstart = 2027-01-01T00:00:00Z\nend = 2027-02-01T00:00:00Z\nzone = \"Europe/Berlin\"\n\
                   delay = \"5s\"\nspread = \"1h\"\nstart-within = \"90s\"";

        assert_eq!(words(&task("")), None);
        assert_eq!(words(&task("times = 1")).as_deref(), Some("once"));
        let expected = "3 times, from 2027-01-01T01:00:00+01:00, until 2027-02-01T01:00:00+01:00, delay 5s, spread 1h, \
                        start within 1m 30s";
        assert_eq!(words(&task(all)).as_deref(), Some(expected));
    }

    #[test]
    fn an_instant_says_by_how_much_its_run_starts_later() {
        let due = |text: &str| Due::list(&task(text), None, 0, Timestamp::from_millis(0), 1).remove(0);

        assert_eq!((due("").starts_at, due("").later().as_str()), (None, ""));
        let later = due("delay = \"90s\"");
        // It was due just now, and its run has not started yet.
        assert_eq!(later.at, Timestamp::from_millis(0));
        assert_eq!(
            (later.starts_at, later.later().as_str()),
            (Some(Timestamp::from_millis(90_000)), ", starts 1m 30s later")
        );
    }
}

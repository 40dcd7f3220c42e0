//! The coming week: how many runs are due in each hour, and the minutes in which many are due at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Timelike};
use chrono_tz::Tz;

use crate::http::views::{Refused, Seen};
use sexton_domain::task::{Name, Task};
use sexton_domain::time::Timestamp;

use super::ask::Ask;
use super::look::count;
use super::rows::task_href;
use super::shell::{Link, Shell};
use super::times::{Clock, When};

/// The tasks that are looked at.
const TASKS: usize = 1000;

/// The days of the calendar.
const DAYS: u64 = 7;

/// The most instants of a task in that time, one every five minutes. A task that is due more often is named apart,
/// because it would fill every hour.
const OFTEN: usize = 7 * 24 * 12;

/// The least number of runs in an hour that gets the strongest colour.
const FULL: u64 = 8;

/// The minutes that are listed, and the least tasks that make one a herd.
const HERDS: usize = 8;
const HERD: usize = 3;

/// An hour of a day.
#[derive(Clone, Debug)]
struct Hour {
    number: u64,
    text: String,
    /// The step of the colour, 0 to 4.
    step: u8,
    title: String,
}

/// A day.
#[derive(Clone, Debug)]
struct Day {
    name: String,
    hours: Vec<Hour>,
}

/// A minute in which many runs are due.
#[derive(Clone, Debug)]
struct Herd {
    when: When,
    number: usize,
}

/// The page.
#[derive(Template)]
#[template(path = "calendar.html")]
struct CalendarPage {
    shell: Shell,
    days: Vec<Day>,
    herds: Vec<Herd>,
    often: Vec<Link>,
    all: usize,
    zone: String,
    hours: Vec<String>,
}

/// The instants of a week.
#[derive(Clone, Debug, Default)]
struct Week {
    /// The number of runs for each quarter of an hour, and for each minute.
    quarters: BTreeMap<i64, u64>,
    minutes: BTreeMap<i64, usize>,
    /// The tasks that are due more often than can be shown.
    often: Vec<Name>,
    all: usize,
}

/// `GET /calendar`.
pub(super) async fn page(ask: Ask) -> Response {
    let page = build(&ask).await;
    ask.answer(page)
}

async fn build(ask: &Ask) -> Seen<CalendarPage> {
    let (clock, now) = (Clock::new(ask.now, ask.times), ask.now);
    let zone = clock.zone(Tz::UTC);
    let tasks = ask.views.app.catalog.of_tenant(&ask.views.tenant, None, TASKS);
    // Thousands of instants take a while, and other requests must not wait for them.
    let week = tokio::task::spawn_blocking(move || Week::of(&tasks, now)).await;
    let week = week.map_err(|_| Refused {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: "the calendar could not be worked out".to_owned(),
        hint: None,
    })?;
    let link = |name: &Name| Link { href: task_href(ask, name), text: name.to_string(), current: false, mine: false };
    Ok(CalendarPage {
        shell: ask.shell("Calendar").same(ask.api("/v1/tasks")),
        days: week.days(zone, now),
        herds: week.herds(&clock),
        often: week.often.iter().map(link).collect(),
        all: week.all,
        zone: zone.name().to_owned(),
        hours: (0..24).map(|hour| format!("{hour:02}")).collect(),
    })
}

impl Week {
    /// Finds the instants of `tasks` in the week after `now`.
    fn of(tasks: &[Arc<Task>], now: Timestamp) -> Self {
        let end = now.plus(Duration::from_secs(DAYS * 24 * 3600));
        let mut week = Self::default();
        for task in tasks {
            let plan = task.plan();
            let first = plan.next_after(now);
            let instants = std::iter::successors(first, |at| plan.next_after(*at)).take_while(|at| *at <= end);
            let instants: Vec<Timestamp> = instants.take(OFTEN + 1).collect();
            if instants.len() > OFTEN {
                week.often.push(task.key.task.clone());
                continue;
            }
            week.all += instants.len();
            for at in instants {
                let minute = at.as_millis().div_euclid(60_000);
                *week.minutes.entry(minute).or_default() += 1;
                *week.quarters.entry(minute.div_euclid(15)).or_default() += 1;
            }
        }
        week
    }

    /// Returns the days by the clocks of `zone`. Quarters of hours are summed up, because zones may be off by them.
    fn days(&self, zone: Tz, now: Timestamp) -> Vec<Day> {
        let local = |quarter: i64| -> DateTime<Tz> {
            Timestamp::from_millis(quarter * 15 * 60_000).to_utc().with_timezone(&zone)
        };
        let mut days: BTreeMap<chrono::NaiveDate, [u64; 24]> = BTreeMap::new();
        let today = now.to_utc().with_timezone(&zone).date_naive();
        for date in today.iter_days().take(DAYS as usize) {
            days.insert(date, [0; 24]);
        }
        for (quarter, number) in &self.quarters {
            let at = local(*quarter);
            if let Some(hours) = days.get_mut(&at.date_naive()) {
                hours[at.hour() as usize] += number;
            }
        }
        let most = days.values().flatten().copied().max().unwrap_or_default().max(FULL);
        let day = |(date, hours): (chrono::NaiveDate, [u64; 24])| {
            let name = date.format("%a %-d %b").to_string();
            let hour = |(hour, number): (usize, u64)| Hour {
                number,
                text: count(number),
                step: step(number, most),
                title: format!("{name}, {hour:02}:00: {number} due"),
            };
            Day { hours: hours.into_iter().enumerate().map(hour).collect(), name: name.clone() }
        };
        days.into_iter().map(day).collect()
    }

    /// Returns the minutes in which most runs are due.
    fn herds(&self, clock: &Clock) -> Vec<Herd> {
        let mut minutes: Vec<(i64, usize)> = self.minutes.iter().map(|(minute, number)| (*minute, *number)).collect();
        minutes.retain(|(_, number)| *number >= HERD);
        minutes.sort_by_key(|(minute, number)| (std::cmp::Reverse(*number), *minute));
        minutes.truncate(HERDS);
        let herd = |(minute, number)| Herd { when: clock.utc(Timestamp::from_millis(minute * 60_000)), number };
        minutes.into_iter().map(herd).collect()
    }
}

/// Returns the step of the colour of a number.
fn step(number: u64, most: u64) -> u8 {
    match number {
        0 => 0,
        number if number * 4 <= most => 1,
        number if number * 2 <= most => 2,
        number if number * 4 <= most * 3 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::schedule::Trigger;

    /// 2026-11-22T10:00:00Z, a Sunday.
    const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

    fn every(name: &str, seconds: u64) -> Arc<Task> {
        let trigger = Trigger::Every(Duration::from_secs(seconds));
        Arc::new(Task { trigger, ..Task::on_demand(Name::new(name).unwrap()) })
    }

    #[test]
    fn instants_are_counted_by_the_hours_of_the_zone_and_herds_are_found() {
        let tasks = [every("a", 3600), every("b", 3600), every("c", 24 * 3600)];
        let week = Week::of(&tasks, NOW);

        let days = week.days(chrono_tz::Europe::Berlin, NOW);
        assert_eq!((days.len(), days[0].name.as_str()), (7, "Sun 22 Nov"));
        // In Berlin it is eleven. Midnight of UTC is one o'clock there.
        let numbers: Vec<u64> = days[0].hours.iter().map(|hour| hour.number).collect();
        assert_eq!((numbers[11], numbers[12], numbers[23]), (0, 2, 2));
        assert_eq!(days[1].hours[1].number, 3);
        let clock = Clock::new(NOW, super::super::times::Times::Task);
        let herds = week.herds(&clock);
        assert_eq!((herds.len(), herds[0].number), (7, 3));
        assert_eq!(herds[0].when.plain(), "23 Nov 00:00 UTC");
    }

    #[test]
    fn a_task_that_is_due_very_often_is_named_apart() {
        let week = Week::of(&[every("often", 10), every("rare", 7200)], NOW);

        assert_eq!(week.often, [Name::new("often").unwrap()]);
        assert_eq!(week.all, 7 * 12);
    }

    #[test]
    fn colours_have_steps() {
        assert_eq!([0, 1, 2, 3, 4].map(|number| step(number, 4)), [0, 1, 2, 3, 4]);
    }
}

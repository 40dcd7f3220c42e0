//! Writes a schedule as a sentence.

use std::time::Duration;

use super::{counted, on_clock};
use crate::lengths;
use crate::schedule::calendar::{Calendar, Days, FIRST_SECOND};
use crate::schedule::{Cooldowns, Crontab, Dst, Pace, Plan, Trigger};

/// The most times of day that are listed one by one. More are described by minutes and hours.
const TIMES: usize = 6;

/// Equidistant values are described by their distance from this many on.
const STEPS: usize = 6;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(super) const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Returns the meaning of a plan's trigger in words: `at 02:30 every Monday`, `every 10 minutes`, `once, at ...`.
pub fn words(plan: &Plan<'_>) -> String {
    match plan.trigger {
        Trigger::OnDemand => "on demand only".to_owned(),
        Trigger::OnStart => "whenever the host starts, or first sees it".to_owned(),
        Trigger::Every(step) => every(*step) + &counted_from(plan, *step),
        Trigger::At(at) => format!("once, at {}", on_clock(plan.zone, *at)),
        Trigger::Cron(crontab) => of_crontab(crontab),
        Trigger::After(Cooldowns { success, fail }) => {
            let after = |cooldown: &Duration| lengths::exact(*cooldown);
            format!("again and again, {} after a success and {} after a failure", after(success), after(fail))
        }
        Trigger::Pace(Pace { min, max, from, to }) => {
            let of = |interval: &Duration| lengths::exact(*interval);
            format!("{min} to {max} at once, one started every {} to {}", of(from), of(to))
        }
    }
}

/// Returns an interval as `every 10 minutes`, in the largest unit that makes it a whole number and reads as that
/// interval.
fn every(step: Duration) -> String {
    const UNITS: [(u128, &str); 6] = [
        (7 * 86_400_000, "week"),
        (86_400_000, "day"),
        (3_600_000, "hour"),
        (60_000, "minute"),
        (1000, "second"),
        (1, "ms"),
    ];
    let ms = step.as_millis();
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| ms >= *unit && ms.is_multiple_of(*unit)).unwrap_or((1, "ms"));
    match ms / unit {
        many if name == "ms" => format!("every {many} ms"),
        1 => format!("every {name}"),
        many => format!("every {many} {name}s"),
    }
}

/// Returns the start that an interval is counted from: the one that is written, or 1970 if the reader needs to know.
fn counted_from(plan: &Plan<'_>, step: Duration) -> String {
    const TWO_DAYS: Duration = Duration::from_secs(2 * 86_400);
    match plan.timing.start {
        Some(start) => format!(", counted from {}", on_clock(plan.zone, start)),
        None if step >= TWO_DAYS => ", counted from Thu 1970-01-01 00:00:00Z".to_owned(),
        None => String::new(),
    }
}

fn of_crontab(crontab: &Crontab) -> String {
    let mut words = match crontab.calendar() {
        calendar if calendar.seconds() == FIRST_SECOND => of_calendar(calendar),
        calendar => of_seconds(calendar),
    };
    if crontab.dst() == Dst::Utc {
        words.push_str(", by UTC");
    } else if let Some(zone) = crontab.zone() {
        words.push_str(&format!(", by the clocks of {zone}"));
    }
    words
}

/// Returns phrases such as `every 10 seconds` or `at second 5 and 35 of the minute, at 02:30 every Monday`.
fn of_seconds(calendar: &Calendar) -> String {
    let seconds = Set::new(calendar.seconds(), 0, 59);
    let often = match seconds.step() {
        Some(1) if seconds.all() => "every second".to_owned(),
        Some(step) if seconds.wraps(60) => format!("every {step} seconds"),
        _ => format!("at {} of the minute", seconds.describe("second", "second ", "", |second| second.to_string())),
    };
    match of_calendar(calendar).strip_prefix("every minute") {
        Some(days) => often + days,
        None => format!("{often}, {}", of_calendar(calendar)),
    }
}

fn of_calendar(calendar: &Calendar) -> String {
    let minutes = Set::new(calendar.minutes, 0, 59);
    let hours = Set::new(calendar.hours, 0, 23);
    let days = days(calendar);
    if minutes.values.len() * hours.values.len() <= TIMES {
        return times(&minutes, &hours) + &days;
    }
    // A schedule that is due many times a day is due every day, so the sentence does not say so.
    match (days.strip_prefix(" every day"), days.starts_with(" every")) {
        (Some(within), _) => minutes_of_hours(&minutes, &hours) + within,
        (None, true) => format!("{},{days}", minutes_of_hours(&minutes, &hours)),
        (None, false) => minutes_of_hours(&minutes, &hours) + &days,
    }
}

/// Returns a list such as `at 02:00, 02:30 and 14:00`.
fn times(minutes: &Set, hours: &Set) -> String {
    let of_hour =
        |hour: &u32| -> Vec<String> { minutes.values.iter().map(|minute| format!("{hour:02}:{minute:02}")).collect() };
    format!("at {}", list(&hours.values.iter().flat_map(of_hour).collect::<Vec<_>>(), "and"))
}

/// Describes times of day that are too many to be listed.
fn minutes_of_hours(minutes: &Set, hours: &Set) -> String {
    let of_hours = || hours.describe("hour", "the hours ", "", |hour| hour.to_string());
    if let Some(often) = often(minutes, hours) {
        let (first, last) = (minutes.values[0], minutes.last());
        return match hours.run() {
            _ if hours.all() => often,
            Some((from, to)) => format!("{often} from {from:02}:{first:02} to {to:02}:{last:02}"),
            None if hours.values.len() == 1 => {
                format!("{often} from {0:02}:{first:02} to {0:02}:{last:02}", hours.last())
            }
            None => format!("{often} of {}", of_hours()),
        };
    }
    let full = *minutes.values == [0];
    match hours.step() {
        _ if full && hours.all() => "every hour".to_owned(),
        Some(step) if full && hours.wraps(24) => format!("every {step} hours from 00:00"),
        _ => {
            let on = minutes.describe("minute", "minute ", "", |minute| minute.to_string());
            let of = if hours.all() { "every hour".to_owned() } else { of_hours() };
            format!("at {on} past {of}")
        }
    }
}

/// Returns `every 10 minutes`, if the minutes of an hour are such a sequence.
fn often(minutes: &Set, hours: &Set) -> Option<String> {
    match minutes.step() {
        Some(1) if minutes.all() => Some("every minute".to_owned()),
        // The two halves of some hours read better as such.
        Some(step) if minutes.wraps(60) && (step < 30 || hours.all()) => Some(format!("every {step} minutes")),
        _ => None,
    }
}

/// Returns the days with the words that join them to a time: ` every Monday`, `, Monday to Friday`, ` on the 1st of
/// every month`.
fn days(calendar: &Calendar) -> String {
    if let Some(days) = calendar.counted() {
        return counted::days(calendar, days);
    }
    let days = Set::new(calendar.days, 1, 31);
    let weekdays = weekdays(calendar.weekdays);
    let (of, within) = months(calendar);
    let dates = format!(" on {} of {of}", days.describe("day", "the ", "the ", ordinal));
    match (days.all(), weekdays.all(), calendar.join) {
        (true, true, _) | (true, _, Days::Either) | (_, true, Days::Either) => format!(" every day{within}"),
        (false, true, Days::Both) => dates,
        (true, false, Days::Both) => match weekdays.run() {
            Some(_) if within.is_empty() => format!(", {}", weekdays.listed(weekday, "and")),
            Some(_) => format!(", {},{within}", weekdays.listed(weekday, "and")),
            None => format!(" every {}{within}", weekdays.listed(weekday, "and")),
        },
        (false, false, Days::Both) => format!("{dates}, if it is a {}", weekdays.listed(weekday, "or")),
        // A day needs to be in only one of the fields.
        (false, false, Days::Either) => {
            let every = if weekdays.run().is_some() { "" } else { "every " };
            format!("{dates}, and {every}{}{within}", weekdays.listed(weekday, "and"))
        }
    }
}

/// Returns the months with the words that join them to days of a month, and those that join them to days of a week:
/// `March`, and ` in March`; `every month`, and nothing.
pub(super) fn months(calendar: &Calendar) -> (String, String) {
    let months = Set::new(calendar.months, 1, 12);
    match months.all() {
        true => ("every month".to_owned(), String::new()),
        false => {
            let named = months.describe("month", "", "", |month| month_name(month).to_owned());
            (named.clone(), format!(" in {named}"))
        }
    }
}

/// Returns weekdays with Monday as 1 and Sunday as 7.
pub(super) fn weekdays(bits: u8) -> Set {
    Set::new(bits | ((bits & 1) << 7), 1, 7)
}

/// Returns the name of a month: `March` for 3.
pub(super) fn month_name(month: u32) -> &'static str {
    MONTHS[month as usize - 1]
}

fn weekday(day: u32) -> String {
    WEEKDAYS[day as usize - 1].to_owned()
}

pub(super) fn ordinal(day: u32) -> String {
    let end = match (day % 10, day / 10) {
        (_, 1) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{day}{end}")
}

/// The values of a field, in order.
pub(super) struct Set {
    pub(super) values: Vec<u32>,
    /// The number of values that the field could have.
    most: usize,
}

impl Set {
    pub(super) fn new(bits: impl Into<u64>, low: u32, high: u32) -> Self {
        let bits = bits.into();
        let values = (low..=high).filter(|value| bits & (1 << value) != 0).collect();
        Self { values, most: (high - low + 1) as usize }
    }

    pub(super) fn all(&self) -> bool {
        self.values.len() == self.most
    }

    fn last(&self) -> u32 {
        self.values.last().copied().unwrap_or_default()
    }

    /// Returns first and last of at least three values without a gap.
    fn run(&self) -> Option<(u32, u32)> {
        (self.step() == Some(1)).then(|| (self.values[0], self.last()))
    }

    /// Returns the distance of at least three values (or the two halves of an hour), if it is the same for all.
    fn step(&self) -> Option<u32> {
        let mut steps = self.values.windows(2).map(|pair| pair[1] - pair[0]);
        let step = steps.next()?;
        let halves = *self.values == [0, 30];
        ((self.values.len() > 2 || halves) && steps.all(|other| other == step)).then_some(step)
    }

    /// Returns whether the same step leads from 0 over all values to the end of a circle of `whole`.
    fn wraps(&self, whole: u32) -> bool {
        self.values[0] == 0 && self.step().is_some_and(|step| self.last() + step == whole)
    }

    /// Returns `every UNIT from 1 to 5`, `every 7th UNIT from 0 to 56`, or `LISTED 1, 3 and 5`, with `the` before
    /// single values.
    pub(super) fn describe(&self, unit: &str, listed: &str, the: &str, name: impl Fn(u32) -> String) -> String {
        let from_to = || format!("from {the}{} to {the}{}", name(self.values[0]), name(self.last()));
        match self.step() {
            Some(1) => format!("every {unit} {}", from_to()),
            Some(step) if self.values.len() >= STEPS => format!("every {} {unit} {}", ordinal(step), from_to()),
            _ => format!("{listed}{}", self.listed(&name, "and")),
        }
    }

    /// Returns a list such as `1, 3 and 5 to 7`.
    pub(super) fn listed(&self, name: impl Fn(u32) -> String, last: &str) -> String {
        let part = |(from, to): (u32, u32)| match from == to {
            true => name(from),
            false => format!("{} to {}", name(from), name(to)),
        };
        list(&self.parts().into_iter().map(part).collect::<Vec<_>>(), last)
    }

    /// Returns the stretches without a gap. Two neighbouring values are listed apart.
    fn parts(&self) -> Vec<(u32, u32)> {
        let mut parts: Vec<(u32, u32)> = Vec::new();
        for value in &self.values {
            match parts.last_mut() {
                Some((_, to)) if *to + 1 == *value => *to = *value,
                _ => parts.push((*value, *value)),
            }
        }
        let pairs = |(from, to)| if from + 1 == to { vec![(from, from), (to, to)] } else { vec![(from, to)] };
        parts.into_iter().flat_map(pairs).collect()
    }
}

/// Joins parts: `a`, `a and b`, `a, b and c`.
pub(super) fn list(parts: &[String], last: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., end] => format!("{} {last} {end}", others.join(", ")),
    }
}

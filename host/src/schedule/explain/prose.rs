//! A schedule as a sentence.

use std::time::Duration;

use chrono_tz::Tz;

use super::on_clock;
use crate::schedule::Trigger;
use crate::schedule::calendar::{Calendar, Days};

/// So many times of day are listed one by one; more are told by minutes and hours.
const TIMES: u32 = 6;

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

const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What `trigger` means, in words: `at 02:30 every Monday`, `every 10 minutes`, `once, at ...`.
pub fn words(trigger: &Trigger, zone: Tz) -> String {
    match trigger {
        Trigger::OnDemand => "on demand only".to_owned(),
        Trigger::OnStart => "whenever the host starts, or first sees it".to_owned(),
        Trigger::Every(step) => every(*step),
        Trigger::At(at) => format!("once, at {}", on_clock(zone, *at)),
        Trigger::Cron(crontab) => of_calendar(crontab.calendar()),
    }
}

/// `every 10 minutes`: in the largest unit that makes it a whole number.
fn every(step: Duration) -> String {
    const UNITS: [(u128, &str); 5] =
        [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1000, "second"), (1, "millisecond")];
    let ms = step.as_millis();
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| ms >= *unit && ms % unit == 0).unwrap_or((1, "millisecond"));
    match ms / unit {
        1 => format!("every {name}"),
        many => format!("every {many} {name}s"),
    }
}

fn of_calendar(calendar: &Calendar) -> String {
    let minutes = Set::new(calendar.minutes, 0, 59);
    let hours = Set::new(calendar.hours, 0, 23);
    let listed = minutes.values.len() * hours.values.len() <= TIMES as usize;
    let time = if listed { times(&minutes, &hours) } else { minutes_of_hours(&minutes, &hours) };
    let days = days(calendar);
    match days {
        // What is due many times an hour is so every day, without saying.
        days if days == " every day" && !listed => time,
        days => time + &days,
    }
}

/// `at 02:00, 02:30 and 14:00`.
fn times(minutes: &Set, hours: &Set) -> String {
    let of_hour = |hour: &u32| minutes.values.iter().map(move |minute| format!("{hour:02}:{minute:02}")).collect();
    let times: Vec<String> = hours.values.iter().zip(std::iter::repeat(())).flat_map(|(hour, ())| -> Vec<String> { of_hour(hour) }).collect();
    format!("at {}", list(&times, "and"))
}

/// Too many times of day to be listed.
fn minutes_of_hours(minutes: &Set, hours: &Set) -> String {
    let hour = |hour: u32| hour.to_string();
    let minute = |minute: u32| minute.to_string();
    let step = match minutes.step() {
        _ if minutes.all() => Some("every minute".to_owned()),
        Some(step) if minutes.values[0] == 0 && 60 % step == 0 && minutes.last() + step == 60 => {
            // Two minutes of some hours are better told as such.
            (step < 30 || hours.all()).then(|| format!("every {step} minutes"))
        }
        _ => None,
    };
    if let Some(step) = step {
        let (first, last) = (minutes.values[0], minutes.last());
        return match hours.run() {
            _ if hours.all() => step,
            Some((from, to)) => format!("{step} from {from:02}:{first:02} to {to:02}:{last:02}"),
            None => format!("{step} of the hours {}", hours.told(hour, "from ")),
        };
    }
    let on = match minutes.values.as_slice() {
        [0] if hours.all() => return "every hour".to_owned(),
        _ => format!("at minute {}", minutes.told(minute, "from ")),
    };
    if hours.all() {
        return format!("{on} past every hour");
    }
    match (hours.run(), hours.step()) {
        (Some((from, to)), _) => format!("{on} past every hour from {from} to {to}"),
        (None, Some(step)) if hours.values[0] == 0 && hours.last() + step == 24 && *minutes.values == [0] => {
            format!("every {step} hours from 00:00")
        }
        _ => format!("{on} past the hours {}", hours.told(hour, "from ")),
    }
}

/// On which days, with what joins it to a time: ` every Monday`, `, Monday to Friday`, ` on the 1st of every month`.
fn days(calendar: &Calendar) -> String {
    let days = Set::new(calendar.days, 1, 31);
    let months = Set::new(calendar.months, 1, 12);
    let weekdays = weekdays(calendar.weekdays);
    let month = |month: u32| MONTHS[month as usize - 1].to_owned();
    let of = if months.all() { "every month".to_owned() } else { months.told(month, "every month from ") };
    let within = if months.all() { String::new() } else { format!(" in {}", months.told(month, "every month from ")) };
    let dates = || format!("on {} of {of}", days.told_with(ordinal, "the ", "every day from the "));
    match (days.all(), weekdays.all(), calendar.join) {
        (true, true, _) => format!(" every day{within}"),
        (true, false, Days::Both) => match on_weekdays(&weekdays) {
            range if weekdays.run().is_some() => format!(", {range}{}", if within.is_empty() { String::new() } else { format!(",{within}") }),
            listed => format!(" every {listed}{within}"),
        },
        (false, true, Days::Both) => format!(" {}", dates()),
        (_, _, Days::Both) => format!(" {}, if it is a {}", dates(), weekdays.told(weekday, "day from ").replace(" and ", " or ")),
        // It is enough that one of them holds: a field that has all days holds every day.
        (true, _, Days::Either) | (_, true, Days::Either) => format!(" every day{within}"),
        (false, false, Days::Either) => format!(" {}, and {}{within}", dates(), match weekdays.run() {
            Some(_) => on_weekdays(&weekdays),
            None => format!("every {}", on_weekdays(&weekdays)),
        }),
    }
}

/// With Monday as 1 and Sunday as 7.
fn weekdays(bits: u64) -> Set {
    Set::new(bits | ((bits & 1) << 7), 1, 7)
}

fn weekday(day: u32) -> String {
    WEEKDAYS[day as usize - 1].to_owned()
}

/// `Monday to Friday`, or `Monday and Thursday`.
fn on_weekdays(days: &Set) -> String {
    days.told(weekday, "")
}

fn ordinal(day: u32) -> String {
    let end = match (day % 10, day / 10) {
        (_, 1) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{day}{end}")
}

/// The values that a field has, in order.
struct Set {
    values: Vec<u32>,
    /// How many it could have.
    most: usize,
}

impl Set {
    fn new(bits: u64, low: u32, high: u32) -> Self {
        let values = (low..=high).filter(|value| bits & (1 << value) != 0).collect();
        Self { values, most: (high - low + 1) as usize }
    }

    fn all(&self) -> bool {
        self.values.len() == self.most
    }

    fn last(&self) -> u32 {
        self.values.last().copied().unwrap_or_default()
    }

    /// First and last of at least three values without one left out.
    fn run(&self) -> Option<(u32, u32)> {
        (self.step() == Some(1)).then(|| (self.values[0], self.last()))
    }

    /// How far values, three at least (or two halves of an hour), are apart, if all are equally so.
    fn step(&self) -> Option<u32> {
        let mut steps = self.values.windows(2).map(|pair| pair[1] - pair[0]);
        let step = steps.next()?;
        let halves = *self.values == [0, 30];
        ((self.values.len() > 2 || halves) && steps.all(|other| other == step)).then_some(step)
    }

    /// `1, 3 and 5`, `1 to 5`, `every 7th from 0 to 56`.
    fn told(&self, name: impl Fn(u32) -> String, run: &str) -> String {
        self.told_with(name, "", run)
    }

    /// The same; `the` goes before values that are listed.
    fn told_with(&self, name: impl Fn(u32) -> String, the: &str, run: &str) -> String {
        match self.step() {
            Some(1) => format!("{run}{} to {the}{}", name(self.values[0]), name(self.last())).replace("to the the", "to the"),
            Some(step) if self.values.len() > 5 => {
                format!("every {} from {the}{} to {the}{}", ordinal(step), name(self.values[0]), name(self.last()))
            }
            _ => {
                let parts: Vec<String> = self.parts().into_iter().map(|(from, to)| match to - from {
                    0 => name(from),
                    _ => format!("{} to {}", name(from), name(to)),
                }).collect();
                format!("{the}{}", list(&parts, "and"))
            }
        }
    }

    /// Stretches without a value left out, two values that are neighbours told apart.
    fn parts(&self) -> Vec<(u32, u32)> {
        let mut parts: Vec<(u32, u32)> = Vec::new();
        for value in &self.values {
            match parts.last_mut() {
                Some((_, to)) if *to + 1 == *value => *to = *value,
                _ => parts.push((*value, *value)),
            }
        }
        parts.into_iter().flat_map(|(from, to)| if from + 1 == to { vec![(from, from), (to, to)] } else { vec![(from, to)] }).collect()
    }
}

/// `a`, `a and b`, `a, b and c`.
fn list(parts: &[String], last: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., end] => format!("{} {last} {end}", others.join(", ")),
    }
}

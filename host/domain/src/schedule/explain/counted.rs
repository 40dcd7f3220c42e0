//! Describes counted days, from a month's end or by its weeks, as part of a sentence.

use super::prose::{Set, WEEKDAYS, list, months, ordinal, weekdays};
use crate::schedule::calendar::{Calendar, Days};
use crate::schedule::counted::Counted;

/// Returns the days with the words that join them to a time: ` on the last day of every month`, ` on the 2nd Tuesday of
/// March`.
pub(super) fn days(calendar: &Calendar, counted: &Counted) -> String {
    let (of, within) = months(calendar);
    let plain = Set::new(calendar.days, 1, 31);
    let mut dates = dates(counted);
    if !plain.all() && !plain.values.is_empty() {
        dates.insert(0, plain.describe("day", "the ", "the ", ordinal));
    }
    let week = Set::new(calendar.weekdays & 0x7f, 0, 6);
    let nth = of_weeks(counted);
    let any_date = plain.all();
    let any_weekday = week.all();
    let on_dates = format!("on {} of {of}", list(&dates, "and"));
    let on_weekdays = || {
        let every = (!week.values.is_empty())
            .then(|| format!("every {}{within}", weekdays(calendar.weekdays).listed(weekday, "and")));
        let counted = (!nth.is_empty()).then(|| format!("on {} of {of}", list(&nth, "and")));
        every.into_iter().chain(counted).collect::<Vec<_>>().join(", and ")
    };
    match (any_date, any_weekday, calendar.join) {
        (true, true, _) | (true, _, Days::Either) | (_, true, Days::Either) => format!(" every day{within}"),
        (false, true, Days::Both) => format!(" {on_dates}"),
        (true, false, Days::Both) => format!(" {}", on_weekdays()),
        (false, false, Days::Either) => format!(" {on_dates}, and {}", on_weekdays()),
        (false, false, Days::Both) => {
            let mut either: Vec<String> =
                weekdays(calendar.weekdays).values.iter().map(|day| format!("a {}", weekday(*day))).collect();
            either.extend(nth);
            format!(" {on_dates}, if it is {}", list(&either, "or"))
        }
    }
}

/// Returns phrases such as `the last day`, `the 3rd day before the last`, `the weekday nearest to the 15th`.
fn dates(counted: &Counted) -> Vec<String> {
    let before = |before: u32| match before {
        0 => "the last day".to_owned(),
        before => format!("the {} day before the last", ordinal(before)),
    };
    let set = |bits: u32| Set::new(bits, 0, 31).values;
    let mut dates: Vec<String> = set(counted.before_last).into_iter().map(before).collect();
    dates.extend(set(counted.near).into_iter().map(|day| format!("the weekday nearest to the {}", ordinal(day))));
    dates.extend(set(counted.near_before_last).into_iter().map(|days| match days {
        0 => "the last weekday from Monday to Friday".to_owned(),
        days => format!("the weekday nearest to {}", before(days)),
    }));
    dates
}

/// Returns phrases such as `the 2nd Tuesday`, `the last Friday`.
fn of_weeks(counted: &Counted) -> Vec<String> {
    let named = |bits: u8, place: &str| -> Vec<String> {
        weekdays(bits).values.into_iter().map(|day| format!("the {place} {}", weekday(day))).collect()
    };
    let nth = counted.nth.iter().zip(1..).flat_map(|(bits, nth)| named(*bits, &ordinal(nth)));
    nth.chain(named(counted.last, "last")).collect()
}

/// Returns the name of a weekday, where 1 is Monday and 7 is Sunday.
fn weekday(day: u32) -> String {
    WEEKDAYS[day as usize - 1].to_owned()
}

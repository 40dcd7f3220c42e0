//! Decides whether a crontab ever comes: there is no 31st of February. The answer is the same under every name,
//! wherever an `H` or a `~` falls. Otherwise a task that was tried under one name could be refused, or never be due,
//! under another.

use super::super::calendar::{Calendar, Days};
use super::field::{DAYS, FIELDS, MONTHS, WEEKDAYS, is_spread};

/// The second before the whole calendar: -1 on a clock that starts at 1970-01-01 00:00.
const ANY: i64 = -1;

/// Returns a hint if a crontab of these fields never comes, and `None` if it comes under every name. `calendar` is the
/// meaning of the fields under some name. The hint follows the words of an error, and is empty if the crontab comes
/// under no name.
pub(super) fn never(calendar: &Calendar, fields: [&str; 6]) -> Option<&'static str> {
    const SOME_NAMES: &str = " under some names";
    let spread = [DAYS, MONTHS, WEEKDAYS].map(|at| is_spread(fields[at]));
    if calendar.counted().is_some() {
        if spread == [false; 3] {
            return calendar.next_after(ANY).is_none().then_some("");
        }
        return check_every_value(calendar, spread).is_none().then_some(SOME_NAMES);
    }
    // In 400 years each month has its 29th on every weekday. So a crontab that needs both day fields comes if and only
    // if one of its months is long enough.
    let earliest = earliest_day(fields[DAYS]);
    let comes = calendar.join == Days::Either || earliest <= 28 || earliest <= longest_month(fields[MONTHS]);
    let hint = if spread[0] || spread[1] { SOME_NAMES } else { "" };
    (!comes).then_some(hint)
}

/// Checks that the crontab comes with each single value in the place of the fields that a name spreads.
fn check_every_value(calendar: &Calendar, [days, months, weekdays]: [bool; 3]) -> Option<()> {
    let each = |spread: bool, all: u32, low: u32, high: u32| -> Vec<u32> {
        if spread { (low..=high).map(|value| 1 << value).collect() } else { vec![all] }
    };
    for days in each(days, calendar.days, 1, 31) {
        for months in each(months, calendar.months.into(), 1, 12) {
            for weekdays in each(weekdays, calendar.weekdays.into(), 0, 6) {
                let months = u16::try_from(months).expect("bits 1 to 12");
                let weekdays = u8::try_from(weekdays).expect("bits 0 to 6");
                Calendar { days, months, weekdays, ..calendar.clone() }.next_after(ANY)?;
            }
        }
    }
    Some(())
}

/// Returns the first matching day of the month, at the latest place that a name can give it.
fn earliest_day(days: &str) -> u32 {
    FIELDS[DAYS].values(days).flatten().map(|values| values.latest_first()).min().unwrap_or(0)
}

/// Returns the number of days of the longest of these months, whatever the name is.
fn longest_month(months: &str) -> u32 {
    let days = |month: u32| match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let surely = FIELDS[MONTHS].values(months).flatten().map(|item| {
        let longest = |phase| {
            let (values, step) = item.starting_at(phase);
            values.step_by(step as usize).map(days).max().unwrap_or(0)
        };
        (0..item.phases()).map(longest).min().unwrap_or(0)
    });
    surely.max().unwrap_or(0)
}

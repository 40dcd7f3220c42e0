//! A month on paper: on which days a schedule fires, and how often.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{Datelike, Days, NaiveDate};
use chrono_tz::Tz;

use super::{Mark, mark, prose};
use crate::schedule::{Trigger, local};
use crate::time::Timestamp;

/// So often at most a day's fires are counted one by one: every minute of a day of 25 hours.
const COUNTED: u32 = 1500;

/// So many odd days are told below the month.
const NOTES: usize = 5;

/// Columns of a day: its number and how often.
const COLUMN: usize = 11;

/// How often a trigger fires on a day.
struct Day {
    fires: u64,
    /// Whether that is only the least that it can be: there were too many to count.
    uncounted: bool,
    /// What the clock has to do with the first fire that is odd.
    odd: Option<Mark>,
}

/// A month as a calendar of weeks from Monday, by the clocks of `zone`: behind each day on which `trigger` fires stands
/// how often (`x8640k` is thousands), and below what is odd about it where the clocks are set. Fits 80 columns; ends with a line end.
///
/// Months are 1 to 12 of the years 1 to 9998; of any other the answer says that there is none.
pub fn month(trigger: &Trigger, zone: Tz, year: i32, month: u32) -> String {
    let first = NaiveDate::from_ymd_opt(year, month, 1).filter(|_| (1..=9998).contains(&year));
    let Some(first) = first else { return format!("there is no month {year:04}-{month:02}\n") };
    let mut drawn = format!("{} {}, {}\n", prose::month_name(month), year, zone.name());
    for weekday in prose::WEEKDAYS {
        let _ = write!(drawn, "{:<COLUMN$}", format!(" {}", &weekday[..3])); // a String takes all that is written
    }
    end_line(&mut drawn);
    drawn.push_str(&" ".repeat(COLUMN * first.weekday().num_days_from_monday() as usize));
    let mut notes = Vec::new();
    let mut all = Day { fires: 0, uncounted: false, odd: None };
    for date in first.iter_days().take_while(|date| date.month() == month) {
        let day = day(trigger, zone, date);
        let often = match day.fires {
            0 => String::new(),
            100_000.. => format!("x{}k", day.fires / 1000),
            fires => format!("x{fires}{}", if day.uncounted { "+" } else { "" }),
        };
        let _ = write!(drawn, "{:<COLUMN$}", format!(" {:>2} {often}", date.day()));
        all.fires += day.fires;
        all.uncounted |= day.uncounted;
        notes.extend(day.odd.map(|odd| format!("{:>3}: {odd}\n", date.day())));
        let last = date.day() == u32::from(first.num_days_in_month());
        if last || date.weekday().num_days_from_monday() == 6 {
            end_line(&mut drawn);
        }
    }
    drawn.extend(notes.into_iter().take(NOTES));
    let least = if all.uncounted { "at least " } else { "" };
    let times = if all.fires == 1 { "time" } else { "times" };
    drawn + &format!("{least}{} {times} in all\n", all.fires)
}

fn end_line(text: &mut String) {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

fn day(trigger: &Trigger, zone: Tz, date: NaiveDate) -> Day {
    let nothing = Day { fires: 0, uncounted: false, odd: None };
    let end = date.checked_add_days(Days::new(1)).and_then(|next| local::day_start(zone, next));
    let (Some(start), Some(end)) = (local::day_start(zone, date), end) else { return nothing };
    if let Trigger::Every(step) = trigger {
        return Day { fires: multiples(*step, start, end), ..nothing };
    }
    let mut day = nothing;
    let mut after = start.minus(Duration::from_millis(1));
    while let Some(at) = trigger.next_after(zone, after).filter(|at| *at < end) {
        if day.fires == u64::from(COUNTED) {
            day.uncounted = true;
            break;
        }
        day.fires += 1;
        day.odd = day.odd.or_else(|| mark(trigger, zone, at));
        after = at;
    }
    day
}

/// How many multiples of `step` are in `[start, end)`.
fn multiples(step: Duration, start: Timestamp, end: Timestamp) -> u64 {
    let Some(step) = i64::try_from(step.as_millis()).ok().filter(|step| *step > 0) else { return 0 };
    let before = |at: Timestamp| (at.as_millis() - 1).div_euclid(step);
    u64::try_from(before(end) - before(start)).unwrap_or(0)
}

//! Prints a month, with the days on which a schedule fires and how often.

use std::fmt::Write as _;

use chrono::{Datelike, Days, NaiveDate};

use super::clocks::left_out_until;
use super::{Mark, mark, prose};
use crate::schedule::plan::MILLISECOND;
use crate::schedule::{Plan, local_instants};

/// The most fires of a day that are counted one by one: every minute of a day of 25 hours.
const COUNTED: u32 = 1500;

/// The most odd days that are explained below the month.
const NOTES: usize = 5;

/// The width of a day in columns: its number and its count.
const COLUMN: usize = 11;

/// The fires of a trigger on one day.
struct Day {
    fires: u64,
    /// Whether `fires` is only a lower bound, because there were too many to count.
    uncounted: bool,
    /// The effect of a clock change on the first fire that has one.
    odd: Option<Mark>,
}

/// Prints a month as a calendar of weeks from Monday, by the clocks of its zone. Each day on which `plan` fires has the
/// number of fires behind it (`x8640k` is thousands), and the effects of clock changes stand below. The text fits 80
/// columns and ends with a line end.
///
/// Months are 1 to 12 of the years 1 to 9998. For any other the text says that there is none.
pub fn month(plan: &Plan<'_>, year: i32, month: u32) -> String {
    let first = NaiveDate::from_ymd_opt(year, month, 1).filter(|_| (1..=9998).contains(&year));
    let Some(first) = first else { return format!("there is no month {year:04}-{month:02}\n") };
    let mut drawn = format!("{} {}, {}\n", prose::month_name(month), year, plan.zone.name());
    for weekday in prose::WEEKDAYS {
        let _ = write!(drawn, "{:<COLUMN$}", format!(" {}", &weekday[..3])); // a String takes all that is written
    }
    end_line(&mut drawn);
    drawn.push_str(&" ".repeat(COLUMN * first.weekday().num_days_from_monday() as usize));
    let mut notes = Vec::new();
    let mut all = Day { fires: 0, uncounted: false, odd: None };
    for date in first.iter_days().take_while(|date| date.month() == month) {
        let day = day(plan, date);
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

fn day(plan: &Plan<'_>, date: NaiveDate) -> Day {
    let nothing = Day { fires: 0, uncounted: false, odd: None };
    let end = date.checked_add_days(Days::new(1)).and_then(|next| local_instants::day_start(plan.zone, next));
    let (Some(start), Some(end)) = (local_instants::day_start(plan.zone, date), end) else { return nothing };
    let mut after = start.minus(MILLISECOND);
    if let Some(all) = plan.interval().filter(|all| !all.is_on_calendar()) {
        let before = plan.timing.start.map_or(after, |from| after.max(from.minus(MILLISECOND)));
        let until = plan.timing.end.map_or(end.minus(MILLISECOND), |to| to.min(end.minus(MILLISECOND)));
        let fires = all.number_until(until).saturating_sub(all.number_until(before));
        return Day { fires: u64::try_from(fires).unwrap_or(0), ..nothing };
    }
    let mut day = nothing;
    while let Some(at) = plan.next_after(after).filter(|at| *at < end) {
        if day.fires == u64::from(COUNTED) {
            day.uncounted = true;
            break;
        }
        day.fires += 1;
        day.odd = day.odd.or_else(|| mark(plan, after, at));
        after = at;
    }
    if day.fires == 0 {
        day.odd = left_out_until(plan, after, end.minus(MILLISECOND));
    }
    day
}

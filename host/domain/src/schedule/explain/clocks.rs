//! Finds the effect of clock changes on an instant at which a schedule fires.

use chrono::DateTime;
use chrono_tz::Tz;

use super::Mark;
use crate::schedule::local_instants::{self, LocalInstants, shown};
use crate::schedule::plan::MILLISECOND;
use crate::schedule::{Crontab, Dst, Plan, Trigger, dst};
use crate::time::Timestamp;

/// Returns the effect of clock changes in the zone on `plan` firing at `at`, for the first time after `after`. Crontabs
/// follow clocks, and so do whole days that are counted from a start. A single instant is marked if its clock shows it
/// twice.
pub fn mark(plan: &Plan<'_>, after: Timestamp, at: Timestamp) -> Option<Mark> {
    match plan.trigger {
        Trigger::Cron(crontab) if crontab.dst() == Dst::Utc => None,
        Trigger::Cron(crontab) => {
            let zone = plan.zone;
            gap(crontab, zone, at).or_else(|| left_out(plan, crontab, after, at)).or_else(|| fold(plan, at))
        }
        Trigger::Every(_) => day_in_gap(plan, at),
        Trigger::At(_) => fold(plan, at),
        Trigger::OnDemand | Trigger::OnStart | Trigger::After(_) | Trigger::Pace(_) => None,
    }
}

/// Returns whether the clock skips a time in `(after, until]` that the schedule names and that has no run.
pub(super) fn left_out_until(plan: &Plan<'_>, after: Timestamp, until: Timestamp) -> Option<Mark> {
    match plan.trigger {
        Trigger::Cron(crontab) if crontab.dst() != Dst::Utc => left_out(plan, crontab, after, until),
        _ => None,
    }
}

/// Returns a mark if a crontab fires at `at` in the place of a time that the clock skips. Such a time is made up for
/// when the clock is set.
fn gap(crontab: &Crontab, zone: Tz, at: Timestamp) -> Option<Mark> {
    if crontab.dst() != Dst::Vixie {
        return None; // it makes up for nothing
    }
    let skipped = skipped_by(zone, at.as_millis().div_euclid(1000))?;
    let clock = skipped.end;
    // A clock without seconds shows minutes.
    let shown = if crontab.has_seconds() { clock } else { clock - clock.rem_euclid(60) };
    // A job at a fixed time runs once for the skipped time and the minute after it together.
    if crontab.follows_clock() && crontab.first_match(shown..clock + 1).is_some() {
        return None;
    }
    let skipped = crontab.first_match(skipped)?;
    Some(Mark::Gap { skipped: time_of_day(skipped), run_at: time_of_day(clock) })
}

/// Returns the first time in `(after, at]` that the crontab names and that is left out because the clock skips it. A
/// crontab that follows the clock loses nothing as long as it still fires on that day.
///
/// Between two instants at which a schedule fires, its calendar has no time that a clock shows, so there is seldom one
/// to examine. A time that the clock skips between the times it shows at two instants is skipped between these
/// instants: had the clock been set back over it, the clock would have shown it.
fn left_out(plan: &Plan<'_>, crontab: &Crontab, after: Timestamp, at: Timestamp) -> Option<Mark> {
    let after = plan.timing.start.map_or(after, |start| after.max(start.minus(MILLISECOND)));
    let shown_at = |at: Timestamp| {
        let second = at.as_millis().div_euclid(1000);
        Some(second + dst::offset(plan.zone, second)?)
    };
    let skipped = crontab.first_match(shown_at(after)? + 1..shown_at(at)?)?;
    let clock = DateTime::from_timestamp(skipped, 0)?.naive_utc();
    let LocalInstants::Skipped(change) = shown(plan.zone, clock)? else { return None };
    let fires =
        |from: Timestamp, until: Timestamp| plan.next_after(from.minus(MILLISECOND)).is_some_and(|next| next <= until);
    let made_up = match (crontab.follows_clock(), crontab.dst()) {
        (true, _) => {
            let day = |date| local_instants::day_start(plan.zone, date);
            fires(day(clock.date())?, day(clock.date().succ_opt()?)?.minus(MILLISECOND))
        }
        (false, Dst::Vixie) => fires(change, change),
        (false, Dst::Skip | Dst::Utc) => false,
    };
    (!made_up).then(|| Mark::LeftOut { skipped: format!("{} on {}", time_of_day(skipped), clock.date()) })
}

/// Returns a mark if a day that is counted from a start begins later because the clock skips its time, or if that time
/// comes twice.
fn day_in_gap(plan: &Plan<'_>, at: Timestamp) -> Option<Mark> {
    let interval = plan.interval().filter(|interval| interval.is_on_calendar())?;
    let (meant, clock) = (interval.wall_time(interval.number_until(at))?, local_instants::local(plan.zone, at)?);
    if meant == clock {
        return fold(plan, at);
    }
    let (skipped, run_at) = (meant.format("%H:%M").to_string(), clock.format("%H:%M").to_string());
    Some(Mark::Gap { skipped, run_at })
}

/// Returns the seconds that a clock does not show if it is set at `change`; none if it is set back, or not at all.
fn skipped_by(zone: Tz, change: i64) -> Option<std::ops::Range<i64>> {
    Some(change + dst::offset(zone, change - 1)?..change + dst::offset(zone, change)?)
}

/// Returns a mark if the clock shows the time of `at` twice.
fn fold(plan: &Plan<'_>, at: Timestamp) -> Option<Mark> {
    let clock = local_instants::local(plan.zone, at)?;
    let LocalInstants::Twice(first, second) = shown(plan.zone, clock)? else { return None };
    let other = if at == first { second } else { first };
    let both = plan.next_after(other.minus(MILLISECOND)) == Some(other);
    Some(Mark::Fold { time: clock.format("%H:%M").to_string(), first: at == first, both })
}

/// Formats a wall clock's second as `02:30`, or as `02:30:10` if it is not the first of its minute.
fn time_of_day(second: i64) -> String {
    let second = second.rem_euclid(24 * 3600);
    let minutes = format!("{:02}:{:02}", second / 3600, second / 60 % 60);
    if second % 60 == 0 { minutes } else { format!("{minutes}:{:02}", second % 60) }
}

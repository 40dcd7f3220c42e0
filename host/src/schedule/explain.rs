//! A schedule in words, and when it fires: for people who want to know what they wrote before it runs.
//!
//! The words come from what a crontab means, not from how it is written. When it fires, and what becomes of it where the
//! clock is set, is found out by asking the schedule itself, so that this page cannot say anything else than the host does.

mod month;
mod prose;

use std::fmt;
use std::time::Duration;

use chrono_tz::{OffsetName, Tz};

use super::local::{self, Shown, shown};
use super::{Crontab, Dst, Trigger, walk};
use crate::time::Timestamp;
pub use month::month;
pub use prose::words;

/// The most instants that are listed at once.
pub const MOST: usize = 1000;

/// How far before a displaced instant the change of the clock that displaced it is looked for, in seconds.
const DISPLACED: i64 = 26 * 3600;

/// A schedule in words, and the first instants at which it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Such as `at 02:30 every Monday`.
    pub words: String,
    /// Earliest first.
    pub fires: Vec<Fire>,
}

/// An instant at which a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fire {
    /// Which.
    pub at: Timestamp,
    /// On the zone's clock, with its offset and the zone's name then: `Sun 2027-03-28 03:00:00 +02:00 CEST`.
    pub local: String,
    /// In UTC: `2027-03-28 01:00:00Z`.
    pub utc: String,
    /// What is odd about it.
    pub mark: Option<Mark>,
}

/// What a change of the clock has to do with an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The clock was set forward over the time that was meant.
    Gap {
        /// That time, as the clock would have shown it.
        skipped: String,
        /// What the clock shows instead.
        run_at: String,
    },
    /// The clock shows the time twice.
    Fold {
        /// The time.
        time: String,
        /// Whether this is the first time.
        first: bool,
        /// Whether the schedule fires the other time, too.
        both: bool,
    },
}

impl Mark {
    /// `gap` or `fold`, for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::Fold { .. } => "fold",
        }
    }
}

/// For people: `the clock skips 02:30: run at 03:00`.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { skipped, run_at } => write!(f, "the clock skips {skipped}: run at {run_at}"),
            Self::Fold { time, first, both } => {
                let which = if *first { "first" } else { "second" };
                match both {
                    true => write!(f, "{time} comes twice: run both times, this is the {which}"),
                    false => write!(f, "{time} comes twice: run the {which} time"),
                }
            }
        }
    }
}

/// What `trigger` means by the clocks of `zone`, and the first `count` instants (at most [`MOST`]) after `from` at
/// which it fires, none beyond the year 9999.
pub fn explain(trigger: &Trigger, zone: Tz, from: Timestamp, count: usize) -> Explanation {
    let zone = match trigger {
        Trigger::Cron(crontab) => crontab.zone().unwrap_or(zone),
        _ => zone,
    };
    let first = trigger.next_after(zone, from);
    let fires = std::iter::successors(first, |at| trigger.next_after(zone, *at));
    let fires = fires.map_while(|at| Fire::of(trigger, zone, at)).take(count.min(MOST)).collect();
    let passed = matches!(trigger, Trigger::At(at) if *at <= from);
    let words = words(trigger, zone) + if passed { ", which has passed" } else { "" };
    Explanation { words, fires }
}

impl Fire {
    fn of(trigger: &Trigger, zone: Tz, at: Timestamp) -> Option<Self> {
        local::local(zone, at)?;
        let utc = at.to_utc().format("%Y-%m-%d %H:%M:%S%.fZ").to_string();
        Some(Self { at, local: on_clock(zone, at), utc, mark: mark(trigger, zone, at) })
    }
}

/// `Sun 2027-03-28 03:00:00 +02:00 CEST`; without the name where the zone has none but its offset.
fn on_clock(zone: Tz, at: Timestamp) -> String {
    let local = at.to_utc().with_timezone(&zone);
    let name = local.offset().abbreviation().filter(|name| !name.starts_with(['+', '-']));
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{}{name}", local.format("%a %Y-%m-%d %H:%M:%S%.f %:z"))
}

/// What the clocks of `zone` have to do with a trigger that fires at `at`. Only crontabs go by clocks; an instant that
/// was written down is marked where its clock shows it twice.
pub fn mark(trigger: &Trigger, zone: Tz, at: Timestamp) -> Option<Mark> {
    match trigger {
        Trigger::Cron(crontab) if crontab.dst() == Dst::Utc => None,
        Trigger::Cron(crontab) => gap(crontab, zone, at).or_else(|| fold(trigger, zone, at)),
        Trigger::At(_) => fold(trigger, zone, at),
        Trigger::OnDemand | Trigger::OnStart | Trigger::Every(_) | Trigger::After(_) | Trigger::Pace(_) => None,
    }
}

/// Whether a crontab fires at `at` in the place of a time that the clock skips.
fn gap(crontab: &Crontab, zone: Tz, at: Timestamp) -> Option<Mark> {
    if crontab.dst() != Dst::Vixie {
        return None; // it makes up for nothing
    }
    let second = at.as_millis().div_euclid(1000);
    let clock = second + walk::offset(zone, second)?;
    let meant = crontab.first_meant(shown_from(crontab, clock)..clock + 1).is_some();
    let sets_now = walk::offset(zone, second - 1)? != walk::offset(zone, second)?;
    // A job at a fixed time is run once for what was skipped and for the minute after it together.
    if meant && (!sets_now || crontab.follows_clock()) {
        return None;
    }
    let change = last_change(zone, second)?;
    let last_shown = change - 1 + walk::offset(zone, change - 1)?;
    let first_shown = change + walk::offset(zone, change)?;
    let skipped = crontab.first_meant(last_shown + 1..first_shown)?;
    Some(Mark::Gap { skipped: time_of_day(skipped), run_at: time_of_day(clock) })
}

/// The first second that counts as the time that a clock shows: where there are no seconds it shows minutes.
fn shown_from(crontab: &Crontab, clock: i64) -> i64 {
    if crontab.has_seconds() { clock } else { clock - clock.rem_euclid(60) }
}

/// The last instant up to and with `second` at which the clocks of a zone were set.
fn last_change(zone: Tz, second: i64) -> Option<i64> {
    let mut from = second - DISPLACED;
    let mut last = None;
    while let Some(change) = walk::next_change(zone, from, second)? {
        (from, last) = (change, Some(change));
    }
    last
}

/// Whether the clock shows the time of `at` twice.
fn fold(trigger: &Trigger, zone: Tz, at: Timestamp) -> Option<Mark> {
    let clock = local::local(zone, at)?;
    let Shown::Twice(first, second) = shown(zone, clock)? else { return None };
    let other = if at == first { second } else { first };
    let both = trigger.next_after(zone, other.minus(Duration::from_millis(1))) == Some(other);
    Some(Mark::Fold { time: clock.format("%H:%M").to_string(), first: at == first, both })
}

/// `02:30` for a wall clock's second, `02:30:10` if it is not the first of its minute.
fn time_of_day(second: i64) -> String {
    let second = second.rem_euclid(24 * 3600);
    let minutes = format!("{:02}:{:02}", second / 3600, second / 60 % 60);
    if second % 60 == 0 { minutes } else { format!("{minutes}:{:02}", second % 60) }
}

#[cfg(test)]
mod tests;

//! A schedule in words, and when it fires: for people who want to know what they wrote before it runs.
//!
//! The words come from what a crontab means, not from how it is written. When it fires, and what becomes of it where the
//! clock is set, is found out by asking the schedule itself, so that this page cannot say anything else than the host does.

mod clocks;
mod counted;
mod month;
mod prose;

use std::fmt;

use chrono_tz::{OffsetName, Tz};

use super::{Plan, Trigger, local};
use crate::time::Timestamp;
pub use clocks::mark;
pub use month::month;
pub use prose::words;

/// The most instants that are listed at once.
pub const MOST: usize = 1000;

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
    /// Before this instant the clock was set forward over a time that was meant, and nothing is run for it.
    LeftOut {
        /// That time, as the clock would have shown it, with its day.
        skipped: String,
    },
}

impl Mark {
    /// `gap`, `fold` or `left-out`, for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::Fold { .. } => "fold",
            Self::LeftOut { .. } => "left-out",
        }
    }
}

/// For people: `the clock skips 02:30: run at 03:00`.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { skipped, run_at } => write!(f, "the clock skips {skipped}: run at {run_at}"),
            Self::LeftOut { skipped } => write!(f, "the clock skips {skipped}: left out"),
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

/// What `plan` means by the clocks of its zone, and the first `count` instants (at most [`MOST`]) after `from` at which it
/// fires, none beyond the year 9999.
pub fn explain(plan: &Plan<'_>, from: Timestamp, count: usize) -> Explanation {
    let mut last = from;
    let next = || {
        let after = last;
        last = plan.next_after(after)?;
        Fire::of(plan, after, last)
    };
    let fires = std::iter::from_fn(next).take(count.min(MOST)).collect();
    let passed = matches!(plan.trigger, Trigger::At(at) if *at <= from);
    let words = words(plan) + if passed { ", which has passed" } else { "" };
    Explanation { words, fires }
}

impl Fire {
    /// The one at `at`, with what became of those that should have been before it, after `after`.
    fn of(plan: &Plan<'_>, after: Timestamp, at: Timestamp) -> Option<Self> {
        local::local(plan.zone, at)?;
        let utc = at.to_utc().format("%Y-%m-%d %H:%M:%S%.fZ").to_string();
        Some(Self { at, local: on_clock(plan.zone, at), utc, mark: mark(plan, after, at) })
    }
}

/// `Sun 2027-03-28 03:00:00 +02:00 CEST`; without the name where the zone has none but its offset.
fn on_clock(zone: Tz, at: Timestamp) -> String {
    let local = at.to_utc().with_timezone(&zone);
    let name = local.offset().abbreviation().filter(|name| !name.starts_with(['+', '-']));
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{}{name}", local.format("%a %Y-%m-%d %H:%M:%S%.f %:z"))
}

#[cfg(test)]
mod tests;

//! Describes a schedule in words and lists when it fires, so that people can check what they wrote before it runs.
//!
//! The words come from the meaning of a crontab, not from its text. The instants, and what happens to them when the
//! clock is set, come from the schedule itself, so that an explanation always agrees with the host.

mod clocks;
mod counted;
mod month;
mod prose;

use std::fmt;

use chrono_tz::{OffsetName, Tz};

use super::{Plan, Trigger, local_instants};
use crate::time::Timestamp;
pub use clocks::mark;
pub use month::month;
pub use prose::words;

/// The most instants that are listed at once.
pub const MOST: usize = 1000;

/// A schedule in words, and the first instants at which it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// A phrase such as `at 02:30 every Monday`.
    pub words: String,
    /// The instants, earliest first.
    pub fires: Vec<Fire>,
}

/// An instant at which a schedule fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fire {
    /// The instant.
    pub at: Timestamp,
    /// The time on the zone's clock, with its offset and the zone's name at that time: `Sun 2027-03-28 03:00:00 +02:00
    /// CEST`.
    pub local: String,
    /// The time in UTC: `2027-03-28 01:00:00Z`.
    pub utc: String,
    /// The effect of a clock change on it, if there is one.
    pub mark: Option<Mark>,
}

/// The effect of a clock change on an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The clock was set forward over the time that the schedule names.
    Gap {
        /// The skipped time, as the clock would have shown it.
        skipped: String,
        /// The time that the clock shows instead.
        run_at: String,
    },
    /// The clock shows the time twice.
    Fold {
        /// The repeated time.
        time: String,
        /// Whether this is the first time.
        first: bool,
        /// Whether the schedule fires at both times.
        both: bool,
    },
    /// Before this instant the clock was set forward over a time that the schedule names, and that time has no run.
    LeftOut {
        /// The skipped time, as the clock would have shown it, with its day.
        skipped: String,
    },
}

impl Mark {
    /// Returns `gap`, `fold` or `left-out`, for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Gap { .. } => "gap",
            Self::Fold { .. } => "fold",
            Self::LeftOut { .. } => "left-out",
        }
    }
}

/// Prints the mark for people: `the clock skips 02:30: run at 03:00`.
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

/// Returns the meaning of `plan` by the clocks of its zone, and the first `count` instants (at most [`MOST`]) after
/// `from` at which it fires, up to the year 9999.
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
    /// Describes the instant `at`, and the times before it, since `after`, that were skipped.
    fn of(plan: &Plan<'_>, after: Timestamp, at: Timestamp) -> Option<Self> {
        local_instants::local(plan.zone, at)?;
        let utc = at.to_utc().format("%Y-%m-%d %H:%M:%S%.fZ").to_string();
        Some(Self { at, local: on_clock(plan.zone, at), utc, mark: mark(plan, after, at) })
    }
}

/// Formats an instant as `Sun 2027-03-28 03:00:00 +02:00 CEST`. The name is left out if the zone has none but its
/// offset.
fn on_clock(zone: Tz, at: Timestamp) -> String {
    let local = at.to_utc().with_timezone(&zone);
    let name = local.offset().abbreviation().filter(|name| !name.starts_with(['+', '-']));
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!("{}{name}", local.format("%a %Y-%m-%d %H:%M:%S%.f %:z"))
}

#[cfg(test)]
mod tests;

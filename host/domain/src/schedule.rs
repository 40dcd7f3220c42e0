//! Decides when a task is due. Pure: instants in, instants out.

mod added;
mod after;
mod calendar;
mod chain;
mod counted;
mod crontab;
mod dst;
mod due;
pub mod explain;
pub mod instant_parser;
mod interval;
mod local_instants;
mod pace;
pub mod parse;
mod plan;
pub mod request;
pub mod routes;
mod zones;

use std::time::Duration;

use chrono_tz::Tz;

pub use added::{AddedDue, BadDefinition, Definition};
pub use after::{AfterEnd, AfterState, AwaitedRun, Memory, SET_BACK};
pub use chain::{BETWEEN_ROUNDS, Chain, ChainState, Link, LinkEnd, LinkOutcome, OnFailure};
pub use crontab::{BadCrontab, Crontab, Dst};
pub use due::{Due, IMPLAUSIBLE, Look, plausible};
pub use pace::{Going, PaceDecision, PaceState};
pub use plan::{Plan, seed};
pub use zones::zone_named;
pub use zones::{TZDATA, zone};

use crate::time::Timestamp;

/// Describes the instants at which a task is due.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// The task runs only when a run is requested.
    OnDemand,
    /// The task runs once on each start of a host that has it, or when a host sees it for the first time.
    OnStart,
    /// A crontab(5) expression, read in its own zone or else in the task's.
    Cron(Crontab),
    /// Every multiple of this duration since the Unix epoch, or since the start that the task's timing states; see
    /// [`Plan::next_after`].
    Every(Duration),
    /// Once, at this instant.
    At(Timestamp),
    /// One run at a time, each a cooldown after the end of the previous one.
    After(Cooldowns),
    /// Several runs at once, started one by one.
    Pace(Pace),
}

/// Times from the end of a run to the instant at which the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldowns {
    /// The time after a run that succeeded.
    pub success: Duration,
    /// The time after a run that did not succeed.
    pub fail: Duration,
}

/// Keeps between `min` and `max` runs going and starts one every interval, which adapts to how the runs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The interval shrinks while fewer runs than this are going.
    pub min: u32,
    /// No run starts while this many are going.
    pub max: u32,
    /// The shortest interval.
    pub from: Duration,
    /// The longest interval. It applies after a failure, and the interval grows up to it with every start.
    pub to: Duration,
}

/// Bounds on when a task is due, and how much later its runs start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// No instant before this one is due.
    pub start: Option<Timestamp>,
    /// No instant after this one is due.
    pub end: Option<Timestamp>,
    /// The most runs that the schedule makes.
    pub times: Option<u32>,
    /// The time from the instant at which a run is due to its start.
    pub delay: Duration,
    /// The most that is added to that at random, anew for every run.
    pub jitter: Duration,
    /// The most that is added to that for the whole task, always the same amount.
    pub spread: Duration,
    /// A run that has not started this long after it could have is not started any more.
    pub start_within: Option<Duration>,
    /// Instants that were missed longer ago than this are left out, whatever the catch-up policy is.
    pub catch_up_within: Option<Duration>,
}

/// Policy for instants that were missed while no host was up, the machine slept or its clock was set forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Leaves them out.
    None,
    /// Runs the latest of them.
    Latest,
    /// Runs all of them, oldest first, but at most this many (the latest ones).
    All(u32),
}

impl Trigger {
    /// Returns whether the trigger names instants, which the clock reaches whatever became of earlier runs.
    pub fn is_by_clock(&self) -> bool {
        matches!(self, Self::Cron(_) | Self::Every(_) | Self::At(_))
    }

    /// Returns the zone whose clocks the trigger follows: the one that its text names, or else `zone`, the task's.
    pub fn zone_or(&self, zone: Tz) -> Tz {
        self.own_zone().unwrap_or(zone)
    }

    /// Returns the zone that the trigger's text names.
    pub fn own_zone(&self) -> Option<Tz> {
        if let Self::Cron(crontab) = self { crontab.zone() } else { None }
    }
}

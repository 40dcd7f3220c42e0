//! When a task is due. Pure: instants in, instants out.

mod added;
mod awaited;
mod calendar;
mod chain;
mod counted;
mod crontab;
mod due;
pub mod explain;
pub mod given;
mod interval;
mod local;
mod pace;
mod plan;
mod walk;
pub mod words;
mod zones;

use std::time::Duration;

use chrono_tz::Tz;

pub use added::{BadDefinition, Definition, Looked};
pub use awaited::{AfterEnd, AfterState, Awaited, Memory, SET_BACK};
pub use chain::{BETWEEN_ROUNDS, Chain, ChainState, Link, LinkEnd, OnFailure, Went};
pub use crontab::{BadCrontab, Crontab, Dst};
pub use due::{Due, IMPLAUSIBLE, Look, plausible};
pub use pace::{Going, PaceState, Paced};
pub use plan::{Plan, seed};
pub(crate) use zones::zone_named;
pub use zones::{TZDATA, zone};

use crate::time::Timestamp;

/// What makes a task due.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Only somebody asking for it.
    OnDemand,
    /// Once whenever a host that has it starts, or first sees it.
    OnStart,
    /// A crontab(5) expression, read in its own zone or else in the task's.
    Cron(Crontab),
    /// Every multiple of this since the Unix epoch, or from the start that the task's timing has; see [`Plan::next_after`].
    Every(Duration),
    /// Once, at this instant.
    At(Timestamp),
    /// Again and again, one run at a time: so long after the end of the last.
    After(Cooldowns),
    /// As many runs at once as are wanted, started one by one.
    Pace(Pace),
}

/// How long after the end of a run the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldowns {
    /// After one that succeeded.
    pub success: Duration,
    /// After one that did not.
    pub fail: Duration,
}

/// Between `min` and `max` runs going at once, one started every so often: the interval adapts to how they fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// With fewer going, the interval shrinks.
    pub min: u32,
    /// With so many going, none is started.
    pub max: u32,
    /// The shortest interval.
    pub from: Duration,
    /// The longest interval: after a failure, and what it grows to with every start.
    pub to: Duration,
}

/// When a task is due beyond what its trigger says, and when its runs start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Nothing is due before.
    pub start: Option<Timestamp>,
    /// Nothing is due after.
    pub end: Option<Timestamp>,
    /// So many runs its schedule makes, and no more.
    pub times: Option<u32>,
    /// How long after it is due a run starts.
    pub delay: Duration,
    /// On top of that, up to so much: another chance for every run.
    pub jitter: Duration,
    /// On top of that, up to so much: always the same for one task.
    pub spread: Duration,
    /// A run that has not started so long after it could is not started any more.
    pub start_within: Option<Duration>,
    /// What was missed longer ago than this is left out, whatever the catch-up policy says.
    pub catch_up_within: Option<Duration>,
}

/// What happens to instants that were missed while no host was up (or the machine slept, or its clock was set forward).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// They are left out.
    None,
    /// The latest of them is run.
    Latest,
    /// All of them are run, oldest first, at most this many (the latest ones).
    All(u32),
}

impl Trigger {
    /// The zone by whose clocks it goes: the one that its text names, or else `zone`, the task's.
    pub fn zone_or(&self, zone: Tz) -> Tz {
        self.own_zone().unwrap_or(zone)
    }

    /// The zone that its text names.
    pub fn own_zone(&self) -> Option<Tz> {
        if let Self::Cron(crontab) = self { crontab.zone() } else { None }
    }
}

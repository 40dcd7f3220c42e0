//! When a task is due. Pure: instants in, instants out.

mod calendar;
mod crontab;
mod due;
pub mod explain;
pub mod given;
mod local;
mod walk;
pub mod words;
mod zones;

use std::time::Duration;

use chrono_tz::Tz;

pub use crontab::{BadCrontab, Crontab};
pub use due::{Due, Look};
pub use zones::zone;

use crate::time::Timestamp;

/// What makes a task due.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// Only somebody asking for it.
    OnDemand,
    /// Once whenever a host that has it starts, or first sees it.
    OnStart,
    /// A crontab(5) expression, read in the task's zone.
    Cron(Crontab),
    /// Every multiple of this since the Unix epoch, so that all hosts agree without asking one another.
    Every(Duration),
    /// Once, at this instant.
    At(Timestamp),
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
    /// The first instant after `after` at which a task with this trigger is due; `None` if there is none.
    pub fn next_after(&self, zone: Tz, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::OnDemand | Self::OnStart => None,
            Self::Cron(crontab) => crontab.next_after(zone, after),
            Self::Every(interval) => {
                let step = i64::try_from(interval.as_millis()).ok().filter(|step| *step > 0)?;
                let next = after.as_millis().div_euclid(step).checked_add(1)?.checked_mul(step)?;
                Some(Timestamp::from_millis(next))
            }
            Self::At(at) => Some(*at).filter(|at| *at > after),
        }
    }
}

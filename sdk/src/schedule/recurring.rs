//! Adds schedules that make runs again and again.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::bindings::sexton::task::schedule as wit;
use crate::request::{instant, milliseconds, since_epoch};

/// The reason why a schedule was not added, listed or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleError {
    /// The task's manifest does not grant the task of the schedule.
    AccessDenied,
    /// The task is granted, but no plugin on this host defines it.
    NotFound,
    /// Another schedule has the key, and is not to be replaced, or not by this task.
    AlreadyExists,
    /// The schedule cannot be added as it is. The text names the field that is wrong.
    BadSchedule(String),
    /// This attempt, or the tenant's tasks together, have added as many schedules as they may, or the inputs are too
    /// large.
    TooLarge,
    /// The input cannot be written as JSON.
    Value(String),
    /// The host's store had an error.
    Other(String),
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessDenied => f.write_str("the task is not granted schedules of this task"),
            Self::NotFound => f.write_str("no plugin on this host defines the task of the schedule"),
            Self::AlreadyExists => f.write_str("another schedule has the key"),
            Self::BadSchedule(why) => write!(f, "the schedule cannot be added: {why}"),
            Self::TooLarge => f.write_str("as many schedules were added as may, or the input is too large"),
            Self::Value(why) => write!(f, "the input cannot be written as JSON: {why}"),
            Self::Other(why) => write!(f, "the schedules failed: {why}"),
        }
    }
}

impl std::error::Error for ScheduleError {}

impl From<wit::ScheduleError> for ScheduleError {
    fn from(error: wit::ScheduleError) -> Self {
        match error {
            wit::ScheduleError::AccessDenied => Self::AccessDenied,
            wit::ScheduleError::NotFound => Self::NotFound,
            wit::ScheduleError::AlreadyExists => Self::AlreadyExists,
            wit::ScheduleError::BadSchedule(why) => Self::BadSchedule(why),
            wit::ScheduleError::TooLarge => Self::TooLarge,
            wit::ScheduleError::Other(why) => Self::Other(why),
        }
    }
}

/// Begins to add a schedule of `task` under `key` that is due at the instants of a crontab(5) expression.
///
/// ```no_run
/// # fn run() -> Result<(), sexton_task::schedule::ScheduleError> {
/// use sexton_task::schedule;
///
/// schedule::cron("digest-4711", "digest", "0 9 * * mon").zone("Europe/Berlin").json(&4711)?.add()?;
/// # Ok(())
/// # }
/// ```
pub fn cron(key: &str, task: &str, crontab: &str) -> Recurring {
    Recurring::of(key, task, wit::Recurrence::Cron(crontab.to_owned()))
}

/// Begins to add a schedule of `task` under `key` that is due at every multiple of `interval` since 1970, or since its
/// start. The interval is a second or more.
pub fn every(key: &str, task: &str, interval: Duration) -> Recurring {
    Recurring::of(key, task, wit::Recurrence::Every(milliseconds(interval)))
}

/// A schedule that has not been added.
#[derive(Debug)]
#[must_use = "nothing is added before `add`"]
pub struct Recurring {
    key: String,
    schedule: wit::Recurring,
    replace: bool,
}

impl Recurring {
    fn of(key: &str, task: &str, recurrence: wit::Recurrence) -> Self {
        let schedule = wit::Recurring {
            task: task.to_owned(),
            recurrence,
            zone: None,
            delay: 0,
            start: None,
            end: None,
            first: None,
            times: None,
            input: None,
        };
        Self { key: key.to_owned(), schedule, replace: false }
    }

    /// Sets the zone whose clocks count, by its name in the IANA database. Without it that is UTC.
    pub fn zone(mut self, zone: &str) -> Self {
        self.schedule.zone = Some(zone.to_owned());
        self
    }

    /// Starts each run this long after it is due.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.schedule.delay = milliseconds(delay);
        self
    }

    /// Makes nothing due before this instant.
    pub fn start(mut self, start: SystemTime) -> Self {
        self.schedule.start = Some(since_epoch(start));
        self
    }

    /// Makes nothing due after this instant.
    pub fn end(mut self, end: SystemTime) -> Self {
        self.schedule.end = Some(since_epoch(end));
        self
    }

    /// Makes the first run due at this instant, without the delay.
    pub fn first(mut self, first: SystemTime) -> Self {
        self.schedule.first = Some(since_epoch(first));
        self
    }

    /// Ends the schedule after this many runs.
    pub fn times(mut self, times: u32) -> Self {
        self.schedule.times = Some(times);
        self
    }

    /// Sets the input of its runs, as bytes. Without it they get the input of the manifest.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.schedule.input = Some(input.into());
        self
    }

    /// Sets the input of its runs, as JSON.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::Value`] if serde cannot write it.
    pub fn json<T: Serialize + ?Sized>(self, input: &T) -> Result<Self, ScheduleError> {
        let input = serde_json::to_vec(input).map_err(|e| ScheduleError::Value(e.to_string()))?;
        Ok(self.input(input))
    }

    /// Replaces another schedule that a task has added under the key.
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }

    /// Adds the schedule. Returns whether anything was changed: `false` if it was there already.
    ///
    /// # Errors
    ///
    /// As [`ScheduleError`] says.
    pub fn add(self) -> Result<bool, ScheduleError> {
        Ok(wit::add_schedule(&self.key, &self.schedule, self.replace)?)
    }
}

/// A schedule that a task has added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The key.
    pub key: String,
    /// The task whose runs it makes.
    pub task: String,
    /// The instant at which it is due next; `None` if it has ended.
    pub next: Option<SystemTime>,
    /// The number of runs that it has made.
    pub fired: u64,
}

/// Returns the schedules that the tenant's tasks have added, by key: those of tasks that this task is granted.
///
/// # Errors
///
/// [`ScheduleError::Other`] if the store failed.
pub fn list() -> Result<Vec<Added>, ScheduleError> {
    let added = wit::list_schedules()?.into_iter();
    Ok(added.map(|one| Added { key: one.key, task: one.task, next: one.next.map(instant), fired: one.fired }).collect())
}

/// Deletes the schedule `key`, if a task has added it. Returns whether there was one. A run that it has made goes on.
///
/// # Errors
///
/// [`ScheduleError::AccessDenied`] if its task is not granted; [`ScheduleError::Other`] if the store failed.
pub fn delete(key: &str) -> Result<bool, ScheduleError> {
    Ok(wit::delete_schedule(key)?)
}

//! The JSON of added schedules.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::schedule::MarkShape;
use super::timing::{self, local};
use super::{Due, TriggerShape, millis};
use crate::schedule::{Definition, explain, plausible};
use crate::store::added::ScheduleInfo;
use crate::task::Name;
use crate::time::Timestamp;

/// What `PUT /v1/schedules/{key}` and `POST /v1/schedules` take. Lengths of time have a unit, instants are RFC 3339 or
/// `in 2h`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// The key; only where the path does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The task whose runs it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The same, for a plugin whose one task is called as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Due when this crontab(5) says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Due at every multiple of this since 1970, or from `start` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Due once, then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Due once, so long after now.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub after_now: Option<String>,
    /// The zone of `cron`, unless that names one, and of the instants; whole days that are counted from `start` are its days.
    #[serde(default, alias = "timezone", skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// How long after it is due a run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// Nothing is due before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Nothing is due after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// So many runs, and no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// What its runs are given: a text as it is, anything else as JSON.
    #[serde(default, alias = "input", skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// Whether it takes the place of one that has the key.
    #[serde(default)]
    pub replace: bool,
    /// Only over a schedule of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What only a manifest can say, so that it can be refused by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
    /// See `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<serde_json::Value>,
    /// See `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<serde_json::Value>,
    /// See `after`.
    #[serde(default, rename = "on-start", skip_serializing_if = "Option::is_none")]
    pub on_start: Option<serde_json::Value>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleEffect {
    /// It was added.
    Added,
    /// It was there, exactly so.
    Existing,
    /// It took the place of another.
    Replaced,
    /// It was deleted, and was this.
    Deleted,
    /// It was ahead of the clock, which was set back, and goes on from now.
    Reset,
}

/// The answer to a change.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ScheduleChanged {
    /// What was done.
    pub effect: ScheduleEffect,
    /// The schedule.
    pub schedule: ScheduleShape,
    /// What deviates from what was asked for, a line each, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// `GET /v1/schedules`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AddedSchedules {
    /// By key.
    pub schedules: Vec<ScheduleShape>,
    /// There may be more: `after` of the next page.
    pub next: Option<Name>,
}

/// Where a schedule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleState {
    /// It goes on.
    Active,
    /// Its task is not there: nothing is made until it is.
    Resting,
    /// Its task is paused: what is due meanwhile is left out.
    Paused,
    /// Nothing will be due any more.
    Finished,
}

impl ScheduleState {
    /// The word for it, the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Resting => "resting",
            Self::Paused => "paused",
            Self::Finished => "finished",
        }
    }
}

/// An added schedule. Of its data, which may hold secrets, only the size is told.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ScheduleShape {
    /// Its key, unique within its tenant.
    pub key: Name,
    /// Whose.
    pub tenant: Name,
    /// The task whose runs it makes.
    pub task: Name,
    /// Greater after every change of it.
    pub version: u64,
    /// Where it is.
    pub state: ScheduleState,
    /// When it is due.
    pub trigger: TriggerShape,
    /// The zone by whose clocks it goes: the one that a crontab names, or the one that was given.
    pub zone: String,
    /// How long after it is due a run starts.
    pub delay_ms: u64,
    /// Nothing is due before.
    pub start: Option<Timestamp>,
    /// Nothing is due after.
    pub end: Option<Timestamp>,
    /// So many runs, and no more.
    pub times: Option<u32>,
    /// Bytes of its data; none: its runs are given what its task's are.
    pub data_bytes: Option<u64>,
    /// The next instant it is due.
    pub next: Option<Due>,
    /// Runs that it made.
    pub fired: u64,
    /// Instants for which it made none, as its earlier run was not over.
    pub skipped: u64,
    /// When it was added (or replaced).
    pub created_at: Timestamp,
    /// Since when nothing will be due any more.
    pub finished_at: Option<Timestamp>,
    /// Why it makes no runs although instants of it pass, for people: the clock was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back: Option<String>,
}

impl ScheduleShape {
    /// `info` and what its text says, as it is at `now`.
    pub fn of(info: &ScheduleInfo, definition: &Definition, state: ScheduleState, now: Timestamp) -> Self {
        let cursor = plausible(Some(info.cursor), now).unwrap_or(now);
        let from = cursor.max(now.minus(Duration::from_millis(1)));
        let next = definition.next_after(from);
        Self {
            key: info.key.key.clone(),
            tenant: info.key.tenant.clone(),
            task: info.task.clone(),
            version: info.version,
            state,
            trigger: TriggerShape::of(&definition.trigger),
            zone: definition.zone.name().to_owned(),
            delay_ms: millis(definition.delay),
            start: definition.start,
            end: definition.end,
            times: definition.times,
            data_bytes: info.data_bytes,
            next: next.filter(|_| state != ScheduleState::Finished).map(|at| Due {
                at,
                local: local(at, definition.zone),
                mark: explain::mark(&definition.plan(), from, at).as_ref().map(MarkShape::of),
                starts_at: Some(at.plus(definition.delay)).filter(|starts| *starts > at),
            }),
            fired: info.fired,
            skipped: info.skipped,
            created_at: info.created_at,
            finished_at: info.finished_at,
            set_back: timing::set_back_added(info, definition.zone, now),
        }
    }
}

//! Defines the JSON of added schedules.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schedule::MarkShape;
use super::timing::{self, local};
use super::{Due, TriggerShape};
use sexton_domain::lengths::millis;
use sexton_domain::schedule::request::Request;
use sexton_domain::schedule::{Definition, explain, plausible};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store::added::ScheduleInfo;

/// The body of `PUT /v1/schedules/{key}` and `POST /v1/schedules`. Durations have a unit; instants are RFC 3339 or `in
/// 2h`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// The key; only if the path does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The task whose runs it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The type, in place of the task: routes of manifests lead it to one.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The task, for a plugin whose only task has its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<String>,
    /// Due at the instants of this crontab(5) expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Due at every multiple of this duration since 1970, or since `start`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Due once, at this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Due once, this long after now.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub after_now: Option<String>,
    /// The zone of `cron`, unless that names one, and of the instants. Whole days that are counted from `start` are its
    /// days.
    #[serde(default, alias = "timezone", skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The time from the instant at which a run is due to its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// No instant before this one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// No instant after this one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// The instant of the first run, which starts without the delay; the others follow as `cron` or `every` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// The most runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The payload of its runs: a text as it is, anything else as JSON.
    #[serde(default, alias = "input", skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
    /// Whether it replaces an existing schedule with the key.
    #[serde(default)]
    pub replace: bool,
    /// The version that an existing schedule must have to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// A key that only a manifest can have. It is known here so that the error can name it.
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

impl From<ScheduleRequest> for Request {
    fn from(body: ScheduleRequest) -> Self {
        let ScheduleRequest { cron, every, at, after_now, zone, delay, start, end, first, times, .. } = body;
        Self { cron, every, at, after_now, zone, delay, start, end, first, times }
    }
}

/// The effect of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleEffect {
    /// The schedule was added.
    Added,
    /// The same schedule existed already.
    Existing,
    /// The schedule replaced another one.
    Replaced,
    /// The schedule was deleted; the response shows its last state.
    Deleted,
    /// The schedule was ahead of the clock, which was set back, and goes on from now.
    Reset,
}

/// The response to a change.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ScheduleChanged {
    /// The effect of the change.
    pub effect: ScheduleEffect,
    /// The schedule.
    pub schedule: ScheduleShape,
    /// The ways in which the schedule deviates from the request, a line each, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// `GET /v1/schedules`.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct AddedSchedules {
    /// The schedules, by key.
    pub schedules: Vec<ScheduleShape>,
    /// The value of `after` for the next page, if there may be more.
    pub next: Option<Name>,
    /// The value of `cursor` for the next page, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The state of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleState {
    /// The schedule is active.
    Active,
    /// The task of the schedule is missing, or no route leads its type to one. No runs are made until there is one.
    Resting,
    /// The task is paused. Instants during the pause are left out.
    Paused,
    /// No instant will be due any more.
    Finished,
}

impl ScheduleState {
    /// Returns the name of the state, which is the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Resting => "resting",
            Self::Paused => "paused",
            Self::Finished => "finished",
        }
    }
}

/// An added schedule. Its data may hold secrets, so only their size is shown, unless one schedule is asked for by its
/// key.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct ScheduleShape {
    /// Its key, unique within its tenant.
    pub key: Name,
    /// The tenant.
    pub tenant: Name,
    /// The task whose runs it makes; `None` while no route leads its type to one.
    #[serde(default)]
    pub task: Option<Name>,
    /// The version, greater after every change.
    pub version: u64,
    /// The state of the schedule.
    pub state: ScheduleState,
    /// The trigger.
    pub trigger: TriggerShape,
    /// The zone whose clocks count: the one that a crontab names, or the one that was given.
    pub zone: String,
    /// The time from the instant at which a run is due to its start.
    pub delay_ms: u64,
    /// No instant before this one is due.
    pub start: Option<Timestamp>,
    /// No instant after this one is due.
    pub end: Option<Timestamp>,
    /// The most runs.
    pub times: Option<u32>,
    /// The size of its data in bytes; `None` if its runs get the input of the task.
    pub data_bytes: Option<u64>,
    /// The next instant at which it is due.
    pub next: Option<Due>,
    /// The number of runs that it has made.
    pub fired: u64,
    /// The number of instants without a run, because its earlier run had not ended.
    pub skipped: u64,
    /// The instant at which it was added or replaced.
    pub created_at: Timestamp,
    /// The instant since which no further one is due.
    pub finished_at: Option<Timestamp>,
    /// The reason why it makes no runs although instants pass, for people: the clock was set back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_back: Option<String>,
    /// Its type, if it has one in place of a task.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Name>,
    /// The reason why it rests, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The instant of the first run, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// The task whose run added it; `None` if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_by: Option<Name>,
    /// Its data, if the schedule was asked for by its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataShape>,
}

/// The most bytes of its data that a schedule shows.
pub const MOST_DATA: usize = 16 << 10;

/// The data of a schedule, by the kind of its content.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum DataShape {
    /// The data is JSON.
    Json {
        /// The value.
        json: serde_json::Value,
    },
    /// The data is other text.
    Text {
        /// The text, or its beginning.
        text: String,
        /// Whether there is more of it than is shown.
        cut: bool,
    },
    /// The data is no text.
    Binary {
        /// The bytes, or the first ones, in hexadecimal digits.
        hex: String,
        /// Whether there are more of them than are shown.
        cut: bool,
    },
}

impl DataShape {
    /// Returns the first `bytes` of data that has `size` bytes.
    pub fn of(bytes: &[u8], size: u64) -> Self {
        let cut = (bytes.len() as u64) < size;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Some(text),
            // The cut may go through a character.
            Err(e) if cut && e.error_len().is_none() => std::str::from_utf8(&bytes[..e.valid_up_to()]).ok(),
            Err(_) => None,
        };
        let Some(text) = text else {
            let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            return Self::Binary { hex, cut };
        };
        match serde_json::from_str(text) {
            Ok(json) if !cut => Self::Json { json },
            _ => Self::Text { text: text.to_owned(), cut },
        }
    }
}

/// The task that a schedule leads to at this moment, and why it makes no runs, if it does not.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The task.
    pub task: Option<Name>,
    /// The state.
    pub state: ScheduleState,
    /// The reason why it rests.
    pub reason: Option<String>,
}

impl ScheduleShape {
    /// Returns the names of the task and the type, for people.
    pub fn whose(&self) -> String {
        match (&self.task, &self.kind) {
            (Some(task), None) => task.to_string(),
            (Some(task), Some(kind)) => format!("{task} (type {kind})"),
            (None, Some(kind)) => format!("type {kind}"),
            (None, None) => String::new(),
        }
    }

    /// Returns the state of `info` and its definition at `now`.
    pub fn of(info: &ScheduleInfo, definition: &Definition, standing: Standing, now: Timestamp) -> Self {
        let Standing { task, state, reason } = standing;
        let cursor = plausible(Some(info.cursor), now).unwrap_or(now);
        let from = cursor.max(now.minus(Duration::from_millis(1)));
        let next = definition.next_after(from);
        Self {
            key: info.key.key.clone(),
            tenant: info.key.tenant.clone(),
            task,
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
                starts_at: Some(at.plus(definition.delay_of(at))).filter(|starts| *starts > at),
            }),
            fired: info.fired,
            skipped: info.skipped,
            created_at: info.created_at,
            finished_at: info.finished_at,
            set_back: timing::set_back_added(info, definition.zone, now),
            kind: info.target.kind().cloned(),
            reason,
            first: definition.first,
            added_by: info.added_by.clone(),
            data: None,
        }
    }
}

//! Defines the JSON of explained schedules, whether a task has them or not.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::timing::local;
use super::{Due, TriggerShape};
use sexton_domain::schedule::explain::{Fire, Mark};
use sexton_domain::schedule::parse::ParsedSchedule;
use sexton_domain::time::Timestamp;

/// `GET /v1/schedule/explain`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The trigger that the text stands for.
    pub trigger: TriggerShape,
    /// The meaning in words, such as `at 02:30 every Monday`.
    pub words: String,
    /// The zone whose clocks count. The zone that a crontab names takes precedence over the requested one.
    pub zone: String,
    /// The ways in which the schedule deviates from its text, a line each, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The next instants at which it fires, earliest first.
    pub next: Vec<FireShape>,
}

/// An instant at which a schedule fires.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FireShape {
    /// The instant.
    #[serde(flatten)]
    pub due: Due,
    /// The effect of a clock change on it.
    pub mark: Option<MarkShape>,
}

/// The effect of a clock change on an instant.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MarkShape {
    /// `gap`, `fold` or `left-out`.
    pub kind: String,
    /// A sentence for people, such as `the clock skips 02:30: run at 03:00`.
    pub text: String,
}

impl Explained {
    /// Returns the meaning of `given`, and its first `count` instants after `from`.
    pub fn of(given: &ParsedSchedule, from: Timestamp, count: usize) -> Self {
        let explained = given.explain(from, count);
        let zone = given.zone;
        Self {
            trigger: TriggerShape::of(&given.trigger),
            words: explained.words,
            zone: zone.name().to_owned(),
            notes: given.notes.clone(),
            next: explained.fires.iter().map(|fire| FireShape::of(fire, zone)).collect(),
        }
    }
}

impl FireShape {
    fn of(fire: &Fire, zone: Tz) -> Self {
        Self {
            due: Due { at: fire.at, local: local(fire.at, zone), starts_at: None, mark: None },
            mark: fire.mark.as_ref().map(MarkShape::of),
        }
    }
}

impl MarkShape {
    pub(super) fn of(mark: &Mark) -> Self {
        Self { kind: mark.as_str().to_owned(), text: mark.to_string() }
    }
}

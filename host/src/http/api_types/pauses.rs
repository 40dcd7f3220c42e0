//! Defines the JSON of pauses.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::pause::PausedBy;
use sexton_domain::supervision::Pause;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// `POST /v1/tasks/{task}/pause` and `/resume`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Paused {
    /// The task.
    pub task: Name,
    /// Whether the task is paused now.
    pub paused: bool,
    /// The owner of the pause that keeps it from starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// The begin of that pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// The reason for that pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_why: Option<String>,
    /// Whether the task had a pause of its own before this request.
    #[serde(default)]
    pub already: bool,
}

/// `POST /v1/pause` and `/resume`, and the same below `/v1/tenants/{tenant}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PausedMany {
    /// The tenant whose tasks are meant; `None` for all tasks.
    pub tenant: Option<Name>,
    /// Whether they are paused now. Tasks with a pause of their own keep it in any case.
    pub paused: bool,
    /// The owner of the pause that keeps them from starting: their tenant, or all.
    pub paused_by: Option<PausedBy>,
    /// The begin of that pause.
    pub paused_at: Option<Timestamp>,
    /// The reason, if one was given.
    pub paused_why: Option<String>,
    /// Whether the requested or ended pause existed before this request.
    #[serde(default)]
    pub already: bool,
}

/// A pause.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PauseShape {
    /// The begin of the pause; `None` if it was not recorded.
    pub since: Option<Timestamp>,
    /// The reason; `None` if an operator gave none.
    pub why: Option<String>,
}

impl From<Pause> for PauseShape {
    fn from(pause: Pause) -> Self {
        let Pause { since, why } = pause;
        Self { since, why }
    }
}

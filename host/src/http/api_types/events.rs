//! Defines the JSON of events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store::events::Event;

/// An event. A field that does not apply to its kind is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventShape {
    /// The number of the event, greater than those of all events before it.
    pub id: u64,
    /// The kind: `run.queued`, `task.paused` and so on.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// The tenant; absent if it is about all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Name>,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The number of the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The state that the run has entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<RunState>,
    /// The outcome of the attempt that has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The host that has or had the run, or that the event is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The key of the added schedule, or the name of the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
}

impl From<&Event> for EventShape {
    fn from(event: &Event) -> Self {
        let Event { id, at, kind, tenant, task, run, attempt, state, outcome, host, name } = event.clone();
        Self { id, kind: kind.as_str().to_owned(), at, tenant, task, run, attempt, state, outcome, host, name }
    }
}

/// A message of the stream about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum StreamNotice {
    /// Events after the id that the client has named are no longer kept. The stream goes on after `newest`.
    Reset {
        /// The id of the newest event.
        newest: u64,
    },
    /// The host ends the stream. The client may connect again and go on after the last id that it has.
    End {
        /// The reason, for programs: `slow` or `failed`.
        reason: String,
        /// The reason, for people.
        message: String,
    },
}

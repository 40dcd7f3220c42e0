//! Defines the JSON of this host, and of its health.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FailureBody;
use super::pauses::PauseShape;
use super::store::StoreShape;
use sexton_domain::run::RunState;
use sexton_domain::time::Timestamp;
use sexton_system::supervisor::{Fault, Hung};

/// `GET /v1/host`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Host {
    /// The name of the host, which its claims carry.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// The release of the IANA time zone database that is compiled in, such as `2026a`.
    pub tzdata: &'static str,
    /// The process id.
    pub pid: u32,
    /// The instant at which the host started.
    pub started_at: Timestamp,
    /// The current time by the host's clock.
    pub now: Timestamp,
    /// The reason why the clock may be wrong, for people: it was set far off a moment ago. `None` if there is no reason
    /// to think so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// The begin of the host's pause by a signal; `None` if it is not paused.
    pub paused_at: Option<Timestamp>,
    /// Whether the host is draining: it takes no runs.
    pub draining: bool,
    /// The pause of all tasks, if they are paused.
    pub all_paused: Option<PauseShape>,
    /// Attempts under way on this host.
    pub attempts: usize,
    /// The number of runs of its store in each state.
    pub runs: BTreeMap<RunState, u64>,
    /// Counts of its store since it was opened.
    pub store: StoreShape,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or `down`.
    pub status: String,
    /// The reason why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<FailureBody>,
    /// The parts of the host that have panicked since its start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<FaultShape>,
    /// The loops of the host that hang.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hung: Vec<HungShape>,
    /// The reason why the clock may be wrong, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// The number of lines of its log that could not be written.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost_log_lines: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The panics of one part of the host.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct FaultShape {
    /// The part: a loop, a kind of thread, or `thread NAME` for any other thread.
    pub part: String,
    /// The number of panics.
    pub panics: u64,
    /// The time of the first panic.
    pub first_at: Timestamp,
    /// The time of the last panic.
    pub last_at: Timestamp,
    /// The message of the last panic, and its source position.
    pub message: String,
    /// Whether the part is down: it has not been restarted yet.
    pub down: bool,
}

impl From<Fault> for FaultShape {
    fn from(fault: Fault) -> Self {
        let Fault { part, panics, first_at, last_at, message, down } = fault;
        Self { part, panics, first_at, last_at, message, down }
    }
}

/// A loop of the host that hangs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HungShape {
    /// The name of the part.
    pub part: String,
    /// The time since its last report.
    pub silent_ms: u64,
}

impl From<Hung> for HungShape {
    fn from(hung: Hung) -> Self {
        let Hung { part, silent_ms } = hung;
        Self { part, silent_ms }
    }
}

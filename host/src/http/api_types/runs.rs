//! Defines the JSON of runs, and of the answers to requests that make, end or release one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attempts::AttemptShape;
use super::inputs::InputShape;
use sexton_domain::labels::Labels;
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{Cause, HeldBack, Outcome, RunId, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::RunInfo;
use sexton_store::views::{Child, ChildKind};

/// The word for all outcomes of attempts that failed, in the filter of a list of runs.
pub const FAILED: &str = "failed";

/// The word for those of them in which the guest crashed.
pub const CRASHED: &str = "crashed";

/// `GET /v1/runs`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Runs {
    /// The runs, newest first.
    pub runs: Vec<RunShape>,
    /// The value of `before` for the next page, as older programs ask for it; `None` if this is the last.
    pub next: Option<RunId>,
    /// The value of `cursor` for the next page; `None` if this is the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Set if there may be more runs, although the page is not full: the host has looked at those that were made since
    /// this instant, and goes on from there with the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_back_to: Option<Timestamp>,
}

/// `GET /v1/runs/{run}` and `/wait`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunDetail {
    /// The run.
    pub run: RunShape,
    /// The attempts that have ended, first to last.
    pub attempts: Vec<AttemptShape>,
    /// The input of the run.
    #[serde(default)]
    pub input: InputShape,
    /// The first hundred runs that came of it, in the order in which they were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildShape>,
    /// Whether there are more of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub children_cut: bool,
}

/// A run that came of another.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChildShape {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: Name,
    /// The state of the run.
    pub state: RunState,
    /// The way in which it came of the other run.
    pub kind: ChildKindShape,
    /// The instant at which it was made.
    pub created_at: Timestamp,
}

/// The way in which a run came of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChildKindShape {
    /// The other run enqueued it.
    Enqueued,
    /// The other run continues in it.
    Continuation,
    /// A person repeats the other run.
    Rerun,
}

impl ChildKindShape {
    /// Returns the word, which is the same as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Continuation => "continuation",
            Self::Rerun => "rerun",
        }
    }
}

impl From<Child> for ChildShape {
    fn from(child: Child) -> Self {
        let kind = match child.kind {
            ChildKind::Enqueued => ChildKindShape::Enqueued,
            ChildKind::Continuation => ChildKindShape::Continuation,
            ChildKind::Rerun => ChildKindShape::Rerun,
        };
        Self { run: child.run, task: child.task.task, state: child.state, kind, created_at: child.created_at }
    }
}

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RunShape {
    /// Its id.
    pub id: RunId,
    /// The tenant of its task.
    pub tenant: Name,
    /// The task.
    pub task: Name,
    /// The state of the run.
    pub state: RunState,
    /// The instant at which it was due.
    pub due_at: Timestamp,
    /// The earliest instant at which its next attempt may start.
    pub run_at: Timestamp,
    /// The instant at which it was made.
    pub created_at: Timestamp,
    /// The instant at which its last attempt was claimed.
    pub claimed_at: Option<Timestamp>,
    /// The instant at which it ended.
    pub ended_at: Option<Timestamp>,
    /// The cause of the run.
    pub cause: Cause,
    /// The number of its current or last attempt; 0 before the first.
    pub attempt: u32,
    /// The number of attempts that failed.
    pub failures: u32,
    /// The run that it came of: that enqueued it, or that it repeats.
    pub parent: Option<RunId>,
    /// The host that has it, or had it last.
    pub host: Option<String>,
    /// The outcome of the last attempt, or `skipped` if the run was skipped before it had one.
    pub outcome: Option<Outcome>,
    /// The message of the last attempt, or the reason why the run was skipped.
    pub message: Option<String>,
    /// Whether its first attempt starts although its task is paused, held back, or at a limit.
    #[serde(default)]
    pub forced: bool,
    /// A remark on its making: others were missed, or it goes past limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The reason why a waiting run does not start at `run_at`, for people.
    pub why: Option<String>,
    /// The number of times that its host died while it was under way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deaths: u32,
    /// The instant since which it is held back because it is suspected of killing its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspected_at: Option<Timestamp>,
    /// The run that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reruns: Option<RunId>,
    /// Whether a backfill made it, for an instant that had passed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub backfill: bool,
    /// The key of the added schedule that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Name>,
    /// The chain that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Name>,
    /// The labels of its task when it was made, and those that it was given.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The reason why a waiting run does not start, for programs: a limit, a suspicion, or no host that may run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackShape>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

impl RunShape {
    /// Returns the key of its task.
    pub fn key(&self) -> TaskKey {
        TaskKey { tenant: self.tenant.clone(), task: self.task.clone() }
    }
}

/// Leaves `held_back` empty, because only the host that is asked knows it.
impl From<RunInfo> for RunShape {
    fn from(run: RunInfo) -> Self {
        Self {
            id: run.id,
            tenant: run.task.tenant,
            task: run.task.task,
            state: run.state,
            due_at: run.due_at,
            run_at: run.run_at,
            created_at: run.created_at,
            claimed_at: run.claimed_at,
            ended_at: run.ended_at,
            cause: run.cause,
            attempt: run.attempt,
            failures: run.failures,
            parent: run.parent,
            host: run.host,
            outcome: run.outcome,
            message: run.message,
            forced: run.forced,
            note: run.note,
            why: run.why,
            deaths: run.deaths,
            suspected_at: run.suspected_at,
            reruns: run.parent.filter(|_| run.cause == Cause::Demand),
            backfill: run.at_once.is_some(),
            key: run.key,
            chain: run.chain,
            labels: run.labels,
            held_back: None,
        }
    }
}

/// The reason why a run that is due does not start.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldBackShape {
    /// The reason in words, such as `over its budget of 1000000 fuel a minute`.
    pub reason: String,
    /// The instant up to which it holds, if that is known.
    pub until: Option<Timestamp>,
}

impl From<HeldBack> for HeldBackShape {
    fn from(held_back: HeldBack) -> Self {
        let HeldBack { reason, until } = held_back;
        Self { reason, until }
    }
}

/// `POST /v1/tasks/{task}/runs` and `POST /v1/runs/{run}/rerun`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Triggered {
    /// The run.
    pub run: RunId,
    /// The instant at which it is due; `None` if the run existed already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// Whether the run is new: false if a run with the same idempotency key existed.
    pub created: bool,
    /// The runs that it replaces: cancelled, or being ended.
    #[serde(default)]
    pub replaced: Vec<RunId>,
    /// Whether its task is paused. Then the run waits until the task is resumed, unless it is forced.
    pub paused: bool,
    /// The owner of that pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_by: Option<PausedBy>,
    /// The reason for the pause; `None` if an operator gave none.
    pub paused_why: Option<String>,
    /// The limits that the run is forced past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The reason why the run does not start here even if it is forced: a signal paused this host, or it is draining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackShape>,
    /// The run that it repeats, and the task of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reruns: Option<Repeated>,
}

/// A run that another repeats.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Repeated {
    /// The run.
    pub run: RunId,
    /// Its task.
    pub task: Name,
}

/// `POST /v1/runs/{run}/kill`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Killed {
    /// The run.
    pub run: RunId,
    /// The effect.
    pub effect: KillEffect,
    /// The time that the attempt has left to end by itself, if it runs on this host: 0 if it is interrupted at once.
    pub grace_ms: u64,
}

/// `POST /v1/runs/{run}/release`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReleasedRun {
    /// The run, which may start now.
    pub run: RunId,
}

/// The effect of a request to end a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KillEffect {
    /// The run was waiting and is cancelled.
    Cancelled,
    /// The run is running on this host and is being ended.
    Stopping,
    /// The run is running on another host, which will end it.
    Requested,
}

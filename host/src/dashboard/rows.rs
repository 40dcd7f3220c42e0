//! The rows of runs, which several pages show.

use chrono_tz::Tz;

use crate::http::api_types::runs::RunShape;
use sexton_domain::run::{Cause, RunId, RunState};
use sexton_domain::task::{Name, TaskKey};

use super::address::part;
use super::ask::Ask;
use super::look::{Mark, brief, lasted, shown};
use super::times::{Clock, When};

/// A run in a list.
#[derive(Clone, Debug)]
pub(super) struct RunRow {
    pub(super) id: RunId,
    pub(super) href: String,
    pub(super) task: String,
    pub(super) task_href: String,
    pub(super) mark: Mark,
    /// The instant at which it was due.
    pub(super) due: When,
    /// The time that its last attempt took, or takes.
    pub(super) took: String,
    pub(super) attempt: u32,
    /// The reason why it waits, or the message of its last attempt.
    pub(super) message: String,
    /// The cause in words.
    pub(super) cause: String,
    pub(super) labels: Vec<String>,
}

impl RunRow {
    /// Shows `run`.
    pub(super) fn of(ask: &Ask, clock: &Clock, run: &RunShape) -> Self {
        let zone = zone_of(ask, &run.key());
        let end = run.ended_at.or_else(|| (run.state == RunState::Running).then_some(clock.now));
        let took = run.claimed_at.zip(end).map(|(from, to)| lasted(sexton_domain::lengths::millis(to.since(from))));
        let message = run.why.as_deref().or(run.message.as_deref()).or(run.note.as_deref()).unwrap_or_default();
        Self {
            id: run.id,
            href: run_href(ask, run.id),
            task: run.task.to_string(),
            task_href: task_href(ask, &run.task),
            mark: Mark::of(run.state, run.outcome),
            due: clock.at(run.due_at, zone),
            took: took.unwrap_or_default(),
            attempt: run.attempt,
            message: brief(message),
            cause: cause(run),
            labels: run.labels.iter().map(|(key, value)| shown(&format!("{key}={value}"))).collect(),
        }
    }
}

/// Returns the cause of a run in words.
pub(super) fn cause(run: &RunShape) -> String {
    match (run.cause, &run.key, &run.chain) {
        (Cause::Schedule, Some(key), _) => format!("schedule {key}"),
        (Cause::Schedule, _, Some(chain)) => format!("chain {chain}"),
        (Cause::Schedule, ..) if run.backfill => "backfill".to_owned(),
        (Cause::Schedule, ..) => "schedule".to_owned(),
        (Cause::Start, ..) => "start of the host".to_owned(),
        (Cause::Demand, ..) => match run.reruns {
            Some(run) => format!("repeats {run}"),
            None => "on demand".to_owned(),
        },
        (Cause::Task, ..) => match run.parent {
            Some(run) => format!("asked for by {run}"),
            None => "asked for by a task".to_owned(),
        },
    }
}

/// Returns the address of the page of a run.
pub(super) fn run_href(ask: &Ask, run: RunId) -> String {
    ask.href(&format!("/runs/{run}"))
}

/// Returns the address of the page of a task.
pub(super) fn task_href(ask: &Ask, task: &Name) -> String {
    ask.href(&format!("/tasks/{}", part(task.as_str())))
}

/// Returns the zone of a task; UTC if it is unknown.
pub(super) fn zone_of(ask: &Ask, task: &TaskKey) -> Tz {
    ask.views.app.catalog.get(task).map_or(Tz::UTC, |task| task.zone)
}

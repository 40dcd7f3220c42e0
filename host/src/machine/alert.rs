//! Tells operators about tasks that fail again and again.
//!
//! An alert is a log line whose field `alert` names the event, so that a log can be watched for it.

use tracing::{error, warn};

use sexton_domain::run::RunId;
use sexton_domain::schedule::LinkEnd;
use sexton_domain::supervision::Consequence;
use sexton_domain::task::TaskKey;

/// Logs the effect that an attempt's end has on its task, once that is stored.
pub fn tell(task: &TaskKey, after: &Consequence) {
    let standing = after.standing;
    if let Some(pause) = &after.paused {
        let failures = standing.failures;
        error!(alert = "task-paused", task.name = %task, failures, "Task `{task}` is {pause}; `sexton resume {}` resumes it", task.task);
    }
    if let Some(until) = after.held {
        let crashes = standing.crashes;
        warn!(alert = "task-held-back", task.name = %task, crashes, until = %until, "Task `{task}` is held back until {until} after {crashes} crashes in a row");
    }
}

/// Logs that a run is held back because its host died `deaths` times while it was under way.
pub fn suspected(task: &TaskKey, run: RunId, deaths: u32) {
    error!(alert = "run-suspected", run.id = %run, task.name = %task, deaths, "Run {run} of `{task}` is held back: it is suspected of killing its host, which died {deaths} times while the run was under way; `sexton release {run}` lets it start");
}

/// Logs that a link of a chain did not succeed, once that is stored, and why the chain is paused, if it is.
pub fn link_failed(chain: &TaskKey, link: &LinkEnd, stopped: Option<&str>) {
    let (task, round, state) = (&link.task, link.round, link.state.map_or("gone", |state| state.as_str()));
    let run = link.run.map(|run| run.0);
    match stopped {
        Some(why) => {
            error!(alert = "chain-stopped", chain.name = %chain, task.name = %task, run.id = run, round, state, "Chain `{chain}` is paused: {why}; `sexton resume {}` resumes it", chain.task);
        }
        None => {
            warn!(alert = "link-failed", chain.name = %chain, task.name = %task, run.id = run, round, state, "The link `{task}` of chain `{chain}` is {state} in round {round}; the chain continues");
        }
    }
}

//! The definition of a task as pairs of a word and a value.

use crate::http::api_types::TaskDetail;
use crate::http::api_types::locks::LockMode;

use super::look::{bytes, count, lasted, shown};

/// A fact about something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

/// Creates a fact.
pub(super) fn fact(name: &'static str, value: impl Into<String>) -> Fact {
    Fact { name, value: shown(&value.into()) }
}

/// Returns the policies of a task.
pub(super) fn policies(task: &TaskDetail) -> Vec<Fact> {
    let summary = &task.summary;
    let retry = &task.retry;
    let mut facts = vec![fact("plugin", summary.plugin.as_str()), fact("overlap", summary.overlap.as_str())];
    facts.push(match retry.attempts {
        1 => fact("attempts", "1, none is repeated"),
        attempts => fact("attempts", format!("{attempts}, the second after {}", lasted(retry.delay_ms))),
    });
    facts.push(fact("missed instants", task.catch_up.as_str()));
    facts.extend(task.pause_after.map(|failures| fact("pauses itself", format!("after {failures} failures in a row"))));
    facts.extend(task.brake_ms.map(|ms| fact("brake", format!("held back up to {} when it crashes", lasted(ms)))));
    facts.extend(task.lock.as_ref().map(|lock| {
        let mode = if lock.mode == LockMode::Shared { "shared" } else { "exclusive" };
        fact("lock", format!("{} ({mode}), waits {}, then {}", lock.name, lasted(lock.wait_ms), lock.if_held))
    }));
    if !summary.runs_on.is_empty() {
        facts.push(fact("runs on hosts with", joined(summary.runs_on.iter().map(ToString::to_string))));
    }
    if !task.types.is_empty() {
        facts.push(fact("types of schedules", task.types.join(", ")));
    }
    if task.input_bytes > 0 {
        facts.push(fact("input", bytes(task.input_bytes as u64)));
    }
    if !task.settings.is_empty() {
        facts.push(fact("settings", task.settings.join(", ")));
    }
    if !task.env.is_empty() {
        facts.push(fact("environment", task.env.join(", ")));
    }
    if !task.args.is_empty() {
        facts.push(fact("arguments", task.args.join(" ")));
    }
    facts
}

/// Returns the limits of an attempt, and those of all runs of the task together.
pub(super) fn limits(task: &TaskDetail) -> Vec<Fact> {
    let limits = &task.limits;
    let mut facts = vec![
        fact("deadline", lasted(limits.deadline_ms)),
        fact("grace", lasted(limits.grace_ms)),
        fact("fuel", count(limits.fuel)),
        fact("memory", bytes(limits.memory)),
        fact("host calls", count(limits.host_calls)),
        fact("output", bytes(limits.output)),
        fact("log", bytes(limits.log)),
        fact("open handles", limits.handles.to_string()),
        fact("open files", limits.files.to_string()),
    ];
    facts.extend(limits.idle_ms.map(|ms| fact("idle", lasted(ms))));
    let budget = &task.budget;
    facts.extend(budget.fuel_per_minute.map(|fuel| fact("fuel a minute, all runs", count(fuel))));
    facts.extend(budget.cache.map(|cache| fact("cache, all runs", bytes(cache))));
    facts
}

/// Returns the permissions of a task; none if it has none.
pub(super) fn grants(task: &TaskDetail) -> Vec<Fact> {
    let grants = &task.grants;
    let http = grants.http.iter().map(|granted| match granted.port {
        Some(port) => format!("{}:{port}", granted.host),
        None => granted.host.clone(),
    });
    let directories = grants.directories.iter().map(|directory| {
        let write = if directory.write { "read and write" } else { "read only" };
        format!("{} as {} ({write})", directory.host.display(), directory.guest)
    });
    let kept = grants.keep.iter().map(|keep| format!("{} ({} versions)", keep.keys, keep.versions));
    let all = [
        ("locks", grants.locks.join(", ")),
        ("cache", grants.cache.join(", ")),
        ("cache, earlier versions", joined(kept)),
        ("runs of tasks", grants.schedule.join(", ")),
        ("http", joined(http)),
        ("directories", joined(directories)),
    ];
    all.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| fact(name, value)).collect()
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

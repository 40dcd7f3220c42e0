//! Implements `tenants`, `plugins`, `tasks` and `runs`: tables for people, the API's JSON for programs.

use comfy_table::Cell;

use super::args::{ListArgs, RunsArgs};
use super::client::{Client, decode, part};
use super::error::CliError;
use super::screen::{Screen, one_line, safe};
use crate::http::api_types::following::Following;
use crate::http::api_types::plugins::Plugins;
use crate::http::api_types::runs::{RunShape, Runs};
use crate::http::api_types::tenants::Tenants;
use crate::http::api_types::{TaskSummary, Tasks, approximate};
use sexton_domain::pause::PausedBy;
use sexton_domain::run::RunState;
use sexton_domain::supervision::Pause;

pub(super) fn tenants(client: &Client, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text("/v1/tenants")?;
    if list.json {
        return screen.json(&json);
    }
    let Tenants { tenants } = decode(&json)?;
    let mut table = screen.table(&["TENANT", "RUNNING", "FUEL LEFT", "CACHE", "HELD BACK"], "HELD BACK");
    for tenant in &tenants {
        let most = |most: Option<u64>| most.map(|most| format!(" of {most}")).unwrap_or_default();
        table.add_row(vec![
            tenant.name.to_string(),
            format!("{}{}", tenant.running, most(tenant.runs.map(u64::from))),
            tenant.fuel_left.map_or("-".to_owned(), |left| format!("{left}{} a minute", most(tenant.fuel_per_minute))),
            format!("{} of {}", size(tenant.cache_used), size(tenant.cache)),
            match (&tenant.paused, &tenant.held_back) {
                (Some(paused), _) => one_line(paused),
                (None, Some(held_back)) => screen.held_back(held_back),
                (None, None) => "-".to_owned(),
            },
        ]);
    }
    screen.print(&table)
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

pub(super) fn plugins(client: &Client, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text("/v1/plugins")?;
    if list.json {
        return screen.json(&json);
    }
    let Plugins { plugins } = decode(&json)?;
    if plugins.is_empty() {
        return screen.line("The plugin directory is empty.");
    }
    let headers = ["PLUGIN", "STATE", "KIND", "TASKS", "SIZE", "IN USE SINCE", "FROM", "DIGEST"];
    let mut table = screen.table(&headers, "TASKS");
    for plugin in &plugins {
        let tasks: Vec<&str> = plugin.tasks.iter().map(|task| task.as_str()).collect();
        let digest = plugin.digest.as_deref().unwrap_or("-");
        table.add_row(vec![
            Cell::new(one_line(&plugin.name)),
            if plugin.quarantine.is_some() { screen.alarm("quarantined") } else { Cell::new("ok") },
            Cell::new(one_line(plugin.kind.as_deref().unwrap_or("-"))),
            Cell::new(if tasks.is_empty() { "-".to_owned() } else { tasks.join(", ") }),
            Cell::new(bytesize::ByteSize(plugin.size).display().iec()),
            Cell::new(plugin.loaded_at.map_or("-".to_owned(), |at| screen.ago(at))),
            Cell::new(match (&plugin.published_by, &plugin.digest) {
                (Some(host), _) => format!("published by {}", one_line(host)),
                (None, Some(_)) => "own".to_owned(),
                (None, None) => "-".to_owned(),
            }),
            Cell::new(digest.get(..12).unwrap_or("-")),
        ]);
    }
    screen.print(&table)?;
    for plugin in &plugins {
        if let Some(reason) = &plugin.quarantine {
            // Reasons contain lines to be pasted, so their line ends are kept.
            screen.line(&format!("\n{} is in quarantine:\n{}", one_line(&plugin.name), indented(reason)))?;
        }
    }
    Ok(())
}

/// Escapes foreign text and indents it by two spaces.
pub(super) fn indented(text: &str) -> String {
    safe(text).lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

pub(super) fn tasks(client: &Client, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text("/v1/tasks")?;
    if list.json {
        return screen.json(&json);
    }
    let Tasks { tasks } = decode(&json)?;
    if tasks.is_empty() {
        return screen.line("There are no tasks. `sexton plugins` shows the state of the plugins.");
    }
    let mut columns = vec!["TASK", "WHEN", "ZONE", "NEXT", "LATEST RUN", "STATE", "ENDED"];
    // Most tasks have no run that waits for long.
    let some_wait = tasks.iter().any(|task| task.waiting.is_some());
    columns.extend(some_wait.then_some("WAITING RUN"));
    let mut table = screen.table(&columns, "WHEN");
    for task in &tasks {
        let last = task.last.as_ref();
        let mut row = vec![
            Cell::new(&task.name),
            Cell::new(one_line(&when(&task.trigger.text, task.timing.as_deref()))),
            Cell::new(one_line(&task.zone)),
            next(task, screen),
            Cell::new(last.map_or("-".to_owned(), |last| last.run.to_string())),
            last.map_or(Cell::new("-"), |last| screen.state(last.state)),
            Cell::new(last.and_then(|last| last.ended_at).map_or("-".to_owned(), |at| screen.ago(at))),
        ];
        row.extend(some_wait.then(|| Cell::new(waiting(task, screen))));
        table.add_row(row);
    }
    screen.print(&table)?;
    for task in &tasks {
        if let Some(why) = task.paused_why.as_ref().filter(|_| task.paused_by.is_none_or(|by| by == PausedBy::Task)) {
            screen.line(&format!("\n`{}` is paused: {}", task.name, one_line(why)))?;
        }
        for remark in &task.remarks {
            screen.line(&format!("\n`{}`: {}", task.name, one_line(remark)))?;
        }
        for what in [&task.set_back, &task.left_out].into_iter().flatten() {
            screen.line(&format!("\n`{}`: {}", task.name, one_line(what)))?;
        }
    }
    let Plugins { plugins } = decode(&client.text("/v1/plugins")?)?;
    match plugins.iter().filter(|plugin| plugin.quarantine.is_some()).count() {
        0 => {}
        1 => screen.line("\n1 plugin is in quarantine, and its tasks are not listed; `sexton plugins` says why")?,
        many => screen.line(&format!("\n{many} plugins are in quarantine; `sexton plugins` says why"))?,
    }
    // The pause is the same for all tasks that it covers, so it is printed once.
    let many = |by: &PausedBy| *by != PausedBy::Task;
    if let Some((by, task)) = tasks.iter().find_map(|task| Some((task.paused_by.filter(many)?, task))) {
        let pause = Pause { since: task.paused_at, why: task.paused_why.clone() };
        let whose = if by == PausedBy::All { "all tasks" } else { "the tenant's tasks" };
        let said = one_line(&by.why(&pause));
        screen.line(&format!("\n{whose} start nothing: {said}"))?;
    }
    Ok(())
}

/// Returns the run of a task that starts next, and when, unless that is now.
fn waiting(task: &TaskSummary, screen: &Screen) -> String {
    match &task.waiting {
        Some(waiting) if waiting.run_at > screen.now => format!("{} ({})", waiting.run, screen.ago(waiting.run_at)),
        Some(waiting) => waiting.run.to_string(),
        None => "-".to_owned(),
    }
}

/// Joins a trigger with its bounds and delays.
pub(super) fn when(trigger: &str, timing: Option<&str>) -> String {
    timing.map_or_else(|| trigger.to_owned(), |timing| format!("{trigger}, {timing}"))
}

fn next(task: &TaskSummary, screen: &Screen) -> Cell {
    match task.next.first() {
        _ if task.paused => screen.alarm("paused"),
        _ if let Some(until) = task.held_until => screen.alarm(&format!("held back until {}", screen.clock(until))),
        _ if task.held_back.is_some() => {
            screen.alarm(&task.held_back.as_ref().map(|held_back| screen.held_back(held_back)).unwrap_or_default())
        }
        Some(due) => {
            let (there, ago) = (screen.local_clock(&due.local), screen.ago(due.at));
            Cell::new(format!("{there} ({ago}{}{})", due.later(), due.marked()))
        }
        None => Cell::new(match (&task.done, &task.following) {
            (Some(done), _) => one_line(done),
            (None, Some(following)) => self::following(following, screen),
            (None, None) => "-".to_owned(),
        }),
    }
}

/// Returns what a schedule waits for that depends on earlier runs.
fn following(following: &Following, screen: &Screen) -> String {
    let next = match (following.next, following.run) {
        (Some(next), _) => format!("{} ({})", screen.clock(next), screen.ago(next)),
        (None, Some(run)) => format!("after run {run}"),
        (None, None) => "when one ends".to_owned(),
    };
    following.alive.map_or(next.clone(), |alive| format!("{next}, {alive} going"))
}

pub(super) fn runs(client: &Client, args: &RunsArgs, screen: &Screen) -> Result<(), CliError> {
    let mut path = format!("/v1/runs?limit={}", args.limit);
    if let Some(task) = &args.task {
        path.push_str(&format!("&task={}", part(task.as_str())));
    }
    if let Some(state) = &args.state {
        path.push_str(&format!("&state={}", part(state)));
    }
    if args.begun {
        path.push_str("&begun=true");
    }
    if let Some(before) = args.before {
        path.push_str(&format!("&before={before}"));
    }
    shown_runs(&client.text(&path)?, args.list, screen)
}

/// Shows a page of runs that the host has sent.
pub(super) fn shown_runs(json: &str, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    if list.json {
        return screen.json(json);
    }
    let Runs { runs, next } = decode(json)?;
    if runs.is_empty() {
        return screen.line("There are no such runs.");
    }
    let mut table =
        screen.table(&["RUN", "TASK", "STATE", "OUTCOME", "DUE", "AGE", "TOOK", "ATTEMPT", "MESSAGE"], "MESSAGE");
    for run in &runs {
        table.add_row(vec![
            Cell::new(run.id),
            Cell::new(&run.task),
            screen.state(run.state),
            Cell::new(outcome(run)),
            Cell::new(screen.clock(run.due_at)),
            Cell::new(screen.ago(run.due_at)),
            Cell::new(duration(run, screen)),
            Cell::new(run.attempt),
            Cell::new(one_line(&remarks(run))),
        ]);
    }
    screen.print(&table)?;
    match next {
        Some(before) if screen.terminal => screen.line(&format!("\nThere may be more: --before {before}")),
        _ => Ok(()),
    }
}

/// Returns the outcome of the run. A run that goes on, or waits for its next attempt, has none: the end of its last
/// attempt is shown with its message.
fn outcome(run: &RunShape) -> &'static str {
    run.outcome.filter(|_| run.state.is_over()).map_or("-", |outcome| outcome.as_str())
}

/// Returns the remarks on a run: why it waits or its message, the end of its last attempt if there is another, and the
/// cause of the run.
fn remarks(run: &RunShape) -> String {
    let last = run.outcome.filter(|_| !run.state.is_over()).map(|outcome| match &run.message {
        Some(message) => format!("last attempt {outcome}: {message}"),
        None => format!("last attempt {outcome}"),
    });
    let message = run.message.clone().filter(|_| last.is_none());
    let said = [run.why.clone().or(message), last, run.note.clone()];
    said.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn duration(run: &RunShape, screen: &Screen) -> String {
    match (run.claimed_at, run.ended_at) {
        (Some(claimed), Some(ended)) => approximate(ended.since(claimed)),
        (Some(claimed), None) if run.state == RunState::Running => {
            format!("{} so far", approximate(screen.now.since(claimed)))
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::run::{Cause, Outcome, RunId};
    use sexton_domain::task::Name;
    use sexton_domain::time::Timestamp;

    /// Returns a run in `state` whose last attempt had this outcome.
    fn run(state: RunState, outcome: Outcome, message: Option<&str>) -> RunShape {
        let at = Timestamp::from_millis(1_800_000_000_000);
        RunShape {
            id: RunId(7),
            tenant: Name::default_tenant(),
            task: Name::new("it").expect("a name"),
            state,
            due_at: at,
            run_at: at,
            created_at: at,
            claimed_at: Some(at),
            ended_at: None,
            cause: Cause::Demand,
            attempt: 2,
            failures: 1,
            parent: None,
            host: None,
            outcome: Some(outcome),
            message: message.map(str::to_owned),
            forced: false,
            note: None,
            why: None,
            deaths: 0,
            suspected_at: None,
            reruns: None,
            backfill: false,
            held_back: None,
        }
    }

    #[test]
    fn the_outcome_of_an_attempt_is_not_shown_as_that_of_its_waiting_run() {
        let lost = run(RunState::Running, Outcome::Lost, None);
        let trapped = run(RunState::Waiting, Outcome::Trapped, Some("unreachable"));
        let failed = run(RunState::Failed, Outcome::Lost, Some("its host died"));

        assert_eq!((outcome(&lost), remarks(&lost)), ("-", "last attempt lost".to_owned()));
        assert_eq!((outcome(&trapped), remarks(&trapped)), ("-", "last attempt trapped: unreachable".to_owned()));
        assert_eq!((outcome(&failed), remarks(&failed)), ("lost", "its host died".to_owned()));
    }
}

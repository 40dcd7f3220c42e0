//! Implements `tenants`, `plugins` and the list of `tasks`: tables for people, the API's JSON for programs.

use comfy_table::{Cell, Table};

use super::args::{ListArgs, TasksArgs};
use super::client::{Client, decode, with_query};
use super::error::CliError;
use super::screen::{Screen, one_line, safe};
use crate::http::api_types::following::Following;
use crate::http::api_types::plugins::Plugins;
use crate::http::api_types::tenants::Tenants;
use crate::http::api_types::{TaskSummary, Tasks};
use sexton_domain::labels::Labels;
use sexton_domain::pause::PausedBy;
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
    let Plugins { plugins, .. } = decode(&json)?;
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

/// Lists the tasks whose names match `pattern`, or all.
pub(super) fn tasks(client: &Client, pattern: Option<&str>, args: &TasksArgs, screen: &Screen) -> Result<(), CliError> {
    let limit = args.limit.map(|limit| limit.to_string());
    let mut asked = vec![("task", pattern), ("limit", limit.as_deref()), ("cursor", args.cursor.as_deref())];
    asked.extend(args.label.iter().map(|label| ("label", Some(label.as_str()))));
    let json = client.text(&with_query("/v1/tasks", &asked))?;
    if args.list.json {
        return screen.json(&json);
    }
    let Tasks { tasks, cursor } = decode(&json)?;
    if tasks.is_empty() {
        return screen.line(match pattern.is_none() && args.label.is_empty() && args.cursor.is_none() {
            true => "There are no tasks. `sexton plugins` shows the state of the plugins.",
            false => "There are no such tasks.",
        });
    }
    screen.print(&table(&tasks, screen))?;
    remarks(&tasks, screen)?;
    let Plugins { plugins, .. } = decode(&client.text("/v1/plugins")?)?;
    match plugins.iter().filter(|plugin| plugin.quarantine.is_some()).count() {
        0 => {}
        1 => screen.line("\n1 plugin is in quarantine, and its tasks are not listed; `sexton plugins` says why")?,
        many => screen.line(&format!("\n{many} plugins are in quarantine; `sexton plugins` says why"))?,
    }
    many_paused(&tasks, screen)?;
    match cursor {
        Some(cursor) if screen.terminal => screen.line(&format!("\nThere are more: --cursor {}", one_line(&cursor))),
        _ => Ok(()),
    }
}

fn table(tasks: &[TaskSummary], screen: &Screen) -> Table {
    let mut columns = vec!["TASK", "WHEN", "ZONE", "NEXT", "LATEST RUN", "STATE", "ENDED"];
    // Most tasks have no run that waits for long, and many have no labels.
    let some_wait = tasks.iter().any(|task| task.waiting.is_some());
    let some_have_labels = tasks.iter().any(|task| !task.labels.is_empty());
    columns.extend(some_wait.then_some("WAITING RUN"));
    columns.extend(some_have_labels.then_some("LABELS"));
    let mut table = screen.table(&columns, "WHEN");
    for task in tasks {
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
        row.extend(some_have_labels.then(|| Cell::new(labels(&task.labels))));
        table.add_row(row);
    }
    table
}

/// Returns labels for a cell of a table.
pub(super) fn labels(labels: &Labels) -> String {
    if labels.is_empty() { "-".to_owned() } else { one_line(&labels.to_string()) }
}

/// Prints the remarks on single tasks.
fn remarks(tasks: &[TaskSummary], screen: &Screen) -> Result<(), CliError> {
    for task in tasks {
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
    Ok(())
}

/// Prints the pause of all tasks, or of all those of the tenant. It is the same for all tasks that it covers, so it is
/// printed once.
fn many_paused(tasks: &[TaskSummary], screen: &Screen) -> Result<(), CliError> {
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

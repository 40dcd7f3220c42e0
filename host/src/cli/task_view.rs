//! Implements `tasks`: a list, or with a name one task with sums over its runs in a window of time, and how failures came
//! and went.

use std::time::Duration;

use comfy_table::Cell;

use super::args::{TaskOrPattern, TasksArgs};
use super::client::{Client, decode, part};
use super::error::{CliError, Exit};
use super::screen::{Screen, eprint_line, one_line};
use super::{lists, runs};
use crate::http::api_types::runs::Runs;
use crate::http::api_types::statistics::{ChangeKindShape, ChangeShape, SpreadShape, StatisticsShape};
use crate::http::api_types::{TaskInTime, approximate};
use sexton_domain::task::Name;

/// The changes that are shown, the latest.
const CHANGES: usize = 20;

/// The runs that are shown of a task that no plugin offers now.
const KEPT: usize = 20;

pub(super) fn tasks(client: &Client, args: &TasksArgs, screen: &Screen) -> Result<(), CliError> {
    let is_list = !args.label.is_empty() || args.limit.is_some() || args.cursor.is_some();
    match &args.task {
        Some(TaskOrPattern::Task(name)) if is_list => Err(CliError::usage(format!(
            "--label, --limit and --cursor are about a list of tasks, and `{name}` is one task"
        ))),
        Some(TaskOrPattern::Task(name)) => task(client, name, args, screen),
        Some(TaskOrPattern::Pattern(pattern)) if args.since.is_some() => {
            Err(CliError::usage(format!("--since is about one task, and `{pattern}` stands for several")))
        }
        Some(TaskOrPattern::Pattern(pattern)) => lists::tasks(client, Some(pattern), args, screen),
        None => lists::tasks(client, None, args, screen),
    }
}

fn task(client: &Client, name: &Name, args: &TasksArgs, screen: &Screen) -> Result<(), CliError> {
    let since = args.since.as_deref().map(|since| format!("&since={}", part(since))).unwrap_or_default();
    let json = match client.text(&format!("/v1/tasks/{}?statistics=true{since}", part(name.as_str()))) {
        Err(error) if error.exit() == Exit::NotFound => return kept(client, name, args, screen, error),
        answer => answer?,
    };
    if args.list.json {
        return screen.json(&json);
    }
    let task: TaskInTime = decode(&json)?;
    screen.text(&about(&task, screen))?;
    let Some(sums) = &task.statistics else { return Ok(()) };
    screen.text(&counts(sums, screen))?;
    spreads(sums, screen)?;
    changes(sums, screen)
}

/// Shows the latest runs of a task that no plugin offers now. Runs outlive their plugin; if none is kept, it is the
/// error that says so.
fn kept(client: &Client, name: &Name, args: &TasksArgs, screen: &Screen, missing: CliError) -> Result<(), CliError> {
    let json = client.text(&format!("/v1/runs?limit={KEPT}&task={}", part(name.as_str())))?;
    let page: Runs = decode(&json)?;
    if page.runs.is_empty() {
        return Err(missing);
    }
    eprint_line(&format!("note: no plugin offers a task `{name}` now; these are its latest runs that are kept"));
    if args.list.json { screen.json(&json) } else { runs::shown(&page, screen) }
}

fn about(task: &TaskInTime, screen: &Screen) -> String {
    let summary = &task.summary;
    let mut rows = vec![
        ("plugin", summary.plugin.to_string()),
        ("due", one_line(&lists::when(&task.words, summary.timing.as_deref()))),
        ("zone", one_line(&summary.zone)),
        ("overlap", one_line(&summary.overlap)),
    ];
    rows.extend(summary.description.as_deref().map(|text| ("description", one_line(text))));
    rows.extend((!summary.labels.is_empty()).then(|| ("labels", lists::labels(&summary.labels))));
    rows.extend(summary.next.first().map(|due| ("next", screen.instant(due.at))));
    rows.extend(summary.done.as_deref().map(|done| ("next", one_line(done))));
    rows.extend(summary.last.as_ref().map(|last| ("latest run", format!("{} {}", last.run, last.state))));
    rows.extend(summary.waiting.as_ref().map(|waiting| ("waits", format!("run {}", waiting.run))));
    if summary.paused {
        let why = summary.paused_why.as_deref().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
        rows.push(("paused", format!("yes{why}")));
    }
    rows.extend(summary.held_until.map(|until| ("held back", format!("until {}", screen.clock(until)))));
    rows.extend(summary.held_back.as_ref().map(|held_back| ("held back", screen.held_back(held_back))));
    section(&format!("Task {}", summary.name), &rows)
}

/// Returns a heading with a line for each row.
fn section(heading: &str, rows: &[(&str, String)]) -> String {
    let rows = rows.iter().map(|(name, value)| format!("  {name:<12}{value}\n"));
    format!("{heading}\n{}", rows.collect::<String>())
}

fn counts(sums: &StatisticsShape, screen: &Screen) -> String {
    let newest = if sums.cut { ", the newest of more" } else { "" };
    let runs = if sums.runs == 1 { "1 run".to_owned() } else { format!("{} runs", sums.runs) };
    let heading = format!("\nSince {}: {runs}{newest}", screen.instant(sums.since));
    let mut rows = vec![
        ("ok", sums.succeeded.to_string()),
        ("failed", sums.failed.to_string()),
        ("skipped", sums.skipped.to_string()),
        ("cancelled", sums.cancelled.to_string()),
    ];
    rows.extend((sums.running > 0).then(|| ("running", sums.running.to_string())));
    rows.extend((sums.waiting > 0).then(|| ("waiting", sums.waiting.to_string())));
    rows.push(("at once", format!("{}, of at most {}", sums.at_once.most, sums.at_once.limit)));
    rows.push((
        "at max",
        if sums.at_once.at_limit == 1 { "1 time".to_owned() } else { format!("{} times", sums.at_once.at_limit) },
    ));
    section(&heading, &rows)
}

fn spreads(sums: &StatisticsShape, screen: &Screen) -> Result<(), CliError> {
    let rows = [("run", sums.run), ("wait", sums.wait), ("interval", sums.interval)];
    if rows.iter().all(|(_, spread)| spread.is_none()) {
        return Ok(());
    }
    let mut table = screen.table(&["TIME", "MEAN", "P95", "LONGEST"], "TIME");
    for (name, spread) in rows {
        let cell = |of: fn(&SpreadShape) -> u64| {
            spread.as_ref().map_or("-".to_owned(), |spread| approximate(Duration::from_millis(of(spread))))
        };
        table.add_row(vec![
            name.to_owned(),
            cell(|spread| spread.mean_ms),
            cell(|spread| spread.p95_ms),
            cell(|spread| spread.longest_ms),
        ]);
    }
    screen.line("")?;
    screen.print(&table)
}

fn changes(sums: &StatisticsShape, screen: &Screen) -> Result<(), CliError> {
    if sums.changes.is_empty() {
        return Ok(());
    }
    let shown = &sums.changes[sums.changes.len().saturating_sub(CHANGES)..];
    let columns = ["FAILURES", "SINCE", "UNTIL", "RUNS", "RUN", "OUTCOME", "MESSAGE"];
    let mut table = screen.table(&columns, "MESSAGE");
    for (place, change) in shown.iter().enumerate() {
        let goes_on = place + 1 == shown.len() && sums.failing_since.is_some();
        table.add_row(row(change, goes_on, screen));
    }
    screen.line("")?;
    screen.print(&table)?;
    if let Some(since) = sums.failing_since {
        screen.line(&format!("\nStill failing, since {}", screen.instant(since)))?;
    }
    match sums.changes_cut || shown.len() < sums.changes.len() {
        true => screen.line("\nThere were changes before these; a shorter --since has fewer."),
        false => Ok(()),
    }
}

fn row(change: &ChangeShape, goes_on: bool, screen: &Screen) -> Vec<Cell> {
    let (word, until) = match (change.change, goes_on) {
        (ChangeKindShape::Healed, _) => (Cell::new("healed"), "-".to_owned()),
        (kind, goes_on) => {
            let word = if kind == ChangeKindShape::New { "new" } else { "first" };
            (screen.alarm(word), if goes_on { "still".to_owned() } else { screen.clock(change.last_at) })
        }
    };
    vec![
        word,
        Cell::new(screen.clock(change.at)),
        Cell::new(until),
        Cell::new(change.failures),
        Cell::new(change.run),
        Cell::new(change.outcome.map_or("-", |outcome| outcome.as_str())),
        Cell::new(one_line(change.message.as_deref().unwrap_or("-"))),
    ]
}

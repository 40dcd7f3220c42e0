//! Implements `logs`: the log of a run as it grows, or those of a task's runs.

mod following;

use std::io::{BufRead, BufReader};

use super::args::{ListArgs, LogsArgs, RunOrTask};
use super::client::{Client, decode, part};
use super::error::{CliError, Exit};
use super::screen::{Screen, eprint_line, local, safe};
use crate::http::api_types::TaskSummary;
use crate::http::api_types::attempts::LogEvent;
use crate::http::api_types::runs::{RunDetail, RunShape, Runs};
use sexton_domain::run::RunId;
use sexton_domain::task::Name;

pub(super) fn logs(client: &Client, args: &LogsArgs, screen: &Screen) -> Result<(), CliError> {
    let LogsArgs { follow, list, .. } = *args;
    let task = match &args.what {
        RunOrTask::Run(run) => return one(client, *run, follow, list, screen),
        RunOrTask::Task(task) => task,
    };
    let latest = latest(client, task)?;
    let Latest { begun, waiting } = &latest;
    if let Some(waiting) = waiting {
        eprint_line(&format!("note: {waiting}"));
    }
    match begun {
        _ if follow => following::follow(client, task, begun.as_ref(), list, screen),
        Some(run) => {
            following::header(run.id, list, screen)?;
            one(client, run.id, false, list, screen)
        }
        None => Err(CliError::new(Exit::NotFound, format!("no run of `{task}` that has begun is stored"))),
    }
}

/// The runs that a command shows for a task: its latest run that has begun, and a remark on the run that waits.
pub(super) struct Latest {
    pub(super) begun: Option<RunShape>,
    pub(super) waiting: Option<String>,
}

/// Returns the latest runs of `task`. A missing task is an error, unless runs of it are kept.
pub(super) fn latest(client: &Client, task: &Name) -> Result<Latest, CliError> {
    let name = part(task.as_str());
    let summary: TaskSummary = match client.text(&format!("/v1/tasks/{name}")) {
        Ok(json) => decode(&json)?,
        Err(error) if error.exit() == Exit::NotFound => {
            // Runs outlive their plugin.
            let Runs { runs, .. } = decode(&client.text(&format!("/v1/runs?limit=1&begun=true&task={name}"))?)?;
            let begun = runs.into_iter().next().ok_or(error)?;
            return Ok(Latest { begun: Some(begun), waiting: None });
        }
        Err(error) => return Err(error),
    };
    let begun = match summary.last {
        Some(last) => Some(decode::<RunDetail>(&client.text(&format!("/v1/runs/{}", last.run))?)?.run),
        None => None,
    };
    let waiting = summary.waiting;
    let waiting = waiting.map(|waiting| format!("run {} waits; it starts at {}", waiting.run, local(waiting.run_at)));
    Ok(Latest { begun, waiting })
}

fn one(client: &Client, run: RunId, follow: bool, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let mut lines = BufReader::new(client.stream(&format!("/v1/runs/{run}/log?follow={follow}"))?);
    while let Some(line) = next_line(&mut lines, run)? {
        if list.json {
            screen.json(line.trim_end())?;
        } else {
            screen.text(&line_text(&decode(&line)?, screen))?;
        }
    }
    Ok(())
}

/// Returns the next line of the log of `run`; `None` at its end.
fn next_line(lines: &mut impl BufRead, run: RunId) -> Result<Option<String>, CliError> {
    let mut line = String::new();
    let read = lines.read_line(&mut line).map_err(|e| {
        CliError::new(Exit::Unreachable, format!("the connection broke while the host sent the log of run {run}: {e}"))
    })?;
    Ok((read > 0).then_some(line))
}

/// Returns a line of a log, escaped, with its line end.
pub(super) fn line_text(event: &LogEvent, screen: &Screen) -> String {
    match event {
        LogEvent::Line { at, level, message, .. } => {
            let clock = at.to_utc().with_timezone(&chrono::Local).format("%H:%M:%S%.3f");
            let pad = " ".repeat(6_usize.saturating_sub(level.len()));
            // A line of the guest is one line here, so that its own line ends cannot imitate other lines.
            let message = safe(message).replace('\n', "\n                     | ");
            format!("{clock} {}{pad} {message}\n", screen.level(level))
        }
        LogEvent::End { attempt, outcome, ended_at, message, cut } => {
            let said = message.as_deref().map(|message| format!(": {}", safe(message))).unwrap_or_default();
            let cut = if *cut { "-- the log was cut at the task's limit\n" } else { "" };
            format!("{cut}-- attempt {attempt} {outcome} at {}{said}\n", local(*ended_at))
        }
    }
}

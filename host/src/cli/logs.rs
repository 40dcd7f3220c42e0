//! `logs`: a run's log as it grows, or a task's, run after run.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use super::args::{ListArgs, LogsArgs, RunOrTask};
use super::client::{Client, decode, part};
use super::error::{CliError, Exit};
use super::screen::{Screen, local, safe};
use crate::http::shapes::{LogEvent, Runs};
use crate::run::RunId;
use crate::task::Name;

/// How often a followed task is looked at for its next run.
const NEXT_RUN: Duration = Duration::from_millis(500);

pub(super) fn logs(client: &Client, args: &LogsArgs, screen: &Screen) -> Result<(), CliError> {
    let LogsArgs { follow, list, .. } = *args;
    let task = match &args.what {
        RunOrTask::Run(run) => return one(client, *run, follow, list, screen),
        RunOrTask::Task(task) => task,
    };
    // Unknown tasks with history are fine; those without are told apart from those that merely have not run.
    let mut last = latest(client, task)?;
    if last.is_none() {
        client.text(&format!("/v1/tasks/{}", part(task.as_str())))?;
        if !follow {
            return Err(CliError::new(Exit::NotFound, format!("no run of `{task}` is kept")));
        }
    }
    if let Some(run) = last {
        header(run, list, screen)?;
        one(client, run, follow, list, screen)?;
    }
    if !follow {
        return Ok(());
    }
    loop {
        let newer = after(client, task, last)?;
        if newer.is_empty() {
            // Interrupted by the person who watches.
            std::thread::sleep(NEXT_RUN);
        }
        for run in newer {
            header(run, list, screen)?;
            one(client, run, true, list, screen)?;
            last = Some(run);
        }
    }
}

fn latest(client: &Client, task: &Name) -> Result<Option<RunId>, CliError> {
    let Runs { runs, .. } = decode(&client.text(&format!("/v1/runs?limit=1&task={}", part(task.as_str())))?)?;
    Ok(runs.first().map(|run| run.id))
}

/// Runs of `task` that came after `last`, oldest first.
fn after(client: &Client, task: &Name, last: Option<RunId>) -> Result<Vec<RunId>, CliError> {
    let Runs { runs, .. } = decode(&client.text(&format!("/v1/runs?limit=100&task={}", part(task.as_str())))?)?;
    let mut newer: Vec<RunId> = runs.iter().map(|run| run.id).filter(|id| last.is_none_or(|last| *id > last)).collect();
    newer.reverse();
    Ok(newer)
}

fn header(run: RunId, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    if list.json { Ok(()) } else { screen.line(&format!("-- run {run}")) }
}

fn one(client: &Client, run: RunId, follow: bool, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let mut lines = BufReader::new(client.stream(&format!("/v1/runs/{run}/log?follow={follow}"))?);
    let mut line = String::new();
    loop {
        line.clear();
        let read = lines
            .read_line(&mut line)
            .map_err(|e| CliError::new(Exit::Unreachable, format!("the host broke off the log of run {run}: {e}")))?;
        if read == 0 {
            return Ok(());
        }
        if list.json {
            screen.json(line.trim_end())?;
        } else {
            screen.text(&line_text(&decode(&line)?, screen))?;
        }
    }
}

/// A line of a log, with its line end, harmless.
pub(super) fn line_text(event: &LogEvent, screen: &Screen) -> String {
    match event {
        LogEvent::Line { at, level, message, .. } => {
            let clock = at.to_utc().with_timezone(&chrono::Local).format("%H:%M:%S%.3f");
            let pad = " ".repeat(6_usize.saturating_sub(level.len()));
            // A line of the guest is a line here: one that brings line ends of its own cannot pass for others.
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

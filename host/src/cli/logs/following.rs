//! Implements `logs -f TASK`: the logs of all running runs of a task side by side, and of those that begin later.
//!
//! A run that waits, for an instant or for a retry, holds no connection: it is followed again once it goes on.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::{line_text, next_line};
use crate::cli::args::ListArgs;
use crate::cli::client::{Client, decode, part};
use crate::cli::error::{CliError, Exit};
use crate::cli::screen::Screen;
use crate::http::api_types::attempts::LogEvent;
use crate::http::api_types::runs::{RunDetail, RunShape, Runs};
use sexton_domain::run::{RunId, RunState};
use sexton_domain::task::Name;

/// The interval at which a followed task is checked for new runs.
const LOOK: Duration = Duration::from_millis(500);

/// The most runs that are followed at once. Each takes a connection of the host, which others need, too. Further runs
/// follow when one of these ends.
const MOST_AT_ONCE: usize = 8;

/// The most runs that are remembered as shown.
const REMEMBERED: usize = 10_000;

/// The most lines that wait to be printed.
const LINES: usize = 1000;

/// A message of a thread that reads a log.
enum Message {
    Line(RunId, String),
    /// The run waits or has ended, with the last attempt that was read to its end.
    Idle(RunId, u32),
    Failed(CliError),
}

/// The state of a run.
#[derive(Default)]
struct Seen {
    /// The number of attempts that were shown to their end, or are left out.
    shown: u32,
    /// The attempt at which reading began the last time.
    tried: u32,
    going: bool,
}

struct Following<'a> {
    client: &'a Client,
    task: &'a Name,
    list: ListArgs,
    screen: &'a Screen,
    seen: BTreeMap<RunId, Seen>,
    /// The run whose line was printed last.
    heading: Option<RunId>,
    tell: SyncSender<Message>,
    told: Receiver<Message>,
}

/// Follows the runs of `task`, beginning with the `latest` one, until the user ends the command.
pub(super) fn follow(
    client: &Client,
    task: &Name,
    latest: Option<&RunShape>,
    list: ListArgs,
    screen: &Screen,
) -> Result<(), CliError> {
    let (tell, told) = sync_channel(LINES);
    let mut following = Following { client, task, list, screen, seen: BTreeMap::new(), heading: None, tell, told };
    for run in following.begun()? {
        // A run that began after the latest one was queried is shown from its start.
        if latest.is_some_and(|latest| run.id != latest.id && run.claimed_at <= latest.claimed_at) {
            // Earlier runs are history. Of a running one, the current attempt is shown.
            let over = run.attempt - u32::from(run.state == RunState::Running);
            following.seen.insert(run.id, Seen { shown: over, tried: over, going: false });
        }
    }
    loop {
        for run in following.begun()? {
            following.begin(&run);
        }
        following.print_for(LOOK)?;
    }
}

impl Following<'_> {
    /// Returns the runs that have begun: those that are running, and the newest.
    fn begun(&self) -> Result<Vec<RunShape>, CliError> {
        let of_task = format!("/v1/runs?limit=100&task={}", part(self.task.as_str()));
        let mut runs = BTreeMap::new();
        for which in ["&state=running", "&begun=true"] {
            let page: Runs = decode(&self.client.text(&format!("{of_task}{which}"))?)?;
            runs.extend(page.runs.into_iter().map(|run| (run.id, run)));
        }
        Ok(runs.into_values().collect())
    }

    /// Begins to read the log of `run`, if there is more of it than was shown.
    fn begin(&mut self, run: &RunShape) {
        let going = self.seen.values().filter(|seen| seen.going).count();
        let seen = self.seen.entry(run.id).or_default();
        if seen.going || run.attempt <= seen.tried || going >= MOST_AT_ONCE {
            return;
        }
        (seen.going, seen.tried) = (true, run.attempt);
        let (client, run, shown, tell) = (self.client.clone(), run.id, seen.shown, self.tell.clone());
        std::thread::spawn(move || {
            let told = match read(&client, run, shown, &tell) {
                Ok(shown) => Message::Idle(run, shown),
                // The run was deleted a moment ago.
                Err(error) if error.exit() == Exit::NotFound => Message::Idle(run, u32::MAX),
                Err(error) => Message::Failed(error),
            };
            // An error means that the printing side has ended.
            let _ = tell.send(told);
        });
        while self.seen.len() > REMEMBERED && self.seen.first_key_value().is_some_and(|(_, seen)| !seen.going) {
            self.seen.pop_first();
        }
    }

    /// Prints the lines that arrive within `time`.
    fn print_for(&mut self, time: Duration) -> Result<(), CliError> {
        let end = Instant::now() + time;
        while let Ok(told) = self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            match told {
                Message::Failed(error) => return Err(error),
                Message::Line(run, line) => self.print(run, &line)?,
                Message::Idle(run, shown) => {
                    let seen = self.seen.entry(run).or_default();
                    (seen.going, seen.shown) = (false, shown);
                    seen.tried = seen.tried.max(shown);
                }
            }
        }
        Ok(())
    }

    fn print(&mut self, run: RunId, line: &str) -> Result<(), CliError> {
        if self.list.json {
            return self.screen.json(&with_run(run, line)?);
        }
        if self.heading.replace(run) != Some(run) {
            header(run, self.list, self.screen)?;
        }
        self.screen.text(&line_text(&decode(line)?, self.screen))
    }
}

/// Returns the line of JSON with the id of its run.
fn with_run(run: RunId, line: &str) -> Result<String, CliError> {
    let mut event: serde_json::Map<String, serde_json::Value> = decode(line)?;
    event.insert("run".to_owned(), run.0.into());
    Ok(serde_json::Value::Object(event).to_string())
}

pub(super) fn header(run: RunId, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    if list.json { Ok(()) } else { screen.line(&format!("-- run {run}")) }
}

/// Reads the log of a run beyond its first `shown` attempts, until the run waits or has ended. Returns how many
/// attempts were read.
fn read(client: &Client, run: RunId, mut shown: u32, tell: &SyncSender<Message>) -> Result<u32, CliError> {
    let mut lines = BufReader::new(client.stream(&format!("/v1/runs/{run}/log?follow=true"))?);
    loop {
        let Some(line) = next_line(&mut lines, run)? else { return Ok(shown) };
        let (attempt, ended) = match decode(&line)? {
            LogEvent::Line { attempt, .. } => (attempt, false),
            LogEvent::End { attempt, .. } => (attempt, true),
        };
        if attempt <= shown {
            continue;
        }
        if tell.send(Message::Line(run, line.trim_end().to_owned())).is_err() {
            return Ok(shown);
        }
        if ended {
            shown = attempt;
            let detail: RunDetail = decode(&client.text(&format!("/v1/runs/{run}"))?)?;
            // The next attempt may have ended in the time between.
            if detail.run.state != RunState::Running && detail.run.attempt <= shown {
                return Ok(shown);
            }
        }
    }
}

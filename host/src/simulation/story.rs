//! What ran when, as people and programs are told.

use std::collections::{BTreeMap, BTreeSet};

use chrono::SecondsFormat;
use chrono_tz::Tz;
use serde::Serialize;

use super::NoStory;
use super::plan::Plan;
use crate::catalog::Catalog;
use crate::run::{Cause, Outcome, RunId, RunState};
use crate::store::{RunFilter, RunInfo, Store};
use crate::task::{Task, TaskKey};
use crate::time::Timestamp;

/// Runs read in one go.
const PAGE: usize = 500;

/// Instants of a task that are gone through to count what was missed at once.
const COUNTED: u64 = 10_000;

/// What came of a plan. No figure or name in it is the real world's.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// Its start, RFC 3339.
    pub start: String,
    /// Its end by a clock that is right.
    pub end: String,
    /// What happened, in order.
    pub lines: Vec<Line>,
    /// What it comes to, by task.
    pub tasks: BTreeMap<String, Sum>,
}

/// One thing that happened. Instants are RFC 3339, in the zone of the task, as the host's clock showed them.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// A run.
    Run(Run),
    /// Instants of a task that no run was made for.
    Missed(Missed),
    /// Something that befell the host.
    Event(Event),
}

/// A run, and how it went.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Of which task.
    pub task: String,
    /// When it was due.
    pub due: String,
    /// Why it exists.
    pub cause: String,
    /// When its first attempt began; none did if `None`.
    pub started: Option<String>,
    /// When it was over, if it is.
    pub ended: Option<String>,
    /// How it stands: `succeeded`, the outcome that it failed with, `skipped`, `cancelled`, `waiting` or `running`.
    pub outcome: String,
    /// Its attempts that are over.
    pub attempts: Vec<Attempt>,
    /// What was said of it.
    pub message: Option<String>,
    /// How it came to be.
    pub note: Option<String>,
    /// What it made, as text, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Its id in the store.
    #[serde(skip)]
    pub id: RunId,
    /// Units of fuel that its attempts used.
    #[serde(skip)]
    pub fuel: u64,
    /// Whether it failed.
    #[serde(skip)]
    pub failed: bool,
}

/// An attempt that is over.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// When it began.
    pub started: String,
    /// When it was over.
    pub ended: String,
    /// How it ended.
    pub outcome: String,
    /// What was said of it.
    pub message: Option<String>,
}

/// Instants of a task that no run was made for, as the host was down or its clock was set forward.
#[derive(Clone, Debug, Serialize)]
pub struct Missed {
    /// Of which task.
    pub task: String,
    /// The first of them.
    pub first: String,
    /// The last of them, of those that were counted.
    pub last: String,
    /// How many they are, or at least are.
    pub count: u64,
}

/// Something that befell the host.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// When, in UTC.
    pub at: String,
    /// What.
    pub what: String,
}

/// What became of a task's runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sum {
    /// How many runs.
    pub runs: u64,
    /// How many of them by [`Run::outcome`].
    pub outcomes: BTreeMap<String, u64>,
    /// How many instants were missed.
    pub missed: u64,
    /// Why the task is paused at the end, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

impl Story {
    /// How many runs failed.
    pub fn failed(&self) -> usize {
        self.runs().filter(|run| run.failed).count()
    }

    /// The runs, in the order in which they were made.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.lines.iter().filter_map(|line| match line {
            Line::Run(run) => Some(run),
            Line::Missed(_) | Line::Event(_) => None,
        })
    }
}

/// What happened between two runs.
#[derive(Clone, Debug)]
pub(super) enum Gap {
    Note {
        after: RunId,
        at: Timestamp,
        what: String,
    },
    /// With how far each task's schedule had come: what is up to there was dealt with, wherever the clock was set since.
    Missed {
        after: RunId,
        from: Timestamp,
        to: Timestamp,
        cursors: BTreeMap<TaskKey, Timestamp>,
    },
}

impl Gap {
    fn after(&self) -> RunId {
        match self {
            Self::Note { after, .. } | Self::Missed { after, .. } => *after,
        }
    }
}

/// An instant as it is told.
fn there(at: Timestamp, zone: Tz) -> String {
    at.to_utc().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(super) async fn tell(plan: &Plan, store: &dyn Store, catalog: &Catalog, gaps: &[Gap]) -> Result<Story, NoStory> {
    let runs = all(store).await?;
    let tasks = catalog.tasks();
    let mut lines = Vec::new();
    let mut gaps_left = gaps.iter().peekable();
    for info in &runs {
        while let Some(gap) = gaps_left.next_if(|gap| gap.after() < info.id) {
            lines.extend(fill(gap, &runs, tasks.values().map(AsRef::as_ref)));
        }
        let zone = tasks.get(&info.task).map_or(Tz::UTC, |task| task.zone);
        lines.push(Line::Run(run(plan, store, info, zone).await?));
    }
    for gap in gaps_left {
        lines.extend(fill(gap, &runs, tasks.values().map(AsRef::as_ref)));
    }
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for line in &lines {
        match line {
            Line::Run(run) => {
                let sum = sums.entry(run.task.clone()).or_default();
                sum.runs += 1;
                *sum.outcomes.entry(run.outcome.clone()).or_default() += 1;
            }
            Line::Missed(missed) => sums.entry(missed.task.clone()).or_default().missed += missed.count,
            Line::Event(_) => {}
        }
    }
    for (key, state) in store.task_states().await? {
        if let Some(pause) = state.paused {
            sums.entry(key.task.to_string()).or_default().paused = Some(pause.to_string());
        }
    }
    let utc = |at| there(at, Tz::UTC);
    Ok(Story { start: utc(plan.start), end: utc(plan.start.plus(plan.length)), lines, tasks: sums })
}

/// All runs there are, oldest first.
async fn all(store: &dyn Store) -> Result<Vec<RunInfo>, NoStory> {
    let mut runs: Vec<RunInfo> = Vec::new();
    loop {
        let before = runs.last().map(|run| run.id);
        let page = store.runs(RunFilter { before, limit: PAGE, ..RunFilter::default() }).await?;
        if page.is_empty() {
            runs.reverse();
            return Ok(runs);
        }
        runs.extend(page);
    }
}

async fn run(plan: &Plan, store: &dyn Store, info: &RunInfo, zone: Tz) -> Result<Run, NoStory> {
    let attempts = store.attempts(info.id).await?;
    let output = match plan.outputs {
        true => store.output(info.id).await?.map(|output| String::from_utf8_lossy(&output.body).into_owned()),
        false => None,
    };
    // The one under way has no report yet.
    let under_way = info.claimed_at.filter(|_| info.state == RunState::Running);
    let started = attempts.first().map(|attempt| attempt.report.started_at).or(under_way);
    Ok(Run {
        task: info.task.to_string(),
        due: there(info.due_at, zone),
        cause: info.cause.as_str().to_owned(),
        started: started.map(|at| there(at, zone)),
        ended: info.ended_at.map(|at| there(at, zone)),
        outcome: outcome(info).to_owned(),
        message: info.message.clone().filter(|_| info.state != RunState::Succeeded),
        note: info.note.clone(),
        output,
        id: info.id,
        fuel: attempts.iter().map(|attempt| attempt.report.accounts.fuel).sum(),
        failed: info.state == RunState::Failed,
        attempts: attempts
            .into_iter()
            .map(|attempt| Attempt {
                started: there(attempt.report.started_at, zone),
                ended: there(attempt.report.ended_at, zone),
                outcome: attempt.report.outcome.as_str().to_owned(),
                message: attempt.report.message,
            })
            .collect(),
    })
}

fn outcome(info: &RunInfo) -> &'static str {
    match info.state {
        RunState::Failed => info.outcome.map_or("failed", Outcome::as_str),
        RunState::Cancelled if info.attempt == 0 && info.message.as_deref().is_some_and(is_skip) => "skipped",
        state => state.as_str(),
    }
}

fn is_skip(message: &str) -> bool {
    message.starts_with("skipped")
}

fn fill<'a>(gap: &Gap, runs: &[RunInfo], tasks: impl Iterator<Item = &'a Task>) -> Vec<Line> {
    let (before, from, to, cursors) = match gap {
        Gap::Note { at, what, .. } => {
            return vec![Line::Event(Event { at: there(*at, Tz::UTC), what: what.clone() })];
        }
        Gap::Missed { after, from, to, cursors } => (*after, *from, *to, cursors),
    };
    let from = |task: &Task| cursors.get(&task.key).copied().unwrap_or(from);
    tasks.filter_map(|task| missed(task, before, from(task), to, runs)).map(Line::Missed).collect()
}

/// The instants of `task` after `from` and until `to` that no run was made for, although its schedule had some to make: the
/// latest run before the gap is `before`.
fn missed(task: &Task, before: RunId, from: Timestamp, to: Timestamp, runs: &[RunInfo]) -> Option<Missed> {
    let of_task = runs.iter().filter(|run| run.task == task.key && run.cause == Cause::Schedule);
    let fired = of_task.clone().filter(|run| run.id <= before).count();
    let plan = task.plan();
    let made: BTreeSet<_> = of_task.map(|run| run.due_at).collect();
    // What is still to start then is dealt with when it does.
    let next = |after: Timestamp| plan.next_after(after).filter(|at| *at <= to && plan.start_of(*at) <= to);
    let due = std::iter::successors(next(from), |at| next(*at)).take(COUNTED as usize);
    // Once the last of its runs is made there is nothing left to be missed.
    let mut fired = fired as u64;
    let due = due.take_while(|at| {
        let left = plan.left(fired);
        fired += u64::from(made.contains(at));
        left != Some(0)
    });
    let mut left = due.filter(|at| !made.contains(at));
    let first = left.next()?;
    let (count, last) = left.fold((1, first), |(count, _), at| (count + 1, at));
    let there = |at| there(at, task.zone);
    Some(Missed { task: task.key.to_string(), first: there(first), last: there(last), count })
}

//! Reports the runs of a simulation, for people and programs.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use chrono_tz::Tz;
use serde::Serialize;

use super::error::SimulationError;
use super::plan::Plan;
use crate::machine::scheduler::PUNCTUAL;
use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::schedule::Look;
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_runtime::catalog::Catalog;
use sexton_store::{RunFilter, RunInfo, Store, TaskState};

/// The runs that are read at once.
const PAGE: usize = 500;

/// The result of a plan. It contains no figure and no name of the real world.
#[derive(Clone, Debug, Serialize)]
pub struct SimulationReport {
    /// The start, in RFC 3339.
    pub start: String,
    /// The end, by a right clock.
    pub end: String,
    /// The entries, in order.
    pub lines: Vec<Line>,
    /// The sums, by task.
    pub tasks: BTreeMap<String, Sum>,
}

/// An entry. Instants are in RFC 3339, in the zone of the task, as the host's clock showed them.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// A run.
    Run(Run),
    /// Instants of a task that were missed and are left out.
    #[serde(rename = "left-out")]
    LeftOut(LeftOut),
    /// An event of the host.
    Event(Event),
}

/// A run and its result.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The task.
    pub task: String,
    /// The instant at which it was due.
    pub due: String,
    /// The cause of the run.
    pub cause: String,
    /// The start of its first attempt; `None` if there was none.
    pub started: Option<String>,
    /// The end of the run, if it has ended.
    pub ended: Option<String>,
    /// The result: `succeeded`, the outcome of its failure, `skipped`, `cancelled`, `waiting` or `running`.
    pub outcome: String,
    /// The attempts that have ended.
    pub attempts: Vec<Attempt>,
    /// The message of the run.
    pub message: Option<String>,
    /// The note with the origin of the run.
    pub note: Option<String>,
    /// The output as text, if it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The id in the store.
    #[serde(skip)]
    pub id: RunId,
    /// The units of fuel that its attempts used.
    #[serde(skip)]
    pub fuel: u64,
    /// Whether it failed.
    #[serde(skip)]
    pub failed: bool,
}

/// An attempt that has ended.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    /// The start of the attempt.
    pub started: String,
    /// The end of the attempt.
    pub ended: String,
    /// The outcome.
    pub outcome: String,
    /// The message.
    pub message: Option<String>,
}

/// Instants of a task that were missed, because the host was down or its clock was set forward, and that have no run.
/// Those that are made up for have runs.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The task.
    pub task: String,
    /// The first instant.
    pub first: String,
    /// The last instant.
    pub last: String,
    /// The number of instants.
    pub count: u64,
    /// Whether there are more than `count`, because there were too many to count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// An event of the host.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// The instant in UTC.
    pub at: String,
    /// The description.
    pub what: String,
}

/// The sums of a task's runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sum {
    /// The number of runs.
    pub runs: u64,
    /// The number of runs by [`Run::outcome`].
    pub outcomes: BTreeMap<String, u64>,
    /// The number of instants that were missed and are left out.
    pub left_out: u64,
    /// Whether there are more than `left_out`, because there were too many to count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left_out_more: bool,
    /// The reason why the task is paused at the end, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

impl SimulationReport {
    /// Returns how many runs failed.
    pub fn failed(&self) -> usize {
        self.runs().filter(|run| run.failed).count()
    }

    /// Iterates over the runs, in the order in which they were made.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.lines.iter().filter_map(|line| match line {
            Line::Run(run) => Some(run),
            Line::LeftOut(_) | Line::Event(_) => None,
        })
    }
}

/// An entry between two runs: after the run with this id.
#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) after: RunId,
    pub(super) lines: Vec<Line>,
}

impl Gap {
    pub(super) fn event(after: RunId, at: Timestamp, what: String) -> Self {
        Self { after, lines: vec![Line::Event(Event { at: there(at, Tz::UTC), what })] }
    }

    /// Returns the instants that the next look at the clock, at `now`, leaves out of the schedules of `tasks`.
    pub(super) fn left_out<'a>(
        after: RunId,
        now: Timestamp,
        tasks: impl Iterator<Item = &'a Task>,
        states: &BTreeMap<TaskKey, TaskState>,
    ) -> Self {
        let lines = tasks.filter_map(|task| left_out(task, states.get(&task.key), now));
        Self { after, lines: lines.map(Line::LeftOut).collect() }
    }
}

/// Formats an instant for the report.
fn there(at: Timestamp, zone: Tz) -> String {
    at.to_utc().with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(super) async fn tell(
    plan: &Plan,
    store: &dyn Store,
    catalog: &Catalog,
    gaps: &[Gap],
) -> Result<SimulationReport, SimulationError> {
    let runs = all(store).await?;
    let tasks = catalog.tasks();
    let mut lines = Vec::new();
    let mut gaps_left = gaps.iter().peekable();
    for info in &runs {
        while let Some(gap) = gaps_left.next_if(|gap| gap.after < info.id) {
            lines.extend(gap.lines.iter().cloned());
        }
        let zone = tasks.get(&info.task).map_or(Tz::UTC, |task| task.zone);
        lines.push(Line::Run(run(plan, store, info, zone).await?));
    }
    lines.extend(gaps_left.flat_map(|gap| gap.lines.iter().cloned()));
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for line in &lines {
        match line {
            Line::Run(run) => {
                let sum = sums.entry(run.task.clone()).or_default();
                sum.runs += 1;
                *sum.outcomes.entry(run.outcome.clone()).or_default() += 1;
            }
            Line::LeftOut(left_out) => {
                let sum = sums.entry(left_out.task.clone()).or_default();
                sum.left_out += left_out.count;
                sum.left_out_more |= left_out.more;
            }
            Line::Event(_) => {}
        }
    }
    for (key, state) in store.task_states().await? {
        if let Some(pause) = state.paused {
            sums.entry(key.task.to_string()).or_default().paused = Some(pause.to_string());
        }
    }
    let utc = |at| there(at, Tz::UTC);
    Ok(SimulationReport { start: utc(plan.start), end: utc(plan.start.plus(plan.length)), lines, tasks: sums })
}

/// Returns all runs, oldest first.
async fn all(store: &dyn Store) -> Result<Vec<RunInfo>, SimulationError> {
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

async fn run(plan: &Plan, store: &dyn Store, info: &RunInfo, zone: Tz) -> Result<Run, SimulationError> {
    let attempts = store.attempts(info.id).await?;
    let output = match plan.outputs {
        true => store.output(info.id).await?.map(|output| String::from_utf8_lossy(&output.body).into_owned()),
        false => None,
    };
    // The attempt under way has no report yet.
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
    match (info.state, info.outcome) {
        (_, Some(Outcome::Skipped)) => Outcome::Skipped.as_str(),
        (RunState::Failed, outcome) => outcome.map_or("failed", Outcome::as_str),
        (state, _) => state.as_str(),
    }
}

/// Returns the instants that a look at `now` leaves out of a task's schedule. The scheduler looks right after this, and
/// leaves out the same.
fn left_out(task: &Task, state: Option<&TaskState>, now: Timestamp) -> Option<LeftOut> {
    // Instants that come due during a pause are not missed.
    if state.is_some_and(|state| state.paused.is_some()) {
        return None;
    }
    let (cursor, fired) = state.map_or((None, 0), |state| (state.cursor, state.fired));
    let due = task.plan().due(Look { cursor, now, grace: PUNCTUAL }, fired);
    let there = |at| there(at, task.zone);
    let (first, last) = (there(due.missed_since?), there(due.left_out_until?));
    Some(LeftOut { task: task.key.to_string(), first, last, count: due.left_out, more: due.uncounted })
}

//! Builds the new run for each request: one function for each way in which a run comes to be.
//!
//! `docs/design/0014-what-a-run-is.md` lists the ways, where they differ, and why.

use std::time::Duration;

use crate::added::{DueSchedule, RunDefaults};
use crate::backfills::TURN;
use crate::views::ChildKind;
use crate::{Admit, NewRun};
use sexton_domain::labels::Labels;
use sexton_domain::run::{Cause, RunId};
use sexton_domain::task::{Name, Overlap, Task, TaskKey};
use sexton_domain::time::Timestamp;

/// The request of a person or a program for a run of a task, through the API or in a simulation.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// When the run is due; `None` is now.
    pub due_at: Option<Timestamp>,
    /// The input of the run; `None` is the task's own.
    pub input: Option<Vec<u8>>,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// The limits that the run goes past, in words, if it starts whatever holds its task back.
    pub past_limits: Option<String>,
    /// The labels of the run: the task's own, and those that the caller gives it.
    pub labels: Labels,
}

/// The request of a person or a program to repeat a run that is over.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// The run that is repeated.
    pub run: RunId,
    /// The instant at which that run was due. The new run is due at it, too: it is the same piece of work.
    pub due_at: Timestamp,
    /// The input of the new run: usually that of the repeated one.
    pub input: Vec<u8>,
    /// The caller's idempotency key.
    pub key: Option<String>,
    /// The limits that the run goes past, in words, if it starts whatever holds its task back.
    pub past_limits: Option<String>,
    /// The labels of the repeated run, which the new one gets, too.
    pub labels: Labels,
}

/// The request of a running attempt for a run.
#[derive(Clone, Debug)]
pub struct Request {
    pub task: TaskKey,
    pub due_at: Timestamp,
    /// The input of the run, unchanged: an empty input stays empty.
    pub input: Vec<u8>,
    /// The key by which a repeated request finds the run that the first one made.
    pub key: Option<RequestKey>,
    /// The task that asks.
    pub caller: Name,
    /// The run that asks.
    pub parent: RunId,
    /// The labels of the requested task.
    pub labels: Labels,
}

/// The key by which a repeated request of a guest finds the run that the first one made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestKey {
    /// The guest chose the key, which counts for all runs of its task.
    Chosen(String),
    /// The request is for the continuation with this number, from 1, of the run that asks.
    Continuation(u32),
}

impl RequestKey {
    /// Returns the dedup key, which at most one run of the requested task has. The prefix keeps the keys that guests
    /// choose apart from those of the scheduler, the API and other tasks.
    fn dedup(self, caller: &Name, parent: RunId) -> String {
        match self {
            Self::Chosen(key) => format!("task:{caller}:{key}"),
            Self::Continuation(nth) => format!("continue:{parent}:{nth}"),
        }
    }
}

impl Admit {
    /// Returns when the schedule of a task with this policy gets a further run.
    pub fn by_schedule(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Skip => Self::Below(1),
            Overlap::QueueOne => Self::Below(2),
            // The sum of the runs that wait and the one that is running.
            Overlap::QueueAll => Self::Below(Overlap::MOST_QUEUED + 1),
            Overlap::Replace => Self::Replacing,
            Overlap::Allow(n) => Self::Below(n),
        }
    }

    /// Returns when a demanded run that is due at `due_at` is admitted for a task with this policy. It is never
    /// skipped, because the caller waits for it. A run that is due later must not end what is running now, and a run
    /// past limits goes beside the others.
    fn on_demand(overlap: Overlap, due_at: Timestamp, past_limits: bool, now: Timestamp) -> Self {
        match overlap {
            Overlap::Replace if due_at <= now && !past_limits => Self::Replacing,
            _ => Self::Always,
        }
    }
}

impl NewRun {
    /// Returns the run of `task` that is demanded at `now`.
    pub fn demanded(task: &Task, demand: Demand, now: Timestamp) -> Self {
        let due_at = demand.due_at.unwrap_or(now);
        let past_limits = demand.past_limits.is_some();
        Self {
            input: demand.input.unwrap_or_else(|| task.input.clone()),
            // The prefix keeps the key apart from the scheduler's, so that no caller can stand in for a scheduled run.
            dedup: demand.key.map(|key| format!("key:{key}")),
            admit: Admit::on_demand(task.overlap, due_at, past_limits, now),
            forced: past_limits,
            note: demand.past_limits,
            labels: demand.labels,
            ..Self::of(task.key.clone(), due_at, Cause::Demand)
        }
    }

    /// Returns the run of `task` that repeats another at `now`. It is a demanded run in all but its instant.
    pub fn repeating(task: &Task, repeat: Repeat, now: Timestamp) -> Self {
        let Repeat { run, due_at, input, key, past_limits, labels } = repeat;
        let note = format!("rerun of run {run}");
        let note = past_limits.as_ref().map_or(note.clone(), |limits| format!("{note}, {limits}"));
        let demand = Demand { due_at: Some(due_at.min(now)), input: Some(input), key, past_limits, labels };
        Self { run_at: now, parent: Some(run), note: Some(note), ..Self::demanded(task, demand, now) }
    }

    /// Returns the run of `task` that a backfill makes for the instant `due_at` of its schedule.
    ///
    /// It has the key that the schedule's own run has, so that an instant has one run. It waits for its turn.
    pub fn backfilled(task: &Task, due_at: Timestamp, at_once: u32) -> Self {
        Self {
            run_at: TURN,
            input: task.input.clone(),
            dedup: Some(due_key(due_at)),
            note: Some("backfill".to_owned()),
            at_once: Some(at_once),
            labels: task.labels.clone(),
            ..Self::of(task.key.clone(), due_at, Cause::Schedule)
        }
    }

    /// Returns the run that `request` asks for at `now`.
    ///
    /// Such a run goes beside the others, whatever the task's overlap policy: a run that continues itself must not end
    /// itself, and of a hundred pieces of work that are handed out none replaces another.
    pub fn requested(request: Request, now: Timestamp) -> Self {
        Self {
            // Runs are claimed by `run_at`, earliest first: a run that is "due since 1970" must not overtake the
            // others.
            run_at: request.due_at.max(now),
            input: request.input,
            dedup: request.key.map(|key| key.dedup(&request.caller, request.parent)),
            parent: Some(request.parent),
            labels: request.labels,
            ..Self::of(request.task, request.due_at, Cause::Task)
        }
    }

    /// Returns the run of `task` that its schedule calls for at `due_at`.
    pub fn scheduled(task: &Task, due_at: Timestamp) -> Self {
        Self { dedup: Some(due_key(due_at)), ..Self::by_clock(task, due_at, Cause::Schedule) }
    }

    /// Returns the run of `task` that a host's start calls for.
    pub fn on_start(task: &Task, now: Timestamp) -> Self {
        Self::by_clock(task, now, Cause::Start)
    }

    fn by_clock(task: &Task, due_at: Timestamp, cause: Cause) -> Self {
        let run_at = task.plan().start_of(due_at);
        Self {
            run_at,
            input: task.input.clone(),
            admit: Admit::by_schedule(task.overlap),
            start_by: start_by(task.timing.start_within, run_at),
            labels: task.labels.clone(),
            ..Self::of(task.key.clone(), due_at, cause)
        }
    }

    /// Returns the run that makes up at `now` for a missed instant of `task`'s schedule.
    pub fn catch_up(task: &Task, due_at: Timestamp, note: String, now: Timestamp) -> Self {
        let usual = Self::scheduled(task, due_at);
        Self {
            // The run goes behind those that wait already, and has the full time to start.
            run_at: now,
            start_by: start_by(task.timing.start_within, now),
            // The catch-up policy asks for these runs: earlier runs are no reason to skip them, they wait for their
            // turn.
            admit: if usual.admit == Admit::Replacing { Admit::Replacing } else { Admit::Always },
            note: Some(note),
            ..usual
        }
    }

    /// Returns the run of `task`, due at `due_at`, that follows the end of another: by `after`, `pace`, or a chain.
    ///
    /// It is never skipped, because the trigger makes no more runs than allowed.
    pub fn following(task: &Task, due_at: Timestamp, dedup: String, now: Timestamp) -> Self {
        Self {
            input: task.input.clone(),
            dedup: Some(dedup),
            start_by: start_by(task.timing.start_within, now),
            labels: task.labels.clone(),
            ..Self::of(task.key.clone(), due_at, Cause::Schedule)
        }
    }

    /// Returns the run that the added schedule `key`, which gives its runs `data`, calls for at `due_at`.
    ///
    /// It has an overlap rule of its own: one run of a key at a time, whatever its task allows.
    pub(crate) fn added(
        task: &RunDefaults,
        due: &DueSchedule,
        due_at: Timestamp,
        key: &Name,
        data: Option<Vec<u8>>,
        now: Timestamp,
    ) -> Self {
        let run_at = due_at.plus(due.delay);
        Self {
            run_at,
            input: data.unwrap_or_else(|| task.input.clone()),
            dedup: Some(format!("added:{key}:{}", due_at.as_millis())),
            start_by: start_by(task.start_within, run_at.max(now)),
            note: Some(due.note(key)),
            schedule: Some(key.clone()),
            labels: task.labels.clone(),
            ..Self::of(task.key.clone(), due_at, Cause::Schedule)
        }
    }
}

/// The beginning of the dedup keys of runs that a task's schedule has for its instants.
pub(crate) const DUE: &str = "at:";

/// Returns the dedup key of the run that a task's schedule has for the instant `due_at`.
pub(crate) fn due_key(due_at: Timestamp) -> String {
    format!("{DUE}{}", due_at.as_millis())
}

/// Returns whether a dedup key is that of a run that a task's schedule has for an instant.
pub(crate) fn is_due_key(key: &str) -> bool {
    key.starts_with(DUE)
}

/// The beginning of the dedup keys of runs that a chain makes for its links.
const CHAIN: &str = "chain:";

/// Returns the dedup key of the run that the chain `chain` makes at `now`, after it has made `fired` others.
pub fn chain_key(chain: &Name, fired: u64, now: Timestamp) -> String {
    format!("{}{fired}@{}", chain_prefix(chain), now.as_millis())
}

/// Returns the beginning of the dedup keys of all runs that the chain `chain` makes.
pub(crate) fn chain_prefix(chain: &Name) -> String {
    format!("{CHAIN}{chain}:")
}

/// Returns the chain that made the run with a dedup key, if one did.
pub(crate) fn chain_of(key: &str) -> Option<Name> {
    let (chain, _) = key.strip_prefix(CHAIN)?.split_once(':')?;
    Name::new(chain).ok()
}

/// The beginning of the dedup keys of runs in which another run continues (`imports::schedule` makes the keys).
pub(crate) const CONTINUES: &str = "continue:";

/// Returns how a run with this cause came of another: `continues` if its dedup key begins with [`CONTINUES`].
pub(crate) fn child_kind(cause: Cause, continues: bool) -> ChildKind {
    match cause {
        Cause::Demand => ChildKind::Rerun,
        _ if continues => ChildKind::Continuation,
        _ => ChildKind::Enqueued,
    }
}

/// Returns the latest start of a run whose earliest start is `run_at`.
fn start_by(within: Option<Duration>, run_at: Timestamp) -> Option<Timestamp> {
    within.map(|within| run_at.plus(within))
}

#[cfg(test)]
mod tests;

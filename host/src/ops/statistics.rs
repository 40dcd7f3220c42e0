//! Sums up the runs of a task in a window of time: how many ended how, how long they took, waited and were apart, and
//! how failures came and went.

use std::time::Duration;

use super::{Ops, Result};
use sexton_domain::run::{Cause, Outcome, RunId, RunState};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;
use sexton_store::StoreError;
use sexton_store::views::{RunTimes, Window};

/// The most runs that are summed up, the newest. Reading these takes some ten milliseconds, on a busy machine forty.
const MOST_RUNS: usize = 10_000;

/// The most tasks that are summed up at the same time. Each takes a reader of the store and a processor for some ten
/// milliseconds, and a few megabytes.
pub(super) const AT_ONCE: usize = 2;

/// The most changes that are kept, the latest.
const MOST_CHANGES: usize = 100;

/// The sums over the runs of a task that were made in a window of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The begin of the window: as requested, or when the oldest of the runs was made if there were too many.
    pub since: Timestamp,
    /// Whether only the newest runs are in it.
    pub cut: bool,
    /// The number of runs.
    pub runs: u64,
    /// The number of runs in each state, in the order of [`RunState::ALL`]. Skipped runs are not among them.
    pub states: [u64; 5],
    /// The number of runs that were skipped, because earlier ones had not finished or their lock was held.
    pub skipped: u64,
    /// The most runs that were running at the same time.
    pub most_at_once: u32,
    /// The number of starts after which as many runs were running as may.
    pub at_limit: u64,
    /// The times that the last attempts of runs took. A run that was skipped took none, nor did one that was cancelled
    /// while it waited.
    pub took: Option<Spread>,
    /// The times from the instants at which runs were due to their starts. Runs of backfills and repeated ones are left
    /// out, because they were made after their instants.
    pub waited: Option<Spread>,
    /// The times between two starts.
    pub apart: Option<Spread>,
    /// The changes by which failures came and went, oldest first.
    pub changes: Vec<Change>,
    /// Whether there were more changes, and only the latest are kept.
    pub changes_cut: bool,
    /// Since when the latest runs have failed; `None` if the latest that ended has not.
    pub failing_since: Option<Timestamp>,
}

/// The distribution of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Their number.
    pub count: u64,
    /// Their mean.
    pub mean: Duration,
    /// The shortest of those of which 95 % are no longer.
    pub p95: Duration,
    /// The longest.
    pub longest: Duration,
}

/// A change in how a task's runs end. Runs that fail alike, one after another, are one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The run that showed it, and its end.
    pub run: RunId,
    /// The end of that run.
    pub at: Timestamp,
    /// The number of runs that failed alike; of a recovery the number of runs that had failed before it.
    pub failures: u64,
    /// The last of the runs that failed alike, and its end.
    pub last: (RunId, Timestamp),
    /// The outcome of the first, unless it is a recovery.
    pub outcome: Option<Outcome>,
    /// The message of the first, unless it is a recovery.
    pub message: Option<String>,
}

/// A kind of change in how a task's runs end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A run failed after one that had succeeded, or as the first.
    First,
    /// A run failed in another way than the one before it.
    New,
    /// A run succeeded after others had failed.
    Healed,
}

impl Ops {
    /// Returns the sums over the runs of `task`, of which `limit` may run at once, that were made at `since` or later.
    /// Only two tasks are summed up at the same time, apart from the thread that serves requests; further
    /// requests wait.
    ///
    /// # Errors
    ///
    /// The store's errors.
    pub async fn statistics(&self, task: &TaskKey, since: Timestamp, limit: u32) -> Result<Statistics> {
        let _place = self.summing.acquire().await.expect("the semaphore is never closed");
        let window = self.store.window(task.clone(), since, MOST_RUNS).await?;
        let now = self.clock.now();
        let summing = tokio::task::spawn_blocking(move || Statistics::of(&window, since, now, limit));
        summing.await.map_err(|error| StoreError::Other(format!("the sums over runs failed: {error}")).into())
    }
}

impl Statistics {
    /// Sums up the runs of `window`, which begins at `since`, of a task of which `limit` may run at once.
    fn of(window: &Window, since: Timestamp, now: Timestamp, limit: u32) -> Self {
        let runs = &window.runs;
        let (most_at_once, at_limit) = at_once(runs, now, limit);
        let oldest = runs.last().filter(|_| window.cut).map(|run| run.created_at);
        let mut all = Self {
            since: oldest.unwrap_or(since),
            cut: window.cut,
            runs: runs.len() as u64,
            most_at_once,
            at_limit,
            took: Spread::of(runs.iter().filter_map(took).collect()),
            waited: Spread::of(runs.iter().filter_map(waited).collect()),
            apart: Spread::of(apart(runs)),
            ..Self::default()
        };
        for run in runs {
            match run.skipped {
                true => all.skipped += 1,
                false => all.states[place(run.state)] += 1,
            }
        }
        all.follow(runs);
        all
    }

    /// Finds the changes, in the order in which the runs ended. A run that was cancelled or skipped says nothing about its task.
    fn follow(&mut self, runs: &[RunTimes]) {
        let told = |run: &&RunTimes| !run.skipped && matches!(run.state, RunState::Succeeded | RunState::Failed);
        let mut ends: Vec<(Timestamp, &RunTimes)> =
            runs.iter().filter(told).filter_map(|run| Some((run.ended_at?, run))).collect();
        ends.sort_unstable_by_key(|(at, run)| (*at, run.run));
        let (mut failing, mut failures, mut changes) = (None, 0, Vec::<Change>::new());
        for (at, run) in ends {
            let failed = run.state == RunState::Failed;
            let same = failing.is_some_and(|before| is_alike(before, run));
            match changes.last_mut() {
                Some(change) if failed && same => {
                    change.failures += 1;
                    change.last = (run.run, at);
                }
                _ if !failed && failing.is_none() => {}
                _ => changes.push(Change {
                    kind: match (failed, failing) {
                        (false, _) => ChangeKind::Healed,
                        (true, None) => ChangeKind::First,
                        (true, Some(_)) => ChangeKind::New,
                    },
                    run: run.run,
                    at,
                    failures: if failed { 1 } else { failures },
                    last: (run.run, at),
                    outcome: run.outcome.filter(|_| failed),
                    message: run.message.clone().filter(|_| failed),
                }),
            }
            failures = if failed { failures + 1 } else { 0 };
            self.failing_since = if failed { self.failing_since.or(Some(at)) } else { None };
            failing = Some(run).filter(|_| failed);
        }
        self.changes_cut = changes.len() > MOST_CHANGES;
        self.changes = changes.split_off(changes.len().saturating_sub(MOST_CHANGES));
    }
}

fn place(state: RunState) -> usize {
    RunState::ALL.iter().position(|known| *known == state).unwrap_or_default()
}

/// Returns whether two runs failed in the same way: with the same outcome, and messages that differ in numbers at most,
/// such as a time or a count.
fn is_alike(one: &RunTimes, other: &RunTimes) -> bool {
    let words = |run: &RunTimes| {
        let text = run.message.as_deref().unwrap_or_default();
        text.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("0")
    };
    one.outcome == other.outcome && words(one) == words(other)
}

/// Returns when the latest attempt at a run began, if it went on until the run ended or still does. A run that was
/// skipped was claimed and not carried out; one that was cancelled while it waited for a further attempt had ended its
/// last one before.
fn attempt_at(run: &RunTimes) -> Option<Timestamp> {
    let goes_on = match run.state {
        RunState::Waiting => false,
        RunState::Cancelled => run.outcome == Some(Outcome::Killed),
        RunState::Running | RunState::Succeeded | RunState::Failed => true,
    };
    run.claimed_at.filter(|_| goes_on && !run.skipped)
}

fn took(run: &RunTimes) -> Option<Duration> {
    Some(run.ended_at?.since(attempt_at(run)?))
}

/// Returns when a run started. One that was skipped did not, although it may have been claimed to find that out.
fn start(run: &RunTimes) -> Option<Timestamp> {
    run.started_at.filter(|_| !run.skipped)
}

fn waited(run: &RunTimes) -> Option<Duration> {
    let due_at = match run.cause {
        // Tasks may ask for runs that are "due since 1970".
        Cause::Task => run.due_at.max(run.created_at),
        _ => run.due_at,
    };
    Some(start(run).filter(|_| !run.belated)?.since(due_at))
}

fn apart(runs: &[RunTimes]) -> Vec<Duration> {
    let mut starts: Vec<Timestamp> = runs.iter().filter_map(start).collect();
    starts.sort_unstable();
    starts.windows(2).map(|two| two[1].since(two[0])).collect()
}

/// Returns the most runs that were running at one instant, and the number of starts after which `limit` or more were.
/// Of a run that was tried again only the last attempt is known.
fn at_once(runs: &[RunTimes], now: Timestamp, limit: u32) -> (u32, u64) {
    let mut steps = Vec::with_capacity(runs.len() * 2);
    for run in runs {
        let Some(claimed_at) = attempt_at(run) else { continue };
        let end = run.ended_at.unwrap_or(now).max(claimed_at);
        // An end comes before the start that it made room for. A run that ended within its first millisecond counts.
        steps.extend([(claimed_at, true), (end.max(claimed_at.plus(Duration::from_millis(1))), false)]);
    }
    steps.sort_unstable();
    let (mut going, mut most, mut at_limit) = (0_u32, 0, 0);
    for (_, starts) in steps {
        going = if starts { going + 1 } else { going.saturating_sub(1) };
        most = most.max(going);
        at_limit += u64::from(starts && going >= limit);
    }
    (most, at_limit)
}

impl Spread {
    fn of(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort_unstable();
        let (longest, count) = (*durations.last()?, durations.len());
        let mean = durations.iter().map(Duration::as_nanos).sum::<u128>() / count as u128;
        Some(Self {
            count: count as u64,
            mean: Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)),
            p95: durations[(count * 95).div_ceil(100) - 1],
            longest,
        })
    }
}

#[cfg(test)]
mod tests;

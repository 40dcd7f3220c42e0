//! Makes runs for instants of a task's schedule in a range of the past.

use std::time::Duration;

use tracing::info;

use super::{OpError, Ops, Principal, Result};
use sexton_domain::schedule::{Plan, Trigger};
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::backfills::DueRuns;
use sexton_store::{EnqueueOutcome, NewRun};

/// The most instants of one backfill. More of them are several requests, so that no request takes long, and a mistyped
/// year does not fill the store.
pub const MOST_INSTANTS: usize = 10_000;

/// The most bytes of the inputs of all runs of one backfill, each of which has the task's input.
const MOST_BYTES: usize = 256 << 20;

/// The runs that are made in one write. More would hold up other writes.
const PIECE: usize = 500;

/// The instants of a backfill, and how its runs go.
#[derive(Clone, Copy, Debug)]
pub struct BackfillRange {
    /// The first instant of the range.
    pub from: Timestamp,
    /// The end of the range, which does not belong to it.
    pub to: Timestamp,
    /// The most of its runs that are going at once.
    pub at_once: u32,
    /// Whether runs are also made for instants whose run, if they had one, is kept no longer.
    pub also_forgotten: bool,
    /// Whether nothing is made, and only the answer is wanted.
    pub dry_run: bool,
}

/// The runs that a backfill makes, or would make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// The number of instants of the schedule in the range.
    pub instants: usize,
    /// The number of those that have a run already, and get no other.
    pub existing: usize,
    /// The number of those that have no run, but may have had one that was deleted. They get one only if they are
    /// included.
    pub forgotten: usize,
    /// The instant up to which runs of the schedule were deleted, if any was.
    pub forgotten_until: Option<Timestamp>,
    /// The number of runs that were made, or would be.
    pub runs: usize,
    /// The first and the last instant for which a run was made, or would be.
    pub span: Option<(Timestamp, Timestamp)>,
}

impl Ops {
    /// Makes a run for each instant of the schedule of `task` in a range of the past that has none. A range that is
    /// requested again gets no second runs.
    ///
    /// Instants up to the latest one whose run retention has deleted may have had a run. They get one only with
    /// [`BackfillRange::also_forgotten`], because it would repeat work that was done.
    ///
    /// The runs go one after the other, or several at once as requested, within the limit of the task. They start when
    /// it is their turn ([`Backfills::take_turns`](sexton_store::backfills::Backfills::take_turns)).
    ///
    /// # Errors
    ///
    /// [`OpError::NoTask`]; [`OpError::NotByClock`] if no clock says when the task is due; [`OpError::BadRange`]; the
    /// store's errors.
    pub async fn backfill(&self, by: &Principal, task: &TaskKey, range: BackfillRange) -> Result<Backfill> {
        let task = self.catalog.get(task).ok_or_else(|| OpError::NoTask(task.clone()))?;
        let now = self.clock.now();
        check(&task, &range, now)?;
        let instants = instants(&task.plan(), &range).await?;
        let DueRuns { found, forgotten_until } = self.store.due_runs(task.key.clone(), instants.clone()).await?;
        let (forgotten, mut new): (Vec<Timestamp>, Vec<Timestamp>) =
            instants.iter().filter(|at| !found.contains(at)).partition(|at| Some(**at) <= forgotten_until);
        if range.also_forgotten {
            new.splice(..0, forgotten.iter().copied());
        }
        let mut backfill = Backfill {
            instants: instants.len(),
            existing: found.len(),
            forgotten: forgotten.len(),
            forgotten_until,
            runs: new.len(),
            span: span(&new),
        };
        let most = self.retention.borrow().runs;
        if new.len() as u64 > most {
            let message = format!(
                "{} runs are more than the latest {most} that are kept of a task (`[retention] runs`), so the first would \
                 be deleted with their results; fill in a part of the range",
                new.len()
            );
            return Err(OpError::BadRange(message));
        }
        if task.input.len().saturating_mul(new.len()) > MOST_BYTES {
            let message = "the inputs of these runs together are more than 256 MiB; fill in a part of the range";
            return Err(OpError::BadRange(message.to_owned()));
        }
        if range.dry_run || new.is_empty() {
            return Ok(backfill);
        }
        for piece in new.chunks(PIECE) {
            let runs = piece.iter().map(|at| NewRun::backfilled(&task, *at, range.at_once)).collect();
            let made = self.store.enqueue(runs, now).await?;
            // The schedule, or another request, may have made a run while this one was decided.
            let existing = made.iter().filter(|made| matches!(made, EnqueueOutcome::Existing(_))).count();
            backfill.existing += existing;
            backfill.runs -= existing;
        }
        self.store.take_turns(now).await?;
        let (key, runs) = (&task.key, backfill.runs);
        info!(task.name = %key, principal = %by, runs, from = %range.from, to = %range.to, "Made {runs} runs of `{key}` to fill in instants of its schedule");
        Ok(backfill)
    }

    /// Cancels the runs of the backfills of `task` that wait for their turn. Returns their number. Runs that have had
    /// their turn go on.
    ///
    /// # Errors
    ///
    /// The store's errors.
    pub async fn cancel_backfill(&self, by: &Principal, task: &TaskKey) -> Result<u64> {
        let mut cancelled = 0;
        loop {
            match self.store.cancel_backfill(task.clone(), "its backfill was cancelled", self.clock.now()).await? {
                0 => break,
                some => cancelled += some,
            }
        }
        if cancelled > 0 {
            info!(task.name = %task, principal = %by, runs = cancelled, "Cancelled {cancelled} runs of backfills of `{task}`");
        }
        Ok(cancelled)
    }
}

fn check(task: &Task, range: &BackfillRange, now: Timestamp) -> Result<()> {
    let why = match &task.trigger {
        Trigger::Cron(_) | Trigger::Every(_) | Trigger::At(_) => None,
        Trigger::OnDemand => Some("on demand"),
        Trigger::OnStart => Some("when a host starts"),
        Trigger::After(_) => Some("after its earlier run"),
        Trigger::Pace(_) => Some("as its earlier runs go"),
    };
    if let Some(why) = why {
        return Err(OpError::NotByClock(task.key.clone(), why));
    }
    if range.from >= range.to {
        return Err(OpError::BadRange(format!("`from` is before `to`: {} is not before {}", range.from, range.to)));
    }
    if range.to > now {
        let message =
            format!("`to` has passed: {} is ahead, and the schedule itself makes the runs until then", range.to);
        return Err(OpError::BadRange(message));
    }
    let most = task.overlap.max_running();
    if range.at_once == 0 || range.at_once > most {
        let runs = if most == 1 { "1 run".to_owned() } else { format!("{most} runs") };
        let message =
            format!("`at_once` is 1 or more, and no more than the {runs} of `{}` that may go at once", task.key.task);
        return Err(OpError::BadRange(message));
    }
    Ok(())
}

/// Returns the instants of a schedule in the range.
async fn instants(plan: &Plan<'_>, range: &BackfillRange) -> Result<Vec<Timestamp>> {
    let mut instants = Vec::new();
    let mut after = range.from.minus(Duration::from_millis(1));
    while let Some(at) = plan.next_after(after).filter(|at| *at < range.to) {
        if instants.len() == MOST_INSTANTS {
            let message =
                format!("more than {MOST_INSTANTS} instants are in the range; fill in a part of it, up to {at}");
            return Err(OpError::BadRange(message));
        }
        if instants.len() % PIECE == PIECE - 1 {
            // Other requests get a turn on the thread.
            tokio::task::yield_now().await;
        }
        instants.push(at);
        after = at;
    }
    Ok(instants)
}

fn span(instants: &[Timestamp]) -> Option<(Timestamp, Timestamp)> {
    instants.first().copied().zip(instants.last().copied())
}

//! Looks at one task: decides which runs its schedule calls for, and asks the store to make them.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::Scheduler;
use super::timetable::Progress;
use sexton_domain::lengths;
use sexton_domain::schedule::{Due, Look, SET_BACK};
use sexton_domain::task::Task;
use sexton_domain::time::Timestamp;
use sexton_store::{EnqueueOutcome, Fire, FireOutcome, NewRun};

/// An instant that is dealt with this soon after it was due was not missed.
pub const PUNCTUAL: Duration = Duration::from_secs(2);

/// The interval of looks at a task that waits because the clock was set back.
const LOOK_AGAIN_AHEAD: Duration = Duration::from_secs(2);

/// Returns whether a task makes no runs because the clock was set back, as far as this host knows.
pub(super) fn waits_for_clock(before: &Progress, now: Timestamp) -> bool {
    before.cursor.is_some_and(|cursor| cursor.since(now) > SET_BACK)
}

impl Scheduler {
    /// Fires one task. Returns its progress, and when to look at it again.
    pub(super) async fn fire(
        &self,
        task: &Arc<Task>,
        before: &Progress,
        now: Timestamp,
    ) -> sexton_store::Result<(Progress, Option<Timestamp>)> {
        let plan = task.plan();
        let due = plan.due(Look { cursor: before.cursor, now, grace: PUNCTUAL }, before.fired);
        let mut progress = Progress { cursor: Some(due.cursor), ..before.clone() };
        // The first sight of a task is stored too, so that instants that are missed from now on are known.
        if due.fire.is_empty() && due.left_out == 0 && before.cursor.is_some() {
            if due.behind > SET_BACK {
                if !before.told {
                    let (key, behind) = (&task.key, lengths::about(Duration::from_secs(due.behind.as_secs())));
                    warn!(task.name = %key, "`{key}` waits, because the clock was set back by {behind} and instants until then were handled already; `sexton resume {}` lets it continue from now", key.task);
                }
                progress.told = true;
                // The look is earlier than the next instant, because an operator may let the task continue.
                let soon = now.plus(LOOK_AGAIN_AHEAD);
                return Ok((progress, due.next.map(|next| next.min(soon))));
            }
            progress.told = false;
            return Ok((progress, due.next));
        }
        let fire = Fire {
            task: task.key.clone(),
            runs: self.runs(task, &due, now),
            cursor: due.cursor,
            // The number of runs left depends on the number made so far.
            expect: plan.left(before.fired).map(|_| before.fired),
            memory: None,
            now,
        };
        let fired = self.store.fire(fire).await?;
        if fired == FireOutcome::Stale {
            // Another host was first. The store has the current progress.
            let state = self.store.task_state(task.key.clone()).await?.unwrap_or_default();
            return Ok((Progress::of(&state), Some(now)));
        }
        progress.fired += self.all_made(task, &fired);
        if due.left_out > 0 && fired != FireOutcome::Paused {
            self.left_out(task, &due).await?;
        }
        if let Some(done) = plan.done(progress.fired, now).filter(|_| !fired.made().is_empty()) {
            info!(task.name = %task.key, "`{}` {done}", task.key);
        }
        Ok((progress, due.next))
    }

    /// Logs which instants were missed and are not made up for, and stores it for people who look at the task.
    async fn left_out(&self, task: &Task, due: &Due) -> sexton_store::Result<()> {
        let least = if due.uncounted { "at least " } else { "" };
        let since = due.missed_since.map(|at| format!(" since {at}")).unwrap_or_default();
        let (left_out, run) = (due.left_out, due.made_up);
        let made_up = if run > 0 { format!(", {run} run") } else { String::new() };
        let what = format!("{least}{} missed{since}{made_up}, {left_out} left out", left_out + run as u64);
        info!(task.name = %task.key, left_out, "`{}`: {what}", task.key);
        self.store.record_missed(task.key.clone(), &what).await
    }

    /// Ends attempts here that must make way for runs that were made, and logs the runs. Returns the number of new runs.
    pub(super) fn all_made(&self, task: &Task, fired: &FireOutcome) -> u64 {
        let made = fired.made();
        made.iter().for_each(|made| self.made(task, made));
        made.iter().map(|made| u64::from(!matches!(made, EnqueueOutcome::Existing(_)))).sum()
    }

    /// Ends attempts here that must make way for a run that was made, and logs the run.
    pub(super) fn made(&self, task: &Task, made: &EnqueueOutcome) {
        let key = &task.key;
        match made {
            EnqueueOutcome::New(run) => debug!(run.id = %run, task.name = %key, "Fired `{key}`"),
            EnqueueOutcome::Existing(run) => debug!(run.id = %run, task.name = %key, "`{key}` was fired"),
            EnqueueOutcome::Skipped(run) => {
                info!(run.id = %run, task.name = %key, "Skipped `{key}`: earlier runs are not over");
            }
            EnqueueOutcome::Replacing { run, ended } => {
                self.live.end_replaced(ended, *run);
                info!(run.id = %run, task.name = %key, ended = ?ended, "Run {run} of `{key}` replaces {} earlier run(s)", ended.len());
            }
        }
    }

    /// Returns the runs that are called for.
    fn runs(&self, task: &Task, due: &Due, now: Timestamp) -> Vec<NewRun> {
        let missed = due.left_out + due.made_up as u64;
        let least = if due.uncounted { "at least " } else { "" };
        let run = |(place, due_at): (usize, &Timestamp)| {
            if place >= due.made_up {
                return NewRun::scheduled(task, *due_at);
            }
            NewRun::catch_up(task, *due_at, format!("{least}{missed} missed, {} run", due.made_up), now)
        };
        due.fire.iter().enumerate().map(run).collect()
    }
}

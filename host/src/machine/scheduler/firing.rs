//! One look at one task: which runs its schedule calls for, and what the store is asked to make of them.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::Scheduler;
use super::timetable::Progress;
use crate::run::Cause;
use crate::schedule::{Due, Look};
use crate::store::{Admit, Enqueued, Fire, NewRun};
use crate::task::{Overlap, Task};
use crate::time::Timestamp;

/// An instant that is dealt with within this of being due was not missed.
const PUNCTUAL: Duration = Duration::from_secs(2);

/// A clock that was set back by more than this is worth a warning.
const CLOCK_SET_BACK: Duration = Duration::from_secs(5);

impl Scheduler {
    /// Fire one task. Returns how far it has come, and when to look at it again.
    pub(super) async fn fire(
        &self,
        task: &Arc<Task>,
        before: &Progress,
        now: Timestamp,
    ) -> crate::store::Result<(Progress, Option<Timestamp>)> {
        let due = task.trigger.due(task.zone, Look { cursor: before.cursor, now, grace: PUNCTUAL }, task.catch_up);
        let Due { fire, left_out, uncounted, cursor: reached, next, behind } = due;
        let mut progress = Progress { cursor: Some(reached), ..before.clone() };
        // The first sight of a task is written down too: what is missed from now on can be told.
        if fire.is_empty() && left_out == 0 && before.cursor.is_some() {
            if behind > CLOCK_SET_BACK {
                warn!(task.name = %task.key, "The clock is {behind:?} behind what `{}` has done; it waits until then", task.key);
            }
            return Ok((progress, next));
        }
        if left_out > 0 {
            let least = if uncounted { "at least " } else { "" };
            info!(task.name = %task.key, left_out, "`{}` missed {least}{left_out} instant(s) that are left out; {} run now", task.key, fire.len());
        }
        let runs: Vec<NewRun> = fire
            .iter()
            .map(|due_at| self.new_run(task, *due_at, Cause::Schedule, Some(format!("at:{}", due_at.as_millis()))))
            .collect();
        let fire = Fire { task: task.key.clone(), runs, cursor: reached, expect: None, memory: None, now };
        let fired = self.store.fire(fire).await?;
        for made in fired.made() {
            self.made(task, made);
            progress.fired += u64::from(!matches!(made, Enqueued::Existing(_)));
        }
        Ok((progress, next))
    }

    /// What a run that was made asks of this host, and of who reads its log.
    pub(super) fn made(&self, task: &Task, made: &Enqueued) {
        let key = &task.key;
        match made {
            Enqueued::New(run) => debug!(run.id = %run, task.name = %key, "Fired `{key}`"),
            Enqueued::Existing(run) => debug!(run.id = %run, task.name = %key, "`{key}` was fired"),
            Enqueued::Skipped(run) => {
                info!(run.id = %run, task.name = %key, "Skipped `{key}`: earlier runs are not over");
            }
            Enqueued::Replacing { run, ended } => {
                self.live.make_way(ended, *run);
                info!(run.id = %run, task.name = %key, ended = ?ended, "Run {run} of `{key}` takes the place of {} before it", ended.len());
            }
        }
    }

    pub(super) fn new_run(&self, task: &Task, due_at: Timestamp, cause: Cause, dedup: Option<String>) -> NewRun {
        let admit = match task.overlap {
            Overlap::Skip => Admit::Below(1),
            Overlap::QueueOne => Admit::Below(2),
            Overlap::QueueAll => Admit::Always,
            Overlap::Replace => Admit::Replacing,
            Overlap::Allow(n) => Admit::Below(n),
        };
        NewRun { input: task.input.clone(), dedup, admit, ..NewRun::of(task.key.clone(), due_at, cause) }
    }
}

//! What follows when a host goes on that was paused by a signal.

use std::sync::Arc;

use futures_util::future::join_all;
use tracing::warn;

use super::Scheduler;
use super::timetable::{Progress, Timetable};
use crate::machine::host_pause::Over;
use crate::run::Cause;
use crate::schedule::Trigger;
use crate::store::{Enqueued, Fire, NewRun, Result};
use crate::task::Task;
use crate::time::Timestamp;

impl Scheduler {
    /// Leave out what was due during the pause, and start one run of each task that has a schedule, as at its end. Tasks that
    /// are paused otherwise, too, stay so. Returns whether the store took all of it; doing it again makes no second run.
    pub(super) async fn go_on(&self, timetable: &mut Timetable, pause: Over) -> bool {
        let due: Vec<_> =
            timetable.all().filter_map(|(task, before)| due(&task, pause).map(|due| (task, before, due))).collect();
        let begun = due.iter().map(|(task, before, due)| self.go_on_with(task, before, *due, pause));
        let begun = join_all(begun).await;
        let mut whole = true;
        for ((task, ..), begun) in due.into_iter().zip(begun) {
            match begun {
                Ok(progress) => timetable.put(task, progress, Some(pause.to)),
                Err(error) => {
                    warn!(task.name = %task.key, error = %error, "Cannot start `{}` after the pause, trying again", task.key);
                    whole = false;
                }
            }
        }
        whole
    }

    async fn go_on_with(
        &self,
        task: &Arc<Task>,
        before: &Progress,
        due: Option<Timestamp>,
        pause: Over,
    ) -> Result<Progress> {
        let run = |due_at| NewRun {
            note: Some(format!("its host was paused by a signal since {}", pause.from)),
            ..self.new_run(task, due_at, Cause::Schedule, Some(format!("at:{}", due_at.as_millis())))
        };
        let (runs, cursor) = (due.map(run).into_iter().collect(), pause.to.max(before.cursor.unwrap_or(pause.to)));
        let fire = Fire { task: task.key.clone(), runs, cursor, expect: None, memory: None, now: self.clock.now() };
        let fired = self.store.fire(fire).await?;
        let mut progress = Progress { cursor: Some(cursor), ..before.clone() };
        for made in fired.made() {
            self.made(task, made);
            progress.fired += u64::from(!matches!(made, Enqueued::Existing(_)));
        }
        Ok(progress)
    }
}

/// The run that a task gets when its host goes on: `None` if the clock does not move the task, `Some(None)` if it gets none,
/// as it is not within its time. One that is due but once gets it only if that was during the pause.
fn due(task: &Task, pause: Over) -> Option<Option<Timestamp>> {
    match &task.trigger {
        Trigger::OnDemand | Trigger::OnStart => None,
        Trigger::At(at) if *at > pause.to => None,
        Trigger::At(at) => Some((*at >= pause.from).then_some(*at)),
        _ => {
            let (start, end) = (task.timing.start, task.timing.end);
            let within = start.is_none_or(|start| start <= pause.to) && end.is_none_or(|end| pause.to <= end);
            Some(within.then_some(pause.to))
        }
    }
}

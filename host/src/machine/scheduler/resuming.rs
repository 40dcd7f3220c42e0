//! Resumes schedules when a host's pause by signal ends.

use std::sync::Arc;

use futures_util::future::join_all;
use tracing::warn;

use super::Scheduler;
use super::timetable::{Progress, Timetable};
use crate::machine::host_pause::EndedPause;
use sexton_domain::schedule::Trigger;
use sexton_domain::task::Task;
use sexton_domain::time::Timestamp;
use sexton_store::{Fire, NewRun, Result};

impl Scheduler {
    /// Leaves out instants that were due during the pause, and starts one run of each task that has a schedule, as at
    /// the end of the pause. Tasks with another pause stay paused. Returns whether the store took everything; a
    /// repetition makes no second run.
    pub(super) async fn resume_after_pause(&self, timetable: &mut Timetable, pause: EndedPause) -> bool {
        let due: Vec<_> = timetable
            .all()
            .filter_map(|(task, before)| due(&task, &before, pause).map(|due| (task, before, due)))
            .collect();
        let begun = due.iter().map(|(task, before, due)| self.resume_tasks(task, before, *due, pause));
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

    async fn resume_tasks(
        &self,
        task: &Arc<Task>,
        before: &Progress,
        due: Option<Timestamp>,
        pause: EndedPause,
    ) -> Result<Progress> {
        let run = |due_at| NewRun {
            note: Some(format!("its host was paused by a signal since {}", pause.from)),
            ..NewRun::scheduled(task, due_at)
        };
        let (runs, cursor) = (due.map(run).into_iter().collect(), pause.to.max(before.cursor.unwrap_or(pause.to)));
        let fire = Fire {
            task: task.key.clone(),
            runs,
            cursor,
            expect: task.plan().left(before.fired).map(|_| before.fired),
            memory: None,
            now: self.clock.now(),
        };
        let fired = self.store.fire(fire).await?;
        let mut progress = Progress { cursor: Some(cursor), ..before.clone() };
        progress.fired += self.all_made(task, &fired);
        Ok(progress)
    }
}

/// Returns the run that a task gets when its host's pause ends. `None` means that the clock does not move the task;
/// `Some(None)` that it gets no run, because it is outside its bounds or has had all its runs. A task that is due only
/// once gets the run only if that instant was during the pause.
fn due(task: &Task, before: &Progress, pause: EndedPause) -> Option<Option<Timestamp>> {
    match &task.trigger {
        // Schedules that depend on earlier runs continue by themselves.
        Trigger::OnDemand | Trigger::OnStart | Trigger::After(_) | Trigger::Pace(_) => None,
        Trigger::At(at) if *at > pause.to => None,
        Trigger::At(at) => Some((*at >= pause.from).then_some(*at)),
        _ => {
            let (start, end) = (task.timing.start, task.timing.end);
            let within = start.is_none_or(|start| start <= pause.to)
                && end.is_none_or(|end| pause.to <= end)
                && task.plan().left(before.fired) != Some(0);
            Some(within.then_some(pause.to))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plugins::manifest::Manifest;
    use sexton_domain::schedule::Timing;
    use sexton_domain::task::Name;

    const FROM: Timestamp = Timestamp::from_millis(1_000_000);

    fn after(seconds: u64) -> Timestamp {
        FROM.plus(Duration::from_secs(seconds))
    }

    /// Returns the run for a task with this trigger and timing, after two runs and a pause of ten seconds.
    fn next_run(trigger: Trigger, timing: Timing) -> Option<Option<Timestamp>> {
        let (tenant, plugin) = (Name::default_tenant(), Name::new("a").unwrap());
        let manifest = Manifest::parse("a.toml", "[tasks.a]").unwrap();
        let mut task = manifest.tasks(&tenant, &plugin, std::path::Path::new("/")).remove(0);
        (task.trigger, task.timing) = (trigger, timing);
        let before = Progress { fired: 2, ..Progress::default() };
        due(&task, &before, EndedPause { from: FROM, to: after(10) })
    }

    #[test]
    fn each_task_that_has_a_schedule_gets_one_run_at_the_end_of_the_pause() {
        let every = || Trigger::Every(Duration::from_secs(86_400));
        let timing = Timing::default();

        assert_eq!(next_run(every(), timing), Some(Some(after(10))));
        assert_eq!([next_run(Trigger::OnDemand, timing), next_run(Trigger::OnStart, timing)], [None, None]);
        assert_eq!(next_run(every(), Timing { start: Some(after(11)), ..timing }), Some(None));
        assert_eq!(next_run(every(), Timing { end: Some(after(9)), ..timing }), Some(None));
        assert_eq!(next_run(every(), Timing { times: Some(2), ..timing }), Some(None));
        assert_eq!(next_run(every(), Timing { times: Some(3), ..timing }), Some(Some(after(10))));
    }

    #[test]
    fn a_task_that_is_due_once_gets_its_run_if_that_was_during_the_pause() {
        let timing = Timing::default();
        let before = Timestamp::from_millis(FROM.as_millis() - 1);

        assert_eq!(next_run(Trigger::At(before), timing), Some(None), "it had it before");
        assert_eq!(next_run(Trigger::At(after(4)), timing), Some(Some(after(4))));
        assert_eq!(next_run(Trigger::At(after(11)), timing), None, "it is to come");
    }
}

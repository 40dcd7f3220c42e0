//! Makes a run for every instant that a task's schedule calls for.
//!
//! Several hosts may do this at once without coordination: the instant is part of the run's key, and the second host
//! finds the run already made.

mod added;
mod backfilling;
mod firing;
mod reacting;
mod resuming;
mod timetable;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tracing::{debug, warn};

use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
pub use added::AddedSchedules;
use backfilling::Backfilling;
pub use firing::PUNCTUAL;
pub use reacting::Reacting;
use sexton_domain::schedule::Trigger;
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::catalog::{Catalog, Changed};
use sexton_store::{NewRun, ScheduleStart, Store, TaskState};
use sexton_system::supervisor::{rests, works};
use timetable::Progress;
pub use timetable::{Started, Timetable};

/// The longest sleep, after which a clock that was set, or a machine that slept, is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The wait after the store refused a run.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// The most tasks that fire at once; the store commits them together.
const BATCH: usize = 1000;

/// The parts that the scheduler needs.
#[derive(Debug)]
pub struct Scheduler {
    /// Stores the runs.
    pub store: Arc<dyn Store>,
    /// The tasks.
    pub catalog: Arc<Catalog>,
    /// The attempts under way on this host, some of which must make way for due runs.
    pub live: Arc<LiveRuns>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// No run is made here while this pause lasts.
    pub pause: Arc<HostPause>,
    /// The tasks that were due at this host's start.
    pub started: Started,
}

impl Scheduler {
    /// Fires tasks as they come due, until `stopping` is set.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut catalog = self.catalog.changes();
        let mut ends = self.store.changes();
        let mut timetable = Timetable::of(Arc::clone(&self.started));
        let (mut reacting, mut backfilling) = (Reacting::default(), Backfilling::default());
        let mut known = false;
        let mut pauses = self.pause.changes();
        let mut over = pauses.borrow().over;
        while !*stopping.borrow() {
            works();
            let stand = *pauses.borrow_and_update();
            if stand.since.is_some() {
                rests(None);
                tokio::select! {
                    _ = pauses.changed() => {}
                    told = stopping.changed() => if told.is_err() { return },
                }
                continue;
            }
            if !known || catalog.has_changed().unwrap_or(false) {
                catalog.mark_unchanged();
                known = self.learn(&mut timetable).await;
                reacting.learn(&self.catalog);
            }
            if let Some(pause) = stand.over.filter(|_| known && stand.over != over) {
                known = self.resume_after_pause(&mut timetable, pause).await;
                over = if known { stand.over } else { over };
            }
            let sleep = match known {
                true => self.fire_due(&mut timetable).await.min(self.react(&mut reacting).await),
                false => AFTER_ERROR,
            };
            let sleep = sleep.min(backfilling.take_turns(&*self.store, self.clock.now()).await);
            rests(Some(sleep));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                _ = catalog.changed() => known = false,
                Ok(()) = ends.changed(), if reacting.depends_on_runs() || backfilling.depends_on_runs() => {
                    reacting.hint();
                    backfilling.hint();
                }
                _ = pauses.changed() => {}
                told = stopping.changed() => if told.is_err() { return },
            }
        }
    }

    /// Looks once: learns the tasks, and fires all that are due. Returns when to look again at the latest; `None` if no
    /// task will be due by the clock. The simulation calls this; a host uses [`Scheduler::run`].
    pub async fn look(&self, timetable: &mut Timetable, reacting: &mut Reacting) -> Option<Timestamp> {
        if !self.learn(timetable).await {
            return Some(self.clock.now().plus(AFTER_ERROR));
        }
        self.fire_due(timetable).await;
        reacting.learn(&self.catalog);
        reacting.look_at_all();
        self.react(reacting).await;
        timetable.next().into_iter().chain(reacting.next()).min()
    }

    /// Adds tasks that are new or changed, and forgets those that were removed. Returns whether the store allowed it.
    /// The cost depends on the number of tasks that have changed, not on how many there are.
    async fn learn(&self, timetable: &mut Timetable) -> bool {
        let (latest, changed) = self.catalog.changed_since(timetable.seen);
        let mut new: Vec<Arc<Task>> = match changed {
            Changed::All => {
                let tasks = self.catalog.tasks();
                timetable.keep(|key| tasks.contains_key(key));
                tasks.values().cloned().collect()
            }
            Changed::These(keys) => {
                let mut there = Vec::new();
                for key in keys {
                    match self.catalog.get(&key) {
                        Some(task) => there.push(task),
                        None => timetable.forget(&key),
                    }
                }
                there
            }
        };
        new.retain(|task| timetable.entry(&task.key).is_none_or(|entry| !Arc::ptr_eq(&entry.task, task)));
        for piece in new.chunks(BATCH) {
            works();
            if !self.learn_these(timetable, piece).await {
                return false;
            }
        }
        timetable.seen = Some(latest);
        true
    }

    /// Adds these tasks, or puts them in place of their earlier versions. Returns whether the store allowed it.
    async fn learn_these(&self, timetable: &mut Timetable, new: &[Arc<Task>]) -> bool {
        let states = match self.store.task_states_of(new.iter().map(|task| task.key.clone()).collect()).await {
            Ok(states) => states,
            Err(error) => {
                warn!(error = %error, "Cannot read the progress of schedules, trying again");
                return false;
            }
        };
        let now = self.clock.now();
        if !self.begin(new, &states, now).await {
            return false;
        }
        for task in new {
            let stored = states.get(&task.key);
            let anew = Progress { cursor: stored.and_then(|state| state.cursor).max(Some(now)), ..Progress::default() };
            let progress = match timetable.entry(&task.key) {
                _ if is_another(task, stored) => anew,
                // The change was stored before another step failed.
                Some(entry) if entry.task.plan().identity() != task.plan().identity() => anew,
                // Instants since its last run were not missed, even if the task may now make more runs.
                Some(entry) if entry.task.plan().left(entry.progress.fired) == Some(0) => {
                    Progress { cursor: anew.cursor, ..entry.progress.clone() }
                }
                Some(entry) => entry.progress.clone(),
                None => stored.map(Progress::of).unwrap_or_default(),
            };
            if task.trigger == Trigger::OnStart && !timetable.has_started(&task.key) {
                if !self.start(task, now).await {
                    return false;
                }
                timetable.starts(task.key.clone());
            }
            let by_clock = task.trigger.is_by_clock();
            timetable.put(Arc::clone(task), progress, by_clock.then_some(now));
        }
        true
    }

    /// Stores which schedules the tasks have from now on. A schedule that was changed, also while no host was up,
    /// begins anew: instants that it would have had before now were not missed.
    async fn begin(&self, tasks: &[Arc<Task>], states: &BTreeMap<TaskKey, TaskState>, now: Timestamp) -> bool {
        let begun: Vec<ScheduleStart> = tasks
            .iter()
            .map(|task| ScheduleStart { task: task.key.clone(), schedule: task.plan().identity(), now })
            .filter(|begun| {
                let before = states.get(&begun.task).and_then(|state| state.schedule.as_ref());
                // Tasks that never had a schedule need not be stored.
                before != Some(&begun.schedule) && (before.is_some() || begun.schedule != "demand")
            })
            .collect();
        if begun.is_empty() {
            return true;
        }
        match self.store.begin_schedules(begun).await {
            Ok(()) => true,
            Err(error) => {
                warn!(error = %error, "Cannot store the schedules of tasks, trying again");
                false
            }
        }
    }

    async fn start(&self, task: &Task, now: Timestamp) -> bool {
        let run = NewRun::on_start(task, now);
        match self.store.enqueue(vec![run], now).await {
            Ok(made) => {
                made.iter().for_each(|made| self.made(task, made));
                true
            }
            Err(error) => {
                warn!(task.name = %task.key, error = %error, "Cannot start `{}`, trying again", task.key);
                false
            }
        }
    }

    /// Fires all tasks that are due. Returns how long none will be due.
    async fn fire_due(&self, timetable: &mut Timetable) -> Duration {
        loop {
            let now = self.clock.now();
            timetable.see(now);
            let mut due = timetable.take_due(now, BATCH);
            if due.is_empty() {
                break;
            }
            self.read_again(&mut due, now).await;
            let fired = join_all(due.iter().map(|(task, before)| self.fire(task, before, now))).await;
            for ((task, before), fired) in due.into_iter().zip(fired) {
                match fired {
                    Ok((progress, next)) => timetable.put(task, progress, next),
                    Err(error) => {
                        warn!(task.name = %task.key, error = %error, "Cannot fire `{}`, trying again", task.key);
                        timetable.put(task, before, Some(now.plus(AFTER_ERROR)));
                    }
                }
            }
        }
        timetable.next().map_or(LOOK_AGAIN, |at| at.since(self.clock.now()).min(LOOK_AGAIN))
    }
}

impl Scheduler {
    /// Reads again the progress of tasks that wait because the clock was set back, because an operator may have let
    /// them continue.
    async fn read_again(&self, due: &mut [(Arc<Task>, Progress)], now: Timestamp) {
        let waiting = due.iter().filter(|(_, before)| firing::waits_for_clock(before, now));
        let waiting: Vec<TaskKey> = waiting.map(|(task, _)| task.key.clone()).collect();
        if waiting.is_empty() {
            return;
        }
        match self.store.task_states_of(waiting).await {
            Ok(states) => {
                for (task, before) in due.iter_mut().filter(|(_, before)| firing::waits_for_clock(before, now)) {
                    if let Some(cursor) = states.get(&task.key).and_then(|state| state.cursor) {
                        before.cursor = Some(cursor);
                    }
                }
            }
            Err(error) => debug!(error = %error, "Cannot read the progress of schedules, trying again"),
        }
    }
}

/// Returns whether a task's schedule differs from the one that the store knows.
fn is_another(task: &Task, stored: Option<&TaskState>) -> bool {
    stored.and_then(|state| state.schedule.as_ref()).is_some_and(|before| *before != task.plan().identity())
}

#[cfg(test)]
mod tests;

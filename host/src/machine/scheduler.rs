//! Makes a run for every instant that a task's schedule calls for.
//!
//! Several hosts may do this at once without asking one another: an instant is the key of its run, and the second to come
//! finds it made.

mod added;
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

use crate::catalog::Catalog;
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::schedule::Trigger;
use crate::store::{Begun, NewRun, Store, TaskState};
use crate::supervisor::{rests, works};
use crate::task::{Task, TaskKey};
use crate::time::{Clock, Timestamp};
pub use added::AddedSchedules;
pub use firing::PUNCTUAL;
use reacting::Reacting;
use timetable::Progress;
pub use timetable::{Started, Timetable};

/// The longest sleep: a clock that was set, or a machine that slept, is noticed after no more than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long to wait after the store would not take a run.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// Tasks fired in one go; the store commits them together.
const BATCH: usize = 1000;

/// What the scheduler needs.
#[derive(Debug)]
pub struct Scheduler {
    /// Where runs are made.
    pub store: Arc<dyn Store>,
    /// The tasks.
    pub catalog: Arc<Catalog>,
    /// The attempts under way on this host, of which some are to make way for what is due.
    pub live: Arc<LiveRuns>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// While it lasts nothing is made here.
    pub pause: Arc<HostPause>,
    /// The tasks that were due at this host's start.
    pub started: Started,
}

impl Scheduler {
    /// Fire tasks as they come due, until `stopping` is set.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut catalog = self.catalog.changes();
        let mut ends = self.store.changes();
        let mut timetable = Timetable::of(Arc::clone(&self.started));
        let mut reacting = Reacting::default();
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
                known = self.go_on(&mut timetable, pause).await;
                over = if known { stand.over } else { over };
            }
            let sleep = match known {
                true => self.fire_due(&mut timetable).await.min(self.react(&mut reacting).await),
                false => AFTER_ERROR,
            };
            rests(Some(sleep));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                _ = catalog.changed() => known = false,
                Ok(()) = ends.changed(), if reacting.heeds_hints() => reacting.hint(),
                _ = pauses.changed() => {}
                told = stopping.changed() => if told.is_err() { return },
            }
        }
    }

    /// One look, for who turns the clock himself: take up what tasks there are, and fire all that is due. When to look again
    /// at the latest; `None` if nothing will be due by the clock.
    pub async fn look(&self, timetable: &mut Timetable) -> Option<Timestamp> {
        if !self.learn(timetable).await {
            return Some(self.clock.now().plus(AFTER_ERROR));
        }
        self.fire_due(timetable).await;
        timetable.reacting.learn(&self.catalog);
        self.react(&mut timetable.reacting).await;
        timetable.next().into_iter().chain(timetable.reacting.next()).min()
    }

    /// Take up tasks that are new or changed, and forget those that are gone. Returns whether the store let us.
    async fn learn(&self, timetable: &mut Timetable) -> bool {
        let tasks = self.catalog.tasks();
        timetable.keep(|key| tasks.contains_key(key));
        let new: Vec<_> = tasks
            .values()
            .filter(|task| timetable.entry(&task.key).is_none_or(|entry| !Arc::ptr_eq(&entry.task, task)))
            .cloned()
            .collect();
        if new.is_empty() {
            return true;
        }
        let states = match self.store.task_states().await {
            Ok(states) => states,
            Err(error) => {
                warn!(error = %error, "Cannot read what schedules have come to, trying again");
                return false;
            }
        };
        let now = self.clock.now();
        if !self.begin(&new, &states, now).await {
            return false;
        }
        for task in new {
            let stored = states.get(&task.key);
            let anew = Progress { cursor: stored.and_then(|state| state.cursor).max(Some(now)), ..Progress::default() };
            let progress = match timetable.entry(&task.key) {
                _ if is_another(&task, stored) => anew,
                // It was written down before something else failed.
                Some(entry) if entry.task.plan().identity() != task.plan().identity() => anew,
                // What it would have been due for since its last run was not missed, even if there are to be more now.
                Some(entry) if entry.task.plan().left(entry.progress.fired) == Some(0) => {
                    Progress { cursor: anew.cursor, ..entry.progress.clone() }
                }
                Some(entry) => entry.progress.clone(),
                None => stored.map(Progress::of).unwrap_or_default(),
            };
            if task.trigger == Trigger::OnStart && !timetable.has_started(&task.key) {
                if !self.start(&task, now).await {
                    return false;
                }
                timetable.starts(task.key.clone());
            }
            let by_clock = timetable::by_clock(&task);
            timetable.put(task, progress, by_clock.then_some(now));
        }
        true
    }

    /// Write down which schedules the tasks have from now on. What was changed, also while no host was up, begins anew:
    /// instants that it would have had before now are not missed ones.
    async fn begin(&self, tasks: &[Arc<Task>], states: &BTreeMap<TaskKey, TaskState>, now: Timestamp) -> bool {
        let begun: Vec<Begun> = tasks
            .iter()
            .map(|task| Begun { task: task.key.clone(), schedule: task.plan().identity(), now })
            .filter(|begun| {
                let before = states.get(&begun.task).and_then(|state| state.schedule.as_ref());
                // Tasks that never had a schedule need none to be written down.
                before != Some(&begun.schedule) && (before.is_some() || begun.schedule != "demand")
            })
            .collect();
        if begun.is_empty() {
            return true;
        }
        match self.store.begin_schedules(begun).await {
            Ok(()) => true,
            Err(error) => {
                warn!(error = %error, "Cannot write down what is scheduled, trying again");
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

    /// Fire all that is due. Returns how long nothing will be.
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
    /// Reads again how far those have come that wait because the clock was set back: somebody may have had them go on.
    async fn read_again(&self, due: &mut [(Arc<Task>, Progress)], now: Timestamp) {
        if !due.iter().any(|(_, before)| firing::waits_for_clock(before, now)) {
            return;
        }
        match self.store.task_states().await {
            Ok(states) => {
                for (task, before) in due.iter_mut().filter(|(_, before)| firing::waits_for_clock(before, now)) {
                    if let Some(cursor) = states.get(&task.key).and_then(|state| state.cursor) {
                        before.cursor = Some(cursor);
                    }
                }
            }
            Err(error) => debug!(error = %error, "Cannot read what schedules have come to, trying again"),
        }
    }
}

/// Whether a task's schedule is another than the one that the store knows.
fn is_another(task: &Task, stored: Option<&TaskState>) -> bool {
    stored.and_then(|state| state.schedule.as_ref()).is_some_and(|before| *before != task.plan().identity())
}

#[cfg(test)]
mod tests;

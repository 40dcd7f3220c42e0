//! Fires the schedules that people added: many at once, each by its own clock.
//!
//! Apart from the tasks' scheduler, so that neither waits for the other. Several hosts may do this at once: the store
//! lets the first to come make the run, and tells the others how far the schedule has come.

mod parked;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::catalog::{Catalog, Tasks};
use crate::machine::host_pause::HostPause;
use crate::schedule::{Definition, Looked, SET_BACK};
use crate::store::Store;
use crate::store::added::{DueSchedule, FireAdded, FiredSchedule, FiredTask, LoadedSchedule, ScheduleProgress};
use crate::supervisor::{rests, works};
use crate::task::Task;
use crate::time::{Clock, Timestamp};
use parked::{Parked, Plan, Slot, Timetable};

/// The longest sleep, and how often other hosts' changes are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long to wait after the store would not do what it was asked.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// Schedules fired in one transaction. More would make others wait for it.
const BATCH: usize = 1000;

/// Schedules loaded in one go.
const PAGE: usize = 10_000;

/// So many are read before others get a turn on this thread: about a millisecond.
const TURN: usize = 200;

/// An instant that is dealt with within this of being due was not missed.
const PUNCTUAL: Duration = Duration::from_secs(2);

/// What the scheduler of added schedules needs.
#[derive(Debug)]
pub struct AddedSchedules {
    /// Where schedules are, and runs are made.
    pub store: Arc<dyn Store>,
    /// The tasks.
    pub catalog: Arc<Catalog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// While it lasts nothing is fired here. What is due meanwhile counts as missed.
    pub pause: Arc<HostPause>,
}

/// What a look at the store brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loaded {
    /// All that there is.
    All,
    /// A page, and there is more.
    Page,
    /// Nothing: it failed.
    Nothing,
}

impl Loaded {
    /// How long after that to look again.
    fn again(self) -> Duration {
        match self {
            Self::All => LOOK_AGAIN,
            Self::Page => Duration::ZERO,
            Self::Nothing => AFTER_ERROR,
        }
    }
}

/// What it knows.
#[derive(Debug, Default)]
struct Known {
    timetable: Timetable,
    /// The greatest version that was loaded.
    version: u64,
    /// What the clock showed last.
    latest: Option<Timestamp>,
}

impl AddedSchedules {
    /// Fire schedules as they come due, until `stopping` is set.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let hint = self.store.schedules_hint();
        let mut catalog = self.catalog.changes();
        let mut known = Known::default();
        let (began, mut parked, mut load_at) = (Instant::now(), false, Instant::now());
        let mut pauses = self.pause.changes();
        while !*stopping.borrow() {
            works();
            if pauses.borrow_and_update().since.is_some() {
                rests(None);
                tokio::select! {
                    _ = pauses.changed() => {}
                    told = stopping.changed() => if told.is_err() { return },
                }
                continue;
            }
            let told = hint.notified();
            tokio::pin!(told);
            // Listen before looking, and nothing is missed.
            told.as_mut().enable();
            if Instant::now() >= load_at {
                let loaded = self.load(&mut known).await;
                let schedules = known.timetable.len();
                if loaded == Loaded::All && !parked && schedules > 0 {
                    info!(schedules, "Loaded {schedules} schedule(s) that were added, within {:?}", began.elapsed());
                }
                parked |= loaded == Loaded::All;
                load_at = Instant::now() + loaded.again();
            }
            if catalog.has_changed().unwrap_or(false) {
                catalog.mark_unchanged();
                self.wake(&mut known);
            }
            let sleep = self.fire_due(&mut known).await.min(load_at.saturating_duration_since(Instant::now()));
            rests(Some(sleep));
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                () = told => load_at = Instant::now(),
                _ = catalog.changed() => self.wake(&mut known),
                _ = pauses.changed() => {}
                told = stopping.changed() => if told.is_err() { return },
            }
        }
    }

    /// Take up what was added or changed since the last time: one page of it, so that what is due does not wait until a
    /// million are loaded.
    async fn load(&self, known: &mut Known) -> Loaded {
        let page = match self.store.load_schedules(known.version, PAGE).await {
            Ok(page) => page,
            Err(error) => {
                warn!(error = %error, "Cannot read the added schedules, trying again");
                return Loaded::Nothing;
            }
        };
        let loaded = if page.len() == PAGE { Loaded::Page } else { Loaded::All };
        let mut ahead = 0;
        for (n, schedule) in page.into_iter().enumerate() {
            let now = self.clock.now();
            known.take_up(&schedule, now);
            ahead += u64::from(!schedule.deleted && schedule.progress.plausible(now).cursor.since(now) > SET_BACK);
            if n % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        if ahead > 0 {
            warn!(
                schedules = ahead,
                "{ahead} added schedule(s) wait: the clock was set back, and what is due until then was dealt with; `sexton schedule list` says which"
            );
        }
        loaded
    }

    /// Go on with schedules whose task is back.
    fn wake(&self, known: &mut Known) {
        let tasks = self.catalog.tasks();
        let woken = known.timetable.wake(|key| tasks.contains_key(key), self.clock.now());
        if woken > 0 {
            info!(schedules = woken, "{woken} added schedule(s) go on: their task is there");
        }
    }

    /// Fire all that is due. Returns how long nothing will be.
    async fn fire_due(&self, known: &mut Known) -> Duration {
        loop {
            works();
            let now = self.clock.now();
            if known.latest.replace(now).is_some_and(|latest| latest.since(now) > SET_BACK) {
                // The clock was set back: all is read again with the next look, which brings back what is implausibly far
                // ahead and tells what waits.
                *known = Known { latest: Some(now), ..Known::default() };
            }
            let slots = known.timetable.take_due(now, BATCH);
            if slots.is_empty() {
                break;
            }
            let tasks = self.catalog.tasks();
            let batch = Batch::of(known, &tasks, slots, now);
            self.fire(known, batch).await;
        }
        known.timetable.next().map_or(LOOK_AGAIN, |at| at.since(self.clock.now()).min(LOOK_AGAIN))
    }

    async fn fire(&self, known: &mut Known, batch: Batch) {
        let Batch { fire, slots } = batch;
        if fire.due.is_empty() {
            return;
        }
        let (due, now) = (fire.due.clone(), fire.now);
        let fired = match self.store.fire_schedules(fire).await {
            Ok(fired) => fired,
            Err(error) => {
                warn!(schedules = due.len(), error = %error, "Cannot fire {} added schedule(s), trying again", due.len());
                for slot in slots {
                    known.timetable.look(slot, now.plus(AFTER_ERROR));
                }
                return;
            }
        };
        for ((due, slot), fired) in due.into_iter().zip(slots).zip(fired) {
            known.settle(slot, &due, fired, now);
        }
    }
}

/// Schedules to be fired together, and where they are.
struct Batch {
    fire: FireAdded,
    slots: Vec<Slot>,
}

impl Batch {
    /// What `slots` call for. Those whose task is not there rest; those for which nothing is to be done are put back.
    fn of(known: &mut Known, tasks: &Tasks, slots: Vec<Slot>, now: Timestamp) -> Self {
        let mut batch = Self { fire: FireAdded { tasks: Vec::new(), due: Vec::new(), now }, slots: Vec::new() };
        let mut places: HashMap<u32, Option<(usize, Arc<Task>)>> = HashMap::new();
        for slot in slots {
            let Some(parked) = known.timetable.at(slot) else { continue };
            let place = places.entry(parked.task).or_insert_with(|| {
                let task = Arc::clone(tasks.get(known.timetable.task(parked.task))?);
                let start_within = task.timing.start_within;
                batch.fire.tasks.push(FiredTask { key: task.key.clone(), input: task.input.clone(), start_within });
                Some((batch.fire.tasks.len() - 1, task))
            });
            let Some((place, task)) = place else {
                known.timetable.rest(slot);
                continue;
            };
            let looked = parked.look(task, now);
            match looked {
                // What was left out is not written down, as a million may be: it is found once more after a restart.
                Looked { fire: None, next: Some(next), .. } => known.timetable.look(slot, next),
                _ => {
                    batch.fire.due.push(parked.due(*place, looked));
                    batch.slots.push(slot);
                }
            }
        }
        batch
    }
}

impl Known {
    /// Put a schedule on the timetable as the store has it, or take it off.
    fn take_up(&mut self, loaded: &LoadedSchedule, now: Timestamp) {
        let LoadedSchedule { id, version, progress, ref task, .. } = *loaded;
        let progress = progress.plausible(now);
        self.version = self.version.max(version);
        if loaded.deleted {
            return self.timetable.forget(id);
        }
        match self.timetable.plan(&loaded.definition) {
            Ok(plan) => {
                let place = self.timetable.task_place(task);
                self.timetable.put(id, version, progress, plan, place);
            }
            Err(error) => {
                self.timetable.forget(id);
                warn!(schedule.id = id, task.name = %task, error = %error, "Left an added schedule of `{task}` out: {error}");
            }
        }
    }

    /// Put a schedule back, with what came of its being fired.
    fn settle(&mut self, slot: Slot, due: &DueSchedule, fired: FiredSchedule, now: Timestamp) {
        // Nothing else changes the timetable while the store is at it, so the slot is still the schedule's.
        match fired {
            FiredSchedule::Done { finished: true, .. } | FiredSchedule::Stale(None) => self.timetable.forget(due.id),
            FiredSchedule::Done { run, fired, .. } => {
                debug!(schedule.id = due.id, run.id = ?run, "Fired an added schedule");
                self.go_on(slot, ScheduleProgress { cursor: due.cursor, fired });
            }
            FiredSchedule::Stale(Some((version, progress))) if version == due.version => {
                self.go_on(slot, progress.plausible(now));
            }
            // It says something else now, and is loaded with the next look at what has changed.
            FiredSchedule::Stale(Some(_)) => self.timetable.forget(due.id),
        }
    }

    fn go_on(&mut self, slot: Slot, progress: ScheduleProgress) {
        self.timetable.advance(slot, progress);
        let next = self.timetable.at(slot).and_then(|parked| parked.plan.next_after(progress.cursor));
        self.timetable.look(slot, next.unwrap_or(progress.cursor));
    }
}

impl Parked {
    fn look(&self, task: &Task, now: Timestamp) -> Looked {
        let cursor = match task.timing.catch_up_within {
            Some(within) => self.progress.cursor.max(now.minus(within.max(PUNCTUAL))),
            None => self.progress.cursor,
        };
        match &self.plan {
            Plan::At(at) => instant(*at).look(cursor, now, PUNCTUAL, task.catch_up),
            Plan::Shared(definition) => definition.look(cursor, now, PUNCTUAL, task.catch_up),
        }
    }

    fn due(&self, task: usize, looked: Looked) -> DueSchedule {
        let (delay, times) = match &self.plan {
            Plan::At(_) => (Duration::ZERO, None),
            Plan::Shared(definition) => (definition.delay, definition.times),
        };
        DueSchedule {
            id: self.id,
            version: self.version,
            expect: self.progress.cursor,
            task,
            due_at: looked.fire,
            delay,
            left_out: looked.left_out,
            uncounted: looked.uncounted,
            cursor: looked.cursor,
            times,
            last: looked.next.is_none(),
        }
    }
}

fn instant(at: Timestamp) -> Definition {
    let trigger = crate::schedule::Trigger::At(at);
    Definition::of(trigger, chrono_tz::Tz::UTC).expect("an instant can be added")
}

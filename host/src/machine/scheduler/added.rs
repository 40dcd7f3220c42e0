//! Fires schedules that were added at run time: many at once, each by its own clock.
//!
//! It runs apart from the tasks' scheduler, so that neither waits for the other. Several hosts may do this at once: the
//! store lets the first host make the run, and tells the others how far the schedule has come.

#[cfg(test)]
mod tests;
mod timer_heap;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::machine::host_pause::HostPause;
use sexton_domain::schedule::routes::{NoRoute, Routes};
use sexton_domain::schedule::{AddedDue, Definition, SET_BACK};
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::catalog::Catalog;
use sexton_store::Store;
use sexton_store::added::{DueSchedule, FireAdded, FireScheduleOutcome, LoadedSchedule, RunDefaults, ScheduleProgress};
use sexton_system::supervisor::{rests, works};
use timer_heap::{Owner, Plan, Slot, Timer, TimerHeap};

/// The longest sleep, and the interval at which changes by other hosts are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The wait after the store refused a request.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// The most schedules that fire in one transaction. More would make other transactions wait for it.
const BATCH: usize = 1000;

/// The longest that schedules fire before changes are loaded, and a stop is noticed. Schedules with short intervals may
/// always be due.
const FIRING: Duration = Duration::from_millis(200);

/// The most schedules that are loaded at once.
const PAGE: usize = 10_000;

/// The most schedules that are read before other tasks of the runtime get a turn on this thread: about a millisecond.
const TURN: usize = 200;

/// An instant that is dealt with this soon after it was due was not missed.
const PUNCTUAL: Duration = Duration::from_secs(2);

/// The parts that the scheduler of added schedules needs.
#[derive(Debug)]
pub struct AddedSchedules {
    /// Holds the schedules, and stores the runs.
    pub store: Arc<dyn Store>,
    /// The tasks.
    pub catalog: Arc<Catalog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// No schedule fires here while this pause lasts. Instants that come due during it count as missed.
    pub pause: Arc<HostPause>,
}

/// The result of loading schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loaded {
    /// Everything was loaded.
    All,
    /// One page was loaded, and there is more.
    Page,
    /// The store failed.
    Nothing,
}

impl Loaded {
    /// Returns how long to wait before the next load.
    fn again(self) -> Duration {
        match self {
            Self::All => LOOK_AGAIN,
            Self::Page => Duration::ZERO,
            Self::Nothing => AFTER_ERROR,
        }
    }
}

/// The schedules as this host knows them.
#[derive(Debug, Default)]
struct Known {
    timetable: TimerHeap,
    /// The greatest version that was loaded.
    version: u64,
    /// The last reading of the clock.
    latest: Option<Timestamp>,
}

impl AddedSchedules {
    /// Fires schedules as they come due, until `stopping` is set.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let hint = self.store.schedules_hint();
        let mut catalog = self.catalog.changes();
        let mut known = Known::default();
        let (began, mut reported, mut load_at) = (Instant::now(), false, Instant::now());
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
            // Registers before the query, so that no hint is missed.
            told.as_mut().enable();
            if Instant::now() >= load_at {
                let loaded = self.load(&mut known).await;
                let schedules = known.timetable.len();
                if loaded == Loaded::All && !reported && schedules > 0 {
                    info!(schedules, "Loaded {schedules} schedule(s) that were added, within {:?}", began.elapsed());
                }
                reported |= loaded == Loaded::All;
                load_at = Instant::now() + loaded.again();
            }
            if catalog.has_changed().unwrap_or(false) {
                catalog.mark_unchanged();
                self.wake(&mut known).await;
            }
            let sleep = self.fire_due(&mut known).await.min(load_at.saturating_duration_since(Instant::now()));
            rests(Some(sleep));
            tokio::select! {
                // Without a sleep, too, a hint is noticed.
                biased;
                told = stopping.changed() => if told.is_err() { return },
                () = told => load_at = Instant::now(),
                _ = catalog.changed() => self.wake(&mut known).await,
                _ = pauses.changed() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Loads schedules that were added or changed since the last load: one page of them, so that due schedules do not
    /// wait until a million are loaded.
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
            known.apply(&schedule, now);
            ahead += u64::from(!schedule.deleted && schedule.progress.plausible(now).cursor.since(now) > SET_BACK);
            if n % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        if ahead > 0 {
            warn!(
                schedules = ahead,
                "{ahead} added schedule(s) wait, because the clock was set back and instants until then were handled already; `sexton schedule list` shows them"
            );
        }
        loaded
    }

    /// Resumes schedules whose task is back.
    async fn wake(&self, known: &mut Known) {
        let routes = self.catalog.routes();
        let (mut woken, mut looked) = (0_usize, 0_usize);
        for owner in known.timetable.resting() {
            let slots = match task_of(known.timetable.owner(owner), &self.catalog, &routes) {
                Ok(_) => known.timetable.take_resting(owner),
                Err(_) => Vec::new(),
            };
            // The second part has the owner itself.
            for slot in slots.into_iter().map(Some).chain([None]) {
                woken += usize::from(slot.is_some_and(|slot| known.timetable.wake(slot, owner, self.clock.now())));
                looked += 1;
                if looked % TURN == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        if woken > 0 {
            info!(schedules = woken, "{woken} added schedule(s) continue, because their task exists again");
        }
    }

    /// Fires schedules that are due, first those that have been for longest, for [`FIRING`] at most. Returns how long
    /// none will be due.
    async fn fire_due(&self, known: &mut Known) -> Duration {
        let ends_at = Instant::now() + FIRING;
        loop {
            works();
            let now = self.clock.now();
            if known.latest.replace(now).is_some_and(|latest| latest.since(now) > SET_BACK) {
                // The clock was set back. The next look loads everything again, which brings back instants that are
                // implausibly far ahead and reports which schedules wait.
                *known = Known { latest: Some(now), ..Known::default() };
            }
            let slots = known.timetable.take_due(now, BATCH);
            if slots.is_empty() {
                break;
            }
            let batch = Batch::of(known, &self.catalog, slots, now);
            self.fire(known, batch).await;
            if Instant::now() >= ends_at {
                return Duration::ZERO;
            }
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

/// Returns the task whose runs schedules of `owner` make.
///
/// # Errors
///
/// [`NoRoute`] if there is none at this moment.
fn task_of(owner: &Owner, catalog: &Catalog, routes: &Routes) -> Result<Arc<Task>, NoRoute> {
    let (tenant, target) = owner;
    let key = routes.task_of(tenant, target)?;
    catalog.get(&key).ok_or(NoRoute::NoTask(key.task))
}

/// Schedules that fire together, and their slots.
struct Batch {
    fire: FireAdded,
    slots: Vec<Slot>,
}

impl Batch {
    /// Collects what `slots` call for. Schedules whose task is missing rest; those with nothing to do are put back.
    fn of(known: &mut Known, catalog: &Catalog, slots: Vec<Slot>, now: Timestamp) -> Self {
        let mut batch = Self { fire: FireAdded { tasks: Vec::new(), due: Vec::new(), now }, slots: Vec::new() };
        let routes = catalog.routes();
        let mut places: HashMap<u32, Result<(usize, Arc<Task>), NoRoute>> = HashMap::new();
        // Many types may have one task, whose input is large perhaps.
        let mut of_tasks: HashMap<TaskKey, usize> = HashMap::new();
        let mut waits: Vec<NoRoute> = Vec::new();
        for slot in slots {
            let Some(timer) = known.timetable.at(slot) else { continue };
            let place = places.entry(timer.owner).or_insert_with(|| {
                let task = task_of(known.timetable.owner(timer.owner), catalog, &routes)?;
                let place = *of_tasks.entry(task.key.clone()).or_insert_with(|| {
                    let (key, input, start_within) = (task.key.clone(), task.input.clone(), task.timing.start_within);
                    batch.fire.tasks.push(RunDefaults { key, input, start_within, labels: task.labels.clone() });
                    batch.fire.tasks.len() - 1
                });
                Ok((place, task))
            });
            let (place, task) = match place {
                Ok(place) => place,
                Err(why) => {
                    if known.timetable.rest(slot) {
                        waits.push(why.clone());
                    }
                    continue;
                }
            };
            let looked = timer.look(task, now);
            match looked {
                // Instants that were left out are not stored, because there may be a million. After a restart they are
                // found once more.
                AddedDue { fire: None, next: Some(next), .. } => known.timetable.look(slot, next),
                _ => {
                    batch.fire.due.push(timer.due(*place, looked));
                    batch.slots.push(slot);
                }
            }
        }
        // One line for all of them, because each may have a type of its own.
        if let Some((why, more)) = waits.split_first() {
            let more = match more.len() {
                0 => String::new(),
                n => format!(", and for {n} further tasks or types there is none, too"),
            };
            warn!("Added schedules wait: {why}{more}");
        }
        batch
    }
}

impl Known {
    /// Puts a schedule on the timetable as the store has it, or removes it.
    fn apply(&mut self, loaded: &LoadedSchedule, now: Timestamp) {
        let LoadedSchedule { id, version, progress, ref tenant, ref target, .. } = *loaded;
        let progress = progress.plausible(now);
        self.version = self.version.max(version);
        if loaded.deleted {
            return self.timetable.forget(id);
        }
        match self.timetable.plan(&loaded.definition) {
            Ok(plan) => {
                let owner = self.timetable.owner_place((tenant.clone(), target.clone()));
                self.timetable.put(id, version, progress, plan, owner);
            }
            Err(error) => {
                self.timetable.forget(id);
                warn!(schedule.id = id, task.name = %target, error = %error, "Left an added schedule of `{target}` out: {error}");
            }
        }
    }

    /// Puts a schedule back after it fired.
    fn settle(&mut self, slot: Slot, due: &DueSchedule, fired: FireScheduleOutcome, now: Timestamp) {
        // No other code changes the timetable while the store works, so the slot is still the schedule's.
        match fired {
            FireScheduleOutcome::Done { finished: true, .. } | FireScheduleOutcome::Stale(None) => {
                self.timetable.forget(due.id)
            }
            FireScheduleOutcome::Done { run, fired, .. } => {
                debug!(schedule.id = due.id, run.id = ?run, "Fired an added schedule");
                self.continue_schedule(slot, ScheduleProgress { cursor: due.cursor, fired });
            }
            FireScheduleOutcome::Stale(Some((version, progress))) if version == due.version => {
                self.continue_schedule(slot, progress.plausible(now));
            }
            // The schedule was changed. The next load of changes brings it.
            FireScheduleOutcome::Stale(Some(_)) => self.timetable.forget(due.id),
        }
    }

    fn continue_schedule(&mut self, slot: Slot, progress: ScheduleProgress) {
        self.timetable.advance(slot, progress);
        let next = self.timetable.at(slot).and_then(|timer| timer.plan.next_after(progress.cursor));
        self.timetable.look(slot, next.unwrap_or(progress.cursor));
    }
}

impl Timer {
    fn look(&self, task: &Task, now: Timestamp) -> AddedDue {
        let cursor = match task.timing.catch_up_within {
            Some(within) => self.progress.cursor.max(now.minus(within.max(PUNCTUAL))),
            None => self.progress.cursor,
        };
        match &self.plan {
            Plan::At(at) => instant(*at).look(cursor, now, PUNCTUAL, task.catch_up),
            Plan::Shared(definition) => definition.look(cursor, now, PUNCTUAL, task.catch_up),
        }
    }

    fn due(&self, task: usize, looked: AddedDue) -> DueSchedule {
        let (delay, times) = match &self.plan {
            Plan::At(_) => (Duration::ZERO, None),
            Plan::Shared(definition) => {
                (looked.fire.map_or(definition.delay, |at| definition.delay_of(at)), definition.times)
            }
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
    let trigger = sexton_domain::schedule::Trigger::At(at);
    Definition::of(trigger, chrono_tz::Tz::UTC).expect("an instant can be added")
}

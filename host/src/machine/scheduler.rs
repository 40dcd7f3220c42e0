//! Makes a run for every instant that a task's schedule calls for.
//!
//! Several hosts may do this at once without asking one another: an instant is the key of its run, and the second to come
//! finds it made.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::catalog::Catalog;
use crate::machine::live::LiveRuns;
use crate::run::Cause;
use crate::schedule::{Due, Look, Trigger};
use crate::store::{Admit, Enqueued, NewRun, Store};
use crate::task::{Overlap, Task, TaskKey};
use crate::time::{Clock, Timestamp};

/// The longest sleep: a clock that was set, or a machine that slept, is noticed after no more than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An instant that is dealt with within this of being due was not missed.
const PUNCTUAL: Duration = Duration::from_secs(2);

/// A clock that was set back by more than this is worth a warning.
const CLOCK_SET_BACK: Duration = Duration::from_secs(5);

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
}

/// A task on the timetable.
#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    cursor: Option<Timestamp>,
    /// When it is to be looked at; what the timetable says for it is void if it says something else.
    look_at: Option<Timestamp>,
}

/// All tasks, and the order in which they come up.
#[derive(Debug, Default)]
struct Timetable {
    entries: HashMap<TaskKey, Entry>,
    order: BinaryHeap<Reverse<(Timestamp, TaskKey)>>,
    /// Tasks that were due at this host's start, so that they are so only once.
    started: HashSet<TaskKey>,
}

impl Scheduler {
    /// Fire tasks as they come due, until `stopping` is set.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let mut catalog = self.catalog.changes();
        let mut timetable = Timetable::default();
        let mut known = false;
        while !*stopping.borrow() {
            if !known || catalog.has_changed().unwrap_or(false) {
                catalog.mark_unchanged();
                known = self.learn(&mut timetable).await;
            }
            let sleep = if known { self.fire_due(&mut timetable).await } else { AFTER_ERROR };
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                _ = catalog.changed() => known = false,
                _ = stopping.changed() => {}
            }
        }
    }

    /// Take up tasks that are new or changed, and forget those that are gone. Returns whether the store let us.
    async fn learn(&self, timetable: &mut Timetable) -> bool {
        let tasks = self.catalog.tasks();
        timetable.entries.retain(|key, _| tasks.contains_key(key));
        let new: Vec<_> = tasks
            .values()
            .filter(|task| timetable.entries.get(&task.key).is_none_or(|entry| !Arc::ptr_eq(&entry.task, task)))
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
        for task in new {
            let before = timetable.entries.get(&task.key);
            let cursor = match before {
                // Instants that the new trigger would have had before now are not missed ones.
                Some(entry) if entry.task.trigger != task.trigger || entry.task.zone != task.zone => Some(now),
                Some(entry) => entry.cursor,
                None => states.get(&task.key).and_then(|state| state.cursor),
            };
            if task.trigger == Trigger::OnStart && !timetable.started.contains(&task.key) {
                if !self.start(&task, now).await {
                    return false;
                }
                timetable.started.insert(task.key.clone());
            }
            let by_time = !matches!(task.trigger, Trigger::OnDemand | Trigger::OnStart);
            timetable.put(task, cursor, by_time.then_some(now));
        }
        true
    }

    async fn start(&self, task: &Task, now: Timestamp) -> bool {
        let run = self.new_run(task, now, Cause::Start, None);
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
            let due = timetable.take_due(now, BATCH);
            if due.is_empty() {
                break;
            }
            let fired = join_all(due.iter().map(|(task, cursor)| self.fire(task, *cursor, now))).await;
            for ((task, cursor), fired) in due.into_iter().zip(fired) {
                match fired {
                    Ok((reached, next)) => timetable.put(task, Some(reached), next),
                    Err(error) => {
                        warn!(task.name = %task.key, error = %error, "Cannot fire `{}`, trying again", task.key);
                        timetable.put(task, cursor, Some(now.plus(AFTER_ERROR)));
                    }
                }
            }
        }
        timetable.next().map_or(LOOK_AGAIN, |at| at.since(self.clock.now()).min(LOOK_AGAIN))
    }

    /// Fire one task. Returns its new cursor, and when to look at it again.
    async fn fire(
        &self,
        task: &Arc<Task>,
        cursor: Option<Timestamp>,
        now: Timestamp,
    ) -> crate::store::Result<(Timestamp, Option<Timestamp>)> {
        let due = task.trigger.due(task.zone, Look { cursor, now, grace: PUNCTUAL }, task.catch_up);
        let Due { fire, left_out, uncounted, cursor: reached, next, behind } = due;
        // The first sight of a task is written down too: what is missed from now on can be told.
        if fire.is_empty() && left_out == 0 && cursor.is_some() {
            if behind > CLOCK_SET_BACK {
                warn!(task.name = %task.key, "The clock is {behind:?} behind what `{}` has done; it waits until then", task.key);
            }
            return Ok((reached, next));
        }
        if left_out > 0 {
            let least = if uncounted { "at least " } else { "" };
            info!(task.name = %task.key, left_out, "`{}` missed {least}{left_out} instant(s) that are left out; {} run now", task.key, fire.len());
        }
        let runs: Vec<NewRun> = fire
            .iter()
            .map(|due_at| self.new_run(task, *due_at, Cause::Schedule, Some(format!("at:{}", due_at.as_millis()))))
            .collect();
        let made = self.store.fire(task.key.clone(), runs, reached, now).await?;
        made.iter().for_each(|made| self.made(task, made));
        Ok((reached, next))
    }

    /// What a run that was made asks of this host, and of who reads its log.
    fn made(&self, task: &Task, made: &Enqueued) {
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

    fn new_run(&self, task: &Task, due_at: Timestamp, cause: Cause, dedup: Option<String>) -> NewRun {
        let admit = match task.overlap {
            Overlap::Skip => Admit::Below(1),
            Overlap::QueueOne => Admit::Below(2),
            Overlap::Replace => Admit::Replacing,
            Overlap::Allow(n) => Admit::Below(n),
        };
        NewRun {
            task: task.key.clone(),
            due_at,
            run_at: due_at,
            cause,
            input: task.input.clone(),
            dedup,
            parent: None,
            admit,
        }
    }
}

impl Timetable {
    fn put(&mut self, task: Arc<Task>, cursor: Option<Timestamp>, look_at: Option<Timestamp>) {
        let key = task.key.clone();
        if let Some(at) = look_at {
            self.order.push(Reverse((at, key.clone())));
        }
        self.entries.insert(key, Entry { task, cursor, look_at });
    }

    /// Take up to `limit` tasks that are to be looked at by `now`. They come back by [`Timetable::put`].
    fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<(Arc<Task>, Option<Timestamp>)> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(Reverse((at, _))) = self.order.peek() else { break };
            if *at > now {
                break;
            }
            let Some(Reverse((at, key))) = self.order.pop() else { break };
            if let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.look_at == Some(at)) {
                entry.look_at = None;
                due.push((Arc::clone(&entry.task), entry.cursor));
            }
        }
        due
    }

    fn next(&self) -> Option<Timestamp> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }
}

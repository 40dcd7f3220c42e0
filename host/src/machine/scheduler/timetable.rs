//! All tasks that are due by the clock, and the order in which they come up.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::reacting::Reacting;
use crate::schedule::{SET_BACK, Trigger};
use crate::store::TaskState;
use crate::task::{Task, TaskKey};
use crate::time::Timestamp;

/// How far a task's schedule has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last instant that was dealt with; `None` when the task is seen for the first time.
    pub(super) cursor: Option<Timestamp>,
    /// Runs that its schedule has made.
    pub(super) fired: u64,
    /// What its trigger remembers.
    pub(super) memory: Option<String>,
    /// It was told that it waits, because the clock was set back.
    pub(super) told: bool,
}

impl Progress {
    /// As the store has it.
    pub(super) fn of(state: &TaskState) -> Self {
        Self { cursor: state.cursor, fired: state.fired, memory: state.memory.clone(), told: false }
    }
}

/// A task on the timetable.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) task: Arc<Task>,
    pub(super) progress: Progress,
    /// When it is to be looked at; what the timetable says for it is void if it says something else.
    look_at: Option<Timestamp>,
}

/// Tasks that were due at a host's start. Known for as long as the host is up, also if its scheduler is begun again.
pub type Started = Arc<Mutex<HashSet<TaskKey>>>;

/// All tasks, and the order in which they come up.
#[derive(Debug, Default)]
pub struct Timetable {
    entries: HashMap<TaskKey, Entry>,
    order: BinaryHeap<Reverse<(Timestamp, TaskKey)>>,
    /// What the clock showed last.
    latest: Option<Timestamp>,
    /// Tasks that were due at this host's start, so that they are so only once.
    started: Started,
    /// What goes by how earlier runs went; of who turns the clock himself ([`Scheduler::look`](super::Scheduler::look)).
    pub(super) reacting: Reacting,
}

impl Timetable {
    /// A timetable without tasks, of a host on which these were started.
    pub(super) fn of(started: Started) -> Self {
        Self { started, ..Self::default() }
    }

    pub(super) fn put(&mut self, task: Arc<Task>, progress: Progress, look_at: Option<Timestamp>) {
        let key = task.key.clone();
        if let Some(at) = look_at {
            self.order.push(Reverse((at, key.clone())));
        }
        self.entries.insert(key, Entry { task, progress, look_at });
    }

    pub(super) fn entry(&self, key: &TaskKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// All tasks, and how far each has come.
    pub(super) fn all(&self) -> impl Iterator<Item = (Arc<Task>, Progress)> {
        self.entries.values().map(|entry| (Arc::clone(&entry.task), entry.progress.clone()))
    }

    /// Forget all tasks but those.
    pub(super) fn keep(&mut self, keep: impl Fn(&TaskKey) -> bool) {
        self.entries.retain(|key, _| keep(key));
    }

    /// Has all be looked at that go by the clock, if that was set back: they would come up only when it has caught up.
    pub(super) fn see(&mut self, now: Timestamp) {
        let latest = self.latest.replace(now).filter(|latest| latest.since(now) > SET_BACK);
        if latest.is_none() {
            return;
        }
        self.order.clear();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| by_clock(&entry.task)) {
            entry.look_at = Some(now);
            self.order.push(Reverse((now, key.clone())));
        }
    }

    /// Whether the task was due at this host's start.
    pub(super) fn has_started(&self, key: &TaskKey) -> bool {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// The task was due at this host's start.
    pub(super) fn starts(&mut self, key: TaskKey) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Take up to `limit` tasks that are to be looked at by `now`. They come back by [`Timetable::put`].
    pub(super) fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<(Arc<Task>, Progress)> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(Reverse((at, _))) = self.order.peek() else { break };
            if *at > now {
                break;
            }
            let Some(Reverse((at, key))) = self.order.pop() else { break };
            if let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.look_at == Some(at)) {
                entry.look_at = None;
                due.push((Arc::clone(&entry.task), entry.progress.clone()));
            }
        }
        due
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.order.peek().map(|Reverse((at, _))| *at)
    }
}

/// Whether a task is due at instants of the clock.
pub(super) fn by_clock(task: &Task) -> bool {
    matches!(task.trigger, Trigger::Cron(_) | Trigger::Every(_) | Trigger::At(_))
}

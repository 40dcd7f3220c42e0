//! Holds all tasks that are due by the clock, in the order of their next looks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use sexton_domain::schedule::SET_BACK;
use sexton_domain::task::{Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::TaskState;

/// The progress of a task's schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last instant that was dealt with; `None` when the task is seen for the first time.
    pub(super) cursor: Option<Timestamp>,
    /// The number of runs that its schedule has made.
    pub(super) fired: u64,
    /// The state that its trigger keeps.
    pub(super) memory: Option<String>,
    /// Whether it was logged that the task waits because the clock was set back.
    pub(super) told: bool,
}

impl Progress {
    /// Reads the progress from the state in the store.
    pub(super) fn of(state: &TaskState) -> Self {
        Self { cursor: state.cursor, fired: state.fired, memory: state.memory.clone(), told: false }
    }
}

/// A task on the timetable.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) task: Arc<Task>,
    pub(super) progress: Progress,
    /// The instant of the next look. An entry of the heap with another instant is stale.
    look_at: Option<Timestamp>,
}

/// The tasks that were due at a host's start. They are known for as long as the host is up, even if its scheduler is
/// restarted.
pub type Started = Arc<Mutex<HashSet<TaskKey>>>;

/// All tasks, in the order of their next looks.
#[derive(Debug, Default)]
pub struct Timetable {
    /// The number of the change of the catalog up to which the tasks are known.
    pub(super) seen: Option<u64>,
    entries: HashMap<TaskKey, Entry>,
    order: BinaryHeap<Reverse<(Timestamp, TaskKey)>>,
    /// The last reading of the clock.
    latest: Option<Timestamp>,
    /// The tasks that were due at this host's start, so that they are due only once.
    started: Started,
}

impl Timetable {
    /// Creates a timetable without tasks, for a host on which these were started.
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

    /// Iterates over all tasks and their progress.
    pub(super) fn all(&self) -> impl Iterator<Item = (Arc<Task>, Progress)> {
        self.entries.values().map(|entry| (Arc::clone(&entry.task), entry.progress.clone()))
    }

    /// Forgets all tasks except those that `keep` accepts.
    pub(super) fn keep(&mut self, keep: impl Fn(&TaskKey) -> bool) {
        self.entries.retain(|key, _| keep(key));
    }

    /// Forgets a task.
    pub(super) fn forget(&mut self, key: &TaskKey) {
        self.entries.remove(key);
    }

    /// Schedules a look at all tasks that follow the clock if it was set back. Otherwise they would come up only when
    /// the clock has caught up.
    pub(super) fn see(&mut self, now: Timestamp) {
        let latest = self.latest.replace(now).filter(|latest| latest.since(now) > SET_BACK);
        if latest.is_none() {
            return;
        }
        self.order.clear();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.task.trigger.is_by_clock()) {
            entry.look_at = Some(now);
            self.order.push(Reverse((now, key.clone())));
        }
    }

    /// Returns whether the task was due at this host's start.
    pub(super) fn has_started(&self, key: &TaskKey) -> bool {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    /// Records that the task was due at this host's start.
    pub(super) fn starts(&mut self, key: TaskKey) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }

    /// Takes up to `limit` tasks whose look is due by `now`. [`Timetable::put`] returns them.
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

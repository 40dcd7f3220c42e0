//! State that all connections of a store share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Pool;

use crate::hints::{HintSet, Hints};
use crate::leftovers::Leftovers;
use sexton_domain::task::TaskKey;

use super::day::Day;
use super::listen::Listener;

/// State that all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) tasks: TaskIds,
    pub(super) turned: LastRotation,
    /// Finds versions of cache entries that are left over.
    pub(super) leftovers: Leftovers,
    pub(super) hints: Arc<Hints>,
    /// Sends hints to the other hosts.
    pub(super) listener: Listener,
    pub(super) commits: AtomicU64,
    pub(super) writes: AtomicU64,
}

impl Shared {
    /// Counts a committed transaction, and sends its hints.
    pub(super) fn committed(&self, hints: HintSet) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.notify(hints);
    }

    pub(super) fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn notify(&self, hints: HintSet) {
        self.hints.notify(hints);
        self.listener.notify(hints);
    }
}

/// The numbers of the tasks met so far. A task's row is never deleted, and its number never given to another task.
#[derive(Debug, Default)]
pub(super) struct TaskIds {
    known: Mutex<HashMap<TaskKey, i64>>,
}

impl TaskIds {
    pub(super) fn known(&self) -> MutexGuard<'_, HashMap<TaskKey, i64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of a task that was met before.
    pub(super) fn get(&self, task: &TaskKey) -> Option<i64> {
        self.known().get(task).copied()
    }
}

/// The last look after partitions: its hour, and the day up to which they were dropped.
#[derive(Debug, Default)]
pub(super) struct LastRotation(Mutex<Option<(i64, Day)>>);

impl LastRotation {
    pub(super) fn last(&self) -> Option<(i64, Day)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, turn: (i64, Day)) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
    }
}

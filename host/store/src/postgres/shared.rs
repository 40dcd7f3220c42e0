//! State that all connections of a store share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Pool;

use crate::hints::{HintSet, Hints};
use crate::leftovers::{Leftovers, PAGE, SETS};
use sexton_domain::labels::Labels;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::day::Day;
use super::listen::Listener;

/// State that all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) tasks: TaskIds,
    pub(super) tenants: TenantIds,
    pub(super) label_sets: LabelSets,
    /// Whether all runs had their tenants when that was last looked at, so that lists need not look for others.
    pub(super) all_have_tenants: AtomicBool,
    pub(super) turned: LastRotation,
    /// Finds versions of cache entries that are left over.
    pub(super) leftovers: Leftovers<PAGE>,
    /// Finds sets of labels that no run has.
    pub(super) unused_labels: Leftovers<SETS>,
    pub(super) hints: Arc<Hints>,
    /// Sends hints to the other hosts.
    pub(super) listener: Listener,
    pub(super) commits: AtomicU64,
    pub(super) writes: AtomicU64,
    /// Whether events are recorded.
    pub(super) recording: AtomicBool,
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

/// The numbers of the tenants met so far, which never change.
#[derive(Debug, Default)]
pub(super) struct TenantIds(Mutex<HashMap<Name, i64>>);

impl TenantIds {
    pub(super) fn known(&self) -> MutexGuard<'_, HashMap<Name, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A set of labels, and the number of the tenant whose runs have it.
pub(super) type TenantLabels = (i64, Labels);

/// The numbers of sets of labels met so far, and when each was last looked up.
#[derive(Debug, Default)]
pub(super) struct LabelSets(Mutex<HashMap<TenantLabels, (i64, Timestamp)>>);

impl LabelSets {
    pub(super) fn known(&self) -> MutexGuard<'_, HashMap<TenantLabels, (i64, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

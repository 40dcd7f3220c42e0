//! Wakes waiters in this process after a commit. A waiter may miss a hint, so each also polls.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

/// Selects the waiters to wake after a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HintSet {
    /// Runs may have become claimable.
    pub(super) runs: bool,
    /// Locks may have become free.
    pub(super) locks: bool,
    /// A run changed.
    pub(super) changes: bool,
    /// A schedule was added, replaced or deleted.
    pub(super) schedules: bool,
    /// A plugin was published or withdrawn.
    pub(super) plugins: bool,
    /// There are new events.
    pub(super) events: bool,
}

impl HintSet {
    /// Wakes all waiters.
    pub(super) const ALL: Self =
        Self { runs: true, locks: true, changes: true, schedules: true, plugins: true, events: true };
}

/// Holds the waiters in this process.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) runs: Arc<Notify>,
    pub(super) locks: Arc<Notify>,
    pub(super) schedules: Arc<Notify>,
    pub(super) plugins: Arc<Notify>,
    pub(super) events: Arc<Notify>,
    pub(super) changes: watch::Sender<u64>,
}

impl Hints {
    /// Wakes the selected waiters.
    pub(super) fn notify(&self, hints: HintSet) {
        if hints.runs {
            self.runs.notify_waiters();
        }
        if hints.locks {
            self.locks.notify_waiters();
        }
        if hints.schedules {
            self.schedules.notify_waiters();
        }
        if hints.plugins {
            self.plugins.notify_waiters();
        }
        if hints.events {
            self.events.notify_waiters();
        }
        if hints.changes {
            self.changes.send_modify(|count| *count += 1);
        }
    }
}

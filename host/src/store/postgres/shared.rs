//! What all connections of a store have in common.

use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_postgres::Pool;

use crate::store::hints::{Hints, Told};

use super::listen::Listener;
use super::partitions::Turned;
use super::tasks::TaskIds;
use super::tx::Tx;

/// What all connections have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) tasks: TaskIds,
    pub(super) turned: Turned,
    pub(super) hints: Hints,
    /// Tells the other hosts.
    pub(super) listener: Listener,
    pub(super) commits: AtomicU64,
    pub(super) writes: AtomicU64,
}

impl Shared {
    /// A transaction is committed: count it, and tell those that are to be told.
    pub(super) fn committed(&self, tx: &Tx) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.tell(tx.told);
    }

    pub(super) fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn tell(&self, told: Told) {
        self.hints.tell(told);
        self.listener.tell(told);
    }
}

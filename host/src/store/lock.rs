//! Locks: what they are called, how they are held, and which runs wait for them.

use serde::{Deserialize, Serialize};

use crate::run::RunId;
use crate::task::Name;
use crate::time::Timestamp;

/// Exclusive, or shared with others that share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// One holder.
    Exclusive,
    /// Any number of holders that all share.
    Shared,
}

/// What locks are for: those that guests name, and those that a cache refresh takes on its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockKind {
    /// Taken through the `locks` import.
    Named,
    /// Taken by `cache.refresh` on the entry's key.
    Refresh,
}

/// Which lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LockName {
    /// Whose.
    pub tenant: Name,
    /// Named or refresh.
    pub kind: LockKind,
    /// The name, or the key of the entry.
    pub name: String,
}

/// What became of an attempt to take a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTaken {
    /// It is this run's. The fence is greater for each later holder of any lock.
    Yes {
        /// The number.
        fence: u64,
    },
    /// This run (an example of those that do, where it is shared) holds it.
    HeldBy(RunId),
}

/// A lock that is held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeldLock {
    /// Which.
    #[serde(flatten)]
    pub lock: LockName,
    /// How.
    pub mode: LockMode,
    /// By which run.
    pub run: RunId,
    /// Of which task.
    pub task: Name,
    /// Its fence.
    pub fence: u64,
    /// Since when.
    pub since: Timestamp,
}

/// A run that waits for a lock, as its host knows it, which keeps a queue of those who wait there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWait {
    /// Which lock.
    #[serde(flatten)]
    pub lock: LockName,
    /// How it wants it.
    pub mode: LockMode,
    /// Which run.
    pub run: RunId,
    /// Of which task.
    pub task: Name,
    /// Since when.
    pub since: Timestamp,
    /// Its place in the queue, from 1.
    pub place: u32,
}

//! Defines the JSON of locks: those that are held, and which runs wait for which.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store as store;

/// `GET /v1/locks`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Locks {
    /// The locks, by name.
    pub locks: Vec<HeldLockShape>,
}

/// The mode of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// The lock has one holder.
    Exclusive,
    /// The lock has any number of holders that all share it.
    Shared,
}

impl From<store::LockMode> for LockMode {
    fn from(mode: store::LockMode) -> Self {
        match mode {
            store::LockMode::Exclusive => Self::Exclusive,
            store::LockMode::Shared => Self::Shared,
        }
    }
}

/// The kind of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LockKind {
    /// A guest takes it by its name, through the `locks` import.
    Named,
    /// `cache.refresh` takes it on the key of the entry.
    Refresh,
}

impl From<store::LockKind> for LockKind {
    fn from(kind: store::LockKind) -> Self {
        match kind {
            store::LockKind::Named => Self::Named,
            store::LockKind::Refresh => Self::Refresh,
        }
    }
}

/// A lock, wherever it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockShape {
    /// The tenant.
    pub tenant: Name,
    /// The kind of the lock.
    pub kind: LockKind,
    /// The name, or the key of the cache entry.
    pub name: String,
}

impl From<store::LockName> for LockShape {
    fn from(lock: store::LockName) -> Self {
        let store::LockName { tenant, kind, name } = lock;
        Self { tenant, kind: kind.into(), name }
    }
}

/// A lock that is held.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldLockShape {
    /// The lock.
    #[serde(flatten)]
    pub lock: LockShape,
    /// The mode in which it is held.
    pub mode: LockMode,
    /// The run that holds it.
    pub run: RunId,
    /// The task of the run.
    pub task: Name,
    /// The fencing number, greater for each later holder.
    pub fence: u64,
    /// The instant since which it is held.
    pub since: Timestamp,
}

impl From<store::HeldLock> for HeldLockShape {
    fn from(held: store::HeldLock) -> Self {
        let store::HeldLock { lock, mode, run, task, fence, since } = held;
        Self { lock: lock.into(), mode: mode.into(), run, task, fence, since }
    }
}

/// `GET /v1/locks/graph`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockGraph {
    /// All locks that are held or awaited, by name.
    pub locks: Vec<LockNode>,
    /// Runs that wait for one another: each for the next, and the last for the first. Every deadlock has at least one
    /// entry.
    pub circles: Vec<Vec<RunId>>,
}

/// A lock, its holders, and the runs that wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockNode {
    /// The name of the lock.
    #[serde(flatten)]
    pub lock: LockShape,
    /// One holder, or several that share it; none in the moment between two holders.
    pub holders: Vec<LockHolder>,
    /// The waiting runs, in the order in which they will get it.
    pub waiters: Vec<LockWaiter>,
}

/// A run that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockHolder {
    /// The run.
    pub run: RunId,
    /// The task of the run.
    pub task: Name,
    /// The mode in which it holds the lock.
    pub mode: LockMode,
    /// The fencing number, greater for each later holder.
    pub fence: u64,
    /// The instant since which it holds the lock.
    pub since: Timestamp,
}

/// A run that waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LockWaiter {
    /// The run.
    pub run: RunId,
    /// The task of the run.
    pub task: Name,
    /// The mode in which it wants the lock.
    pub mode: LockMode,
    /// The instant since which it waits.
    pub since: Timestamp,
    /// Its place in the queue, from 1.
    pub place: u32,
    /// Whether the run is in a deadlock, or waits behind one: without a deadline it would wait for ever.
    pub stuck: bool,
}

impl LockWaiter {
    /// Returns the lock that a run waits for, and the run, which counts as stuck until the graph is known.
    pub fn of(wait: store::LockWait) -> (LockShape, Self) {
        let store::LockWait { lock, mode, run, task, since, place } = wait;
        (lock.into(), Self { run, task, mode: mode.into(), since, place, stuck: true })
    }
}

//! Defines locks: their names, how runs hold them, and how runs wait for them.

use crate::Result;
use async_trait::async_trait;
use sexton_domain::run::ClaimKey;

use sexton_domain::run::RunId;
pub use sexton_domain::task::LockMode;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The purpose of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// The guest takes the lock through the `locks` import.
    Named,
    /// `cache.refresh` takes the lock on the entry's key.
    Refresh,
}

/// Names a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockName {
    pub tenant: Name,
    pub kind: LockKind,
    /// The name, or the key of the entry.
    pub name: String,
}

/// The result of trying to take a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockTaken {
    /// The run holds the lock. The fence is greater for each later holder of any lock.
    Yes { fence: u64 },
    /// The lock is held by this run, which is one of several if the lock is shared.
    HeldBy(RunId),
}

/// A lock that is held.
#[derive(Clone, Debug)]
pub struct HeldLock {
    pub lock: LockName,
    pub mode: LockMode,
    pub run: RunId,
    pub task: Name,
    pub fence: u64,
    pub since: Timestamp,
}

/// A run that waits for a lock, as known to its host, which keeps a queue of its waiting runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWait {
    pub lock: LockName,
    pub mode: LockMode,
    pub run: RunId,
    pub task: Name,
    pub since: Timestamp,
    /// The run's place in the queue, from 1.
    pub place: u32,
}

/// Keeps the locks that runs hold.
#[async_trait]
pub trait Locks: Send + Sync {
    /// Tries once to take a lock for a run. A lock that the run holds already in the same mode is taken again with its
    /// fence.
    /// If the lock has a queue ([`Locks::wait_for_lock`]), no run goes before queued runs that conflict with it; the
    /// result may then name one of those instead of a holder. A queued run is judged by its own place, and gives it up
    /// when it gets the lock.
    async fn acquire_lock(&self, lock: LockName, mode: LockMode, claim: ClaimKey, now: Timestamp) -> Result<LockTaken>;

    /// Does the same as [`Locks::acquire_lock`] for a run that waits: a run that does not get the lock gets a place in
    /// a queue, in which the runs of all hosts stand in the order of arrival. A further call keeps the place. The run
    /// must call again, because no run is given a lock without asking.
    ///
    /// A run keeps its place until it takes the lock, leaves the queue ([`Locks::leave_lock_queue`]) or its attempt is
    /// over. The place keeps no other run out once the run's lease has ended.
    ///
    /// A store that only one host can have needs no queue, because that host has one: this default is for such stores.
    async fn wait_for_lock(
        &self,
        lock: LockName,
        mode: LockMode,
        claim: ClaimKey,
        now: Timestamp,
    ) -> Result<LockTaken> {
        self.acquire_lock(lock, mode, claim, now).await
    }

    /// Gives up a run's place in the queue for a lock, if it has one.
    async fn leave_lock_queue(&self, _lock: LockName, _claim: ClaimKey) -> Result<()> {
        Ok(())
    }

    /// Releases a lock. A lock that the claim does not hold is left alone.
    async fn release_lock(&self, lock: LockName, claim: ClaimKey) -> Result<()>;

    /// Returns the locks of a tenant that are held, by name.
    async fn locks(&self, tenant: Name) -> Result<Vec<HeldLock>>;
}

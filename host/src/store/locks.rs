//! Locks: what they are called, how they are held, and which runs wait for them.

use crate::run::ClaimKey;
use crate::store::Result;
use async_trait::async_trait;

use crate::run::RunId;
use crate::task::Name;
use crate::time::Timestamp;

/// Exclusive, or shared with others that share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// One holder.
    Exclusive,
    /// Any number of holders that all share.
    Shared,
}

/// What locks are for: those that guests name, and those that a cache refresh takes on its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// Taken through the `locks` import.
    Named,
    /// Taken by `cache.refresh` on the entry's key.
    Refresh,
}

/// Which lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
#[derive(Clone, Debug)]
pub struct HeldLock {
    /// Which.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockWait {
    /// Which lock.
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

/// Locks that runs hold.
#[async_trait]
pub trait Locks: Send + Sync {
    /// Try to take a lock for a run, once. A lock that the run holds already in the same mode is taken again with its fence.
    ///
    /// Where there is a queue ([`Locks::wait_for_lock`]), nobody goes before those who stand there in the way: one of them is
    /// who the answer names then. A run that stands there itself goes by its own place, and gives it up with the lock.
    async fn acquire_lock(&self, lock: LockName, mode: LockMode, claim: ClaimKey, now: Timestamp) -> Result<LockTaken>;

    /// [`Locks::acquire_lock`] for a run that waits: where it does not get the lock, it has a place in a queue from then on, in
    /// which those of all hosts stand in the order they came. Asked again it keeps its place; it has to ask again, as
    /// nobody is given a lock unasked.
    ///
    /// A place is kept until the lock is taken, the queue is left ([`Locks::leave_lock_queue`]) or the attempt is over. It
    /// keeps nobody out while the lease of its run is over.
    ///
    /// A store that only one host can have needs no queue, as that host has one: this is what it is for.
    async fn wait_for_lock(
        &self,
        lock: LockName,
        mode: LockMode,
        claim: ClaimKey,
        now: Timestamp,
    ) -> Result<LockTaken> {
        self.acquire_lock(lock, mode, claim, now).await
    }

    /// Give up a run's place in the queue for a lock, if it has one.
    async fn leave_lock_queue(&self, _lock: LockName, _claim: ClaimKey) -> Result<()> {
        Ok(())
    }

    /// Let go of a lock. One that the claim does not hold is left alone.
    async fn release_lock(&self, lock: LockName, claim: ClaimKey) -> Result<()>;

    /// The locks of a tenant that are held, by name.
    async fn locks(&self, tenant: Name) -> Result<Vec<HeldLock>>;
}

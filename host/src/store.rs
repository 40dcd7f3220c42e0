//! The contract between the machine and where runs, locks and the cache are kept.
//!
//! Its methods speak of a run's life. What a store promises:
//!
//! - A call that returned `Ok` is durable; one that returned an error changed nothing.
//! - Every write after a claim is made only where run, attempt and fence match, else [`StoreError::ClaimLost`].
//! - The time is the caller's: no method reads a clock.
//! - Nothing here assumes that this host is the only one.
//!
//! `store::conformance` is the test text that every store passes.

pub mod added;
pub mod backlog;
pub mod cache;
pub mod claims;
mod codes;
#[cfg(test)]
pub(crate) mod conformance;
mod error;
mod hints;
pub mod history;
pub mod hosts;
mod latest;
pub mod locks;
mod loss;
mod migrations;
pub mod postgres;
pub mod published;
pub mod repairs;
pub mod rules;
pub mod runs;
pub mod schedules;
pub mod sqlite;
pub mod tasks;
pub mod transfer;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;

pub use error::{Result, StoreError};

pub use claims::{Cancelled, ClaimRequest, Claimed, Extended, Finish, TenantShare};
pub use history::{AttemptInfo, Retention, RunFilter, RunInfo, StoreStats};
pub use latest::LatestRuns;
pub use locks::{HeldLock, LockKind, LockMode, LockName, LockTaken, LockWait};
pub use loss::{Death, Expired, LossPolicy, Released};
use runs::ROW_BYTES;
pub use runs::{Admit, Begun, Enqueued, Fire, Fired, NewRun};
pub use schedules::{Remember, RunKey, Stands, Watched};
pub use tasks::TaskState;

use crate::time::Timestamp;

pub use cache::{CacheKey, CacheWrite, Entry, EntryInfo, WriteIf, Written};

/// Where all that outlives a host is kept: a trait for each subject. See the module for what every method promises.
#[async_trait]
pub trait Store:
    runs::Runs
    + history::History
    + claims::Claims
    + schedules::Schedules
    + tasks::Tasks
    + locks::Locks
    + cache::Cache
    + added::AddedSchedules
    + hosts::Hosts
    + published::Plugins
    + repairs::Repairs
    + backlog::Backlog
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    /// Told (as a hint only) whenever runs may have become claimable, or will earlier than was said.
    ///
    /// All who wait are told ([`Notify::notify_waiters`]), after the commit: make the `notified()` future first, then look,
    /// then await it, and nothing is missed.
    fn runs_hint(&self) -> Arc<Notify>;

    /// Told (as a hint only) whenever locks may have become free; in the manner of [`Store::runs_hint`].
    fn locks_hint(&self) -> Arc<Notify>;

    /// Told (as a hint only) whenever a run changed, by whichever way: a number that grows with each commit that did so.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;

    /// What it has done since it was opened.
    fn stats(&self) -> StoreStats;

    /// Most runs that are worth being taken with one claim. More would hold back others' writes, fewer would pay for the disk
    /// (and the way there) more often.
    fn batch(&self) -> usize {
        128
    }

    /// The time by the clock that all hosts of the store go by, whatever their own say; `None` where there is one host, whose
    /// clock is as good as any.
    async fn time(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}

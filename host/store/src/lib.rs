//! Defines the contract between the machine and the store, which keeps runs, locks and the cache.
//!
//! Its methods speak of a run's life. A store promises:
//!
//! - A call that returned `Ok` is durable; a call that returned an error changed nothing.
//! - Every write after a claim happens only if run, attempt and fence match; otherwise the call returns
//!   [`StoreError::ClaimLost`].
//! - The caller passes the time; no method reads a clock.
//! - Nothing here assumes that this host is the only one.
//!
//! `store::conformance` is the test suite that every store passes.

pub mod added;
pub mod backfills;
pub mod backlog;
pub mod cache;
pub mod claims;
mod codes;
#[cfg(test)]
pub(crate) mod conformance;
mod error;
pub mod events;
mod hints;
pub mod history;
pub mod hosts;
mod labels;
mod latest;
mod leftovers;
pub mod lists;
pub mod locks;
mod loss;
mod migrations;
pub mod postgres;
pub mod published;
pub mod repairs;
pub mod requests;
pub mod rules;
pub mod runs;
pub mod schedules;
mod sql;
pub mod sqlite;
pub mod tasks;
#[doc(hidden)]
pub mod testkit;
pub mod transfer;
pub mod views;

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
pub use runs::{Admit, EnqueueOutcome, Fire, FireOutcome, NewRun, ScheduleStart};
pub use schedules::{AwaitedRunState, RunKey, TriggerState, UpdateMemory};
pub use tasks::TaskState;

use sexton_domain::time::Timestamp;

pub use cache::{
    CacheKey, CacheRestore, CacheWrite, Entry, EntryHistory, EntryInfo, MOST_KEPT, VersionInfo, WriteIf, WriteOutcome,
};

/// Keeps everything that outlives a host, with one trait for each subject. The module says what every method promises.
#[async_trait]
pub trait Store:
    runs::Runs
    + history::History
    + lists::Lists
    + claims::Claims
    + schedules::Schedules
    + tasks::Tasks
    + locks::Locks
    + cache::Cache
    + added::AddedSchedules
    + hosts::Hosts
    + published::Plugins
    + repairs::Repairs
    + requests::Requests
    + backlog::Backlog
    + backfills::Backfills
    + views::Views
    + events::Events
    + Send
    + Sync
    + std::fmt::Debug
    + 'static
{
    /// Returns the hint that runs may have become claimable, or will be earlier than the store said.
    ///
    /// After the commit it wakes all waiters ([`Notify::notify_waiters`]): a waiter that creates the `notified()`
    /// future first, then looks, then awaits it, misses nothing.
    fn runs_hint(&self) -> Arc<Notify>;

    /// Returns the hint that locks may have become free; it works like [`Store::runs_hint`].
    fn locks_hint(&self) -> Arc<Notify>;

    /// Returns a number that grows with each commit that changed a run, by any route; a hint only.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;

    /// Returns what the store has done since it was opened.
    fn stats(&self) -> StoreStats;

    /// Returns the most runs that are worth taking with one claim. More would delay other writes; fewer would pay for
    /// the disk and the round trip more often.
    fn batch(&self) -> usize {
        128
    }

    /// Returns the time of the clock that all hosts of the store follow instead of their own; `None` if only one host
    /// can have the store, because its own clock is as good as any.
    async fn time(&self) -> Result<Option<Timestamp>> {
        Ok(None)
    }
}

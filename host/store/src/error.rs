//! Defines the errors of a store.

use sexton_domain::run::{ClaimKey, RunId};

use super::added::ScheduleError;

/// The reason why a store refused a call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The claim does not hold, or no longer: another host has the run, or the run is over.
    #[error("claim lost: run {}, attempt {}", .0.run, .0.attempt)]
    ClaimLost(ClaimKey),
    /// No run has this id.
    #[error("no run {0}")]
    NoRun(RunId),
    /// The write would exceed the tenant's cache quota.
    #[error("the cache is full: {used} of {quota} bytes are in use")]
    CacheFull {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// The write would exceed the writing task's budget for its entries.
    #[error("the task's budget of the cache is used up: {used} of {budget} bytes are in use")]
    CacheBudget {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// The call on an added schedule was refused.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The disk is full. Nothing was changed; the caller may retry.
    #[error("the disk that holds `{0}` is full")]
    DiskFull(String),
    /// The store is unusable: wrong schema, not a database, read-only, or locked by another host.
    #[error("{0}")]
    Unusable(String),
    /// Any other error, in the store's own words.
    #[error("store: {0}")]
    Other(String),
}

/// The result of a store method.
pub type Result<T> = std::result::Result<T, StoreError>;

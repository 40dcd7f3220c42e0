//! Why a store did not do what it was asked.

use crate::run::{ClaimKey, RunId};

use super::added::ScheduleError;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The claim is not (or no longer) the run's: another host has it, or it is over.
    #[error("claim lost: run {}, attempt {}", .0.run, .0.attempt)]
    ClaimLost(ClaimKey),
    /// There is no such run.
    #[error("no run {0}")]
    NoRun(RunId),
    /// The tenant's share of the cache would be exceeded.
    #[error("the cache is full: {used} of {quota} bytes are in use")]
    CacheFull {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        quota: u64,
    },
    /// What entries written by the writing task may take together would be exceeded.
    #[error("the task's budget of the cache is used up: {used} of {budget} bytes are in use")]
    CacheBudget {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        budget: u64,
    },
    /// About an added schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// The disk is full. Nothing was changed; it may be tried again.
    #[error("the disk that holds `{0}` is full")]
    DiskFull(String),
    /// The store cannot be used as it is: wrong schema, not a database, read-only, locked by another host.
    #[error("{0}")]
    Unusable(String),
    /// Anything else, in the store's own words.
    #[error("store: {0}")]
    Other(String),
}

/// What a store method returns.
pub type Result<T> = std::result::Result<T, StoreError>;

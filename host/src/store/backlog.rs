//! What waits because tasks asked for it.

use async_trait::async_trait;

use super::Result;
use crate::task::TaskKey;

/// Runs whose inputs are summed at most, so that an answer is quick. A tenant that has more of them waiting is taken to have
/// as many bytes as there can be.
pub(super) const SUMMED: i64 = 20_000;

/// What waits of a task and its tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Runs of the task that wait, however they came about.
    pub runs: u64,
    /// Bytes of the inputs of those that tasks asked for.
    pub bytes: u64,
    /// The same of all tasks of the tenant.
    pub tenant_bytes: u64,
}

/// Where that is asked.
#[async_trait]
pub trait Backlog {
    /// What waits of `task` and its tenant. Runs that people asked for count as runs and not as bytes: people may fill the disk
    /// in other ways too, and have to be able to act when tasks have used up what they may.
    async fn waiting(&self, task: TaskKey) -> Result<Waiting>;
}

/// A sum over the first runs, with how many there were.
pub(super) fn bytes_of(sum: i64, runs: i64) -> u64 {
    if runs >= SUMMED { u64::MAX } else { sum.unsigned_abs() }
}

//! Sums the runs and inputs that wait because tasks asked for them.

use async_trait::async_trait;

use super::Result;
use sexton_domain::task::TaskKey;

/// The most runs whose inputs are summed, so that an answer is quick. A tenant with more of them waiting counts as
/// having the greatest possible number of bytes.
pub(super) const SUMMED: i64 = 20_000;

/// The waiting runs of a task and its tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The number of waiting runs of the task, whatever made them, without those that wait for their turn in a backfill.
    pub runs: u64,
    /// The bytes of their inputs, of runs that tasks asked for only.
    pub bytes: u64,
    /// The bytes of such inputs over all tasks of the tenant.
    pub tenant_bytes: u64,
}

/// Answers how much is waiting.
#[async_trait]
pub trait Backlog {
    /// Returns how much of `task` and its tenant is waiting. Runs that people asked for count as runs and not as bytes:
    /// people can fill the disk in other ways too, and must be able to act when tasks have used up their bytes.
    async fn waiting(&self, task: TaskKey) -> Result<Waiting>;
}

/// Returns the bytes for a `sum` over the first `runs` runs, at most [`SUMMED`].
pub(super) fn bytes_of(sum: i64, runs: i64) -> u64 {
    if runs >= SUMMED { u64::MAX } else { sum.unsigned_abs() }
}

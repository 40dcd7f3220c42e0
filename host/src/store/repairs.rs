//! Mending instants that a clock which was wrong has left in a store.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use crate::schedule::IMPLAUSIBLE;
use crate::time::Timestamp;

/// The longest lease that a host may have. A claim that seems to hold for longer is given this, so that one whose host is up is
/// extended before it is over.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// What was mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Tasks whose schedule, or whose being held back, was ahead.
    pub tasks: u64,
    /// Runs that waited, or were claimed.
    pub runs: u64,
    /// Added schedules.
    pub schedules: u64,
    /// Entries of the cache.
    pub entries: u64,
}

/// What stores do about clocks that were wrong.
#[async_trait]
pub trait Repairs {
    /// Brings back what was written by a clock that was [implausibly](IMPLAUSIBLE) far ahead of `now`, so that it goes on
    /// as if it had been written now:
    ///
    /// - what schedules of tasks, and added ones, have come to, and until when tasks are held back;
    /// - runs that wait and were made, or tried last, by such a clock: those that were not tried yet keep their delay, others
    ///   are tried at once;
    /// - claims, which hold for the longest lease from now, and hosts, which count as up no longer;
    /// - entries of the cache that were set by such a clock, which keep their time to live.
    ///
    /// What a person or a guest put that far ahead on purpose stays: it was made by a clock that was right.
    async fn repair_instants(&self, now: Timestamp) -> Result<Repaired>;
}

/// Up to here an instant is plausible.
pub(super) fn limit(now: Timestamp) -> Timestamp {
    now.plus(IMPLAUSIBLE)
}

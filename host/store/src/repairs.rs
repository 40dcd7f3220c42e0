//! Repairs instants that a wrong clock has left in a store.

use std::time::Duration;

use async_trait::async_trait;

use super::Result;
use super::added::ScheduleKey;
use sexton_domain::pause::PauseTarget;
use sexton_domain::schedule::IMPLAUSIBLE;
use sexton_domain::time::Timestamp;

/// The longest lease that a host may have. A claim that seems to hold for longer gets this lease, so that a host that
/// is up extends it before it ends.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(3600);

/// The number of repaired rows of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The tasks whose schedule, or whose end of being held back, was ahead.
    pub tasks: u64,
    /// The runs that waited or were claimed.
    pub runs: u64,
    pub schedules: u64,
    pub entries: u64,
}

/// Repairs what wrong clocks have written.
#[async_trait]
pub trait Repairs {
    /// Brings back what was written by a clock that was [implausibly](IMPLAUSIBLE) far ahead of `now`, as if it had
    /// been written now:
    ///
    /// - cursors of tasks' schedules and of added ones, and the instants until which tasks are held back;
    /// - waiting runs that were made, or last tried, by such a clock: untried ones keep their delay, others are tried
    ///   at once;
    /// - claims, which then hold for the longest lease from now, and hosts, which no longer count as up;
    /// - cache entries that were set by such a clock, which keep their time to live.
    ///
    /// Instants that a person or a guest put that far ahead on purpose stay, because a correct clock wrote them.
    async fn repair_instants(&self, now: Timestamp) -> Result<Repaired>;
}

/// Runs that wait, and are brought back if a clock that was ahead has made or tried them: they would keep the schedule
/// that goes on from now waiting for them.
#[derive(Clone, Copy, Debug)]
pub(super) enum BroughtBack<'a> {
    /// The runs of tasks.
    Of(&'a PauseTarget),
    /// The runs that an added schedule has made.
    MadeBy(&'a ScheduleKey),
}

impl BroughtBack<'_> {
    /// Returns the tenant, the task or the key, and whether it is a key; a text is empty where there is none.
    pub(super) fn names(&self) -> (&str, &str, bool) {
        match self {
            Self::Of(target) => {
                let (tenant, task) = target.names();
                (tenant, task, false)
            }
            Self::MadeBy(key) => (key.tenant.as_str(), key.key.as_str(), true),
        }
    }
}

/// Returns the latest plausible instant.
pub(super) fn limit(now: Timestamp) -> Timestamp {
    now.plus(IMPLAUSIBLE)
}

//! Lets the runs of backfills take turns.
//!
//! The runs of a backfill are made at once, so that nothing about it is kept but its runs, and wait for their turn:
//! their `run_at` never comes (`TURN`). Hosts give out the turns as runs end, so that it does not matter how a run
//! ends, and a crash between two turns delays the next one only.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::Result;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// The `run_at` of a run that waits for its turn. It never comes, and differs from that of a run that is suspected of
/// killing its host.
pub(super) const TURN: Timestamp = Timestamp::from_millis(i64::MAX - 1);

/// The same as statements name it.
pub(super) const TURN_MS: i64 = TURN.as_millis();

/// The most runs of one task that get their turn at once, and the most that one call of
/// [`Backfills::cancel_backfill`] cancels, so that other writes come in between.
pub(super) const PIECE: i64 = 500;

/// The result of [`Backfills::take_turns`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// The number of runs whose turn has come.
    pub started: u64,
    /// Whether further runs wait for their turn.
    pub waiting: bool,
}

/// The runs that a task's schedule has for some instants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueRuns {
    /// The instants that have a run.
    pub found: BTreeSet<Timestamp>,
    /// The latest instant of the schedule whose run was deleted, because it was over and is kept no longer. Whether
    /// instants up to this one had a run is not known any more.
    pub forgotten_until: Option<Timestamp>,
}

/// Keeps the runs of backfills.
#[async_trait]
pub trait Backfills {
    /// Lets runs of backfills start whose turn has come: of each task those made first, up to the number that may be
    /// going at once ([`NewRun::at_once`](super::NewRun::at_once)).
    async fn take_turns(&self, now: Timestamp) -> Result<Turns>;

    /// Returns those of `instants` for which the schedule of `task` has a run, its own one or one of a backfill, and up to
    /// which instant runs were deleted.
    async fn due_runs(&self, task: TaskKey, instants: Vec<Timestamp>) -> Result<DueRuns>;

    /// Cancels runs of the task's backfills that wait for their turn, for the reason `why`. Their instants count as
    /// without a run again. Returns how many were cancelled; it is 0 if none is left.
    async fn cancel_backfill(&self, task: TaskKey, why: &str, now: Timestamp) -> Result<u64>;
}

//! What a host asks for, gets and gives back: claims on runs, from the first to the end of an attempt.

use crate::store::Result;
use crate::supervision::Consequence;

use super::Expired;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Death, LossPolicy};
use crate::lifecycle::Transition;
use crate::run::{Claim, ClaimKey, Report, RunState};
use crate::supervision::Supervision;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// What a host asks for when it has room for runs.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// Who asks, shown with the run.
    pub host: String,
    /// The tasks that the host can run, with how many runs of each may be running at once on all hosts together; 0 for one
    /// of which nothing is to be taken but what is [forced](super::NewRun::forced).
    pub tasks: Arc<BTreeMap<TaskKey, u32>>,
    /// What decides about lost runs of those tasks. It is stored with each run that is taken.
    pub policies: Arc<BTreeMap<TaskKey, LossPolicy>>,
    /// At most this many.
    pub limit: usize,
    /// How many of them may be each tenant's; one that is not named has no bound. Places go first to the tenant that has the
    /// fewest runs under way. Empty: tenants are not told apart.
    pub tenants: BTreeMap<Name, TenantShare>,
    /// How long the claims hold unless they are extended.
    pub lease: Duration,
    /// The time it is.
    pub now: Timestamp,
}

/// What a tenant has under way on a host, and may have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantShare {
    /// Attempts under way on the host that asks.
    pub running: u32,
    /// How many more may be claimed.
    pub room: u32,
}

/// What a host got.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The runs, earliest `run_at` first.
    pub claims: Vec<Claim>,
    /// When the earliest of the waiting runs that are not due yet (of the tasks asked for) will be, or one of those that
    /// are to start in time is too late; a hint.
    pub next_run_at: Option<Timestamp>,
}

/// The answer to [`Claims::extend`].
#[derive(Clone, Debug, Default)]
pub struct Extended {
    /// Claims that are no longer this host's: end them, write nothing.
    pub lost: Vec<ClaimKey>,
    /// Claims that hold, and that somebody wants ended.
    pub cancelled: Vec<ClaimKey>,
}

/// The end of an attempt, written in one transaction with the release of all the run's locks.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Proof that one may.
    pub claim: ClaimKey,
    /// What becomes of the run.
    pub transition: Transition,
    /// What is written down about the attempt.
    pub report: Report,
    /// What is done about the task if this is one failure of many.
    pub supervision: Supervision,
    /// If set, the claim must also have expired by then: how a sweeper buries what another host left.
    pub expired_by: Option<Timestamp>,
    /// Set if the attempt was lost because its host died: the death is counted for the run.
    pub death: Option<Death>,
}

/// What [`Runs::cancel`](crate::store::runs::Runs::cancel) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting and is cancelled now.
    Done,
    /// It is running: its host is told with the next [`Claims::extend`].
    Requested,
    /// It was over before.
    Over(RunState),
}

/// Runs that hosts take, hold and end.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Take due runs. First come those that are [forced](super::NewRun::forced), if this is their first attempt, whatever holds their
    /// tasks and tenants back; where there are any, they are all that is taken.
    ///
    /// Else, runs of paused tasks (see [`Schedules::fire`](crate::store::schedules::Schedules::fire)), and more of a task than it may have at once, are left alone; of a task that is
    /// held back ([`Standing::holds`](crate::supervision::Standing::holds)) all but those that [`goes_through`](crate::supervision::goes_through) lets pass.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed>;

    /// Hold on to claims until `until`.
    async fn extend(&self, claims: Vec<ClaimKey>, until: Timestamp) -> Result<Extended>;

    /// Write down the end of an attempt, and release its locks.
    ///
    /// A run whose end was asked for ([`Runs::cancel`](crate::store::runs::Runs::cancel)) does not wait again: [`Transition::Wait`] cancels it then, as
    /// its host may have looked just before it was asked. If it was killed, the reason that was given is what is said of
    /// the run.
    ///
    /// The same transaction counts the end in for the task, whichever host it was on, and pauses or holds back the task as
    /// [`supervision::after`](crate::supervision::after) says. Returns that. The outcome is shared, as a caller may have
    /// to offer it again.
    ///
    /// # Errors
    ///
    /// [`StoreError::ClaimLost`](super::StoreError::ClaimLost) where the claim does not hold (any more).
    async fn finish(&self, finish: Arc<Finish>) -> Result<Consequence>;

    /// Find claims whose lease was over before `now`, at most `limit`.
    async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Expired>>;

    /// End all claims of `host`'s earlier lives at once: they are found by [`Claims::expired`] with any `now`.
    ///
    /// For a host that starts, before it claims. Returns how many there were.
    async fn abandon(&self, host: &str) -> Result<u64>;
}

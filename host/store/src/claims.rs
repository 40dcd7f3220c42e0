//! Defines claims on runs: how a host takes runs, keeps them, and ends their attempts.

use crate::Result;
use sexton_domain::supervision::Consequence;

use super::Expired;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Death, LossPolicy};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Claim, ClaimKey, Report, RunState};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

/// A host's request for runs.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    /// The host that asks, shown with the run.
    pub host: String,
    /// The tasks that the host can run, each with the most runs of it that may be running at once on all hosts
    /// together; 0 if only [forced](super::NewRun::forced) runs of it may be taken.
    pub tasks: Arc<BTreeMap<TaskKey, u32>>,
    /// The policies for lost runs of those tasks. The store keeps a policy with each run that is taken.
    pub policies: Arc<BTreeMap<TaskKey, LossPolicy>>,
    pub limit: usize,
    /// The share of each tenant; a tenant that is missing has no bound. Places go first to the tenant that has the
    /// fewest attempts under way. If empty, the store ignores tenants.
    pub tenants: BTreeMap<Name, TenantShare>,
    /// The time for which the claims hold unless they are extended.
    pub lease: Duration,
    pub now: Timestamp,
}

/// A tenant's attempts under way on a host, and its room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantShare {
    /// The number of the tenant's attempts under way on the host that asks.
    pub running: u32,
    /// The number of further runs of the tenant that may be claimed.
    pub room: u32,
}

/// The runs that a host got.
#[derive(Clone, Debug, Default)]
pub struct Claimed {
    /// The claimed runs, earliest `run_at` first.
    pub claims: Vec<Claim>,
    /// The instant to claim again, as a hint: when the earliest waiting run of those tasks becomes due, or when a run
    /// passes its latest start.
    pub next_run_at: Option<Timestamp>,
}

/// The answer to [`Claims::extend`].
#[derive(Clone, Debug, Default)]
pub struct Extended {
    /// Claims that no longer belong to this host: end their attempts, and write nothing.
    pub lost: Vec<ClaimKey>,
    /// Claims that hold, of runs that were asked to end.
    pub cancelled: Vec<ClaimKey>,
}

/// The end of an attempt, written in one transaction with the release of all the run's locks.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The claim that proves the right to write.
    pub claim: ClaimKey,
    pub transition: Transition,
    pub report: Report,
    /// The policies for a task whose runs fail repeatedly.
    pub supervision: Supervision,
    /// If set, the claim must also have expired before this instant. A sweeper sets it to end attempts of other hosts.
    pub expired_by: Option<Timestamp>,
    /// Set if the attempt was lost because its host died: the store counts the death for the run.
    pub death: Option<Death>,
}

impl Finish {
    /// Creates the end of an attempt by the host that made it.
    #[must_use]
    pub fn new(claim: ClaimKey, transition: Transition, report: Report, supervision: Supervision) -> Self {
        Self { claim, transition, report, supervision, expired_by: None, death: None }
    }
}

/// The result of [`Runs::cancel`](crate::runs::Runs::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The run was waiting and is cancelled now.
    Done,
    /// The run is running: its host learns of the request with the next [`Claims::extend`].
    Requested,
    /// The run was over before.
    Over(RunState),
}

/// Lets hosts take, keep and end runs.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Claims due runs. [Forced](super::NewRun::forced) runs at their first attempt come first, whatever holds their
    /// tasks and tenants back; if there are any, the claim takes no others.
    ///
    /// Otherwise the claim leaves alone the runs of paused tasks (see
    /// [`Schedules::fire`](crate::schedules::Schedules::fire)) and those beyond a task's concurrency limit. Of a
    /// task that is held back ([`Standing::holds`](sexton_domain::supervision::Standing::holds)) it takes only the runs that
    /// [`bypasses_brake`](sexton_domain::supervision::bypasses_brake) lets pass.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed>;

    /// Extends claims until `until`.
    async fn extend(&self, claims: Vec<ClaimKey>, until: Timestamp) -> Result<Extended>;

    /// Writes the end of an attempt, and releases its locks.
    ///
    /// A run that was asked to end ([`Runs::cancel`](crate::runs::Runs::cancel)) does not wait again:
    /// [`Transition::Wait`] cancels it instead, because its host may have looked just before the request. If the run
    /// was killed, its message is the reason that was given.
    ///
    /// The same transaction counts the end for the task, whichever host ran the attempt, and pauses or holds back the
    /// task as [`supervision::after`](sexton_domain::supervision::after) says. Returns that consequence. The argument is
    /// shared, because a caller may have to retry with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::ClaimLost`](super::StoreError::ClaimLost) if the claim does not hold, or no longer.
    async fn finish(&self, finish: Arc<Finish>) -> Result<Consequence>;

    /// Returns claims whose lease ended before `now`, at most `limit`.
    async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Expired>>;

    /// Ends all claims of `host`'s earlier lives at once: [`Claims::expired`] finds them with any `now`.
    ///
    /// A host calls this when it starts, before it claims. Returns the number of claims.
    async fn abandon(&self, host: &str) -> Result<u64>;
}

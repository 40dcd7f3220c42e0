//! What a host asks for, gets and gives back: claims on runs, from the first to the end of an attempt.

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

/// The answer to [`Store::extend`](super::Store::extend).
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

/// What [`Store::cancel`](super::Store::cancel) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It was waiting and is cancelled now.
    Done,
    /// It is running: its host is told with the next [`Store::extend`](super::Store::extend).
    Requested,
    /// It was over before.
    Over(RunState),
}

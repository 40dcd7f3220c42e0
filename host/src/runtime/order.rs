//! What a runtime is asked for, and what it answers: one attempt, and how that ended.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::imports::locks::LockWaits;
use crate::lifecycle::Ending;
use crate::run::{Claim, Report};
use crate::store::Store;
use crate::task::Task;
use crate::tenant::Tenants;
use crate::time::Clock;

use super::handle::RunHandle;
use super::virtual_time::VirtualTime;

/// What guests' imports work on.
#[derive(Debug)]
pub struct Services {
    /// Runs, locks and the cache.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The tasks there are, for the `schedule` import.
    pub catalog: Arc<Catalog>,
    /// The tenants, and what each may have.
    pub tenants: Arc<Tenants>,
    /// Who waits for which lock, on this host.
    pub lock_waits: Arc<LockWaits>,
    /// The time that guests live in, where it is not the real one: `clock` is to be the same.
    pub virtual_time: Option<Arc<VirtualTime>>,
}

/// One attempt to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// What was claimed.
    pub claim: Arc<Claim>,
    /// The task, as it was when it was claimed.
    pub task: Arc<Task>,
    /// How others watch and end it.
    pub handle: Arc<RunHandle>,
}

/// An attempt that is over. Nothing of its guest is left.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What follows from it.
    pub ending: Ending,
    /// What is written down about it.
    pub report: Report,
    /// Set if the attempt was ended because its claim was lost: nothing may be written for it.
    pub claim_lost: bool,
}

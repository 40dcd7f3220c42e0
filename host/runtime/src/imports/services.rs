//! The parts of the host that the imports of all guests share.

use std::sync::Arc;

use crate::attempt::VirtualTime;
use sexton_domain::tenant::Tenants;
use sexton_domain::time::Clock;
use sexton_store::Store;

use super::locks::LockWaits;
use super::run_requests::RunRequests;
use super::schedule_requests::ScheduleRequests;

/// The parts of the host that guests' imports use.
#[derive(Debug)]
pub struct Services {
    /// Stores runs, locks and the cache.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Decides about the runs that guests ask for.
    pub run_requests: Arc<dyn RunRequests>,
    /// Decides about the schedules that guests add and delete.
    pub schedule_requests: Arc<dyn ScheduleRequests>,
    /// The tenants and their limits.
    pub tenants: Arc<Tenants>,
    /// The runs of this host that wait for locks.
    pub lock_waits: Arc<LockWaits>,
    /// The time that guests live in, unless it is the real one. `clock` must show the same time.
    pub virtual_time: Option<Arc<VirtualTime>>,
}

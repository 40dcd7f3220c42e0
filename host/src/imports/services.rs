//! What the host offers to the imports of all guests.

use std::sync::Arc;

use crate::attempt::VirtualTime;
use crate::catalog::Catalog;
use crate::store::Store;
use crate::tenant::Tenants;
use crate::time::Clock;

use super::locks::LockWaits;

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
    /// The runs of this host that wait for locks.
    pub lock_waits: Arc<LockWaits>,
    /// The time that guests live in, where that is not the real one. `clock` must show the same time.
    pub virtual_time: Option<Arc<VirtualTime>>,
}

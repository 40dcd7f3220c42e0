//! The parts of the host that the imports of all guests share.

use std::sync::Arc;

use crate::attempt::VirtualTime;
use crate::catalog::Catalog;
use crate::store::Store;
use crate::tenant::Tenants;
use crate::time::Clock;

use super::locks::LockWaits;

/// The parts of the host that guests' imports use.
#[derive(Debug)]
pub struct Services {
    /// Stores runs, locks and the cache.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The tasks that this host knows, for the `schedule` import.
    pub catalog: Arc<Catalog>,
    /// The tenants and their limits.
    pub tenants: Arc<Tenants>,
    /// The runs of this host that wait for locks.
    pub lock_waits: Arc<LockWaits>,
    /// The time that guests live in, unless it is the real one. `clock` must show the same time.
    pub virtual_time: Option<Arc<VirtualTime>>,
}

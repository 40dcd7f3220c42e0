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
    /// Who waits for which lock, on this host.
    pub lock_waits: Arc<LockWaits>,
    /// The time that guests live in, where it is not the real one: `clock` is to be the same.
    pub virtual_time: Option<Arc<VirtualTime>>,
}

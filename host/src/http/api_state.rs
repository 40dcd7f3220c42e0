//! What the API works on, and what a host says of itself.

use std::sync::Arc;

use crate::catalog::Catalog;
use crate::machine::budget::Budgets;
use crate::machine::drain::{Duty, HostDuty};
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::ops::Ops;
use crate::plugins::PluginInfo;
use crate::run::HeldBack;
use crate::store::{LockWait, Store};
use crate::supervisor::Supervisor;
use crate::task::Name;
use crate::tenant::Tenants;
use crate::time::{Clock, Timestamp};

use super::waiting::WaitingPlaces;

/// The most bytes that a request's body may have: an input, or a cache entry's value.
pub const MAX_BODY: usize = 1 << 20;

/// Tells which runs of a tenant wait for locks on this host.
pub type LockWaits = Arc<dyn Fn(&Name) -> Vec<LockWait> + Send + Sync>;

/// What the API works on.
pub struct ApiState {
    /// What people ask for.
    pub ops: Ops,
    /// Runs, locks and the cache.
    pub store: Arc<dyn Store>,
    /// The tasks there are.
    pub catalog: Arc<Catalog>,
    /// The attempts under way on this host.
    pub live: Arc<LiveRuns>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The plugins as they are now, of all tenants.
    pub plugins: Arc<dyn Fn() -> Vec<PluginInfo> + Send + Sync>,
    /// The runs of this host that wait for locks.
    pub lock_waits: LockWaits,
    /// What this host says of itself.
    pub host: HostInfo,
    /// The tenants, and what each may have.
    pub tenants: Arc<Tenants>,
    /// What tasks and tenants have used of that.
    pub budgets: Arc<Budgets>,
    /// Whether a signal paused this host.
    pub pause: Arc<HostPause>,
    /// Whether it takes runs.
    pub duty: Arc<HostDuty>,
    /// What has panicked on this host.
    pub supervisor: Arc<Supervisor>,
    /// Requests that wait for something.
    pub waiting: WaitingPlaces,
}

impl ApiState {
    /// Why nothing at all starts here, if that is so.
    pub(super) fn held_back(&self) -> Option<HeldBack> {
        self.pause.held_back().or_else(|| self.duty.held_back())
    }

    /// Whether this host takes no runs, and finishes those it has.
    pub(super) fn is_draining(&self) -> bool {
        self.duty.now() == Duty::Draining
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What a host says of itself.
#[derive(Clone, Debug)]
pub struct HostInfo {
    /// Its name, the one that its claims carry.
    pub name: String,
    /// What it is called besides.
    pub labels: Vec<Name>,
    /// Of the program.
    pub version: String,
    /// Since when it is up.
    pub started_at: Timestamp,
    /// Its process id.
    pub pid: u32,
}

/// What handlers are given.
pub(super) type App = Arc<ApiState>;

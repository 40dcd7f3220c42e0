//! Holds the state that handlers work on, and the description of the host.

use std::sync::Arc;

use crate::machine::budget::Budgets;
use crate::machine::drain::{Duty, HostDuty};
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::ops::Ops;
use crate::plugins::PluginInfo;
use sexton_domain::run::HeldBack;
use sexton_domain::task::Name;
use sexton_domain::tenant::Tenants;
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::catalog::Catalog;
use sexton_store::{LockWait, Store};
use sexton_system::supervisor::Supervisor;

use super::events::EventFeed;
use super::waiting::WaitSlots;

/// The most bytes of a request's body: an input, or a cache entry's value.
pub const MAX_BODY: usize = 1 << 20;

/// Returns which runs of a tenant wait for locks on this host.
pub type LockWaits = Arc<dyn Fn(&Name) -> Vec<LockWait> + Send + Sync>;

/// Returns the plugins of a tenant whose files are not used.
pub type NotUsed = Arc<dyn Fn(&Name) -> Vec<PluginInfo> + Send + Sync>;

/// The state that handlers work on.
pub struct ApiState {
    /// Carries out operations.
    pub ops: Ops,
    /// Holds runs, locks and the cache.
    pub store: Arc<dyn Store>,
    /// The tasks.
    pub catalog: Arc<Catalog>,
    /// The attempts under way on this host.
    pub live: Arc<LiveRuns>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Returns the current plugins of all tenants.
    pub plugins: Arc<dyn Fn() -> Vec<PluginInfo> + Send + Sync>,
    /// Returns those of a tenant whose files are not used.
    pub not_used: NotUsed,
    /// Returns the runs of this host that wait for locks.
    pub lock_waits: LockWaits,
    /// The description of this host.
    pub host: HostInfo,
    /// The tenants, and what each may use.
    pub tenants: Arc<Tenants>,
    /// The parts of their budgets that tasks and tenants have used.
    pub budgets: Arc<Budgets>,
    /// The pause of this host by a signal.
    pub pause: Arc<HostPause>,
    /// Whether this host takes runs.
    pub duty: Arc<HostDuty>,
    /// The panics of this host's parts.
    pub supervisor: Arc<Supervisor>,
    /// The slots of requests that wait.
    pub waiting: WaitSlots,
    /// Feeds events to those that follow them.
    pub events: EventFeed,
}

impl ApiState {
    /// Returns the reason why no runs start here at all, if there is one.
    pub(crate) fn held_back(&self) -> Option<HeldBack> {
        self.pause.held_back().or_else(|| self.duty.held_back())
    }

    /// Returns whether this host takes no runs, and finishes those it has.
    pub(crate) fn is_draining(&self) -> bool {
        self.duty.now() == Duty::Draining
    }
}

impl std::fmt::Debug for ApiState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiState").field("host", &self.host).finish_non_exhaustive()
    }
}

/// The description of a host.
#[derive(Clone, Debug)]
pub struct HostInfo {
    /// The name of the host, which its claims carry.
    pub name: String,
    /// The labels of the host.
    pub labels: Vec<Name>,
    /// The version of the program.
    pub version: String,
    /// The instant at which the host started.
    pub started_at: Timestamp,
    /// The process id.
    pub pid: u32,
}

/// The state as handlers get it.
pub(super) type App = Arc<ApiState>;

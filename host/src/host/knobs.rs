//! Holds the settings of a host that can change while it is up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use sexton_domain::tenant::Tenants;
use sexton_store::Retention;

/// The settings of a host that can change while it is up.
#[derive(Debug)]
pub(super) struct Knobs {
    /// A change causes a look at the plugin directories.
    pub(super) rescan: watch::Sender<u64>,
    pub(super) poll: watch::Sender<Duration>,
    pub(super) retention: watch::Sender<Retention>,
    pub(super) tenants: Arc<Tenants>,
}

//! Creates the parts of a host's loops and API.

use crate::store_clock::StoreClock;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use crate::config::Config;
use crate::http::{ApiState, EventFeed, HostInfo, WaitSlots};
use crate::machine::budget::Budgets;
use crate::machine::drain::HostDuty;
use crate::machine::executor::Executor;
use crate::machine::heartbeat::Heartbeat;
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::machine::membership::{Membership, take_over};
use crate::machine::scheduler::{AddedSchedules, Scheduler, Started};
use crate::machine::summary::Summary;
use crate::machine::sweeper::Sweeper;
use crate::machine::timekeeper::Timekeeper;
use crate::machine::worker::Worker;
use crate::ops::Ops;
use crate::plugins::Registry;
use crate::plugins::directory::Directory;
use crate::plugins::published::{Shared, Sharing};
use crate::plugins::separation::{Places, Separation};
use crate::plugins::watching::SharedWatcher;
use sexton_domain::schedule::IMPLAUSIBLE;
use sexton_domain::task::Name;
use sexton_domain::tenant::Tenants;
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::catalog::Catalog;
use sexton_runtime::imports::Services;
use sexton_runtime::imports::locks::LockWaits;
use sexton_runtime::runtime::{Compiler, Runtime};
use sexton_store::hosts::{self, HostRecord};
use sexton_store::{Retention, Store};
use sexton_system::clock::HostClock;
use sexton_system::supervisor::Supervisor;

use super::knobs::Knobs;
use super::store;

/// The parts of the loops and the API.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) live: Arc<LiveRuns>,
    pub(super) clock: Arc<dyn Clock>,
    /// The same clock, if it has to be kept in step with the store's.
    store_clock: Option<Arc<StoreClock>>,
    /// Whether a host was up while the clock was implausibly far ahead of now.
    found_ahead: bool,
    pub(super) runtime: Arc<Runtime>,
    plugins: Arc<Registry>,
    lock_waits: Arc<LockWaits>,
    /// The places that the plugin directories lead to.
    places: Arc<Places>,
    /// Watches the plugin directories.
    watcher: Arc<SharedWatcher>,
    pub(super) tenants: Arc<Tenants>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) summary: Arc<Summary>,
    pub(super) pause: Arc<HostPause>,
    pub(super) duty: Arc<HostDuty>,
    ops: Ops,
    /// The slots of runs under way.
    slots: Arc<Semaphore>,
    /// The tasks that were due at the host's start.
    started: Started,
    /// The record of this host.
    host: HostRecord,
}

impl Parts {
    /// Opens the store as the host whose API listens at `address` and that keeps history within `retention`, and creates
    /// the other parts.
    pub(super) async fn open(
        config: &Config,
        address: SocketAddr,
        retention: watch::Receiver<Retention>,
    ) -> anyhow::Result<Self> {
        let store = store::open(config).await?;
        store.record_events(config.events.keep > 0);
        let store_clock = StoreClock::of(&*store).await?.map(Arc::new);
        let clock: Arc<dyn Clock> = match &store_clock {
            Some(clock) => clock.clone(),
            None => Arc::new(HostClock::start()),
        };
        let host = record(config, address, clock.now());
        let found_ahead = is_ahead(&store.hosts().await?, clock.now());
        // This comes first: an earlier process of this name that is still up has to give up its claims, before they are
        // abandoned.
        take_over(&*store, host.clone(), config.machine.lease, host.started_at).await?;
        let lost = store.abandon(&host.name).await?;
        if lost > 0 {
            warn!(runs = lost, "{lost} run(s) were under way when this host ended the last time");
        }
        let catalog = Arc::new(Catalog::default());
        let (lock_waits, tenants) = (Arc::<LockWaits>::default(), Arc::new(config.tenants()));
        let ops = Ops::new(
            host.name.clone(),
            Arc::clone(&store),
            Arc::clone(&catalog),
            Arc::clone(&tenants),
            Arc::clone(&clock),
        )
        .with_retention(retention);
        let services = Arc::new(Services {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            run_requests: Arc::new(ops.clone()),
            schedule_requests: Arc::new(ops.clone()),
            tenants: Arc::clone(&tenants),
            lock_waits: Arc::clone(&lock_waits),
            virtual_time: None,
        });
        let mut settings = config.runtime();
        if cfg!(test) {
            settings.compiler = Compiler::InProcess; // the harness of unit tests is no program that compiles
        }
        let runtime = Runtime::new(settings, services)?;
        let plugins = Arc::new(Registry::new(Arc::clone(&catalog)).bounded_by(Arc::clone(&tenants)));
        Ok(Self {
            store,
            catalog,
            live: Arc::clone(&ops.live),
            clock,
            store_clock,
            found_ahead,
            runtime,
            plugins,
            places: Places::beside(config.host.var.clone()),
            watcher: Arc::default(),
            lock_waits,
            tenants,
            budgets: Arc::clone(&ops.budgets),
            summary: Arc::default(),
            pause: Arc::default(),
            duty: Arc::clone(&ops.duty),
            ops,
            slots: Arc::new(Semaphore::new(config.runtime.slots as usize)),
            started: Arc::default(),
            host,
        })
    }

    /// Returns the plugin directory of each tenant.
    pub(super) fn directories(&self, config: &Config) -> anyhow::Result<Vec<Directory>> {
        config.directories().iter().map(|(tenant, path)| self.directory(config, tenant, path)).collect()
    }

    pub(super) fn directory(&self, config: &Config, tenant: &Name, path: &Path) -> anyhow::Result<Directory> {
        let may_lie_in_var = *tenant == Name::default_tenant();
        let apart = Separation { places: Arc::clone(&self.places), tenant: tenant.clone(), may_lie_in_var };
        Directory::open(
            tenant.clone(),
            path,
            Arc::clone(&self.plugins),
            Arc::clone(&self.runtime),
            Arc::clone(&self.clock),
            config.runtime.max_component,
        )
        .map(|directory| directory.apart_from(apart).watched_by(Arc::clone(&self.watcher)))
        .with_context(|| format!("cannot use the plugin directory `{}`", path.display()))
    }

    /// Returns the part that loads plugins on a host that shares them.
    pub(super) fn sharing(&self, config: &Config) -> anyhow::Result<Sharing> {
        let shared = Shared {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            registry: Arc::clone(&self.plugins),
            host: self.host.name.clone(),
        };
        let place = config.published();
        Sharing::of(self.directories(config)?, &place, shared)
            .with_context(|| format!("cannot use `{}` for what other hosts publish", place.display()))
    }

    pub(super) fn scheduler(&self) -> Scheduler {
        Scheduler {
            store: Arc::clone(&self.store),
            catalog: Arc::clone(&self.catalog),
            live: Arc::clone(&self.live),
            clock: Arc::clone(&self.clock),
            pause: Arc::clone(&self.pause),
            started: Arc::clone(&self.started),
        }
    }

    pub(super) fn added_schedules(&self) -> AddedSchedules {
        let (store, catalog, clock) = (Arc::clone(&self.store), Arc::clone(&self.catalog), Arc::clone(&self.clock));
        AddedSchedules { store, catalog, clock, pause: Arc::clone(&self.pause) }
    }

    pub(super) fn worker(&self, config: &Config, knobs: &Knobs) -> Worker {
        let executor = Executor {
            store: Arc::clone(&self.store),
            runtime: Arc::clone(&self.runtime),
            plugins: Arc::clone(&self.plugins),
            live: Arc::clone(&self.live),
            budgets: Arc::clone(&self.budgets),
            summary: Arc::clone(&self.summary),
            clock: Arc::clone(&self.clock),
        };
        Worker {
            store: Arc::clone(&self.store),
            catalog: Arc::clone(&self.catalog),
            clock: Arc::clone(&self.clock),
            executor: Arc::new(executor),
            budgets: Arc::clone(&self.budgets),
            host: self.host.name.clone(),
            labels: self.host.labels.clone(),
            slots: Arc::clone(&self.slots),
            places: config.runtime.slots,
            lease: config.machine.lease,
            poll: knobs.poll.subscribe(),
            pause: Arc::clone(&self.pause),
            duty: Arc::clone(&self.duty),
        }
    }

    pub(super) fn heartbeat(&self, config: &Config) -> Heartbeat {
        Heartbeat {
            store: Arc::clone(&self.store),
            live: Arc::clone(&self.live),
            clock: Arc::clone(&self.clock),
            lease: config.machine.lease,
        }
    }

    pub(super) fn sweeper(&self, config: &Config, knobs: &Knobs) -> Sweeper {
        Sweeper {
            store: Arc::clone(&self.store),
            live: Arc::clone(&self.live),
            catalog: Arc::clone(&self.catalog),
            clock: Arc::clone(&self.clock),
            every: config.machine.lease / 3,
            suspect_after: config.machine.suspect_after(),
            retention: knobs.retention.subscribe(),
            events: config.events(),
        }
    }

    pub(super) fn membership(&self, config: &Config) -> Membership {
        Membership {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            live: Arc::clone(&self.live),
            plugins: Arc::clone(&self.plugins),
            duty: Arc::clone(&self.duty),
            host: self.host.clone(),
            lease: config.machine.lease,
        }
    }

    pub(super) fn timekeeper(&self) -> Timekeeper {
        Timekeeper {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            kept: self.store_clock.clone(),
            found_ahead: self.found_ahead,
        }
    }

    pub(super) fn api(&self) -> Arc<ApiState> {
        let (plugins, lock_waits) = (Arc::clone(&self.plugins), Arc::clone(&self.lock_waits));
        let registry = Arc::clone(&self.plugins);
        Arc::new(ApiState {
            ops: self.ops.clone(),
            store: Arc::clone(&self.store),
            catalog: Arc::clone(&self.catalog),
            live: Arc::clone(&self.live),
            clock: Arc::clone(&self.clock),
            plugins: Arc::new(move || plugins.list()),
            not_used: Arc::new(move |tenant| registry.not_used(tenant)),
            lock_waits: Arc::new(move |tenant| lock_waits.list(tenant)),
            host: HostInfo {
                name: self.host.name.clone(),
                labels: self.host.labels.clone(),
                version: self.host.version.clone(),
                started_at: self.host.started_at,
                pid: std::process::id(),
            },
            tenants: Arc::clone(&self.tenants),
            budgets: Arc::clone(&self.budgets),
            pause: Arc::clone(&self.pause),
            duty: Arc::clone(&self.duty),
            supervisor: Arc::clone(Supervisor::of_process()),
            waiting: WaitSlots::default(),
            events: EventFeed::new(Arc::clone(&self.store)),
        })
    }
}

/// Returns whether one of `hosts` was up at an instant that is implausibly far ahead. Such a host had a wrong clock,
/// and has left more such instants.
fn is_ahead(hosts: &[hosts::HostInfo], now: Timestamp) -> bool {
    hosts.iter().any(|host| host.seen_at.since(now) > IMPLAUSIBLE)
}

/// Returns the record of a host that starts.
fn record(config: &Config, address: SocketAddr, now: Timestamp) -> HostRecord {
    HostRecord {
        name: config.host_name(),
        instance: rand::random(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address: address.to_string(),
        labels: config.host.labels.clone(),
        slots: config.runtime.slots,
        attempts: 0,
        plugins: 0,
        started_at: now,
    }
}

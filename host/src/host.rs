//! Wires the rooms together, starts them, and stops them in order.

mod parts;
mod signals;
mod store;
mod var;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::catalog::Catalog;
use crate::config::Config;
use crate::http;
use crate::machine::host_duty::HostDuty;
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::runtime::{Runtime, Stop};
use crate::store::{Retention, Store};
use crate::task::Name;
use crate::telemetry::LogFilter;
use crate::tenant::Tenants;
use crate::time::Clock;
use parts::Parts;
use signals::{Leave, Reloading, Signals};

pub use signals::ReadAgain;

/// How long attempts that were interrupted may take to be written down. They end within milliseconds; the disk may not.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// A host that is up.
#[derive(Debug)]
pub struct Host {
    /// Where runs, locks and the cache are.
    pub store: Arc<dyn Store>,
    /// The tasks that are known.
    pub catalog: Arc<Catalog>,
    /// The attempts under way.
    pub live: Arc<LiveRuns>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the API listens.
    pub address: SocketAddr,
    runtime: Arc<Runtime>,
    pause: Arc<HostPause>,
    duty: Arc<HostDuty>,
    knobs: Knobs,
    /// Set: nothing new is started.
    stopping: watch::Sender<bool>,
    /// Set: the loops that serve attempts under way end, too.
    over: watch::Sender<bool>,
    first: Vec<JoinHandle<()>>,
    last: Vec<JoinHandle<()>>,
}

/// What can be changed of a host while it is up.
#[derive(Debug)]
struct Knobs {
    /// Changed: the plugin directories are looked at.
    rescan: watch::Sender<u64>,
    poll: watch::Sender<Duration>,
    retention: watch::Sender<Retention>,
    tenants: Arc<Tenants>,
}

impl Host {
    /// Start a host: when this returns the API answers and the loops run; plugins come up as they are loaded.
    ///
    /// # Errors
    ///
    /// When the store, the plugin directory, the code cache or the address cannot be had; with what to do.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        var::prepare(&config).with_context(|| format!("cannot make the directory `{}`", config.host.var.display()))?;
        keep_apart(&config)?;
        let listener = TcpListener::bind(config.http.listen).await.with_context(|| {
            format!(
                "cannot listen on {}; is another host running? `[http] listen` chooses an address",
                config.http.listen
            )
        })?;
        let address = listener.local_addr()?;
        let parts = Parts::open(&config, address).await?;
        let (directories, sharing) = match config.host.publish {
            true => (Vec::new(), Some(parts.sharing(&config)?)),
            false => (parts.directories(&config)?, None),
        };

        let knobs = Knobs {
            rescan: watch::Sender::new(0),
            poll: watch::Sender::new(config.machine.poll),
            retention: watch::Sender::new(config.retention()),
            tenants: Arc::clone(&parts.tenants),
        };
        let (stopping, over) = (watch::Sender::new(false), watch::Sender::new(false));
        let mut api_over = over.subscribe();
        let api_over = async move { drop(api_over.wait_for(|over| *over).await) };
        let mut first = vec![
            tokio::spawn(parts.scheduler().run(stopping.subscribe())),
            tokio::spawn(parts.added_schedules().run(stopping.subscribe())),
            tokio::spawn(parts.worker(&config, &knobs).run(stopping.subscribe())),
        ];
        first.extend(
            directories.into_iter().map(|d| tokio::spawn(d.run(knobs.rescan.subscribe(), stopping.subscribe()))),
        );
        first.extend(sharing.map(|sharing| tokio::spawn(sharing.run(knobs.rescan.subscribe(), stopping.subscribe()))));
        let mut last = vec![
            tokio::spawn(parts.heartbeat(&config).run(over.subscribe())),
            tokio::spawn(parts.announcer(&config).run(over.subscribe())),
            tokio::spawn(parts.sweeper(&config, &knobs).run(over.subscribe())),
            tokio::spawn(Arc::clone(&parts.summary).run(over.subscribe())),
            tokio::spawn(Arc::clone(&parts.budgets).watch(Arc::clone(&parts.live), over.subscribe())),
            tokio::spawn(http::serve(listener, http::router(parts.api()), api_over)),
        ];
        last.push(tokio::spawn(parts.timekeeper().run(over.subscribe())));
        let Parts { store, catalog, live, clock, runtime, pause, duty, .. } = parts;
        Ok(Self { store, catalog, live, clock, address, runtime, pause, duty, knobs, stopping, over, first, last })
    }

    /// Stop in three steps: start nothing new; wait up to `grace` for what is under way, which hears of it if it can;
    /// interrupt what is left.
    ///
    /// What was interrupted waits for the next host, and no attempt is counted against it. `hurry` ends the grace.
    pub async fn stop(self, grace: Duration, hurry: impl Future<Output = ()>) {
        self.stopping.send_replace(true);
        let mut count = self.live.count();
        let under_way = *count.borrow();
        if under_way > 0 {
            info!(runs = under_way, "Waiting up to {grace:?} for {under_way} run(s)");
        }
        for handle in self.live.all() {
            handle.announce_shutdown();
        }
        let idle = async { drop(count.wait_for(|runs| *runs == 0).await) };
        let waited = Instant::now();
        let all_over = tokio::select! {
            () = idle => true,
            () = tokio::time::sleep(grace) => false,
            () = hurry => false,
        };
        if !all_over {
            let left = self.live.all();
            warn!(runs = left.len(), "Interrupting {} run(s) after {:?}", left.len(), waited.elapsed());
            for handle in left {
                handle.stop(Stop::Shutdown);
            }
        }
        for room in self.first {
            if tokio::time::timeout(LAST_WRITES, room).await.is_err() {
                warn!("A part of the host did not stop within {LAST_WRITES:?}");
            }
        }
        self.over.send_replace(true);
        for room in self.last {
            let abort = room.abort_handle();
            // Someone who follows a log must not keep the host up.
            if tokio::time::timeout(Duration::from_secs(1), room).await.is_err() {
                abort.abort();
            }
        }
        let runtime = self.runtime;
        let stopped = tokio::task::spawn_blocking(move || runtime.stop());
        if stopped.await.is_err() {
            warn!("The runtime did not stop as it should");
        }
    }
}

/// Run a host until SIGTERM or SIGINT, and stop it. A second signal ends the grace. SIGHUP has the configuration read again
/// by `read`, SIGUSR1 and SIGUSR2 pause and resume what starts here.
///
/// # Errors
///
/// As [`Host::start`]; and when another process has taken this one's place in the store, which ends it as well.
pub async fn run(config: Config, log: LogFilter, read: ReadAgain) -> anyhow::Result<()> {
    let mut signals = Signals::take()?;
    let (name, plugins) = (config.host_name(), config.host.plugins.clone());
    let host = Host::start(config.clone()).await?;
    info!("Sexton {} is up: http://{}/, plugins from `{}`", env!("CARGO_PKG_VERSION"), host.address, plugins.display());
    notify_systemd(&[sd_notify::NotifyState::Ready]);

    let leave = signals.heed(&host, Reloading { config, read, log }).await;
    let grace = match leave {
        Leave::Signal(by, grace) => {
            info!("Stopping on {by}");
            grace
        }
        // It has said so.
        Leave::Replaced => Duration::ZERO,
    };
    notify_systemd(&[sd_notify::NotifyState::Stopping]);
    host.stop(grace, async {
        signals.stop().await;
    })
    .await;
    info!("Stopped");
    match leave {
        Leave::Signal(..) => Ok(()),
        Leave::Replaced => anyhow::bail!(
            "another process is host `{name}` of this store now; give each host a `[host] name` of its own"
        ),
    }
}

/// Compiled code lies in `var` and is executed as it is, so those who may drop plugins must not be able to write there; and
/// what lies in a tenant's directory is that tenant's alone.
fn keep_apart(config: &Config) -> anyhow::Result<()> {
    let var = config.host.var.canonicalize()?;
    let mut others: Vec<(Name, PathBuf)> = Vec::new();
    for (tenant, path) in config.directories() {
        let shown = path.display();
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make the directory `{shown}`"))?;
        let whole = path.canonicalize()?;
        anyhow::ensure!(
            !var.starts_with(&whole),
            "`{}` is in the plugin directory `{shown}`, where authors may write; choose another `[host] var`",
            config.host.var.display(),
        );
        // The directory of the default tenant may lie there, as it always could: the operator's own.
        anyhow::ensure!(
            others.is_empty() || !whole.starts_with(&var),
            "the plugin directory `{shown}` of tenant `{tenant}` is in `{}`, where only the host may write; choose another `[tenants.{tenant}] plugins`",
            config.host.var.display(),
        );
        let clash = others.iter().find(|(_, other)| whole.starts_with(other) || other.starts_with(&whole));
        anyhow::ensure!(
            clash.is_none(),
            "the plugin directory `{shown}` of tenant `{tenant}` is not apart from that of tenant `{}`; choose another `[tenants.{tenant}] plugins`",
            clash.map_or("", |(other, _)| other.as_str()),
        );
        others.push((tenant, whole));
    }
    Ok(())
}

/// Tell systemd, if it is there and wants to know. That it cannot be told changes nothing.
fn notify_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(error = %error, "Cannot notify systemd");
    }
}

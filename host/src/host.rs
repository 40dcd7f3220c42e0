//! Wires the rooms together, starts them, and stops them in order.

mod knobs;
mod parts;
mod signals;
mod store;
mod var;
mod wiring;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::Config;
use crate::machine::drain::HostDuty;
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::telemetry::LogFilter;
use knobs::Knobs;
use parts::Parts;
use sexton_domain::task::Name;
use sexton_domain::time::Clock;
use sexton_runtime::attempt::Stop;
use sexton_runtime::catalog::Catalog;
use sexton_runtime::runtime::Runtime;
use sexton_store::Store;
use signals::{Reloader, Signals, StopCause};
use wiring::Wiring;

pub use signals::ReadConfig;

/// The time in which interrupted attempts must be stored. They end within milliseconds, but the disk may be slow.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// A host that is up.
#[derive(Debug)]
pub struct Host {
    /// Holds runs, locks and the cache.
    pub store: Arc<dyn Store>,
    /// The known tasks.
    pub catalog: Arc<Catalog>,
    /// The attempts under way.
    pub live: Arc<LiveRuns>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The address of the API.
    pub address: SocketAddr,
    runtime: Arc<Runtime>,
    pause: Arc<HostPause>,
    duty: Arc<HostDuty>,
    knobs: Arc<Knobs>,
    /// Set when no new work starts.
    stopping: watch::Sender<bool>,
    /// Set when the loops that serve attempts under way must end, too.
    over: watch::Sender<bool>,
    first: Vec<JoinHandle<()>>,
    last: Vec<JoinHandle<()>>,
}

impl Host {
    /// Starts a host. When this returns, the API responds and the loops run; plugins become available as they are
    /// loaded.
    ///
    /// # Errors
    ///
    /// The store, the plugin directory, the code cache or the address cannot be used. The error says what to do.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        var::prepare(&config).with_context(|| format!("cannot make the directory `{}`", config.host.var.display()))?;
        check_separation(&config)?;
        let listener = TcpListener::bind(config.http.listen).await.with_context(|| {
            format!(
                "cannot listen on {}; is another host running? `[http] listen` chooses an address",
                config.http.listen
            )
        })?;
        let address = listener.local_addr()?;
        let retention = watch::Sender::new(config.retention());
        let parts = Arc::new(Parts::open(&config, address, retention.subscribe()).await?);
        let knobs = Knobs {
            rescan: watch::Sender::new(0),
            poll: watch::Sender::new(config.machine.poll),
            retention,
            tenants: Arc::clone(&parts.tenants),
        };
        let knobs = Arc::new(knobs);
        let (stopping, over) = (watch::Sender::new(false), watch::Sender::new(false));
        let wiring = Wiring { config: Arc::new(config), parts: Arc::clone(&parts), knobs: Arc::clone(&knobs) };
        let first = wiring.first(&stopping)?;
        let last = wiring.last(&over, listener)?;
        let Parts { store, catalog, live, clock, runtime, pause, duty, .. } = &*parts;
        Ok(Self {
            store: Arc::clone(store),
            catalog: Arc::clone(catalog),
            live: Arc::clone(live),
            clock: Arc::clone(clock),
            address,
            runtime: Arc::clone(runtime),
            pause: Arc::clone(pause),
            duty: Arc::clone(duty),
            knobs,
            stopping,
            over,
            first,
            last,
        })
    }

    /// Stops in three steps: starts nothing new, also of attempts that wait for their guest's start; waits up to `grace`
    /// for attempts under way, which are told if they can receive it; interrupts the rest.
    ///
    /// An interrupted run waits for the next host, and the attempt does not count against it. `hurry` ends the grace.
    pub async fn stop(self, grace: Duration, hurry: impl Future<Output = ()>) {
        self.stopping.send_replace(true);
        let mut count = self.live.count();
        let under_way = *count.borrow();
        if under_way > 0 {
            info!(runs = under_way, "Waiting up to {grace:?} for {under_way} run(s)");
        }
        self.live.announce_shutdown();
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
            self.runtime.shorten_waits();
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
            // A client that follows a log must not keep the host up.
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

/// Runs a host until SIGTERM or SIGINT, and stops it. A second signal ends the grace. SIGHUP reads the configuration
/// again with `read`; SIGUSR1 and SIGUSR2 pause and resume the host.
///
/// # Errors
///
/// Those of [`Host::start`]; another process has taken this one's name in the store, which ends it as well; and
/// [`HostFailure`].
pub async fn run(config: Config, log: LogFilter, read: ReadConfig) -> anyhow::Result<()> {
    let mut signals = Signals::take()?;
    let (name, plugins) = (config.host_name(), config.host.plugins.clone());
    let host = Host::start(config.clone()).await?;
    info!("Sexton {} is up: http://{}/, plugins from `{}`", env!("CARGO_PKG_VERSION"), host.address, plugins.display());
    notify_systemd(&[sd_notify::NotifyState::Ready]);

    let leave = signals.handle_until_stop(&host, Reloader { config, read, log }).await;
    let grace = match &leave {
        StopCause::Signal(by, grace) => {
            info!("Stopping on {by}");
            *grace
        }
        // The reason was logged already.
        StopCause::Replaced | StopCause::Broken(_) => Duration::ZERO,
    };
    notify_systemd(&[sd_notify::NotifyState::Stopping]);
    host.stop(grace, async {
        signals.stop().await;
    })
    .await;
    info!("Stopped");
    match leave {
        StopCause::Signal(..) => Ok(()),
        StopCause::Replaced => anyhow::bail!(
            "another process has taken the name `{name}` in this store; give each host a `[host] name` of its own"
        ),
        StopCause::Broken(why) => Err(HostFailure(why).into()),
    }
}

/// The reason why a host ended by itself: a part of it panicked that cannot be restarted.
#[derive(Debug, thiserror::Error)]
#[error("the host cannot continue: {0}; start it again, and report this")]
pub struct HostFailure(String);

/// Checks that directories are apart. Compiled code in `var` is executed as it is, so anyone who may drop plugins must
/// not be able to write there; and the files in a tenant's directory belong to that tenant alone.
fn check_separation(config: &Config) -> anyhow::Result<()> {
    let var = config.host.var.canonicalize()?;
    let code = config.code();
    let code = code.canonicalize().with_context(|| format!("cannot use the directory `{}`", code.display()))?;
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
        anyhow::ensure!(
            !code.starts_with(&whole),
            "`{}` is in the plugin directory `{shown}`, where authors may write; choose another `[runtime] code`",
            config.code().display(),
        );
        // The directory of the default tenant, the operator's own, may lie there, as it always could.
        anyhow::ensure!(
            others.is_empty() || !whole.starts_with(&var),
            "the plugin directory `{shown}` of tenant `{tenant}` is in `{}`, where only the host may write; choose another `[tenants.{tenant}] plugins`",
            config.host.var.display(),
        );
        let clash = others.iter().find(|(_, other)| whole.starts_with(other) || other.starts_with(&whole));
        anyhow::ensure!(
            clash.is_none(),
            "the plugin directory `{shown}` of tenant `{tenant}` overlaps that of tenant `{}`; choose another `[tenants.{tenant}] plugins`",
            clash.map_or("", |(other, _)| other.as_str()),
        );
        others.push((tenant, whole));
    }
    Ok(())
}

/// Notifies systemd, if it is there and asks for it. A failure changes nothing.
fn notify_systemd(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(error = %error, "Cannot notify systemd");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{claim_request, handle, task};
    use sexton_store::NewRun;
    use sexton_store::rules::runs::Demand;

    async fn host(place: &std::path::Path) -> Host {
        let mut config = Config::default();
        config.host.var = place.join("var");
        config.host.plugins = place.join("plugins");
        config.http.listen.set_port(0);
        std::fs::create_dir(&config.host.plugins).unwrap();
        Host::start(config).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stop_that_interrupts_attempts_tells_them_and_has_the_runtime_hurry() {
        let place = tempfile::tempdir().unwrap();
        let host = host(place.path()).await;
        // The claim is one of the store, because the heartbeat would end an attempt without one.
        let (task, now) = (task("a"), host.clock.now());
        host.store.enqueue(vec![NewRun::demanded(&task, Demand::default(), now)], now).await.unwrap();
        let claimed = host.store.claim(claim_request([(task.key.clone(), 1)], now)).await.unwrap();
        let (attempt, runtime) = (handle(claimed.claims[0].key, task.key), Arc::clone(&host.runtime));
        host.live.insert(Arc::clone(&attempt));

        host.stop(Duration::ZERO, std::future::pending()).await;

        assert_eq!(attempt.stopped(), Some(Stop::Returned), "its guest has not begun");
        assert!(runtime.has_shortened_waits(), "stacks of interrupted attempts may take a minute to be told");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_stop_without_attempts_hurries_nothing() {
        let place = tempfile::tempdir().unwrap();
        let host = host(place.path()).await;
        let runtime = Arc::clone(&host.runtime);

        host.stop(Duration::from_secs(60), std::future::pending()).await;

        assert!(!runtime.has_shortened_waits());
    }
}

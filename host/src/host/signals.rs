//! Handles signals. `docs/guides/service.md` has the table.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::Host;
use crate::config::Config;
use crate::telemetry::LogFilter;
use sexton_system::supervisor::Supervisor;

/// A function that reads the configuration again.
pub type ReadConfig = Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// The signals that a host handles. They are registered before the host is up, because most of them would otherwise
/// terminate the process.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    pause: Signal,
    resume: Signal,
    reload: Signal,
}

/// The reason why a host stops.
#[derive(Clone, Debug)]
pub(super) enum StopCause {
    /// A signal, and how long runs may go on.
    Signal(&'static str, Duration),
    /// Another process has its name.
    Replaced,
    /// A part panicked that cannot be restarted; its name and the panic.
    Broken(String),
}

/// The current configuration, and the source of a new one.
pub(super) struct Reloader {
    /// The configuration in force.
    pub(super) config: Config,
    pub(super) read: ReadConfig,
    pub(super) log: LogFilter,
}

impl Signals {
    pub(super) fn take() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            pause: signal(SignalKind::user_defined1())?,
            resume: signal(SignalKind::user_defined2())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Completes with the name of the signal that stops the host.
    pub(super) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Handles signals until one of them, or another reason, stops the host.
    pub(super) async fn handle_until_stop(&mut self, host: &Host, mut reloading: Reloader) -> StopCause {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return StopCause::Signal("SIGTERM", reloading.config.machine.grace),
                _ = self.interrupt.recv() => return StopCause::Signal("SIGINT", reloading.config.machine.grace),
                () = host.duty.replaced() => return StopCause::Replaced,
                why = Supervisor::of_process().broken() => return StopCause::Broken(why),
                _ = self.pause.recv() => host.pause(),
                _ = self.resume.recv() => host.continue_runs(),
                _ = self.reload.recv() => reloading.reload(host),
            }
        }
    }
}

impl Host {
    fn pause(&self) {
        match self.pause.begin(self.clock.now()) {
            true => {
                info!(
                    "Paused by SIGUSR1: no run starts on this host until SIGUSR2, and instants that are due until then are left out"
                )
            }
            false => info!("Paused already, by an earlier SIGUSR1"),
        }
    }

    fn continue_runs(&self) {
        match self.pause.end(self.clock.now()) {
            true => info!("Resumed by SIGUSR2: each task with a schedule runs once now"),
            false => info!("Not paused by a signal, so SIGUSR2 changes nothing"),
        }
    }
}

impl Reloader {
    /// Reads the configuration again, takes over the keys that can change, and looks at the plugins again.
    fn reload(&mut self, host: &Host) {
        self.apply_new_config(host);
        // The look comes after that, because a plugin that was refused for a limit may be within the new one.
        host.knobs.rescan.send_modify(|count| *count += 1);
    }

    /// Reads the configuration again and takes over the keys that can change. A wrong file changes nothing.
    fn apply_new_config(&mut self, host: &Host) {
        let new = match (self.read)() {
            Ok(new) => new,
            Err(error) => {
                warn!("Cannot read the configuration again, so it stays as it was: {error:#}");
                return;
            }
        };
        let mixed = self.config.with_changeable_of(&new);
        let (applied, later) = (self.config.differences(&mixed), mixed.differences(&new));
        if !LogFilter::is_good(&mixed.log.filter) {
            warn!("Cannot read the new `log.filter`, so the configuration stays as it was");
            return;
        }
        // The message is logged under the filter that shows it: a stricter filter is set after it, a more permissive
        // one before.
        let seen = tracing::enabled!(tracing::Level::INFO);
        if seen {
            tell(&applied, &later);
        }
        if mixed.log.filter != self.config.log.filter {
            match LogFilter::is_overruled() {
                true => warn!("`SEXTON_LOG` is set and overrides `log.filter`, which has no effect"),
                false => self.log.set(&mixed.log.filter),
            }
        }
        if !seen {
            tell(&applied, &later);
        }
        host.knobs.poll.send_replace(mixed.machine.poll);
        host.knobs.retention.send_replace(mixed.retention());
        host.knobs.tenants.change(&mixed.tenants());
        self.config = mixed;
    }
}

fn tell(applied: &[String], later: &[String]) {
    let keys = |keys: &[String]| keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match (applied, later) {
        ([], []) => info!("Looked for plugins and read the configuration again on SIGHUP: nothing changed"),
        (applied, []) => info!("Read the configuration again on SIGHUP: {} changed", keys(applied)),
        ([], later) => warn!("Read the configuration again on SIGHUP: {} can only change with a restart", keys(later)),
        (applied, later) => {
            warn!(
                "Read the configuration again on SIGHUP: {} changed; {} can only change with a restart",
                keys(applied),
                keys(later)
            );
        }
    }
}

//! Starts the loops of a host, each under its supervisor, with a name and a way to restart it.

use std::fmt::Display;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::knobs::Knobs;
use super::parts::Parts;
use crate::config::Config;
use crate::dashboard;
use crate::http;
use crate::plugins::directory::Directory;
use crate::plugins::published::Sharing;
use sexton_system::supervisor::{Supervisor, rests};

/// The configuration and parts from which loops are made on each start.
#[derive(Clone)]
pub(super) struct Wiring {
    pub(super) config: Arc<Config>,
    pub(super) parts: Arc<Parts>,
    pub(super) knobs: Arc<Knobs>,
}

impl Wiring {
    /// Starts a loop that `make` creates, and creates again after a panic.
    fn part<R>(
        &self,
        name: &str,
        over: &watch::Sender<bool>,
        mut make: impl FnMut(&Self, watch::Receiver<bool>) -> R + Send + 'static,
    ) -> JoinHandle<()>
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let (wiring, stop) = (self.clone(), over.subscribe());
        Supervisor::of_process().part(name, over.subscribe(), move || make(&wiring, stop.clone()))
    }

    /// Starts the loops that start new work. They end first when the host stops.
    ///
    /// # Errors
    ///
    /// A plugin directory cannot be used.
    pub(super) fn first(&self, stopping: &watch::Sender<bool>) -> anyhow::Result<Vec<JoinHandle<()>>> {
        Supervisor::of_process().watch_loops()?;
        // All directories are opened before any loop begins, so that a failed start leaves no loop behind.
        let plugins = match self.config.host.publish {
            true => Plugins::Shared(Box::new(self.parts.sharing(&self.config)?)),
            false => Plugins::Own(self.parts.directories(&self.config)?),
        };
        let mut first = vec![
            self.part("scheduler", stopping, |wiring, stop| wiring.parts.scheduler().run(stop)),
            self.part("added schedules", stopping, |wiring, stop| wiring.parts.added_schedules().run(stop)),
            self.part("worker", stopping, |wiring, stop| wiring.parts.worker(&wiring.config, &wiring.knobs).run(stop)),
        ];
        match plugins {
            Plugins::Shared(sharing) => {
                let mut opened = Some(sharing);
                first.push(self.part("shared plugins", stopping, move |wiring, stop| {
                    let again = || wiring.parts.sharing(&wiring.config).map(Box::new);
                    or_panic(opened.take().map_or_else(again, Ok)).run(wiring.knobs.rescan.subscribe(), stop)
                }));
            }
            Plugins::Own(directories) => {
                for (directory, (tenant, path)) in directories.into_iter().zip(self.config.directories()) {
                    let mut opened = Some(directory);
                    let name = format!("plugin directory `{}`", path.display());
                    first.push(self.part(&name, stopping, move |wiring, stop| {
                        let again = || wiring.parts.directory(&wiring.config, &tenant, &path);
                        let directory = opened.take().map_or_else(again, Ok);
                        or_panic(directory).run(wiring.knobs.rescan.subscribe(), stop)
                    }));
                }
            }
        }
        Ok(first)
    }

    /// Starts the loops that serve attempts under way, and people. They end last.
    ///
    /// # Errors
    ///
    /// The listener cannot be used.
    pub(super) fn last(
        &self,
        over: &watch::Sender<bool>,
        listener: TcpListener,
    ) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let listener = listener.into_std()?;
        let last = vec![
            self.part("heartbeat", over, |wiring, stop| wiring.parts.heartbeat(&wiring.config).run(stop)),
            self.part("announcer", over, |wiring, mut stop| {
                let membership = wiring.parts.membership(&wiring.config);
                async move {
                    membership.run(stop.clone()).await;
                    rests(None);
                    // Once another process has the host's name, there is nothing more to announce until the host has
                    // ended.
                    drop(stop.wait_for(|over| *over).await);
                }
            }),
            self.part("sweeper", over, |wiring, stop| wiring.parts.sweeper(&wiring.config, &wiring.knobs).run(stop)),
            self.part("summary", over, |wiring, stop| Arc::clone(&wiring.parts.summary).run(stop)),
            self.part("timekeeper", over, |wiring, stop| wiring.parts.timekeeper().run(stop)),
            self.part("budgets", over, |wiring, stop| {
                Arc::clone(&wiring.parts.budgets).watch(Arc::clone(&wiring.parts.live), stop)
            }),
            self.part("API", over, move |wiring, mut stop| {
                let listener = or_panic(listener.try_clone().and_then(TcpListener::from_std));
                let router = http::router(wiring.parts.api(), dashboard::routes());
                http::serve(listener, router, async move { drop(stop.wait_for(|over| *over).await) })
            }),
        ];
        Ok(last)
    }
}

/// The source of plugins.
enum Plugins {
    Own(Vec<Directory>),
    Shared(Box<Sharing>),
}

/// Returns what a loop needs to begin. Without it the loop panics, and its supervisor reports that and tries again.
fn or_panic<T, E: Display>(needed: Result<T, E>) -> T {
    match needed {
        Ok(needed) => needed,
        Err(error) => std::panic::panic_any(format!("{error:#}")),
    }
}

//! Watches the plugin directory of a tenant. Loaded plugins are used on this host, or passed to the publisher (`sink`).
//!
//! Notifications of the file system tell when to look (`watching`), and a slow poll looks as well. A file that was
//! changed a moment ago may be half-written, so it is left alone until it has been quiet. By that measure the rename of
//! a finished file is loaded at once, because its time of change is older. A missing file counts as removed only after
//! a while (`settling`).
//!
//! The path of the directory may be a link that is switched to another release, so it is resolved with each look.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::{debug, info, warn};

use crate::plugins::loading::{Loading, Next};
use crate::plugins::ranking::Ranking;
use crate::plugins::registry::{Registry, Version};
use crate::plugins::retries::Retries;
use crate::plugins::separation::Separation;
use crate::plugins::settling::{SETTLE, Settling};
use crate::plugins::sink::Sink;
use crate::plugins::source::{Defined, Files, Listing, QUIET, Rejected, Source, list};
use crate::plugins::watching::{SharedWatcher, Watching};
use sexton_domain::lengths;
use sexton_domain::task::Name;
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::runtime::Runtime;
use sexton_system::harmless;
use sexton_system::supervisor::{Panic, Supervisor, rests, works};

/// The interval of looks without a notification.
const POLL: Duration = Duration::from_secs(5);

/// The time for which loaded plugins wait to be taken into use together with others. Each time, the scheduler and the
/// worker go through all tasks, so with thousands of plugins it must not happen once for each plugin.
const GATHER: Duration = Duration::from_millis(25);

/// The result of loading a plugin.
pub(super) type LoadResult = Result<Version, Rejected>;

/// The contents of a directory, if it could be read.
type Listed = io::Result<Listing>;

/// The plugin directory of one tenant.
#[derive(Debug)]
pub struct Directory {
    pub(super) source: Source,
    pub(super) sink: Sink,
    /// Held by code that changes more than one file in the directory, so that the changes are seen together.
    pub(super) still: Arc<Mutex<()>>,
    apart: Option<Separation>,
    watcher: Arc<SharedWatcher>,
    clock: Arc<dyn Clock>,
    seen: BTreeMap<String, Files>,
    settling: Settling,
    again: Retries,
    /// The loads under way. A result is `None` if the files changed while they were loaded.
    loading: Loading<Option<LoadResult>>,
    /// Finds out which of them are needed first.
    ranking: Ranking,
    /// The loaded plugins that are not in use yet, and the instant at which the first of them has waited long enough
    /// for others.
    gathered: Vec<(String, LoadResult)>,
    gathered_until: Instant,
    /// Whether the directory could not be read the last time.
    unreadable: bool,
    /// The files that were logged as misnamed.
    misnamed: BTreeSet<String>,
}

impl Directory {
    /// Opens the plugin directory of `tenant` at `path`, and creates it if necessary. Its plugins are used on this
    /// host.
    ///
    /// # Errors
    ///
    /// The directory cannot be created or read.
    pub fn open(
        tenant: Name,
        path: &Path,
        registry: Arc<Registry>,
        runtime: Arc<Runtime>,
        clock: Arc<dyn Clock>,
        max_component: u64,
    ) -> io::Result<Self> {
        let directory = create_directory(path)?;
        let source = Source { below: directory.clone(), directory, runtime, tenant, max_component };
        Ok(Self::of(source, Sink::Use(registry), clock, SETTLE))
    }

    /// Opens a further directory of the same tenant at `path`, and creates it if necessary. Relative grants of its
    /// plugins mean the same as in this directory. Its plugins are used on this host.
    ///
    /// Only this host writes there, and both files of a plugin at once, so a missing file was removed.
    pub(super) fn beside(&self, path: &Path, registry: Arc<Registry>) -> io::Result<Self> {
        let source = Source { directory: create_directory(path)?, ..self.source.clone() };
        Ok(Self::of(source, Sink::Use(registry), Arc::clone(&self.clock), Duration::ZERO))
    }

    /// Has the directory watched together with others.
    #[must_use]
    pub(crate) fn watched_by(self, watcher: Arc<SharedWatcher>) -> Self {
        Self { watcher, ..self }
    }

    /// Keeps the directory apart from others: it is not used while its path leads to one of them.
    #[must_use]
    pub fn apart_from(self, apart: Separation) -> Self {
        Self { apart: Some(apart), ..self }
    }

    fn of(source: Source, sink: Sink, clock: Arc<dyn Clock>, settle: Duration) -> Self {
        // One more than are compiled at once has been read and waits, so that no compiler does.
        let loading = Loading::new(source.runtime.loads_at_once() + 1);
        Self {
            source,
            sink,
            still: Arc::default(),
            apart: None,
            watcher: Arc::default(),
            clock,
            seen: BTreeMap::new(),
            settling: Settling::after(settle),
            again: Retries::default(),
            loading,
            ranking: Ranking::new(),
            gathered: Vec::new(),
            gathered_until: Instant::now(),
            unreadable: false,
            misnamed: BTreeSet::new(),
        }
    }

    /// Loads all plugins and then every change, until `over` is set. A change of `rescan` causes a look at once, and
    /// another try of quarantined plugins.
    pub async fn run(mut self, mut rescan: watch::Receiver<u64>, mut over: watch::Receiver<bool>) {
        let (watching, mut hints) = Watching::of(self.source.directory.clone(), Arc::clone(&self.watcher));
        let mut watching = Some(watching);
        if let Sink::Use(registry) = &self.sink {
            // These plugins were loaded by an earlier run of this loop. The first look finds out which were removed
            // since.
            let known = registry.names(&self.source.tenant);
            self.seen.extend(known.into_iter().map(|name| (name, Files::default())));
        }
        loop {
            // A file system that hangs delays only this directory. Ending the host would not repair it.
            rests(None);
            let listed = tokio::select! {
                listed = self.list_and_watch(&mut watching) => listed,
                _ = over.changed() => return,
            };
            works();
            let unsettled = self.look(listed);
            let pause = if unsettled { QUIET } else { self.rest() };
            rests(Some(pause));
            let pause = tokio::time::sleep(pause);
            tokio::select! {
                () = self.load_until(pause) => {}
                // If the sender is gone, the poll goes on.
                Some(()) = hints.recv() => {}
                Ok(()) = rescan.changed() => self.retry_quarantined(),
                _ = over.changed() => return,
            }
        }
    }

    /// Returns how long to wait for the next look.
    fn rest(&self) -> Duration {
        let again = self.again.next().map(|at| at.saturating_duration_since(Instant::now()));
        again.map_or(POLL, |again| again.clamp(QUIET, POLL))
    }

    /// Lists the directory, and watches the place that its path leads to.
    async fn list_and_watch(&self, watching: &mut Option<Watching>) -> Listed {
        let (directory, still, watched) = (self.source.directory.clone(), Arc::clone(&self.still), watching.take());
        let apart = self.apart.clone();
        let survey = tokio::task::spawn_blocking(move || {
            let watched = watched.map(|mut watched| {
                watched.follow();
                watched
            });
            let checked = apart.map_or(Ok(()), |apart| apart.check(&directory));
            let _still = still.lock().unwrap_or_else(PoisonError::into_inner);
            (watched, checked.and_then(|()| list(&directory)))
        });
        match survey.await {
            Ok((watched, listed)) => {
                *watching = watched;
                listed
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Loads plugins until `pause` ends.
    async fn load_until(&mut self, pause: impl Future<Output = ()>) {
        let mut pause = pin!(pause);
        loop {
            let hold = self.ranking.holds_until();
            tokio::select! {
                (name, due) = self.ranking.next() => self.rank(&name, due),
                () = tokio::time::sleep_until(hold.unwrap_or_else(Instant::now).into()), if hold.is_some() => {}
                next = self.loading.next(), if hold.is_none() => match next {
                    Next::Turn(name, turn) => self.begin(name, turn),
                    Next::Loaded(name, brought) => self.settle(name, brought.unwrap_or_else(|panic| Some(Err(broken(&panic))))),
                },
                () = tokio::time::sleep_until(self.gathered_until.into()), if !self.gathered.is_empty() => self.apply_gathered(),
                () = &mut pause => return,
            }
        }
    }

    /// Finds out what has changed since the last look and queues it for loading. Returns whether a file was left alone
    /// because it is too new.
    fn look(&mut self, listed: Listed) -> bool {
        // Loaded plugins are used before others are removed, or a removed one would come back afterwards.
        self.apply_gathered();
        let Listing { plugins: now_there, mut unsettled, misnamed } = match listed {
            Ok(listed) => listed,
            Err(error) => {
                // Loaded plugins stay in use: a directory that cannot be read says nothing about its plugins.
                let path = self.source.directory.display();
                if !std::mem::replace(&mut self.unreadable, true) {
                    warn!(error = %error, "Cannot read the plugin directory `{path}`, so its plugins stay as they are");
                }
                return false;
            }
        };
        if std::mem::take(&mut self.unreadable) {
            info!("Reading the plugin directory `{}` again", self.source.directory.display());
        }
        self.warn_misnamed(misnamed);
        self.sink.there(&self.source.tenant, now_there.keys());
        let names: BTreeSet<String> = self.seen.keys().chain(now_there.keys()).cloned().collect();
        let (mut gone, mut queued) = (Vec::new(), Vec::new());
        for name in names {
            let files = now_there.get(&name).copied().unwrap_or_default();
            let before = self.seen.get(&name).copied().unwrap_or_default();
            if files.is_new(SystemTime::now()) || self.settling.holds(&name, before, files, Instant::now()) {
                unsettled = true;
            } else if files.is_nothing() {
                gone.push(name);
            } else if before != files {
                queued.push((name.clone(), files));
                self.changed(name, before, files);
            } else if self.again.is_due(&name, Instant::now()) {
                queued.push((name.clone(), files));
                self.loading.add(name, files.size());
            }
        }
        self.ranking.begin(&self.source, queued, self.clock.now());
        self.remove_plugins(&gone);
        unsettled
    }

    /// Warns of files that belong to no plugin because of their names, once for as long as they lie there.
    fn warn_misnamed(&mut self, misnamed: BTreeSet<String>) {
        let directory = self.source.directory.display();
        for name in misnamed.difference(&self.misnamed) {
            let (name, wanted) = (harmless::line(name), harmless::line(&name.to_ascii_lowercase()).to_string());
            warn!(file = %name, "Ignoring `{name}` in `{directory}`: rename it to `{wanted}`, because plugins are called NAME.wasm and NAME.toml");
        }
        self.misnamed = misnamed;
    }

    /// Handles a plugin that has changed since the last look.
    fn changed(&mut self, name: String, before: Files, now: Files) {
        self.seen.insert(name.clone(), now);
        self.again.forget(&name);
        if before.lost_file(now) {
            // A plugin that was removed on purpose must not stay in use in its earlier version.
            self.sink.remove(&self.source.tenant, std::slice::from_ref(&name));
        }
        self.loading.add(name, now.size());
    }

    /// Handles plugins that were removed.
    fn remove_plugins(&mut self, gone: &[String]) {
        for name in gone {
            self.loading.give_up(name);
            self.ranking.forget(name);
            self.seen.remove(name);
            self.again.forget(name);
        }
        self.sink.remove(&self.source.tenant, gone);
        if !gone.is_empty() {
            // A removed plugin may have been in the way of one that did not load.
            self.retry_quarantined();
        }
    }

    /// Queues all quarantined plugins for another try at the next look.
    fn retry_quarantined(&mut self) {
        for name in self.sink.quarantined(&self.source.tenant) {
            if !self.loading.has(&name) {
                self.again.schedule_retry(&name, Instant::now());
            }
        }
    }

    /// Moves a plugin to its place among those that wait to be loaded.
    fn rank(&mut self, name: &str, due: Timestamp) {
        if !self.loading.rank(name, due) {
            self.ranking.forget(name);
        }
    }

    fn begin(&mut self, name: String, turn: OwnedSemaphorePermit) {
        let Some(files) = self.seen.get(&name).copied() else { return };
        let (due, defined) = self.ranking.take(&name, files);
        let load = load(self.source.clone(), name.clone(), files, due, defined);
        self.loading.begin(name, turn, load);
    }

    /// Keeps the result of a load until it is taken into use. The first plugin is loaded long before the last.
    fn settle(&mut self, name: String, brought: Option<LoadResult>) {
        match brought {
            Some(brought) => {
                if self.gathered.is_empty() {
                    self.gathered_until = Instant::now() + GATHER;
                }
                self.gathered.push((name, brought));
            }
            None => self.again.schedule_retry(&name, Instant::now()),
        }
        // A single plugin need not wait for others.
        if self.loading.is_idle() {
            self.apply_gathered();
        }
    }

    /// Uses or publishes the gathered plugins.
    fn apply_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        for (name, brought) in &mut gathered {
            match brought {
                Err(rejected) if rejected.for_now => {
                    let wait = lengths::about(self.again.failed(name, Instant::now()));
                    rejected
                        .reason
                        .push_str(&format!("; the cause may be temporary, so the plugin is loaded again in {wait}"));
                }
                _ => self.again.forget(name),
            }
        }
        let in_the_way = self.sink.apply(&self.source.tenant, gathered, self.clock.now());
        for name in in_the_way {
            self.again.schedule_retry(&name, Instant::now() + POLL);
        }
    }
}

/// Creates the directory at `path` if necessary. Links in the path stay unresolved, because they may be switched.
fn create_directory(path: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(path)?;
    // Relative grants are below the directory, so the path is made absolute before the host changes its own directory.
    std::path::absolute(path)
}

/// Returns the rejection of a plugin whose load panicked. Only that plugin is rejected, and it is retried, because the
/// cause of the panic may have passed.
fn broken(panic: &Panic) -> Rejected {
    Supervisor::of_process().note("loading a plugin", panic);
    Rejected::for_now(format!("the host panicked while it loaded it: {panic}"))
}

/// Loads a plugin from these files, which is needed at `due`; `defined` is what its manifest defines, if it was read.
/// Returns `None` if the files have changed in that time, because parts of both versions may have been read.
async fn load(
    source: Source,
    name: String,
    files: Files,
    due: Timestamp,
    defined: Option<Defined>,
) -> Option<LoadResult> {
    debug!(plugin = name, "Loading plugin `{}`", harmless::line(&name));
    let version = Box::pin(source.version(&name, files, due, defined)).await;
    if Name::new(&name).is_err() {
        return Some(version); // nothing of it was read, and its file may have a name that is no text
    }
    let now = tokio::task::spawn_blocking(move || Files::of(&source.directory, &name)).await;
    now.is_ok_and(|now| now == files).then_some(version)
}

#[cfg(test)]
mod tests;

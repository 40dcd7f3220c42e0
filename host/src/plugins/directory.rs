//! Watches the plugin directory of a tenant: what lies in it is loaded, and then used on this host, or handed to those who
//! publish it (`outlet`).
//!
//! Notifications of the file system say when to look (`watching`), and a slow poll looks anyway. A file that was changed a moment
//! ago may be half-written, so it is left alone until it has been quiet; a rename of a finished file is taken up at once by
//! that measure too, as its time of change is older. What is missing is taken for gone only after a while (`settling`).
//!
//! The path of the directory may be a link that is switched to another release: it is resolved with each look.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, watch};
use tracing::{debug, info, warn};

use crate::harmless;
use crate::lengths;
use crate::plugins::again::Again;
use crate::plugins::apart::Apart;
use crate::plugins::loading::{Loading, Next};
use crate::plugins::outlet::Outlet;
use crate::plugins::registry::{Registry, Version};
use crate::plugins::settling::{SETTLE, Settling};
use crate::plugins::source::{Files, Listing, QUIET, Rejected, Source, list};
use crate::plugins::watching::Watching;
use crate::runtime::Runtime;
use crate::supervisor::{Panic, Supervisor, rests, works};
use crate::task::Name;
use crate::time::Clock;

/// How often to look without having been told to.
const POLL: Duration = Duration::from_secs(5);

/// How long what was loaded may wait for more to be taken up with it: each time, the scheduler and the worker look through
/// all tasks there are, which with thousands of plugins must not be once for each.
const GATHER: Duration = Duration::from_millis(25);

/// What loading a plugin brought.
pub(super) type Brought = Result<Version, Rejected>;

/// What lies in a directory, if it could be read.
type Listed = io::Result<Listing>;

/// The plugin directory of one tenant.
#[derive(Debug)]
pub struct Directory {
    pub(super) source: Source,
    pub(super) outlet: Outlet,
    /// Held by whoever changes more than one file in it, where those are to be seen together.
    pub(super) still: Arc<Mutex<()>>,
    apart: Option<Apart>,
    clock: Arc<dyn Clock>,
    seen: BTreeMap<String, Files>,
    settling: Settling,
    again: Again,
    /// `None` for what was changed while it was loaded.
    loading: Loading<Option<Brought>>,
    /// What was loaded, and is not in use yet; and when the first of it has waited long enough for others.
    gathered: Vec<(String, Brought)>,
    gathered_until: Instant,
    /// Whether the directory could not be read the last time.
    unreadable: bool,
    /// Files that the log has said to be called by the wrong name.
    misnamed: BTreeSet<String>,
}

impl Directory {
    /// The directory of `tenant` at `path`, which is made if it is not there. What lies in it is used on this host.
    ///
    /// # Errors
    ///
    /// When it cannot be made or read.
    pub fn open(
        tenant: Name,
        path: &Path,
        registry: Arc<Registry>,
        runtime: Arc<Runtime>,
        clock: Arc<dyn Clock>,
        max_component: u64,
    ) -> io::Result<Self> {
        let directory = made(path)?;
        let source = Source { below: directory.clone(), directory, runtime, tenant, max_component };
        Ok(Self::of(source, Outlet::Use(registry), clock, SETTLE))
    }

    /// A directory of the same tenant at `path`, which is made if it is not there: for the same plugins as this one, so that
    /// relative grants mean what they mean here. What lies in it is used on this host.
    ///
    /// Only this host writes there, and both files of a plugin at once: what is missing has been taken away.
    pub(super) fn beside(&self, path: &Path, registry: Arc<Registry>) -> io::Result<Self> {
        let source = Source { directory: made(path)?, ..self.source.clone() };
        Ok(Self::of(source, Outlet::Use(registry), Arc::clone(&self.clock), Duration::ZERO))
    }

    /// The same, which is not used when its path leads to what it is to be kept apart from.
    #[must_use]
    pub fn apart_from(self, apart: Apart) -> Self {
        Self { apart: Some(apart), ..self }
    }

    fn of(source: Source, outlet: Outlet, clock: Arc<dyn Clock>, settle: Duration) -> Self {
        Self {
            source,
            outlet,
            still: Arc::default(),
            apart: None,
            clock,
            seen: BTreeMap::new(),
            settling: Settling::after(settle),
            again: Again::default(),
            loading: Loading::new(),
            gathered: Vec::new(),
            gathered_until: Instant::now(),
            unreadable: false,
            misnamed: BTreeSet::new(),
        }
    }

    /// Load what is there, and then whatever changes, until `over` is set. Looks at once, and tries what is quarantined again,
    /// when `rescan` changes.
    pub async fn run(mut self, mut rescan: watch::Receiver<u64>, mut over: watch::Receiver<bool>) {
        let (watching, mut hints) = Watching::of(self.source.directory.clone());
        let mut watching = Some(watching);
        if let Outlet::Use(registry) = &self.outlet {
            // Those that another life of this loop has loaded: what was taken away meanwhile is found to be gone.
            let known = registry.names(&self.source.tenant);
            self.seen.extend(known.into_iter().map(|name| (name, Files::default())));
        }
        loop {
            // A filesystem that hangs keeps this directory waiting, and nothing else: to end the host would not mend it.
            rests(None);
            let listed = tokio::select! {
                listed = self.survey(&mut watching) => listed,
                _ = over.changed() => return,
            };
            works();
            let unsettled = self.look(listed);
            let pause = if unsettled { QUIET } else { self.rest() };
            rests(Some(pause));
            let pause = tokio::time::sleep(pause);
            tokio::select! {
                () = self.load_until(pause) => {}
                // Not if there is nobody left to tell: the poll goes on.
                Some(()) = hints.recv() => {}
                Ok(()) = rescan.changed() => self.try_again(),
                _ = over.changed() => return,
            }
        }
    }

    /// How long to wait for the next look.
    fn rest(&self) -> Duration {
        let again = self.again.next().map(|at| at.saturating_duration_since(Instant::now()));
        again.map_or(POLL, |again| again.clamp(QUIET, POLL))
    }

    /// See what lies in the directory, and watch it where it is now.
    async fn survey(&self, watching: &mut Option<Watching>) -> Listed {
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

    /// Load what is to be loaded, until `pause` is over.
    async fn load_until(&mut self, pause: impl Future<Output = ()>) {
        let mut pause = pin!(pause);
        loop {
            tokio::select! {
                next = self.loading.next() => match next {
                    Next::Turn(name, turn) => self.begin(name, turn),
                    Next::Loaded(name, brought) => self.settle(name, brought.unwrap_or_else(|panic| Some(Err(broken(&panic))))),
                },
                () = tokio::time::sleep_until(self.gathered_until.into()), if !self.gathered.is_empty() => self.take_up(),
                () = &mut pause => return,
            }
        }
    }

    /// Note what has changed since the last look, to be loaded. Returns whether something was left alone because it is too
    /// new.
    fn look(&mut self, listed: Listed) -> bool {
        // Before anything is taken away: what was loaded of it would come back afterwards.
        self.take_up();
        let Listing { plugins: now_there, mut unsettled, misnamed } = match listed {
            Ok(listed) => listed,
            Err(error) => {
                // What is loaded stays: a directory that cannot be read says nothing about its plugins.
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
        self.tell_misnamed(misnamed);
        self.outlet.there(&self.source.tenant, now_there.keys());
        let names: BTreeSet<String> = self.seen.keys().chain(now_there.keys()).cloned().collect();
        let mut gone = Vec::new();
        for name in names {
            let files = now_there.get(&name).copied().unwrap_or_default();
            let before = self.seen.get(&name).copied().unwrap_or_default();
            if files.is_new(SystemTime::now()) || self.settling.holds(&name, before, files, Instant::now()) {
                unsettled = true;
            } else if files.is_nothing() {
                gone.push(name);
            } else if before != files {
                self.changed(name, before, files);
            } else if self.again.is_due(&name, Instant::now()) {
                self.loading.add(name, files.size());
            }
        }
        self.take_away(&gone);
        unsettled
    }

    /// Warns of files that no plugin has because of how they are called, once for as long as they lie there.
    fn tell_misnamed(&mut self, misnamed: BTreeSet<String>) {
        let directory = self.source.directory.display();
        for name in misnamed.difference(&self.misnamed) {
            let (name, wanted) = (harmless::line(name), harmless::line(&name.to_ascii_lowercase()).to_string());
            warn!(file = %name, "Ignoring `{name}` in `{directory}`: rename it to `{wanted}`, because plugins are called NAME.wasm and NAME.toml");
        }
        self.misnamed = misnamed;
    }

    /// A plugin is another than it was at the last look.
    fn changed(&mut self, name: String, before: Files, now: Files) {
        self.seen.insert(name.clone(), now);
        self.again.forget(&name);
        if before.lost_one_in(now) {
            // What was taken away on purpose must not go on as the version before.
            self.outlet.remove(&self.source.tenant, std::slice::from_ref(&name));
        }
        self.loading.add(name, now.size());
    }

    /// Plugins are no longer there.
    fn take_away(&mut self, gone: &[String]) {
        for name in gone {
            self.loading.give_up(name);
            self.seen.remove(name);
            self.again.forget(name);
        }
        self.outlet.remove(&self.source.tenant, gone);
        if !gone.is_empty() {
            // What went may have been in the way of one that did not load.
            self.try_again();
        }
    }

    /// Load what is quarantined once more, at the next look.
    fn try_again(&mut self) {
        for name in self.outlet.quarantined(&self.source.tenant) {
            if !self.loading.has(&name) {
                self.again.soon(&name, Instant::now());
            }
        }
    }

    fn begin(&mut self, name: String, turn: OwnedSemaphorePermit) {
        let Some(files) = self.seen.get(&name).copied() else { return };
        let load = load(self.source.clone(), name.clone(), files);
        self.loading.begin(name, turn, load);
    }

    /// Keep what a load brought, to be used in a moment: the first plugin is long before the last is loaded.
    fn settle(&mut self, name: String, brought: Option<Brought>) {
        match brought {
            Some(brought) => {
                if self.gathered.is_empty() {
                    self.gathered_until = Instant::now() + GATHER;
                }
                self.gathered.push((name, brought));
            }
            None => self.again.soon(&name, Instant::now()),
        }
        // Alone, it need not wait.
        if self.loading.is_idle() {
            self.take_up();
        }
    }

    /// Use what was gathered, or have it published.
    fn take_up(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        for (name, brought) in &mut gathered {
            match brought {
                Err(rejected) if rejected.for_now => {
                    let wait = lengths::about(self.again.failed(name, Instant::now()));
                    rejected.reason.push_str(&format!("; this may pass, so it is tried again in {wait}"));
                }
                _ => self.again.forget(name),
            }
        }
        let in_the_way = self.outlet.take_up(&self.source.tenant, gathered, self.clock.now());
        for name in in_the_way {
            self.again.soon(&name, Instant::now() + POLL);
        }
    }
}

/// The directory at `path`, which is made if it is not there. Links in the path stay: where they lead may change.
fn made(path: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(path)?;
    // As relative grants are below it, whatever directory the host is in by then.
    std::path::absolute(path)
}

/// What is told of a plugin that made the host panic. It is the only one that is not used for it, and it is loaded again by itself,
/// because what the host met with may have passed.
fn broken(panic: &Panic) -> Rejected {
    Supervisor::of_process().note("loading a plugin", panic);
    Rejected::for_now(format!("the host panicked while it loaded it: {panic}"))
}

/// Loads a plugin of these files. Returns nothing if they are others by then: what was read may be of both.
async fn load(source: Source, name: String, files: Files) -> Option<Brought> {
    debug!(plugin = name, "Loading plugin `{}`", harmless::line(&name));
    let version = Box::pin(source.version(&name, files)).await;
    if Name::new(&name).is_err() {
        return Some(version); // nothing of it was read, and its file may have a name that is no text
    }
    let now = tokio::task::spawn_blocking(move || Files::of(&source.directory, &name)).await;
    now.is_ok_and(|now| now == files).then_some(version)
}

#[cfg(test)]
mod tests;

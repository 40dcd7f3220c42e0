//! Watches the plugin directory of a tenant: what lies in it is loaded, and then used on this host, or handed to those who
//! publish it (`outlet`).
//!
//! Notifications of the file system say when to look, and a slow poll looks anyway. A file that was changed a moment ago
//! may be half-written, so it is left alone until it has been quiet; a rename of a finished file is taken up at once by
//! that measure too, as its time of change is older.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecursiveMode, Watcher};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tracing::{debug, warn};

use crate::plugins::loading::{Loading, Next};
use crate::plugins::outlet::Outlet;
use crate::plugins::registry::{Registry, Version};
use crate::plugins::source::{Files, QUIET, Rejected, Source, list};
use crate::runtime::Runtime;
use crate::task::Name;
use crate::time::Clock;

/// How often to look without having been told to.
const POLL: Duration = Duration::from_secs(5);

/// How long what was loaded may wait for more to be taken up with it: each time, the scheduler and the worker look through
/// all tasks there are, which with thousands of plugins must not be once for each.
const GATHER: Duration = Duration::from_millis(25);

/// What loading a plugin brought.
pub(super) type Brought = Result<Version, Rejected>;

/// The plugin directory of one tenant.
#[derive(Debug)]
pub struct Directory {
    pub(super) source: Source,
    pub(super) outlet: Outlet,
    /// Held by whoever changes more than one file in it, where those are to be seen together.
    pub(super) still: Arc<Mutex<()>>,
    clock: Arc<dyn Clock>,
    seen: BTreeMap<String, Files>,
    loading: Loading<Brought>,
    /// What was loaded, and is not in use yet; and when the first of it has waited long enough for others.
    gathered: Vec<(String, Brought)>,
    gathered_until: Instant,
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
        Ok(Self::of(source, Outlet::Use(registry), clock))
    }

    /// A directory of the same tenant at `path`, which is made if it is not there: for the same plugins as this one, so that
    /// relative grants mean what they mean here. What lies in it is used on this host.
    pub(super) fn beside(&self, path: &Path, registry: Arc<Registry>) -> io::Result<Self> {
        let source = Source { directory: made(path)?, ..self.source.clone() };
        Ok(Self::of(source, Outlet::Use(registry), Arc::clone(&self.clock)))
    }

    fn of(source: Source, outlet: Outlet, clock: Arc<dyn Clock>) -> Self {
        let (still, seen, loading) = (Arc::default(), BTreeMap::new(), Loading::new());
        Self { source, outlet, still, clock, seen, loading, gathered: Vec::new(), gathered_until: Instant::now() }
    }

    /// Load what is there, and then whatever changes, until `over` is set. Looks at once
    /// when `rescan` changes.
    pub async fn run(mut self, mut rescan: watch::Receiver<u64>, mut over: watch::Receiver<bool>) {
        let (told, mut hints) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.as_ref().is_ok_and(is_only_read) {
                return;
            }
            // A hint is pending already if the channel is full, which is as good.
            let _ = told.try_send(());
        })
        .and_then(|mut watcher| {
            watcher.watch(&self.source.directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            let path = self.source.directory.display();
            warn!(error = %error, "Cannot watch `{path}`, looking every {POLL:?} instead");
        }
        loop {
            let unsettled = self.look();
            let pause = tokio::time::sleep(if unsettled { QUIET } else { POLL });
            tokio::select! {
                () = self.load_until(pause) => {}
                _ = hints.recv() => {}
                Ok(()) = rescan.changed() => {}
                _ = over.changed() => return,
            }
        }
    }

    /// Load what is to be loaded, until `pause` is over.
    async fn load_until(&mut self, pause: impl Future<Output = ()>) {
        let mut pause = pin!(pause);
        loop {
            tokio::select! {
                next = self.loading.next() => match next {
                    Next::Turn(name, turn) => self.begin(name, turn),
                    Next::Loaded(name, version) => self.settle(name, version),
                },
                () = tokio::time::sleep_until(self.gathered_until.into()), if !self.gathered.is_empty() => self.take_up(),
                () = &mut pause => return,
            }
        }
    }

    /// Note what has changed since the last look, to be loaded. Returns whether something was left alone because it is too
    /// new.
    fn look(&mut self) -> bool {
        // Before anything is taken away: what was loaded of it would come back afterwards.
        self.take_up();
        let listed = {
            let _still = self.still.lock().unwrap_or_else(PoisonError::into_inner);
            list(&self.source.directory)
        };
        let (now_there, mut unsettled) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                // What is loaded stays: a directory that cannot be read says nothing about its plugins.
                let path = self.source.directory.display();
                warn!(error = %error, "Cannot read the plugin directory `{path}`");
                return false;
            }
        };
        self.outlet.there(&self.source.tenant, now_there.keys());
        let gone: Vec<String> = self.seen.keys().filter(|name| !now_there.contains_key(*name)).cloned().collect();
        let some_gone = !gone.is_empty();
        for name in &gone {
            self.loading.give_up(name);
            self.seen.remove(name);
        }
        self.outlet.remove(&self.source.tenant, &gone);
        if some_gone {
            // What went may have been in the way of one that did not load.
            for name in self.outlet.quarantined(&self.source.tenant) {
                if !self.loading.has(&name) {
                    self.seen.remove(&name);
                }
            }
        }

        for (name, files) in now_there {
            if self.seen.get(&name) == Some(&files) {
                continue;
            }
            if files.is_new(SystemTime::now()) {
                unsettled = true;
                continue;
            }
            let before = self.seen.insert(name.clone(), files).unwrap_or_default();
            if before.lost_one_in(files) {
                // What was taken away on purpose must not go on as the version before.
                self.outlet.remove(&self.source.tenant, std::slice::from_ref(&name));
            }
            self.loading.add(name, files.size());
        }
        unsettled
    }

    fn begin(&mut self, name: String, turn: OwnedSemaphorePermit) {
        let Some(files) = self.seen.get(&name).copied() else { return };
        let load = load(self.source.clone(), name.clone(), files);
        self.loading.begin(name, turn, load);
    }

    /// Keep what a load brought, to be used in a moment: the first plugin is long before the last is loaded.
    fn settle(&mut self, name: String, version: Brought) {
        if self.gathered.is_empty() {
            self.gathered_until = Instant::now() + GATHER;
        }
        self.gathered.push((name, version));
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
        let again = self.outlet.take_up(&self.source.tenant, std::mem::take(&mut self.gathered), self.clock.now());
        for name in again {
            // As if it had changed: it is loaded again at the next look.
            self.seen.insert(name, Files::default());
        }
    }
}

/// The directory at `path`, which is made if it is not there.
fn made(path: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(path)?;
    path.canonicalize()
}

/// Whether nothing was changed by what happened. Looking at the directory is such an event itself.
fn is_only_read(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

async fn load(source: Source, name: String, files: Files) -> Brought {
    debug!(plugin = name, "Loading plugin `{}`", name.escape_debug());
    source.version(&name, files).await
}

//! Watches the plugin directory of a tenant, and keeps the registry the same as what lies in it.
//!
//! Notifications of the file system say when to look, and a slow poll looks anyway. A file that was changed a moment ago
//! may be half-written, so it is left alone until it has been quiet; a rename of a finished file is taken up at once by
//! that measure too, as its time of change is older.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::{RecursiveMode, Watcher};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tracing::{debug, warn};

use crate::plugins::loading::{Loading, Next};
use crate::plugins::manifest::Manifest;
use crate::plugins::registry::{Loaded, Ready, Registry, Version};
use crate::runtime::Runtime;
use crate::task::{Name, TaskKey};
use crate::time::Clock;

/// How long a file must not have changed before it is read.
const QUIET: Duration = Duration::from_millis(150);

/// How often to look without having been told to.
const POLL: Duration = Duration::from_secs(5);

/// Largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 1 << 20;

/// How long what was loaded may wait for more to be taken up with it: each time, the scheduler and the worker look through
/// all tasks there are, which with thousands of plugins must not be once for each.
const GATHER: Duration = Duration::from_millis(25);

/// What tells one state of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    written: (i64, i64),
    /// Also changed by renames and by what sets the time of writing back.
    changed: (i64, i64),
}

/// The two files of a plugin, as far as they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    component: Option<Stamp>,
    manifest: Option<Stamp>,
}

/// The plugin directory of one tenant.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    tenant: Name,
    registry: Arc<Registry>,
    runtime: Arc<Runtime>,
    clock: Arc<dyn Clock>,
    max_component: u64,
    seen: BTreeMap<String, Files>,
    loading: Loading<Result<Version, Rejected>>,
    /// What was loaded, and is not in use yet; and when the first of it has waited long enough for others.
    gathered: Vec<Loaded>,
    gathered_until: Instant,
}

impl Directory {
    /// The directory of `tenant` at `path`, which is made if it is not there.
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
        std::fs::create_dir_all(path)?;
        let path = path.canonicalize()?;
        let (seen, loading) = (BTreeMap::new(), Loading::new());
        let (gathered, gathered_until) = (Vec::new(), Instant::now());
        Ok(Self { path, tenant, registry, runtime, clock, max_component, seen, loading, gathered, gathered_until })
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
            watcher.watch(&self.path, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            warn!(error = %error, "Cannot watch `{}`, looking every {POLL:?} instead", self.path.display());
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
        let (now_there, mut unsettled) = match list(&self.path) {
            Ok(listed) => listed,
            Err(error) => {
                // What is loaded stays: a directory that cannot be read says nothing about its plugins.
                warn!(error = %error, "Cannot read the plugin directory `{}`", self.path.display());
                return false;
            }
        };
        let gone: Vec<String> = self.seen.keys().filter(|name| !now_there.contains_key(*name)).cloned().collect();
        let some_gone = !gone.is_empty();
        for name in &gone {
            self.loading.give_up(name);
            self.seen.remove(name);
        }
        self.registry.remove(&self.tenant, &gone);
        if some_gone {
            // What went may have been in the way of one that did not load.
            for name in self.registry.quarantined(&self.tenant) {
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
                self.registry.remove(&self.tenant, std::slice::from_ref(&name));
            }
            self.loading.add(name, files.size());
        }
        unsettled
    }

    fn begin(&mut self, name: String, turn: OwnedSemaphorePermit) {
        let Some(files) = self.seen.get(&name).copied() else { return };
        let load = load(self.source(), name.clone(), files);
        self.loading.begin(name, turn, load);
    }

    /// Keep what a load brought, to be used in a moment: the first plugin is long before the last is loaded.
    fn settle(&mut self, name: String, version: Result<Version, Rejected>) {
        if version.as_ref().is_err_and(|rejected| rejected.for_now) {
            // As if it had changed: it is loaded again at the next look.
            self.seen.insert(name.clone(), Files::default());
        }
        if self.gathered.is_empty() {
            self.gathered_until = Instant::now() + GATHER;
        }
        self.gathered.push(Loaded { name, version: version.map_err(|rejected| rejected.reason) });
        // Alone, it need not wait.
        if self.loading.is_idle() {
            self.take_up();
        }
    }

    /// Use what was gathered.
    fn take_up(&mut self) {
        if !self.gathered.is_empty() {
            self.registry.take_up(&self.tenant, std::mem::take(&mut self.gathered), self.clock.now());
        }
    }

    fn source(&self) -> Source {
        Source {
            directory: self.path.clone(),
            runtime: Arc::clone(&self.runtime),
            tenant: self.tenant.clone(),
            max_component: self.max_component,
        }
    }
}

impl Files {
    /// Of the component, in bytes.
    fn size(self) -> u64 {
        self.component.map_or(0, |component| component.size)
    }

    /// Whether a file that was here is not in `now`.
    fn lost_one_in(self, now: Self) -> bool {
        (self.component.is_some() && now.component.is_none()) || (self.manifest.is_some() && now.manifest.is_none())
    }

    fn is_new(self, now: SystemTime) -> bool {
        [self.component, self.manifest].into_iter().flatten().any(|stamp| {
            let at = SystemTime::UNIX_EPOCH
                + Duration::new(stamp.written.0.unsigned_abs(), 0)
                + Duration::from_nanos(stamp.written.1.unsigned_abs());
            // A time in the future says nothing about how long the file has been quiet.
            now.duration_since(at).is_ok_and(|quiet| quiet < QUIET)
        })
    }
}

/// Whether nothing was changed by what happened. Looking at the directory is such an event itself.
fn is_only_read(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

/// The plugins that lie in `directory`, and whether some entry could not be looked at.
pub(super) fn list(directory: &Path) -> io::Result<(BTreeMap<String, Files>, bool)> {
    let mut plugins: BTreeMap<String, Files> = BTreeMap::new();
    let mut unsettled = false;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
        let extension = path.extension().and_then(OsStr::to_str);
        if stem.starts_with('.') || !matches!(extension, Some("wasm" | "toml")) {
            continue;
        }
        // Follows links, so that a plugin may be one; what vanished since it was listed is looked at again.
        let Ok(meta) = std::fs::metadata(&path) else {
            unsettled |= path.symlink_metadata().is_err();
            continue;
        };
        let stamp = Stamp {
            inode: meta.ino(),
            size: meta.len(),
            written: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        };
        let files = plugins.entry(stem).or_default();
        match extension {
            Some("wasm") => files.component = Some(stamp),
            _ => files.manifest = Some(stamp),
        }
    }
    Ok((plugins, unsettled))
}

/// What a load needs to know.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) directory: PathBuf,
    pub(super) runtime: Arc<Runtime>,
    pub(super) tenant: Name,
    pub(super) max_component: u64,
}

/// Why a plugin is not used.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) reason: String,
    /// Whether the same files may do better a moment later.
    for_now: bool,
}

impl From<String> for Rejected {
    fn from(reason: String) -> Self {
        Self { reason, for_now: false }
    }
}

async fn load(source: Source, name: String, files: Files) -> Result<Version, Rejected> {
    debug!(plugin = name, "Loading plugin `{}`", name.escape_debug());
    source.version(&name, files).await
}

impl Source {
    /// Read, check, compile and link a plugin. The error is the reason to show.
    pub(super) async fn version(&self, name: &str, files: Files) -> Result<Version, Rejected> {
        let plugin = Name::new(name).map_err(|error| format!("{error}; rename the file"))?;
        let manifest_file = format!("{name}.toml");
        let manifest = match files.manifest {
            Some(_) => {
                let text = self.read(&manifest_file, MAX_MANIFEST).await?;
                let text = String::from_utf8(text).map_err(|error| format!("{manifest_file}: not UTF-8: {error}"))?;
                Manifest::parse(&manifest_file, &text).map_err(|error| error.to_string())?
            }
            None => Manifest::for_plugin_without(&plugin),
        };
        if files.component.is_none() {
            return Err(format!("there is a `{manifest_file}`, but no `{name}.wasm` beside it").into());
        }
        let wasm = self.read(&format!("{name}.wasm"), self.max_component).await?;
        let component = self
            .runtime
            .load(wasm)
            .await
            .map_err(|error| Rejected { reason: format!("{name}.wasm: {error}"), for_now: error.may_pass() })?;
        let tasks = manifest
            .tasks(&self.tenant, &plugin, &self.directory)
            .into_iter()
            .map(|task| {
                let task = Arc::new(task);
                let prepared = self.runtime.prepare(&component, &task).map_err(|refusal| {
                    let TaskKey { task, .. } = &task.key;
                    format!("task `{task}` {refusal}")
                })?;
                Ok(Ready { task, prepared })
            })
            .collect::<Result<_, String>>()?;
        let chains = manifest.chains(&self.tenant, &plugin).into_iter().map(Arc::new).collect();
        Ok(Version { component, tasks, chains })
    }

    async fn read(&self, file: &str, limit: u64) -> Result<Vec<u8>, String> {
        let path = self.directory.join(file);
        let file = file.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let opened = open_file(&path).map_err(|error| format!("cannot read `{file}`: {error}"))?;
            opened.take(limit + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot read `{file}`: {error}"))?;
            if bytes.len() as u64 > limit {
                return Err(format!("`{file}` is larger than {limit} bytes, the most that is read"));
            }
            Ok(bytes)
        });
        read.await.map_err(|error| format!("cannot read it: {error}"))?
    }
}

/// Open a plain file. A pipe or a device under a plugin's name would block the reader, or never end.
fn open_file(path: &Path) -> io::Result<std::fs::File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    std::fs::File::open(path)
}

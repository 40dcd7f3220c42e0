//! Watches a directory for changes, wherever its path leads at the time.
//!
//! The path may be a link that is switched to another release, or the directory may be removed and created again, and a
//! watch stays with the directory that it was set on. So the path is examined with each look at the directory. If the
//! system gives no watch (it has a limit for each user), only the poll is left, and a watch is requested again each
//! time.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Identifies the watched directory itself, whatever its path is.
type Identity = (u64, u64);

/// The system's watcher, which all directories share: a user may have few of them, and each takes a thread.
#[derive(Debug, Default)]
pub(crate) struct SharedWatcher {
    watcher: Mutex<Option<RecommendedWatcher>>,
    told: Arc<Mutex<HashMap<PathBuf, mpsc::Sender<()>>>>,
}

impl SharedWatcher {
    fn watch(&self, path: &Path, told: mpsc::Sender<()>) -> notify::Result<()> {
        let mut watcher = locked(&self.watcher);
        let watcher = match &mut *watcher {
            Some(watcher) => watcher,
            none => none.insert(self.start()?),
        };
        locked(&self.told).insert(path.to_path_buf(), told);
        watcher.watch(path, RecursiveMode::NonRecursive).inspect_err(|_| {
            locked(&self.told).remove(path);
        })
    }

    fn unwatch(&self, path: &Path) {
        locked(&self.told).remove(path);
        if let Some(watcher) = &mut *locked(&self.watcher) {
            // The watch of a directory that was removed is gone already.
            let _ = watcher.unwatch(path);
        }
    }

    fn start(&self) -> notify::Result<RecommendedWatcher> {
        let told = Arc::clone(&self.told);
        notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) if is_only_read(&event) => {}
            Ok(event) if !event.paths.is_empty() && !event.need_rescan() => {
                let told = locked(&told);
                for path in &event.paths {
                    tell(path.parent().and_then(|directory| told.get(directory)));
                    tell(told.get(path));
                }
            }
            // It is not known which directories changed.
            _ => locked(&told).values().for_each(|told| tell(Some(told))),
        })
    }
}

fn tell(whom: Option<&mpsc::Sender<()>>) {
    if let Some(told) = whom {
        // If the channel is full, a hint is pending already, which is enough.
        let _ = told.try_send(());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock leaves nothing half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A watch that follows a path.
pub(super) struct Watching {
    path: PathBuf,
    watcher: Arc<SharedWatcher>,
    told: mpsc::Sender<()>,
    /// The watched directory.
    watched: Option<Identity>,
    /// Whether it was logged that there is no watch.
    warned: bool,
}

impl Watching {
    /// Creates a watch of the directory at `path`, and the receiver of its hints. Nothing is watched before
    /// [`Self::follow`].
    pub(super) fn of(path: PathBuf, watcher: Arc<SharedWatcher>) -> (Self, mpsc::Receiver<()>) {
        let (told, hints) = mpsc::channel(1);
        // Events name absolute paths.
        let path = std::path::absolute(&path).unwrap_or(path);
        (Self { path, watcher, told, watched: None, warned: false }, hints)
    }

    /// Watches the directory that the path leads to now. May take as long as the file system does.
    pub(super) fn follow(&mut self) {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return };
        let identity = (metadata.dev(), metadata.ino());
        if self.watched == Some(identity) {
            return;
        }
        self.stop();
        let path = self.path.display();
        match self.watcher.watch(&self.path, self.told.clone()) {
            Ok(()) => {
                self.watched = Some(identity);
                if std::mem::take(&mut self.warned) {
                    info!("Watching `{path}` again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.warned, true) {
                    warn!(error = %error, "Cannot watch `{path}`, polling it instead");
                }
            }
        }
    }

    fn stop(&mut self) {
        if self.watched.take().is_some() {
            self.watcher.unwatch(&self.path);
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns whether an event changed nothing. Listing the directory causes such events itself.
fn is_only_read(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

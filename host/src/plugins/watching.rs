//! Watches a directory for changes, wherever its path leads at the time.
//!
//! The path may be a link that is switched to another release, or the directory may be removed and created again, and a
//! watch stays with the directory that it was set on. So the path is examined with each look at the directory. If the
//! system gives no watch (it has a limit for each user), only the poll is left, and a watch is requested again each
//! time.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// Identifies the watched directory itself, whatever its path is.
type Identity = (u64, u64);

/// A watch that follows a path.
pub(super) struct Watching {
    path: PathBuf,
    told: mpsc::Sender<()>,
    /// The watched directory; dropping the watcher ends the watch.
    watched: Option<(Identity, RecommendedWatcher)>,
    /// Whether it was logged that there is no watch.
    warned: bool,
}

impl Watching {
    /// Creates a watch of the directory at `path`, and the receiver of its hints. Nothing is watched before
    /// [`Self::follow`].
    pub(super) fn of(path: PathBuf) -> (Self, mpsc::Receiver<()>) {
        // If the channel is full, a hint is pending already, which is enough.
        let (told, hints) = mpsc::channel(1);
        (Self { path, told, watched: None, warned: false }, hints)
    }

    /// Watches the directory that the path leads to now. May take as long as the file system does.
    pub(super) fn follow(&mut self) {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return };
        let identity = (metadata.dev(), metadata.ino());
        if self.watched.as_ref().is_some_and(|(watched, _)| *watched == identity) {
            return;
        }
        self.watched = None;
        let path = self.path.display();
        match self.watch() {
            Ok(watcher) => {
                self.watched = Some((identity, watcher));
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

    fn watch(&self) -> notify::Result<RecommendedWatcher> {
        let told = self.told.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !event.as_ref().is_ok_and(is_only_read) {
                let _ = told.try_send(());
            }
        })?;
        watcher.watch(&self.path, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

/// Returns whether an event changed nothing. Listing the directory causes such events itself.
fn is_only_read(event: &notify::Event) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

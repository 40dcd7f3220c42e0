//! Shares plugins between hosts through the store: a plugin that is dropped on one of them is used by all.
//!
//! The plugin directory of a host remains the way in. Plugins that load there are published (`publish_policy` says
//! when), and every host, this one too, uses the version that was published last. It fetches that version, compares its
//! digest, puts it into a directory of its own (`local_cache`), and loads it from there like any plugin in a plugin
//! directory, so each host compiles for itself, within its limits. A plugin that cannot be fetched or does not load
//! affects no other, and its previous version stays in use.

mod fetching;
mod local_cache;
mod publish_policy;
mod publisher;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::plugins::directory::Directory;
use crate::plugins::registry::Registry;
use crate::plugins::sink::{Publishing, Sink};
use local_cache::LocalCache;
use publisher::{Publisher, Tenant};
use sexton_domain::time::Clock;
use sexton_store::Store;
use sexton_system::private;
use sexton_system::regular_file;
use sexton_system::supervisor::caught;

/// The parts that sharing needs.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The store in which plugins are published.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The plugins of this host.
    pub registry: Arc<Registry>,
    /// The name of this host, as shown with the plugins that it publishes.
    pub host: String,
}

/// Shares the plugins of a host with others.
#[derive(Debug)]
pub struct Sharing {
    publisher: Publisher,
    /// The directories in which plugins are dropped.
    own: Vec<Directory>,
    /// The directories of the plugins in use.
    copies: Vec<Directory>,
}

impl Sharing {
    /// Shares the plugins of the directories `own`. Published plugins are kept in `place`, which is created if
    /// necessary.
    ///
    /// # Errors
    ///
    /// `place` cannot be created, or one of `own` lies in it.
    pub fn of(mut own: Vec<Directory>, place: &Path, shared: Shared) -> io::Result<Self> {
        // Plugins that lie there are used without further checks.
        private::make_directory(place)?;
        regular_file::own_directory(place)?;
        let place = place.canonicalize()?;
        let (told, drops) = mpsc::unbounded_channel();
        let (mut copies, mut tenants) = (Vec::new(), BTreeMap::new());
        for directory in &mut own {
            let (name, dropped) = (directory.source.tenant.clone(), directory.source.directory.clone());
            if dropped.canonicalize()?.starts_with(&place) {
                let what = format!("the plugin directory `{}` lies in it; choose another", dropped.display());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
            private::make_directory(&place.join(name.as_str()))?;
            let used = directory.beside(&place.join(name.as_str()), Arc::clone(&shared.registry))?;
            regular_file::own_directory(&used.source.directory)?;
            directory.sink = Sink::Publish(Publishing::new(Arc::clone(&shared.registry), told.clone()));
            let files = LocalCache::new(used.source.directory.clone(), Arc::clone(&used.still));
            let max_component = directory.source.max_component;
            tenants.insert(name, Tenant { dropped, max_component, copies: files, awaited: None });
            copies.push(used);
        }
        Ok(Self { publisher: Publisher::new(shared, tenants, drops), own, copies })
    }

    /// Publishes, fetches and loads until `over` is set. A change of `rescan` causes a look at the directories at once.
    pub async fn run(self, rescan: watch::Receiver<u64>, over: watch::Receiver<bool>) {
        let looked = watch::Sender::new(false);
        let mut directories = JoinSet::new();
        for directory in self.own {
            directories.spawn(caught(Box::pin(directory.run(rescan.clone(), over.clone()))));
        }
        for directory in self.copies {
            let (rescan, over, mut looked) = (rescan.clone(), over.clone(), looked.subscribe());
            directories.spawn(caught(Box::pin(async move {
                let mut ended = over.clone();
                // The first look comes before any load, so that a plugin that was withdrawn or replaced while this host
                // was down is not used for a moment.
                tokio::select! {
                    first = looked.wait_for(|looked| *looked) => drop(first),
                    _ = ended.changed() => return,
                }
                directory.run(rescan, over).await;
            })));
        }
        let publishing = self.publisher.run(looked, over);
        let loading = async {
            while let Some(done) = directories.join_next().await {
                // The directories depend on each other, so a panic of one is a panic of all.
                if let Ok(Err(panic)) = done {
                    panic.resume();
                }
            }
        };
        tokio::join!(publishing, loading);
    }
}

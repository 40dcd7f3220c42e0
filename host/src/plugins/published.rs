//! Plugins that hosts share by way of the store: what is dropped on one of them is used by all.
//!
//! The plugin directory of a host stays the way in. What loads there is published (`rule` says when), and what was published
//! last is what every host uses, this one too: it is fetched, its digest compared, put into a directory of the host's own
//! (`copies`), and taken up from there as anything in a plugin directory is, so that each host compiles for itself, within its
//! limits. What cannot be fetched or does not load harms nobody: the version before it stays in use.

mod copies;
mod fetching;
mod publisher;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::plugins::directory::Directory;
use crate::plugins::outlet::{Outlet, Publishing};
use crate::plugins::registry::Registry;
use crate::private;
use crate::regular_file;
use crate::store::Store;
use crate::supervisor::caught;
use crate::time::Clock;
use copies::Copies;
use publisher::{Publisher, Tenant};

/// What sharing plugins needs.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where plugins are published.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The plugins of this host.
    pub registry: Arc<Registry>,
    /// This host, as shown with what it publishes.
    pub host: String,
}

/// Shares the plugins of a host with others.
#[derive(Debug)]
pub struct Sharing {
    publisher: Publisher,
    /// Where plugins are dropped.
    own: Vec<Directory>,
    /// Where those lie that are used.
    copies: Vec<Directory>,
}

impl Sharing {
    /// Share what lies in the directories `own`. What is published is kept in `place`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or one of `own` lies in it.
    pub fn of(mut own: Vec<Directory>, place: &Path, shared: Shared) -> io::Result<Self> {
        // What lies there is used without being asked about.
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
            directory.outlet = Outlet::Publish(Publishing::new(Arc::clone(&shared.registry), told.clone()));
            let files = Copies::new(used.source.directory.clone(), Arc::clone(&used.still));
            let max_component = directory.source.max_component;
            tenants.insert(name, Tenant { dropped, max_component, copies: files, awaited: None });
            copies.push(used);
        }
        Ok(Self { publisher: Publisher::new(shared, tenants, drops), own, copies })
    }

    /// Publish, fetch and load, until `over` is set. Looks at the directories at once when `rescan` changes.
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
                // What was withdrawn or replaced while this host was down is not used for a moment.
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
                // The directories hang together, so a panic of one is a panic of all.
                if let Ok(Err(panic)) = done {
                    panic.resume();
                }
            }
        };
        tokio::join!(publishing, loading);
    }
}

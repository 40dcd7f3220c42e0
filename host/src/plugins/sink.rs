//! Applies changes of a plugin directory: uses its plugins on this host, or publishes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::plugins::directory::LoadResult;
use crate::plugins::registry::{Loaded, REASON_IN_LOG, Registry, Version, cut};
use crate::plugins::source::Rejected;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::published::PublishedPlugin;
use sexton_system::harmless;

/// The destination of a directory's plugins.
#[derive(Debug)]
pub(super) enum Sink {
    /// The plugins are used on this host.
    Use(Arc<Registry>),
    /// The plugins are published, to be used on all hosts that share their plugins.
    Publish(Publishing),
}

/// Reports changes of a directory to the publisher.
#[derive(Debug)]
pub(super) struct Publishing {
    registry: Arc<Registry>,
    told: UnboundedSender<(Name, DirectoryEvent)>,
    /// The plugins that are not good, and why.
    bad: BTreeMap<String, String>,
    /// The good plugin that has each task or chain.
    taken: BTreeMap<TaskKey, String>,
    /// The tasks and chains of each good plugin.
    keys: BTreeMap<String, Vec<TaskKey>>,
    looked: bool,
}

/// A change of a plugin directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DirectoryEvent {
    /// The names at the first look. The state of each plugin is reported later.
    There(Vec<String>),
    /// A plugin that loads.
    Good(String, Fingerprint),
    /// A plugin that does not load, or not now.
    Bad {
        /// The name of the plugin.
        plugin: String,
        /// The reason why it is not used.
        reason: String,
        /// Whether the same files may load a moment later.
        for_now: bool,
    },
    /// The plugin, or one of its files, was removed.
    Gone(String),
}

/// Identifies a version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// The SHA-256 of its component, in hex.
    pub(super) digest: String,
    /// The text of its manifest; empty if it has none.
    pub(super) manifest: String,
}

impl Fingerprint {
    /// Returns the fingerprint of a published version.
    pub(super) fn of(published: &PublishedPlugin) -> Self {
        Self { digest: published.digest.clone(), manifest: published.manifest.clone() }
    }
}

impl Sink {
    /// Reports which plugins lie in the directory.
    pub(super) fn there<'a>(&mut self, tenant: &Name, names: impl Iterator<Item = &'a String>) {
        if let Self::Publish(publishing) = self
            && !publishing.looked
        {
            publishing.looked = true;
            publishing.tell(tenant, DirectoryEvent::There(names.cloned().collect()));
        }
    }

    /// Handles plugins that were removed, or lost a file.
    pub(super) fn remove(&mut self, tenant: &Name, names: &[String]) {
        match self {
            Self::Use(registry) => registry.remove(tenant, names),
            Self::Publish(publishing) => {
                for name in names {
                    publishing.forget(name);
                    publishing.tell(tenant, DirectoryEvent::Gone(name.clone()));
                }
            }
        }
    }

    /// Returns the names of all plugins whose files in the directory are not good.
    pub(super) fn quarantined(&self, tenant: &Name) -> Vec<String> {
        match self {
            Self::Use(registry) => registry.quarantined(tenant),
            Self::Publish(publishing) => publishing.bad.keys().cloned().collect(),
        }
    }

    /// Uses or publishes loaded plugins. Returns those that are good and cannot be published for now, because another
    /// plugin is in their way.
    pub(super) fn apply(&mut self, tenant: &Name, brought: Vec<(String, LoadResult)>, now: Timestamp) -> Vec<String> {
        let mut again = Vec::new();
        match self {
            Self::Use(registry) => {
                let loaded = brought
                    .into_iter()
                    .map(|(name, version)| Loaded { name, version: version.map_err(|rejected| rejected.reason) });
                registry.apply(tenant, loaded.collect(), now);
            }
            Self::Publish(publishing) => {
                for (name, version) in brought {
                    if publishing.apply(tenant, &name, version) {
                        again.push(name);
                    }
                }
            }
        }
        again
    }
}

impl Publishing {
    pub(super) fn new(registry: Arc<Registry>, told: UnboundedSender<(Name, DirectoryEvent)>) -> Self {
        let (bad, taken, keys) = Default::default();
        Self { registry, told, bad, taken, keys, looked: false }
    }

    /// Returns whether another plugin is in its way.
    fn apply(&mut self, tenant: &Name, name: &str, version: LoadResult) -> bool {
        // A plugin that all hosts would refuse is not published. The plugin in its way may be removed, and no event
        // here reports that.
        let mut in_the_way = false;
        let version = version.and_then(|version| {
            let fitting = self.check_fits(tenant, name, version).map_err(Rejected::for_now);
            in_the_way = fitting.is_err();
            fitting
        });
        match version {
            Ok(version) => {
                self.forget(name);
                let keys: Vec<TaskKey> = version.keys().cloned().collect();
                self.taken.extend(keys.iter().map(|key| (key.clone(), name.to_owned())));
                self.keys.insert(name.to_owned(), keys);
                let digest = version.component.digest().to_owned();
                self.tell(
                    tenant,
                    DirectoryEvent::Good(name.to_owned(), Fingerprint { digest, manifest: version.manifest }),
                );
                false
            }
            Err(Rejected { reason, for_now }) => {
                let (plugin, reason) = (name.to_owned(), cut(reason));
                // The plugin may be retried many times, so the warning is logged once.
                if self.bad.insert(plugin.clone(), reason.clone()).as_ref() != Some(&reason) {
                    warn!(plugin, tenant.name = %tenant, "Not published, plugin `{}`: {}", harmless::line(name), harmless::logged(&reason, REASON_IN_LOG));
                }
                self.tell(tenant, DirectoryEvent::Bad { plugin, reason, for_now });
                in_the_way
            }
        }
    }

    /// Returns the version, unless another plugin has a task or a chain of the same name, in use or in the directory.
    fn check_fits(&self, tenant: &Name, name: &str, version: Version) -> Result<Version, String> {
        let taken = version.keys().find_map(|key| Some((key, self.taken.get(key).filter(|other| *other != name)?)));
        match taken {
            Some((key, other)) => Err(format!("plugin `{other}` has a `{}` already; rename one of them", key.task)),
            None => self.registry.check_fits(tenant, name, version),
        }
    }

    fn forget(&mut self, name: &str) {
        self.bad.remove(name);
        for key in self.keys.remove(name).into_iter().flatten() {
            self.taken.remove(&key);
        }
    }

    fn tell(&self, tenant: &Name, dropped: DirectoryEvent) {
        // There is no receiver while the host stops.
        let _ = self.told.send((tenant.clone(), dropped));
    }
}

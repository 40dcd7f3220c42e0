//! Where it goes what a directory holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::harmless;
use crate::plugins::directory::Brought;
use crate::plugins::registry::{Loaded, REASON_IN_LOG, Registry, Version, cut};
use crate::plugins::source::Rejected;
use crate::store::published::PublishedPlugin;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// What becomes of what lies in a directory.
#[derive(Debug)]
pub(super) enum Outlet {
    /// It is used on this host.
    Use(Arc<Registry>),
    /// It is to be used on all hosts that share their plugins.
    Publish(Publishing),
}

/// Tells those who publish what lies in a directory.
#[derive(Debug)]
pub(super) struct Publishing {
    registry: Arc<Registry>,
    told: UnboundedSender<(Name, Dropped)>,
    /// What is not good, and why.
    bad: BTreeMap<String, String>,
    /// Which of those that are good has a task or a chain.
    taken: BTreeMap<TaskKey, String>,
    looked: bool,
}

/// What is told of what lies in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// The names at the first look. How each of them is, is told later.
    There(Vec<String>),
    /// A plugin that loads.
    Good(String, Mark),
    /// One that does not, or not now.
    Bad {
        /// Its name.
        plugin: String,
        /// Why it is not used.
        reason: String,
        /// Whether the same files may do better a moment later.
        for_now: bool,
    },
    /// The plugin, or one of its files, was taken away.
    Gone(String),
}

/// What tells one plugin from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// SHA-256 of its component, in hex.
    pub(super) digest: String,
    /// The text of its manifest; empty if it has none.
    pub(super) manifest: String,
}

impl Mark {
    /// Of what was published.
    pub(super) fn of(published: &PublishedPlugin) -> Self {
        Self { digest: published.digest.clone(), manifest: published.manifest.clone() }
    }
}

impl Outlet {
    /// These plugins lie in the directory.
    pub(super) fn there<'a>(&mut self, tenant: &Name, names: impl Iterator<Item = &'a String>) {
        if let Self::Publish(publishing) = self
            && !publishing.looked
        {
            publishing.looked = true;
            publishing.tell(tenant, Dropped::There(names.cloned().collect()));
        }
    }

    /// The plugins, or a file of each, are not there any more.
    pub(super) fn remove(&mut self, tenant: &Name, names: &[String]) {
        match self {
            Self::Use(registry) => registry.remove(tenant, names),
            Self::Publish(publishing) => {
                for name in names {
                    publishing.forget(name);
                    publishing.tell(tenant, Dropped::Gone(name.clone()));
                }
            }
        }
    }

    /// The names of all plugins of which what lies in the directory is not good.
    pub(super) fn quarantined(&self, tenant: &Name) -> Vec<String> {
        match self {
            Self::Use(registry) => registry.quarantined(tenant),
            Self::Publish(publishing) => publishing.bad.keys().cloned().collect(),
        }
    }

    /// Do with what was loaded what is to be done with it. Returns what is good by itself and cannot be published for now, as
    /// another plugin is in its way.
    pub(super) fn take_up(&mut self, tenant: &Name, brought: Vec<(String, Brought)>, now: Timestamp) -> Vec<String> {
        let mut again = Vec::new();
        match self {
            Self::Use(registry) => {
                let loaded = brought
                    .into_iter()
                    .map(|(name, version)| Loaded { name, version: version.map_err(|rejected| rejected.reason) });
                registry.take_up(tenant, loaded.collect(), now);
            }
            Self::Publish(publishing) => {
                for (name, version) in brought {
                    if publishing.take_up(tenant, &name, version) {
                        again.push(name);
                    }
                }
            }
        }
        again
    }
}

impl Publishing {
    pub(super) fn new(registry: Arc<Registry>, told: UnboundedSender<(Name, Dropped)>) -> Self {
        Self { registry, told, bad: BTreeMap::new(), taken: BTreeMap::new(), looked: false }
    }

    /// Returns whether another plugin is in its way.
    fn take_up(&mut self, tenant: &Name, name: &str, version: Brought) -> bool {
        // One that all hosts would refuse is not published. What is in its way may go, and that is seen by nobody here.
        let mut in_the_way = false;
        let version = version.and_then(|version| {
            let fitting = self.fitting(tenant, name, version).map_err(Rejected::for_now);
            in_the_way = fitting.is_err();
            fitting
        });
        match version {
            Ok(version) => {
                self.forget(name);
                self.taken.extend(version.keys().map(|key| (key.clone(), name.to_owned())));
                let digest = version.component.digest().to_owned();
                self.tell(tenant, Dropped::Good(name.to_owned(), Mark { digest, manifest: version.manifest }));
                false
            }
            Err(Rejected { reason, for_now }) => {
                let (plugin, reason) = (name.to_owned(), cut(reason));
                // It may be tried again and again.
                if self.bad.insert(plugin.clone(), reason.clone()).as_ref() != Some(&reason) {
                    warn!(plugin, tenant.name = %tenant, "Not published, plugin `{}`: {}", harmless::line(name), harmless::logged(&reason, REASON_IN_LOG));
                }
                self.tell(tenant, Dropped::Bad { plugin, reason, for_now });
                in_the_way
            }
        }
    }

    /// The version, unless another plugin has a task or a chain of the same name as one of it: in use, or in the directory.
    fn fitting(&self, tenant: &Name, name: &str, version: Version) -> Result<Version, String> {
        let taken = version.keys().find_map(|key| Some((key, self.taken.get(key).filter(|other| *other != name)?)));
        match taken {
            Some((key, other)) => Err(format!("plugin `{other}` has a `{}` already; rename one of them", key.task)),
            None => self.registry.fitting(tenant, name, version),
        }
    }

    fn forget(&mut self, name: &str) {
        self.bad.remove(name);
        self.taken.retain(|_, plugin| plugin != name);
    }

    fn tell(&self, tenant: &Name, dropped: Dropped) {
        // Nobody listens any more where the host stops.
        let _ = self.told.send((tenant.clone(), dropped));
    }
}

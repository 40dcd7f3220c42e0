//! What is loaded, and what every task's next run is made of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tracing::{info, warn};

use crate::catalog::Catalog;
use crate::plugins::PluginInfo;
use crate::runtime::{Component, Prepared};
use crate::task::{Name, Task, TaskKey};
use crate::time::Timestamp;

/// Longest reason that is kept, in bytes: names that a component brings along may be of any length and number.
const LONGEST_REASON: usize = 4 << 10;

/// `reason` as it is shown and logged.
fn cut(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        reason.push_str("…[cut]");
        reason.shrink_to_fit();
    }
    reason
}

/// A task with all that its runs need. A run keeps the one it began with.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The definition.
    pub task: Arc<Task>,
    /// The component, linked with what the task is granted.
    pub prepared: Arc<Prepared>,
}

/// A version of a plugin that is good.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) component: Arc<Component>,
    pub(super) tasks: Vec<Ready>,
}

#[derive(Debug, Default)]
struct Plugin {
    version: Option<(Version, Timestamp)>,
    quarantine: Option<String>,
}

/// All plugins of this host, by name.
#[derive(Debug)]
pub struct Registry {
    tenant: Name,
    plugins: Mutex<BTreeMap<String, Plugin>>,
    ready: RwLock<Arc<BTreeMap<TaskKey, Ready>>>,
    catalog: Arc<Catalog>,
}

impl Registry {
    /// A registry without plugins, that will tell `catalog` of the tasks it comes to know.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { tenant: Name::default_tenant(), plugins: Mutex::default(), ready: RwLock::default(), catalog }
    }

    /// What the next run of `task` is made of; `None` if no plugin that loads offers it.
    pub fn ready(&self, task: &TaskKey) -> Option<Ready> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }

    /// All plugins, by name.
    pub fn list(&self) -> Vec<PluginInfo> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.iter().map(|(name, plugin)| self.info(name, plugin)).collect()
    }

    fn info(&self, name: &str, plugin: &Plugin) -> PluginInfo {
        let version = plugin.version.as_ref();
        PluginInfo {
            name: name.to_owned(),
            tenant: self.tenant.clone(),
            digest: version.map(|(version, _)| version.component.digest().to_owned()),
            size: version.map_or(0, |(version, _)| version.component.size()),
            kind: version.map(|(version, _)| version.component.kind().as_str().to_owned()),
            tasks: version
                .map(|(version, _)| version.tasks.iter().map(|ready| ready.task.key.task.clone()).collect())
                .unwrap_or_default(),
            loaded_at: version.map(|(_, at)| *at),
            quarantine: plugin.quarantine.clone(),
        }
    }

    /// The names of all plugins of which what lies in the directory is not used.
    pub(super) fn quarantined(&self) -> Vec<String> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.iter().filter(|(_, plugin)| plugin.quarantine.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Whose plugins these are.
    pub(super) fn tenant(&self) -> &Name {
        &self.tenant
    }

    /// Use `version` of the plugin from the next run on, unless another plugin has a task of the same name.
    pub(super) fn admit(&self, name: &str, version: Version, now: Timestamp) {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = version.tasks.iter().find_map(|ready| {
            plugins.iter().filter(|(other, _)| *other != name).find_map(|(other, plugin)| {
                let (version, _) = plugin.version.as_ref()?;
                let same = version.tasks.iter().any(|theirs| theirs.task.key == ready.task.key);
                same.then(|| (ready.task.key.task.clone(), other.clone()))
            })
        });
        if let Some((task, other)) = taken {
            drop(plugins);
            return self.quarantine(name, format!("plugin `{other}` has a task `{task}` already; rename one of them"));
        }
        let plugin = plugins.entry(name.to_owned()).or_default();
        let digest = version.component.digest();
        info!(plugin = name, digest, "Loaded plugin `{name}` ({}), {} task(s)", &digest[..12], version.tasks.len());
        plugin.version = Some((version, now));
        plugin.quarantine = None;
        self.offer(&plugins);
    }

    /// Do not use what lies in the directory, and say why. An earlier version that was good stays in use.
    pub(super) fn quarantine(&self, name: &str, reason: String) {
        let reason = cut(reason);
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let plugin = plugins.entry(name.to_owned()).or_default();
        let still = if plugin.version.is_some() { "; the version before it stays in use" } else { "" };
        warn!(plugin = name, "Quarantined plugin `{}`: {}{still}", name.escape_debug(), reason.escape_debug());
        plugin.quarantine = Some(reason);
    }

    /// The plugin is no longer in the directory.
    pub(super) fn remove(&self, name: &str) {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        if plugins.remove(name).is_some() {
            info!(plugin = name, "Plugin `{}` was taken away", name.escape_debug());
            self.offer(&plugins);
        }
    }

    /// Offer the tasks of `plugins` to all who look for some. Under their lock: a plugin that is listed as in use is.
    fn offer(&self, plugins: &BTreeMap<String, Plugin>) {
        let ready: BTreeMap<TaskKey, Ready> = plugins
            .values()
            .filter_map(|plugin| plugin.version.as_ref())
            .flat_map(|(version, _)| version.tasks.iter().map(|ready| (ready.task.key.clone(), ready.clone())))
            .collect();
        let tasks = ready.iter().map(|(key, ready)| (key.clone(), Arc::clone(&ready.task))).collect();
        // In this order: whoever sees a task in the catalog finds it ready.
        *self.ready.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ready);
        self.catalog.replace(tasks);
    }
}

//! What is loaded, and what every task's next run is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tracing::{info, warn};

use crate::catalog::Catalog;
use crate::harmless;
use crate::plugins::PluginInfo;
use crate::runtime::{Component, Prepared};
use crate::schedule::Chain;
use crate::task::{Name, Task, TaskKey};
use crate::tenant::Tenants;
use crate::time::Timestamp;

/// Longest reason that is kept, in bytes: names that a component brings along may be of any length and number.
const LONGEST_REASON: usize = 4 << 10;

/// Characters of a reason that are logged; a list of plugins shows all of it.
pub(super) const REASON_IN_LOG: usize = 2000;

/// `reason` as it is shown and logged.
pub(super) fn cut(mut reason: String) -> String {
    if reason.len() > LONGEST_REASON {
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        reason.push_str("…[cut]");
        reason.shrink_to_fit();
    }
    reason
}

/// Says in the log what of a version's schedules is not as it is written, and which of them are never due again.
fn remark(version: &Version, now: Timestamp) {
    /// Lines of one version: a manifest may have tens of thousands of tasks.
    const MOST: usize = 20;
    let remarks = version.tasks.iter().flat_map(|Ready { task, .. }| {
        let done = task.plan().done(0, now);
        task.remarks.iter().cloned().chain(done).map(move |remark| (&task.key, remark))
    });
    for (key, remark) in remarks.take(MOST) {
        warn!(task.name = %key, "`{key}`: {remark}");
    }
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
    /// The text of its manifest; empty if it has none.
    pub(super) manifest: String,
    pub(super) tasks: Vec<Ready>,
    pub(super) chains: Vec<Arc<Chain>>,
}

impl Version {
    /// How many tasks and chains it has.
    fn count(&self) -> usize {
        self.tasks.len() + self.chains.len()
    }

    /// The names of its tasks and chains.
    pub(super) fn keys(&self) -> impl Iterator<Item = &TaskKey> {
        self.tasks.iter().map(|ready| &ready.task.key).chain(self.chains.iter().map(|chain| &chain.key))
    }
}

/// What came of loading a plugin: a version, or the reason why there is none.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) version: Result<Version, String>,
}

#[derive(Debug, Default)]
struct Plugin {
    version: Option<(Version, Timestamp)>,
    quarantine: Option<String>,
}

/// What is to be said of a plugin besides what came of loading it here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The host that published what is in use.
    pub(super) published_by: Option<String>,
    /// Why what lies in the directory is not published.
    pub(super) not_published: Option<String>,
    /// Why what is published is not here.
    pub(super) not_here: Option<String>,
}

/// The plugins of one tenant, by name.
type Plugins = BTreeMap<String, Plugin>;

/// All plugins of this host, by tenant.
#[derive(Debug)]
pub struct Registry {
    plugins: Mutex<BTreeMap<Name, Plugins>>,
    said: Mutex<BTreeMap<(Name, String), Said>>,
    ready: RwLock<BTreeMap<TaskKey, Ready>>,
    catalog: Arc<Catalog>,
    /// What bounds how many tasks each tenant has.
    tenants: Option<Arc<Tenants>>,
}

/// Tasks that came, and tasks that went, while plugins were taken up.
#[derive(Debug, Default)]
struct Changes {
    put: BTreeMap<TaskKey, Arc<Task>>,
    gone: BTreeSet<TaskKey>,
    chains: BTreeMap<TaskKey, Option<Arc<Chain>>>,
}

impl Registry {
    /// A registry without plugins, that will tell `catalog` of the tasks it comes to know.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { plugins: Mutex::default(), said: Mutex::default(), ready: RwLock::default(), catalog, tenants: None }
    }

    /// The same, in which each tenant has no more tasks than it may.
    pub fn bounded_by(self, tenants: Arc<Tenants>) -> Self {
        Self { tenants: Some(tenants), ..self }
    }

    /// What the next run of `task` is made of; `None` if no plugin that loads offers it.
    pub fn ready(&self, task: &TaskKey) -> Option<Ready> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }

    /// All plugins, by tenant and name.
    pub fn list(&self) -> Vec<PluginInfo> {
        let tenants = self.plugins();
        let all = tenants.iter().flat_map(|(tenant, plugins)| plugins.iter().map(move |plugin| (tenant, plugin)));
        let mut known: BTreeMap<(Name, String), PluginInfo> =
            all.map(|(tenant, (name, plugin))| ((tenant.clone(), name.clone()), plugin.info(tenant, name))).collect();
        for (key, said) in self.said().iter() {
            let reason = said.not_published.as_ref().or(said.not_here.as_ref());
            if reason.is_none() && !known.contains_key(key) {
                continue; // it is being loaded
            }
            let info = known.entry(key.clone()).or_insert_with(|| Plugin::default().info(&key.0, &key.1));
            info.published_by.clone_from(&said.published_by);
            info.quarantine = reason.cloned().or(info.quarantine.take());
        }
        known.into_values().collect()
    }

    /// Change what is said of a plugin.
    pub(super) fn say(&self, tenant: &Name, plugin: &str, change: impl FnOnce(&mut Said)) {
        let key = (tenant.clone(), plugin.to_owned());
        let mut all = self.said();
        let mut said = all.remove(&key).unwrap_or_default();
        change(&mut said);
        if said != Said::default() {
            all.insert(key, said);
        }
    }

    /// The version of the plugin `name`, if it could be used beside all that is in use.
    pub(super) fn fitting(&self, tenant: &Name, name: &str, version: Version) -> Result<Version, String> {
        let others = self.plugins().get(tenant).map_or(0, |plugins| {
            plugins.iter().filter(|(other, _)| *other != name).map(|(_, other)| other.count()).sum()
        });
        self.room_for(tenant, &version, others)?;
        self.unless_taken(name, version, &Changes::default())
    }

    /// How many plugins there is a good version of.
    pub fn in_use(&self) -> usize {
        let tenants = self.plugins();
        tenants.values().flat_map(BTreeMap::values).filter(|plugin| plugin.version.is_some()).count()
    }

    /// The names of all plugins of `tenant`, in use or not.
    pub(super) fn names(&self, tenant: &Name) -> Vec<String> {
        self.plugins().get(tenant).into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    /// The names of all plugins of `tenant` of which what lies in the directory is not used.
    pub(super) fn quarantined(&self, tenant: &Name) -> Vec<String> {
        let tenants = self.plugins();
        let plugins = tenants.get(tenant).into_iter().flatten();
        plugins.filter(|(_, plugin)| plugin.quarantine.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Use what was loaded from the next run on. What was not good is quarantined, as is a plugin with a task that another
    /// one of the tenant has; an earlier version that was good stays in use then.
    ///
    /// Costs as much as there is in `loaded`, not as there is in all.
    pub(super) fn take_up(&self, tenant: &Name, loaded: Vec<Loaded>, now: Timestamp) {
        let mut tenants = self.plugins();
        let plugins = tenants.entry(tenant.clone()).or_default();
        let mut changes = Changes::default();
        let mut count: usize = plugins.values().map(Plugin::count).sum();
        for Loaded { name, version } in loaded {
            let plugin = plugins.entry(name.clone()).or_default();
            let others = count - plugin.count();
            let fitting = version.and_then(|version| {
                self.room_for(tenant, &version, others)?;
                self.unless_taken(&name, version, &changes)
            });
            match fitting {
                Ok(version) => {
                    count = others + version.count();
                    let digest = version.component.digest();
                    let tasks = version.tasks.len();
                    info!(plugin = name, tenant.name = %tenant, digest, "Loaded plugin `{name}` ({}), {tasks} task(s)", &digest[..12]);
                    remark(&version, now);
                    self.withdraw(plugin, &mut changes);
                    self.offer(&version, &mut changes);
                    *plugin = Plugin { version: Some((version, now)), quarantine: None };
                }
                Err(reason) => {
                    let reason = cut(reason);
                    let still = if plugin.version.is_some() { "; the version before it stays in use" } else { "" };
                    warn!(plugin = name, tenant.name = %tenant, "Quarantined plugin `{}`: {}{still}", harmless::line(&name), harmless::logged(&reason, REASON_IN_LOG));
                    plugin.quarantine = Some(reason);
                }
            }
        }
        self.tell(changes);
    }

    /// The plugins are no longer in the directory.
    pub(super) fn remove(&self, tenant: &Name, names: &[String]) {
        let mut tenants = self.plugins();
        let Some(plugins) = tenants.get_mut(tenant) else { return };
        let mut changes = Changes::default();
        for name in names {
            if let Some(plugin) = plugins.remove(name) {
                info!(plugin = name, tenant.name = %tenant, "Plugin `{}` was taken away", harmless::line(name));
                self.withdraw(&plugin, &mut changes);
            }
        }
        self.tell(changes);
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeMap<Name, Plugins>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<(Name, String), Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the tenant may have the tasks of this version beside so many `others`.
    fn room_for(&self, tenant: &Name, version: &Version, others: usize) -> Result<(), String> {
        self.tenants.as_ref().map_or(Ok(()), |tenants| tenants.room_for_tasks(tenant, version.count(), others))
    }

    /// The version, unless another plugin than `name` has a task or a chain of the same name as one of it.
    fn unless_taken(&self, name: &str, version: Version, changes: &Changes) -> Result<Version, String> {
        let ready = self.ready.read().unwrap_or_else(PoisonError::into_inner);
        let chains = self.catalog.chains();
        let taken = |key: &TaskKey| {
            let task = ready.get(key).map(|known| ("task", &known.task.plugin));
            let chain = changes.chains.get(key).map_or_else(|| chains.get(key), Option::as_ref);
            let known = task.or_else(|| chain.map(|chain| ("chain", &chain.plugin)));
            let (what, other) = known.filter(|(_, plugin)| plugin.as_str() != name)?;
            Some(format!("plugin `{other}` has a {what} `{}` already; rename one of them", key.task))
        };
        if let Some(taken) = version.keys().find_map(taken) {
            return Err(taken);
        }
        // The one task of a manifest that defines none is called like the plugin.
        match version.chains.iter().find(|chain| version.tasks.iter().any(|ready| ready.task.key == chain.key)) {
            Some(chain) => Err(format!("there is a task `{0}` and a chain `{0}`; rename one of them", chain.key.task)),
            None => Ok(version),
        }
    }

    /// The tasks of a plugin are no more.
    fn withdraw(&self, plugin: &Plugin, changes: &mut Changes) {
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        for old in plugin.version.iter().flat_map(|(version, _)| &version.tasks) {
            ready.remove(&old.task.key);
            changes.put.remove(&old.task.key);
            changes.gone.insert(old.task.key.clone());
        }
        for old in plugin.version.iter().flat_map(|(version, _)| &version.chains) {
            changes.chains.insert(old.key.clone(), None);
        }
    }

    fn offer(&self, version: &Version, changes: &mut Changes) {
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        for new in &version.tasks {
            ready.insert(new.task.key.clone(), new.clone());
            changes.gone.remove(&new.task.key);
            changes.put.insert(new.task.key.clone(), Arc::clone(&new.task));
        }
        for new in &version.chains {
            changes.chains.insert(new.key.clone(), Some(Arc::clone(new)));
        }
    }

    /// Tell all who look for tasks. Under the lock of the plugins: one that is listed as in use is, and whoever sees a task
    /// in the catalog finds it ready.
    fn tell(&self, mut changes: Changes) {
        if changes.put.is_empty() && changes.gone.is_empty() {
            return;
        }
        if !changes.chains.is_empty() {
            self.catalog.change_chains(|chains| {
                for (key, chain) in changes.chains {
                    match chain {
                        Some(chain) => drop(chains.insert(key, chain)),
                        None => drop(chains.remove(&key)),
                    }
                }
            });
        }
        self.catalog.change(|tasks| {
            changes.gone.iter().for_each(|gone| drop(tasks.remove(gone)));
            tasks.append(&mut changes.put);
        });
    }
}

impl Plugin {
    /// How many tasks and chains are in use.
    fn count(&self) -> usize {
        self.version.as_ref().map_or(0, |(version, _)| version.count())
    }

    fn info(&self, tenant: &Name, name: &str) -> PluginInfo {
        let version = self.version.as_ref();
        PluginInfo {
            name: name.to_owned(),
            tenant: tenant.clone(),
            digest: version.map(|(version, _)| version.component.digest().to_owned()),
            size: version.map_or(0, |(version, _)| version.component.size()),
            kind: version.map(|(version, _)| version.component.kind().as_str().to_owned()),
            tasks: version
                .map(|(version, _)| version.tasks.iter().map(|ready| ready.task.key.task.clone()).collect())
                .unwrap_or_default(),
            loaded_at: version.map(|(_, at)| *at),
            published_by: None,
            quarantine: self.quarantine.clone(),
        }
    }
}

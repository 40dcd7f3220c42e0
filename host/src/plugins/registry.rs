//! Holds the loaded plugins, and everything that the next run of a task needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tracing::{info, warn};

use crate::plugins::PluginInfo;
use sexton_domain::schedule::Chain;
use sexton_domain::task::{Name, Task, TaskKey};
use sexton_domain::tenant::Tenants;
use sexton_domain::time::Timestamp;
use sexton_runtime::catalog::Catalog;
use sexton_runtime::runtime::{Component, Prepared};
use sexton_system::harmless;

/// The longest reason that is kept, in bytes. A component may bring any number of names of any length.
const LONGEST_REASON: usize = 4 << 10;

/// The most characters of a reason that are logged; a list of plugins shows all of it.
pub(super) const REASON_IN_LOG: usize = 2000;

/// Shortens `reason` to what is shown and logged.
pub(super) fn cut(reason: String) -> String {
    harmless::cut(reason, LONGEST_REASON)
}

/// Logs the ways in which a version's schedules deviate from their text, and which of them are never due again.
fn log_schedule_notes(version: &Version, now: Timestamp) {
    /// The most lines for one version, because a manifest may have tens of thousands of tasks.
    const MOST: usize = 20;
    let remarks = version.tasks.iter().flat_map(|Ready { task, .. }| {
        let done = task.plan().done(0, now);
        task.remarks.iter().cloned().chain(done).map(move |remark| (&task.key, remark))
    });
    for (key, remark) in remarks.take(MOST) {
        warn!(task.name = %key, "`{key}`: {remark}");
    }
}

/// A task with everything that its runs need. A run keeps the one it began with.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The definition.
    pub task: Arc<Task>,
    /// The component, linked with what the task is granted.
    pub prepared: Arc<Prepared>,
}

/// A good version of a plugin.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) component: Arc<Component>,
    /// The text of its manifest; empty if it has none.
    pub(super) manifest: String,
    pub(super) tasks: Vec<Ready>,
    pub(super) chains: Vec<Arc<Chain>>,
}

impl Version {
    /// Returns the number of its tasks and chains.
    fn count(&self) -> usize {
        self.tasks.len() + self.chains.len()
    }

    /// Returns the names of its tasks and chains.
    pub(super) fn keys(&self) -> impl Iterator<Item = &TaskKey> {
        self.tasks.iter().map(|ready| &ready.task.key).chain(self.chains.iter().map(|chain| &chain.key))
    }
}

/// The result of loading a plugin: a version, or the reason why there is none.
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

/// Remarks on a plugin besides the result of loading it here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remarks {
    /// The host that published the version in use.
    pub(super) published_by: Option<String>,
    /// The reason why the plugin in the directory is not published.
    pub(super) not_published: Option<String>,
    /// The reason why the published plugin is not here.
    pub(super) not_here: Option<String>,
}

impl Remarks {
    /// Returns the reason why the files of the plugin are not used, if they are not.
    fn reason(&self) -> Option<&String> {
        self.not_published.as_ref().or(self.not_here.as_ref())
    }
}

/// The plugins of one tenant, by name.
type Plugins = BTreeMap<String, Plugin>;

/// All plugins of this host, by tenant.
#[derive(Debug)]
pub struct Registry {
    plugins: Mutex<BTreeMap<Name, Plugins>>,
    said: Mutex<BTreeMap<(Name, String), Remarks>>,
    ready: RwLock<BTreeMap<TaskKey, Ready>>,
    catalog: Arc<Catalog>,
    /// Limits the number of tasks of each tenant.
    tenants: Option<Arc<Tenants>>,
}

/// Tasks that were added and removed while plugins were taken into use.
#[derive(Debug, Default)]
struct Changes {
    put: BTreeMap<TaskKey, Arc<Task>>,
    gone: BTreeSet<TaskKey>,
    chains: BTreeMap<TaskKey, Option<Arc<Chain>>>,
}

impl Registry {
    /// Creates a registry without plugins, which reports its tasks to `catalog`.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { plugins: Mutex::default(), said: Mutex::default(), ready: RwLock::default(), catalog, tenants: None }
    }

    /// Limits the number of tasks of each tenant.
    pub fn bounded_by(self, tenants: Arc<Tenants>) -> Self {
        Self { tenants: Some(tenants), ..self }
    }

    /// Returns everything that the next run of `task` needs; `None` if no loaded plugin offers the task.
    pub fn ready(&self, task: &TaskKey) -> Option<Ready> {
        self.ready.read().unwrap_or_else(PoisonError::into_inner).get(task).cloned()
    }

    /// Returns all plugins, by tenant and name.
    pub fn list(&self) -> Vec<PluginInfo> {
        self.infos(|_, _| true)
    }

    /// Returns the plugins of `tenant` whose files are not used, by name. The names of tasks, of which there may be a
    /// hundred thousand, are read of these alone.
    pub fn not_used(&self, tenant: &Name) -> Vec<PluginInfo> {
        self.infos(|of, is_used| of == tenant && !is_used)
    }

    /// Returns the plugins that are `wanted` by their tenant, and by whether their files are used.
    fn infos(&self, wanted: impl Fn(&Name, bool) -> bool) -> Vec<PluginInfo> {
        let (tenants, remarks) = (self.plugins(), self.remarks());
        let mut known: BTreeMap<(Name, String), PluginInfo> = BTreeMap::new();
        for (tenant, plugins) in tenants.iter() {
            for (name, plugin) in plugins {
                let key = (tenant.clone(), name.clone());
                let said = remarks.get(&key).and_then(Remarks::reason);
                if wanted(tenant, plugin.quarantine.is_none() && said.is_none()) {
                    known.insert(key, plugin.info(tenant, name));
                }
            }
        }
        for (key, said) in remarks.iter() {
            let reason = said.reason();
            let is_wanted = reason.is_some() && wanted(&key.0, false);
            if !is_wanted && !known.contains_key(key) {
                continue; // it is being loaded, or of no interest
            }
            let info = known.entry(key.clone()).or_insert_with(|| Plugin::default().info(&key.0, &key.1));
            info.published_by.clone_from(&said.published_by);
            info.quarantine = reason.cloned().or(info.quarantine.take());
        }
        known.into_values().collect()
    }

    /// Changes the remarks on a plugin.
    pub(super) fn set_remarks(&self, tenant: &Name, plugin: &str, change: impl FnOnce(&mut Remarks)) {
        let key = (tenant.clone(), plugin.to_owned());
        let mut all = self.remarks();
        let mut said = all.remove(&key).unwrap_or_default();
        change(&mut said);
        if said != Remarks::default() {
            all.insert(key, said);
        }
    }

    /// Returns the version of the plugin `name`, if it could be used beside all that are in use.
    pub(super) fn check_fits(&self, tenant: &Name, name: &str, version: Version) -> Result<Version, String> {
        let others = self.plugins().get(tenant).map_or(0, |plugins| {
            plugins.iter().filter(|(other, _)| *other != name).map(|(_, other)| other.count()).sum()
        });
        self.check_task_limit(tenant, &version, others)?;
        self.check_names_free(name, version, &Changes::default())
    }

    /// Returns the number of plugins with a good version.
    pub fn in_use(&self) -> usize {
        let tenants = self.plugins();
        tenants.values().flat_map(BTreeMap::values).filter(|plugin| plugin.version.is_some()).count()
    }

    /// Returns the names of all plugins of `tenant`, in use or not.
    pub(super) fn names(&self, tenant: &Name) -> Vec<String> {
        self.plugins().get(tenant).into_iter().flatten().map(|(name, _)| name.clone()).collect()
    }

    /// Returns the names of all plugins of `tenant` whose files in the directory are not used.
    pub(super) fn quarantined(&self, tenant: &Name) -> Vec<String> {
        let tenants = self.plugins();
        let plugins = tenants.get(tenant).into_iter().flatten();
        plugins.filter(|(_, plugin)| plugin.quarantine.is_some()).map(|(name, _)| name.clone()).collect()
    }

    /// Uses loaded plugins from the next run on. Plugins that are not good are quarantined, as are those with a task
    /// that another plugin of the tenant has; an earlier good version stays in use.
    ///
    /// The cost depends on the size of `loaded`, not on the number of plugins.
    pub(super) fn apply(&self, tenant: &Name, loaded: Vec<Loaded>, now: Timestamp) {
        let mut tenants = self.plugins();
        let plugins = tenants.entry(tenant.clone()).or_default();
        let mut changes = Changes::default();
        let mut count: usize = plugins.values().map(Plugin::count).sum();
        for Loaded { name, version } in loaded {
            let plugin = plugins.entry(name.clone()).or_default();
            let others = count - plugin.count();
            let fitting = version.and_then(|version| {
                self.check_task_limit(tenant, &version, others)?;
                self.check_names_free(&name, version, &changes)
            });
            match fitting {
                Ok(version) => {
                    count = others + version.count();
                    let digest = version.component.digest();
                    let tasks = version.tasks.len();
                    info!(plugin = name, tenant.name = %tenant, digest, "Loaded plugin `{name}` ({}), {tasks} task(s)", &digest[..12]);
                    log_schedule_notes(&version, now);
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

    /// Removes plugins that are no longer in the directory.
    pub(super) fn remove(&self, tenant: &Name, names: &[String]) {
        let mut tenants = self.plugins();
        let Some(plugins) = tenants.get_mut(tenant) else { return };
        let mut changes = Changes::default();
        for name in names {
            if let Some(plugin) = plugins.remove(name) {
                info!(plugin = name, tenant.name = %tenant, "Plugin `{}` was removed", harmless::line(name));
                self.withdraw(&plugin, &mut changes);
            }
        }
        self.tell(changes);
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeMap<Name, Plugins>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remarks(&self) -> MutexGuard<'_, BTreeMap<(Name, String), Remarks>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks whether the tenant may have the tasks of this version beside `others` tasks.
    fn check_task_limit(&self, tenant: &Name, version: &Version, others: usize) -> Result<(), String> {
        self.tenants.as_ref().map_or(Ok(()), |tenants| tenants.room_for_tasks(tenant, version.count(), others))
    }

    /// Returns the version, unless a plugin other than `name` has a task or a chain of the same name.
    fn check_names_free(&self, name: &str, version: Version, changes: &Changes) -> Result<Version, String> {
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
        // The single task of a manifest that defines none has the plugin's name.
        match version.chains.iter().find(|chain| version.tasks.iter().any(|ready| ready.task.key == chain.key)) {
            Some(chain) => Err(format!("there is a task `{0}` and a chain `{0}`; rename one of them", chain.key.task)),
            None => Ok(version),
        }
    }

    /// Removes the tasks of a plugin.
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

    /// Reports changes to the catalog. The lock of the plugins is held, so a plugin that is listed as in use is in use,
    /// and a task that is in the catalog is ready.
    fn tell(&self, changes: Changes) {
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
        self.catalog.update(&changes.gone, changes.put);
    }
}

impl Plugin {
    /// Returns the number of tasks and chains in use.
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

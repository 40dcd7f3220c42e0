//! Holds the tasks that this host knows, for all parts that look one up.
//!
//! A host may know a hundred thousand tasks, and they change one plugin at a time. So there is no copy of all of them for
//! a part that wants some: a part asks for single tasks, for a page of a tenant's, or for those that have changed since it
//! last asked.

mod change_log;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use change_log::ChangeLog;
use sexton_domain::schedule::Chain;
use sexton_domain::schedule::routes::Routes;
use sexton_domain::task::{Name, Task, TaskKey};

/// All tasks at one moment.
pub type Tasks = Arc<BTreeMap<TaskKey, Arc<Task>>>;

/// All chains at one moment.
pub type Chains = Arc<BTreeMap<TaskKey, Arc<Chain>>>;

/// The tasks and chains of all plugins that load. Written by the plugin directory only.
#[derive(Debug, Default)]
pub struct Catalog {
    known: RwLock<Known>,
    chains: RwLock<Chains>,
    /// The routes of the tasks, and the number of changes that they include. Collected when they are wanted, because
    /// tasks change one by one when a host starts.
    routes: Mutex<Option<(u64, Arc<Routes>)>>,
    changed: tokio::sync::watch::Sender<u64>,
}

/// The tasks, and what is known of them together.
#[derive(Debug, Default)]
struct Known {
    tasks: Tasks,
    /// The tasks that have routes, which are few.
    routed: BTreeMap<TaskKey, Arc<Task>>,
    /// The number of each tenant's tasks.
    counts: BTreeMap<Name, usize>,
    log: ChangeLog,
}

/// The tasks that have changed since a part of the host last asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Any task may have changed.
    All,
    /// These were added, changed or removed, and no others.
    These(BTreeSet<TaskKey>),
}

impl Catalog {
    fn known(&self) -> RwLockReadGuard<'_, Known> {
        // A poisoned lock still holds a map in which each task is whole.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns all current tasks. While the returned map is held, a change of the catalog copies it; a host's loops and
    /// its API use the methods for some tasks instead.
    pub fn tasks(&self) -> Tasks {
        self.known().tasks.clone()
    }

    /// Returns one task.
    pub fn get(&self, key: &TaskKey) -> Option<Arc<Task>> {
        self.known().tasks.get(key).cloned()
    }

    /// Returns up to `most` tasks of `tenant` by name: the first ones, or those after the name `after`.
    pub fn of_tenant(&self, tenant: &Name, after: Option<&Name>, most: usize) -> Vec<Arc<Task>> {
        let key = |task: &Name| TaskKey { tenant: tenant.clone(), task: task.clone() };
        let from = match after {
            Some(after) => Bound::Excluded(key(after)),
            None => Bound::Included(key(&Name::least())),
        };
        let known = self.known();
        let tasks = known.tasks.range::<TaskKey, _>((from, Bound::<TaskKey>::Unbounded)).map(|(_, task)| task);
        tasks.take_while(|task| task.key.tenant == *tenant).take(most).cloned().collect()
    }

    /// Returns the number of the tasks of `tenant`.
    pub fn count_of(&self, tenant: &Name) -> usize {
        self.known().counts.get(tenant).copied().unwrap_or_default()
    }

    /// Returns the names of tasks of the tenant of `key` that are near its name in the order of names, up to `most` on
    /// each side.
    pub fn near(&self, key: &TaskKey, most: usize) -> Vec<Name> {
        let known = self.known();
        let is_tenants = |other: &&TaskKey| other.tenant == key.tenant;
        let before = known.tasks.range::<TaskKey, _>(..key).rev().map(|(other, _)| other);
        let after = known.tasks.range::<TaskKey, _>(key..).map(|(other, _)| other);
        let near = before.take_while(is_tenants).take(most).chain(after.take_while(is_tenants).take(most));
        let mut names: Vec<Name> = near.map(|other| other.task.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Returns the number of the latest change, and which tasks have changed since the one with the number `since`;
    /// `None` stands for a time before all changes. The next call passes the number that this one returned.
    pub fn changed_since(&self, since: Option<u64>) -> (u64, Changed) {
        let known = self.known();
        let these = since.and_then(|since| known.log.since(since));
        (known.log.latest(), these.map_or(Changed::All, Changed::These))
    }

    /// Returns the current routes.
    pub fn routes(&self) -> Arc<Routes> {
        let mut collected = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known();
        match &*collected {
            Some((of, routes)) if *of == known.log.latest() => Arc::clone(routes),
            _ => {
                let routes = Arc::new(Routes::of(&known.routed));
                *collected = Some((known.log.latest(), Arc::clone(&routes)));
                routes
            }
        }
    }

    /// Returns the current chains.
    pub fn chains(&self) -> Chains {
        self.chains.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the chains. Subscribers are notified with the next change of the tasks.
    pub fn change_chains(&self, change: impl FnOnce(&mut BTreeMap<TaskKey, Arc<Chain>>)) {
        change(Arc::make_mut(&mut self.chains.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Replaces all tasks.
    pub fn replace(&self, tasks: BTreeMap<TaskKey, Arc<Task>>) {
        self.change(|known| *known = tasks);
    }

    /// Changes any of the tasks, and reads all of them for it.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<TaskKey, Arc<Task>>)) {
        self.write(|known| {
            change(Arc::make_mut(&mut known.tasks));
            known.count_all();
            known.log.push_all()
        });
    }

    /// Removes the tasks `gone`, and then adds the tasks `put` or puts them in place of earlier ones. The cost depends
    /// on the number of these.
    pub fn update(&self, gone: &BTreeSet<TaskKey>, put: BTreeMap<TaskKey, Arc<Task>>) {
        self.write(|known| {
            gone.iter().for_each(|key| known.remove(key));
            let changed = gone.iter().chain(put.keys()).cloned().collect();
            put.into_values().for_each(|task| known.put(task));
            known.log.push(changed)
        });
    }

    /// Makes a change, which returns its number, and notifies subscribers of it.
    fn write(&self, change: impl FnOnce(&mut Known) -> u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let number = change(&mut known);
        // Sent under the lock, so that the numbers are sent in their order.
        self.changed.send_replace(number);
    }

    /// Returns a receiver that is notified whenever the tasks have changed.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Known {
    fn put(&mut self, task: Arc<Task>) {
        match task.types.is_empty() {
            true => drop(self.routed.remove(&task.key)),
            false => drop(self.routed.insert(task.key.clone(), Arc::clone(&task))),
        }
        let tenant = task.key.tenant.clone();
        // In place, unless another part still holds the map.
        if Arc::make_mut(&mut self.tasks).insert(task.key.clone(), task).is_none() {
            *self.counts.entry(tenant).or_default() += 1;
        }
    }

    fn remove(&mut self, key: &TaskKey) {
        self.routed.remove(key);
        if Arc::make_mut(&mut self.tasks).remove(key).is_some()
            && let Some(count) = self.counts.get_mut(&key.tenant)
        {
            *count -= 1;
        }
    }

    /// Finds out anew what is known of the tasks together.
    fn count_all(&mut self) {
        (self.routed, self.counts) = Default::default();
        for (key, task) in self.tasks.iter() {
            *self.counts.entry(key.tenant.clone()).or_default() += 1;
            if !task.types.is_empty() {
                self.routed.insert(key.clone(), Arc::clone(task));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::task::Pattern;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn key(tenant: &str, text: &str) -> TaskKey {
        TaskKey { tenant: name(tenant), task: name(text) }
    }

    fn tasks(keys: &[TaskKey]) -> BTreeMap<TaskKey, Arc<Task>> {
        let task = |key: &TaskKey| Arc::new(Task { key: key.clone(), ..Task::on_demand(key.task.clone()) });
        keys.iter().map(|key| (key.clone(), task(key))).collect()
    }

    fn names(tasks: &[Arc<Task>]) -> Vec<&str> {
        tasks.iter().map(|task| task.key.task.as_str()).collect()
    }

    fn these(keys: &[TaskKey]) -> Changed {
        Changed::These(keys.iter().cloned().collect())
    }

    #[test]
    fn tasks_of_a_tenant_are_listed_in_pages() {
        let catalog = Catalog::default();
        catalog.replace(tasks(&[key("a", "z"), key("b", "0"), key("b", "m"), key("b", "x"), key("c", "0")]));
        let page = |after: Option<&str>, most| catalog.of_tenant(&name("b"), after.map(name).as_ref(), most);

        assert_eq!(names(&page(None, 2)), ["0", "m"]);
        assert_eq!(names(&page(Some("m"), 2)), ["x"]);
        assert_eq!(names(&page(Some("n"), 9)), ["x"], "a name that is gone has a place as well");
        assert!(page(Some("x"), 2).is_empty());
        assert_eq!(["a", "b", "c", "d"].map(|tenant| catalog.count_of(&name(tenant))), [1, 3, 1, 0]);
    }

    #[test]
    fn names_near_another_are_those_of_its_tenant() {
        let catalog = Catalog::default();
        catalog.replace(tasks(&[
            key("a", "m"),
            key("b", "a"),
            key("b", "k"),
            key("b", "n"),
            key("b", "z"),
            key("c", "n"),
        ]));

        let near = |most| catalog.near(&key("b", "m"), most).iter().map(ToString::to_string).collect::<Vec<_>>();

        assert_eq!(near(1), ["k", "n"]);
        assert_eq!(near(9), ["a", "k", "n", "z"]);
        assert!(catalog.near(&key("d", "m"), 9).is_empty());
    }

    #[test]
    fn those_that_ask_again_hear_only_of_tasks_that_have_changed_since() {
        let catalog = Catalog::default();
        let [one, two, three] = ["one", "two", "three"].map(|text| key("a", text));
        catalog.replace(tasks(&[one.clone(), two.clone()]));
        let (first, all) = catalog.changed_since(None);

        catalog.update(&[one.clone()].into(), tasks(std::slice::from_ref(&three)));
        let (second, changed) = catalog.changed_since(Some(first));
        catalog.update(&BTreeSet::new(), tasks(std::slice::from_ref(&two)));
        let (third, both) = catalog.changed_since(Some(first));

        assert_eq!((all, changed), (Changed::All, these(&[one.clone(), three.clone()])));
        assert_eq!(catalog.changed_since(Some(second)), (third, these(std::slice::from_ref(&two))));
        assert_eq!(both, these(&[one, two, three]));
        assert_eq!(catalog.changed_since(Some(third)), (third, these(&[])));
        assert_eq!((*catalog.changes().borrow(), catalog.count_of(&name("a"))), (third, 2));
        catalog.replace(BTreeMap::new());
        assert_eq!(catalog.changed_since(Some(third)).1, Changed::All);
    }

    #[test]
    fn routes_follow_the_tasks_that_have_them() {
        let catalog = Catalog::default();
        let mailer = key("a", "mailer");
        let with = |types: &[&str]| {
            let types = types.iter().map(|text| Pattern((*text).to_owned())).collect();
            let task = Arc::new(Task { key: mailer.clone(), types, ..Task::on_demand(mailer.task.clone()) });
            catalog.update(&BTreeSet::new(), [(mailer.clone(), task)].into());
            catalog.routes().lead(&mailer.tenant, &name("mail-welcome")).is_ok()
        };

        assert!(!with(&[]));
        assert!(with(&["mail-*"]));
        assert!(!with(&["post-*"]));
        assert!(with(&["mail-*"]));
        catalog.update(&[mailer.clone()].into(), BTreeMap::new());
        assert!(catalog.routes().lead(&mailer.tenant, &name("mail-welcome")).is_err());
    }
}

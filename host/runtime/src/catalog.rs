//! Holds the tasks that this host knows, for all parts that look one up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sexton_domain::schedule::Chain;
use sexton_domain::schedule::routes::Routes;
use sexton_domain::task::{Task, TaskKey};

/// All tasks at one moment.
pub type Tasks = Arc<BTreeMap<TaskKey, Arc<Task>>>;

/// All chains at one moment.
pub type Chains = Arc<BTreeMap<TaskKey, Arc<Chain>>>;

/// The tasks and chains of all plugins that load. Written by the plugin directory only.
#[derive(Debug, Default)]
pub struct Catalog {
    tasks: RwLock<Tasks>,
    chains: RwLock<Chains>,
    /// The routes of the tasks, and the number of changes that they include. Collected when they are wanted, because
    /// tasks change one by one when a host starts.
    routes: Mutex<Option<(u64, Arc<Routes>)>>,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Catalog {
    /// Returns the current tasks.
    pub fn tasks(&self) -> Tasks {
        // A poisoned lock still holds a map in which each task is whole.
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns one task.
    pub fn get(&self, key: &TaskKey) -> Option<Arc<Task>> {
        self.tasks.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Returns the current routes.
    pub fn routes(&self) -> Arc<Routes> {
        let mut known = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // The number is read before the tasks: a change in between is found by the next look.
        let changes = *self.changed.borrow();
        match &*known {
            Some((of, routes)) if *of == changes => Arc::clone(routes),
            _ => {
                let routes = Arc::new(Routes::of(&self.tasks()));
                *known = Some((changes, Arc::clone(&routes)));
                routes
            }
        }
    }

    /// Returns the current chains.
    pub fn chains(&self) -> Chains {
        self.chains.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the chains. Subscribers are notified with the next [`Catalog::change`].
    pub fn change_chains(&self, change: impl FnOnce(&mut BTreeMap<TaskKey, Arc<Chain>>)) {
        change(Arc::make_mut(&mut self.chains.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Replaces all tasks.
    pub fn replace(&self, tasks: BTreeMap<TaskKey, Arc<Task>>) {
        *self.tasks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tasks);
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Changes the tasks: in place, unless another part still holds the previous map.
    pub fn change(&self, change: impl FnOnce(&mut BTreeMap<TaskKey, Arc<Task>>)) {
        change(Arc::make_mut(&mut self.tasks.write().unwrap_or_else(PoisonError::into_inner)));
        self.changed.send_modify(|generation| *generation += 1);
    }

    /// Returns a receiver that is notified whenever the tasks have changed.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

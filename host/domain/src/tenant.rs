//! Holds the tenants of a host, and their limits.
//!
//! A tenant is an owner: its plugins lie in a directory of its own, and its names (of tasks, locks, cache entries) are
//! its own. The operator decides which tenants exist, which does not change while a host is up; their limits can
//! change.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::task::Name;

/// The limits of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantLimits {
    /// The runs at once on this host; `None` is as many as the host has slots.
    pub runs: Option<u32>,
    /// The units of fuel a minute on this host, for all its tasks together; `None` is no limit.
    pub fuel_per_minute: Option<u64>,
    /// The bytes of keys and values that its cache entries may have together.
    pub cache: u64,
    /// The tasks and chains of all its plugins together.
    pub tasks: u32,
    /// The bounds of runs that its tasks enqueue and that have to wait.
    pub backlog: BacklogLimits,
}

/// The bounds of runs that tasks enqueue and that have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogLimits {
    /// The bytes of inputs of one task's runs that tasks enqueued and that wait.
    pub task: u64,
    /// The same for all tasks of the tenant together.
    pub tenant: u64,
    /// The time ahead at which such a run may be due.
    pub horizon: Duration,
}

impl Default for BacklogLimits {
    /// Returns 64 MiB, 256 MiB, and ten years.
    fn default() -> Self {
        Self { task: 64 << 20, tenant: 256 << 20, horizon: Duration::from_secs(3660 * 24 * 3600) }
    }
}

/// The default limit of a tenant's tasks and chains. Each takes memory of the host, which all tenants share.
pub const USUAL_TASKS: u32 = 10_000;

/// The tenants of a host.
#[derive(Debug)]
pub struct Tenants(RwLock<Arc<BTreeMap<Name, TenantLimits>>>);

impl Tenants {
    /// Creates a host without tenants: only the default one, whose cache may have `cache` bytes.
    pub fn only_default(cache: u64) -> Self {
        Self::new(cache, BTreeMap::new())
    }

    /// Creates the tenants `named`, and the default one, limited only to `cache` bytes unless it is among them.
    pub fn new(cache: u64, named: BTreeMap<Name, TenantLimits>) -> Self {
        let mut tenants = named;
        let backlog = BacklogLimits::default();
        let unbounded = TenantLimits { runs: None, fuel_per_minute: None, cache, tasks: USUAL_TASKS, backlog };
        tenants.entry(Name::default_tenant()).or_insert(unbounded);
        Self(RwLock::new(Arc::new(tenants)))
    }

    /// Returns the limits of `tenant`, or `None` if there is no such tenant.
    pub fn get(&self, tenant: &Name) -> Option<TenantLimits> {
        self.all().get(tenant).copied()
    }

    /// Returns the current tenants, by name.
    pub fn all(&self) -> Arc<BTreeMap<Name, TenantLimits>> {
        // If a thread panicked while it held the guard, the map is whole, because it is changed in one step.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sets the limits of each tenant to those in `others`. Tenants that are not in both stay as they are.
    pub fn change(&self, others: &Self) {
        let others = others.all();
        let mut tenants = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = tenants.iter().map(|(name, limits)| (name.clone(), *others.get(name).unwrap_or(limits)));
        *tenants = Arc::new(changed.collect());
    }

    /// Checks that a plugin of `tenant` may have `tasks` tasks and chains, beside the `others` of its other plugins.
    ///
    /// # Errors
    ///
    /// In words: which limit that exceeds, and where to raise it.
    pub fn room_for_tasks(&self, tenant: &Name, tasks: usize, others: usize) -> Result<(), String> {
        let most = self.get(tenant).map_or(USUAL_TASKS, |limits| limits.tasks);
        if tasks.saturating_add(others) <= most as usize {
            return Ok(());
        }
        let beside = match others {
            0 => String::new(),
            others => format!(" beside the {others} of other plugins"),
        };
        Err(format!(
            "it has {tasks} tasks{beside}, and tenant `{tenant}` may have {most}; raise `[tenants.{tenant}] tasks` in the host's configuration, or remove tasks"
        ))
    }

    /// Returns the bounds of runs that the tenant's tasks enqueue.
    pub fn backlog(&self, tenant: &Name) -> BacklogLimits {
        self.get(tenant).map_or_else(BacklogLimits::default, |limits| limits.backlog)
    }

    /// Returns the bytes that the tenant's cache entries may have together. A former tenant may have none.
    pub fn cache(&self, tenant: &Name) -> u64 {
        self.get(tenant).map_or(0, |limits| limits.cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        Name::new(name).unwrap()
    }

    /// Returns limits with this number of tasks.
    fn limits(tasks: u32) -> TenantLimits {
        let backlog = BacklogLimits { task: 1, tenant: 2, horizon: Duration::from_secs(3) };
        TenantLimits { runs: Some(2), fuel_per_minute: Some(7), cache: 100, tasks, backlog }
    }

    fn with_acme(tasks: u32) -> Tenants {
        Tenants::new(50, BTreeMap::from([(name("acme"), limits(tasks))]))
    }

    #[test]
    fn the_default_tenant_is_always_there_and_bounded_by_little_unless_it_is_named() {
        let backlog =
            BacklogLimits { task: 67_108_864, tenant: 268_435_456, horizon: Duration::from_secs(316_224_000) };
        let usual = TenantLimits { runs: None, fuel_per_minute: None, cache: 50, tasks: 10_000, backlog };
        let default = Name::default_tenant();

        for tenants in [Tenants::only_default(50), with_acme(3)] {
            assert_eq!(tenants.get(&default), Some(usual));
        }
        let named = Tenants::new(50, BTreeMap::from([(default.clone(), limits(3))]));
        assert_eq!(named.get(&default), Some(limits(3)));
    }

    #[test]
    fn a_tenant_has_its_limits_and_an_unknown_one_has_no_cache() {
        let tenants = with_acme(3);
        let (acme, nobody) = (name("acme"), name("nobody"));

        assert_eq!(tenants.all().keys().map(Name::as_str).collect::<Vec<_>>(), ["acme", "default"]);
        assert_eq!((tenants.get(&acme), tenants.get(&nobody)), (Some(limits(3)), None));
        assert_eq!((tenants.cache(&acme), tenants.cache(&nobody)), (100, 0));
        assert_eq!(tenants.backlog(&acme), limits(3).backlog);
        assert_eq!(tenants.backlog(&nobody), BacklogLimits::default());
    }

    #[test]
    fn a_change_is_of_the_tenants_that_are_there_and_adds_none() {
        let tenants = with_acme(3);

        tenants.change(&Tenants::new(60, BTreeMap::from([(name("acme"), limits(9)), (name("new"), limits(1))])));
        assert_eq!((tenants.get(&name("acme")), tenants.get(&name("new"))), (Some(limits(9)), None));
        assert_eq!(tenants.cache(&Name::default_tenant()), 60);

        tenants.change(&Tenants::only_default(70));
        assert_eq!((tenants.get(&name("acme")), tenants.cache(&Name::default_tenant())), (Some(limits(9)), 70));
    }

    #[test]
    fn a_plugin_may_have_as_many_tasks_as_its_tenant_has_left() {
        let (tenants, acme) = (with_acme(5), name("acme"));

        assert_eq!(
            [(5, 0), (2, 3)].map(|(tasks, others)| tenants.room_for_tasks(&acme, tasks, others)),
            [Ok(()), Ok(())]
        );
        let beside = tenants.room_for_tasks(&acme, 3, 3).unwrap_err();
        assert_eq!(
            beside,
            "it has 3 tasks beside the 3 of other plugins, and tenant `acme` may have 5; raise `[tenants.acme] tasks` \
             in the host's configuration, or remove tasks"
        );
        assert!(tenants.room_for_tasks(&acme, 6, 0).unwrap_err().starts_with("it has 6 tasks, and tenant `acme`"));
        assert!(tenants.room_for_tasks(&acme, usize::MAX, 1).is_err());
        let nobody = name("nobody");
        assert!(
            tenants.room_for_tasks(&nobody, 10_000, 0).is_ok() && tenants.room_for_tasks(&nobody, 10_001, 0).is_err()
        );
    }
}

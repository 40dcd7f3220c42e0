//! What tenants there are, and what each may have of a host.
//!
//! A tenant is an owner: its plugins lie in a directory of its own, and its names (of tasks, locks, cache entries) are its
//! own. Which there are is the operator's word, and does not change while a host is up; what each may have does.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::task::Name;

/// What a tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantLimits {
    /// Runs at once on this host; `None` is as many as the host has slots.
    pub runs: Option<u32>,
    /// Units of fuel a minute on this host, all its tasks together; `None` is no bound.
    pub fuel_per_minute: Option<u64>,
    /// Bytes, keys and values, that its cache entries may have together.
    pub cache: u64,
    /// Tasks and chains of all its plugins together.
    pub tasks: u32,
    /// What its tasks may ask for that has to wait.
    pub backlog: BacklogLimits,
}

/// What tasks may ask for that has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Bytes of inputs of one task's runs that tasks asked for and that wait.
    pub task: u64,
    /// The same of all tasks of the tenant together.
    pub tenant: u64,
    /// How far ahead such a run may be due.
    pub horizon: Duration,
}

impl Default for BacklogLimits {
    /// 64 MiB, 256 MiB, and ten years.
    fn default() -> Self {
        Self { task: 64 << 20, tenant: 256 << 20, horizon: Duration::from_secs(3660 * 24 * 3600) }
    }
}

/// Tasks and chains that a tenant may have unless the configuration says otherwise. Each is looked at whenever the plugins
/// change and whenever tasks are listed, so ten times as many are felt by all others.
pub const USUAL_TASKS: u32 = 10_000;

/// The tenants of a host.
#[derive(Debug)]
pub struct Tenants(RwLock<Arc<BTreeMap<Name, TenantLimits>>>);

impl Tenants {
    /// A host without tenants: only the default one, whose cache may have `cache` bytes.
    pub fn only_default(cache: u64) -> Self {
        Self::new(cache, BTreeMap::new())
    }

    /// The tenants `named`, and the default one, bounded by nothing but `cache` bytes unless it is among them.
    pub fn new(cache: u64, named: BTreeMap<Name, TenantLimits>) -> Self {
        let mut tenants = named;
        let backlog = BacklogLimits::default();
        let unbounded = TenantLimits { runs: None, fuel_per_minute: None, cache, tasks: USUAL_TASKS, backlog };
        tenants.entry(Name::default_tenant()).or_insert(unbounded);
        Self(RwLock::new(Arc::new(tenants)))
    }

    /// What `tenant` may have; `None` if there is no such tenant.
    pub fn get(&self, tenant: &Name) -> Option<TenantLimits> {
        self.all().get(tenant).copied()
    }

    /// All of them, by name, as they are now.
    pub fn all(&self) -> Arc<BTreeMap<Name, TenantLimits>> {
        // Whoever panicked while it held the guard left what is whole: it is changed in one go.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on each may have what it may have of `others`. Tenants that are not in both stay as they are.
    pub fn change(&self, others: &Self) {
        let others = others.all();
        let mut tenants = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = tenants.iter().map(|(name, limits)| (name.clone(), *others.get(name).unwrap_or(limits)));
        *tenants = Arc::new(changed.collect());
    }

    /// Whether a plugin of `tenant` may have so many `tasks` (and chains), beside the `others` that its other plugins have.
    ///
    /// # Errors
    ///
    /// In words: which limit that is over, and where to raise it.
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
            "it has {tasks} tasks{beside}, and tenant `{tenant}` may have {most}; raise `[tenants.{tenant}] tasks` in \
             the host's configuration, or take tasks away"
        ))
    }

    /// What the tenant's tasks may ask for that has to wait.
    pub fn backlog(&self, tenant: &Name) -> BacklogLimits {
        self.get(tenant).map_or_else(BacklogLimits::default, |limits| limits.backlog)
    }

    /// Bytes that the tenant's cache entries may have together. One that is no more may have none.
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

    /// What a tenant with so many tasks may have.
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
    fn a_tenant_has_what_it_was_given_and_one_that_is_not_there_has_no_cache() {
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
             in the host's configuration, or take tasks away"
        );
        assert!(tenants.room_for_tasks(&acme, 6, 0).unwrap_err().starts_with("it has 6 tasks, and tenant `acme`"));
        assert!(tenants.room_for_tasks(&acme, usize::MAX, 1).is_err());
        let nobody = name("nobody");
        assert!(
            tenants.room_for_tasks(&nobody, 10_000, 0).is_ok() && tenants.room_for_tasks(&nobody, 10_001, 0).is_err()
        );
    }
}

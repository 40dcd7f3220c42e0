//! What tenants there are, and what each may have of a host.
//!
//! A tenant is an owner: its plugins lie in a directory of its own, and its names (of tasks, locks, cache entries) are its
//! own. Which there are is the operator's word, and does not change while a host is up.

use std::collections::BTreeMap;

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
}

/// The tenants of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants(BTreeMap<Name, TenantLimits>);

impl Tenants {
    /// A host without tenants: only the default one, whose cache may have `cache` bytes.
    pub fn only_default(cache: u64) -> Self {
        Self::new(cache, BTreeMap::new())
    }

    /// The tenants `named`, and the default one, bounded by nothing but `cache` bytes unless it is among them.
    pub fn new(cache: u64, named: BTreeMap<Name, TenantLimits>) -> Self {
        let mut tenants = named;
        let unbounded = TenantLimits { runs: None, fuel_per_minute: None, cache };
        tenants.entry(Name::default_tenant()).or_insert(unbounded);
        Self(tenants)
    }

    /// What `tenant` may have; `None` if there is no such tenant.
    pub fn get(&self, tenant: &Name) -> Option<&TenantLimits> {
        self.0.get(tenant)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &TenantLimits)> {
        self.0.iter()
    }

    /// Bytes that the tenant's cache entries may have together. One that is no more may have none.
    pub fn cache(&self, tenant: &Name) -> u64 {
        self.get(tenant).map_or(0, |limits| limits.cache)
    }
}

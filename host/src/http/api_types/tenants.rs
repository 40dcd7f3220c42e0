//! Defines the JSON of tenants.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::runs::HeldBackShape;
use sexton_domain::task::Name;

/// `GET /v1/tenants`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tenants {
    /// The tenants, by name.
    pub tenants: Vec<TenantShape>,
}

/// A tenant, with its usage of this host and its limits.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantShape {
    /// Its name.
    pub name: Name,
    /// Attempts under way.
    pub running: u32,
    /// The most attempts at once.
    pub runs: Option<u32>,
    /// The units of fuel that are left of its budget; a negative number is owed.
    pub fuel_left: Option<i64>,
    /// The units of fuel that come in each minute.
    pub fuel_per_minute: Option<u64>,
    /// The bytes that its cache entries may have together.
    pub cache: u64,
    /// The bytes that its cache entries have.
    #[serde(default)]
    pub cache_used: u64,
    /// The reason why none of its runs start.
    pub held_back: Option<HeldBackShape>,
    /// The pause that keeps its runs from starting, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
}

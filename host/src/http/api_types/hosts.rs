//! Defines the JSON of the hosts that share the store.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store::hosts::{HostInfo, HostRecord};

/// `GET /v1/hosts`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Hosts {
    /// The hosts, by name.
    pub hosts: Vec<HostShape>,
}

/// The state of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// The host takes runs.
    Up,
    /// The host takes no runs, and finishes those it has.
    Draining,
    /// The host has stopped, or has not announced itself for as long as a claim holds.
    Gone,
}

/// A host of the store. `POST /v1/hosts/{host}/drain` and `/undrain` respond with it, too.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HostShape {
    /// The name of the host, which its claims carry.
    pub name: String,
    /// The state of the host.
    pub state: HostState,
    /// The version of its program.
    pub version: String,
    /// The address of its API, on its own machine.
    pub address: String,
    /// The labels in its configuration.
    pub labels: Vec<Name>,
    /// The number of runs that it may have at once.
    pub slots: u32,
    /// The attempts under way at its last announcement.
    pub attempts: u32,
    /// The plugins in use at its last announcement.
    pub plugins: u32,
    /// The instant at which it started.
    pub started_at: Timestamp,
    /// The instant of its last announcement.
    pub seen_at: Timestamp,
}

impl HostState {
    /// Returns the name of the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

impl fmt::Display for HostState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl HostShape {
    /// Returns the state of the host `info` at `now`.
    pub fn of(info: HostInfo, now: Timestamp) -> Self {
        let state = match info.draining {
            _ if info.alive_until <= now => HostState::Gone,
            true => HostState::Draining,
            false => HostState::Up,
        };
        let HostRecord { name, version, address, labels, slots, attempts, plugins, started_at, .. } = info.host;
        let seen_at = info.seen_at;
        Self { name, state, version, address, labels, slots, attempts, plugins, started_at, seen_at }
    }
}

//! The JSON about the hosts that share the store.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::store::hosts::{HostInfo, HostRecord};
use crate::task::Name;
use crate::time::Timestamp;

/// `GET /v1/hosts`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hosts {
    /// By name.
    pub hosts: Vec<HostShape>,
}

/// Whether a host is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It takes runs.
    Up,
    /// It takes none, and finishes what it has.
    Draining,
    /// It has stopped, or has not been heard of for as long as a claim holds.
    Gone,
}

/// A host of the store. `POST /v1/hosts/{host}/drain` and `/undrain` answer with it, too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostShape {
    /// Its name, the one that its claims carry.
    pub name: String,
    /// Whether it is there.
    pub state: HostState,
    /// Of its program.
    pub version: String,
    /// Where its API listens, on its own machine.
    pub address: String,
    /// What its configuration calls it besides.
    pub labels: Vec<Name>,
    /// Runs that it may have at once.
    pub slots: u32,
    /// Attempts under way on it, when it was seen.
    pub attempts: u32,
    /// Plugins in use on it, when it was seen.
    pub plugins: u32,
    /// Since when it is (or was) up.
    pub started_at: Timestamp,
    /// When it was heard of last.
    pub seen_at: Timestamp,
}

impl HostState {
    /// The word for it.
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
    /// `info` as it is `now`.
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

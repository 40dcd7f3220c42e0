//! Defines the part of the contract for hosts that share a store: their records, and requests to them.
//!
//! A host announces itself repeatedly, and each time learns what is asked of it. Runs do not depend on that: a dead
//! host is detected by its claims, which expire.

use async_trait::async_trait;

use super::Result;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// A host's description of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRecord {
    /// The host's name, which no other host of the store has.
    pub name: String,
    /// The number of the host's life, drawn at random when it starts.
    pub instance: i64,
    /// The version of the host's program.
    pub version: String,
    /// The address on which its API listens.
    pub address: String,
    /// The labels from its configuration.
    pub labels: Vec<Name>,
    /// The number of runs that it can have at once.
    pub slots: u32,
    /// The number of attempts under way.
    pub attempts: u32,
    /// The number of plugins in use.
    pub plugins: u32,
    pub started_at: Timestamp,
}

/// A host's message that it is up.
#[derive(Clone, Debug)]
pub struct Announcement {
    pub host: HostRecord,
    /// Whether this is the first announcement of its life: it takes over the name from any earlier life, and ends a
    /// drain.
    pub takes_over: bool,
    /// The instant after which the host counts as gone, unless it announces itself again.
    pub alive_until: Timestamp,
    pub now: Timestamp,
}

/// The answer to an announcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Whether the host must take no runs.
    pub draining: bool,
    /// Whether another life has the name: nothing was written, and this host must end.
    pub replaced: bool,
}

/// A host as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    /// The host's description of itself.
    pub host: HostRecord,
    /// Whether the host must take no runs.
    pub draining: bool,
    /// When the host last announced itself.
    pub seen_at: Timestamp,
    /// The instant after which the host counts as gone, unless it announces itself again.
    pub alive_until: Timestamp,
}

impl HostRecord {
    /// Returns the labels as stores hold them: one text, separated by spaces.
    pub(super) fn labels_as_text(&self) -> String {
        self.labels.iter().map(Name::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Returns the labels in such a text. Labels that another version wrote and this one does not accept are left out.
    pub(super) fn labels_of_text(text: &str) -> Vec<Name> {
        text.split(' ').filter_map(|label| Name::new(label).ok()).collect()
    }
}

/// Keeps records of hosts. The promises of [`Store`](super::Store) apply here, too.
#[async_trait]
pub trait Hosts {
    /// Records that a host is up, unless another life has its name by now.
    async fn announce(&self, announcement: Announcement) -> Result<Announced>;

    /// Returns all recorded hosts, by name.
    async fn hosts(&self) -> Result<Vec<HostInfo>>;

    /// Sets whether a host must drain, which it learns with its next announcement. Returns whether the host exists.
    async fn set_draining(&self, host: &str, draining: bool) -> Result<bool>;

    /// Deletes the hosts that have not announced themselves since `before`. Returns their number.
    async fn forget_hosts(&self, before: Timestamp) -> Result<u64>;
}

//! The part of the contract that is about the hosts that share a store: which there are, and what is wanted of them.
//!
//! A host writes down that it is there, again and again, and learns with each time what is wanted of it. Nobody's runs hang
//! on that: a host that has died is found out by its claims, which end by themselves.

use async_trait::async_trait;

use super::Result;
use crate::task::Name;
use crate::time::Timestamp;

/// What a host says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRecord {
    /// Its name, which is no other host's of the store.
    pub name: String,
    /// Which life of it: drawn at random when it starts.
    pub instance: i64,
    /// Of its program.
    pub version: String,
    /// Where its API listens.
    pub address: String,
    /// What its configuration calls it besides.
    pub labels: Vec<Name>,
    /// Runs at once.
    pub slots: u32,
    /// Attempts under way.
    pub attempts: u32,
    /// Plugins in use.
    pub plugins: u32,
    /// Since when it is up.
    pub started_at: Timestamp,
}

/// What a host writes down.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Who it is.
    pub host: HostRecord,
    /// Whether this is the first one of its life: from then on its name is this life's, whoever had it, and it is not
    /// drained any more.
    pub takes_over: bool,
    /// Unless it is heard of again, it is gone then.
    pub alive_until: Timestamp,
    /// The time it is.
    pub now: Timestamp,
}

/// What a host learns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// It is to take no runs.
    pub draining: bool,
    /// Another life has its name: nothing was written down, and it has to end.
    pub replaced: bool,
}

/// A host as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInfo {
    /// What it said of itself.
    pub host: HostRecord,
    /// It is to take no runs.
    pub draining: bool,
    /// When it was heard of last.
    pub seen_at: Timestamp,
    /// Unless it is heard of again, it is gone then.
    pub alive_until: Timestamp,
}

impl HostRecord {
    /// Its labels as stores have them: a text, with spaces in between.
    pub(super) fn labels_as_text(&self) -> String {
        self.labels.iter().map(Name::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The labels in such a text. What another version has written and this one would not is left out.
    pub(super) fn labels_of_text(text: &str) -> Vec<Name> {
        text.split(' ').filter_map(|label| Name::new(label).ok()).collect()
    }
}

/// Where hosts are written down. What [`Store`](super::Store) promises goes for this part of it, too.
#[async_trait]
pub trait Hosts {
    /// Write down that a host is there, unless its name is another life's by now.
    async fn announce(&self, announcement: Announcement) -> Result<Announced>;

    /// All hosts that are written down, by name.
    async fn hosts(&self) -> Result<Vec<HostInfo>>;

    /// Say whether a host is to be drained: it learns that with its next announcement. Whether there is such a host.
    async fn set_draining(&self, host: &str, draining: bool) -> Result<bool>;

    /// Forget the hosts that were not heard of since `before`. Returns how many there were.
    async fn forget_hosts(&self, before: Timestamp) -> Result<u64>;
}

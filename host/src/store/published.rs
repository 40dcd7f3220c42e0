//! The part of the contract that is about plugins which hosts share: dropped on one of them, fetched from here by all others.
//!
//! What was published last under a name is what there is under it. A component is kept by its digest, once however many
//! plugins have it. The store takes what it is given: who publishes has seen that it loads, who fetches compares the digest.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::Result;
use crate::task::Name;
use crate::time::Timestamp;

/// For how long it is told that a plugin was withdrawn; who has not looked for that long has to look at all there is. A
/// component that no plugin has (any more) is kept for as long, too: somebody may be about to publish or to fetch it.
pub const TOLD_FOR: Duration = Duration::from_secs(3600);

/// Components are written and read in parts of so many bytes: no statement takes long, and others come in between.
pub(super) const PART: usize = 1 << 20;

/// Which plugin: its owner and its name, which is unique among the owner's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginKey {
    /// Whose.
    pub tenant: Name,
    /// What it is called.
    pub plugin: Name,
}

/// A plugin to be published.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Whose, and under which name.
    pub key: PluginKey,
    /// The text of its manifest; empty if it has none.
    pub manifest: String,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// Its component.
    pub component: Arc<Vec<u8>>,
    /// The host on which it was dropped.
    pub host: String,
    /// The time it is.
    pub now: Timestamp,
}

/// A plugin that was published, or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPlugin {
    /// Whose, and under which name.
    pub key: PluginKey,
    /// Greater after every change: of what is published, by whom, and that it is withdrawn.
    pub version: u64,
    /// The text of its manifest; empty if it has none.
    pub manifest: String,
    /// SHA-256 of its component, in hex.
    pub digest: String,
    /// Bytes of its component.
    pub size: u64,
    /// The host on which it was dropped.
    pub host: String,
    /// When it was published.
    pub published_at: Timestamp,
    /// It is no more: forget it.
    pub withdrawn: bool,
}

impl Publish {
    /// How many parts its component has.
    pub(super) fn parts(&self) -> usize {
        parts(self.component.len() as u64)
    }

    /// One of them.
    pub(super) fn part(&self, part: usize) -> &[u8] {
        self.component.chunks(PART).nth(part).unwrap_or_default()
    }
}

/// How many parts a component of so many bytes has.
pub(super) fn parts(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX).div_ceil(PART)
}

/// Where published plugins are kept. What [`Store`](super::Store) promises goes for this part of it, too.
#[async_trait]
pub trait Plugins {
    /// Publish a plugin in the place of what was published under its name, whoever did. Returns its version.
    ///
    /// The same once more, by the same host, gets no other version; its component is written all the same, so that one that
    /// was damaged is whole again.
    async fn publish(&self, plugin: Publish) -> Result<u64>;

    /// Plugins that were published, and those that were withdrawn of late, whose version is greater than `version`, by version.
    async fn published_since(&self, version: u64, limit: usize) -> Result<Vec<PublishedPlugin>>;

    /// The first `size` bytes of the component with this digest, as far as they are there; `None` if nothing of it is.
    async fn component(&self, digest: &str, size: u64) -> Result<Option<Vec<u8>>>;

    /// Withdraw a plugin, if this is still its version. Whether it was.
    async fn withdraw(&self, key: PluginKey, version: u64, now: Timestamp) -> Result<bool>;

    /// Told (as a hint only) whenever a plugin was published or withdrawn; as [`Store::runs_hint`](super::Store::runs_hint).
    fn plugins_hint(&self) -> Arc<Notify>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_component_are_all_of_it() {
        for size in [0, 1, PART - 1, PART, PART + 1, 3 * PART] {
            let plugin = Publish {
                key: PluginKey { tenant: Name::default_tenant(), plugin: Name::new("a").unwrap() },
                manifest: String::new(),
                digest: String::new(),
                component: Arc::new((0..size).map(|n| (n % 251) as u8).collect()),
                host: String::new(),
                now: Timestamp::default(),
            };

            let together: Vec<u8> = (0..plugin.parts()).flat_map(|part| plugin.part(part)).copied().collect();

            assert!(together == *plugin.component, "{size}");
            assert!((0..plugin.parts()).all(|part| (1..=PART).contains(&plugin.part(part).len())), "{size}");
        }
    }
}

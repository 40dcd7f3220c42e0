//! Defines the part of the contract for plugins that hosts share: published by one, fetched by all others.
//!
//! Each name has the plugin that was published under it last. A component is kept by its digest, once for all plugins
//! that have it. The store checks nothing: the publishing host has seen that it loads, the fetching host compares the
//! digest.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::Result;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The time for which the row of a withdrawn plugin stays. A host that has not looked for that long must look at all
/// plugins. A component that no plugin has is kept for as long, too: a host may be about to publish or to fetch it.
pub const TOLD_FOR: Duration = Duration::from_secs(3600);

/// The size in bytes of the parts in which components are written and read: no statement takes long, and other
/// statements run in between.
pub(super) const PART: usize = 1 << 20;

/// Names a plugin by its owner and its name, which is unique among the owner's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginKey {
    pub tenant: Name,
    pub plugin: Name,
}

/// A plugin to publish.
#[derive(Clone, Debug)]
pub struct Publish {
    pub key: PluginKey,
    /// The text of the plugin's manifest; empty if it has none.
    pub manifest: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    pub component: Arc<Vec<u8>>,
    /// The host on which the plugin was dropped.
    pub host: String,
    pub now: Timestamp,
}

/// A plugin that was published or withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedPlugin {
    pub key: PluginKey,
    /// The version, which grows with every change of the contents or the publishing host, and with a withdrawal.
    pub version: u64,
    /// The text of the plugin's manifest; empty if it has none.
    pub manifest: String,
    /// SHA-256 of the component, in hex.
    pub digest: String,
    /// The size of the component in bytes.
    pub size: u64,
    /// The host on which the plugin was dropped.
    pub host: String,
    pub published_at: Timestamp,
    /// Whether the plugin was withdrawn, so that hosts must forget it.
    pub withdrawn: bool,
}

impl Publish {
    /// Returns the number of parts of the component.
    pub(super) fn parts(&self) -> usize {
        parts(self.component.len() as u64)
    }

    /// Returns one part of the component.
    pub(super) fn part(&self, part: usize) -> &[u8] {
        self.component.chunks(PART).nth(part).unwrap_or_default()
    }
}

/// Returns the number of parts of a component of `size` bytes.
pub(super) fn parts(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX).div_ceil(PART)
}

/// Keeps published plugins. The promises of [`Store`](super::Store) apply here, too.
#[async_trait]
pub trait Plugins {
    /// Publishes a plugin in place of the one under its name, whichever host published that. Returns the version.
    ///
    /// The same plugin from the same host keeps its version; its component is written all the same, so that a damaged
    /// one becomes whole.
    async fn publish(&self, plugin: Publish) -> Result<u64>;

    /// Returns published and recently withdrawn plugins whose version is greater than `version`, by version.
    async fn published_since(&self, version: u64, limit: usize) -> Result<Vec<PublishedPlugin>>;

    /// Returns the first `size` bytes of the component with this digest, as far as they exist; `None` if none do.
    async fn component(&self, digest: &str, size: u64) -> Result<Option<Vec<u8>>>;

    /// Withdraws a plugin, if this is still its version. Returns whether it was.
    async fn withdraw(&self, key: PluginKey, version: u64, now: Timestamp) -> Result<bool>;

    /// Returns the hint that a plugin was published or withdrawn; it works like
    /// [`Store::runs_hint`](super::Store::runs_hint).
    fn plugins_hint(&self) -> Arc<Notify>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_component_add_up_to_the_whole() {
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

//! Fetches published plugins and verifies them, because anyone with write access to the store could have changed them.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::publisher::Publisher;
use crate::plugins::sink::Fingerprint;
use sexton_domain::time::Timestamp;
use sexton_runtime::runtime::digest;
use sexton_store::Result;
use sexton_store::published::{PluginKey, PublishedPlugin};

/// The wait before another try to fetch a plugin.
const FETCH_AGAIN: Duration = Duration::from_secs(60);

/// Success, or the reason for people why a plugin is not here.
type Here = std::result::Result<(), String>;

impl Publisher {
    /// Fetches plugins that are not here, or not any more.
    pub(super) async fn fetch(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        let due: Vec<PluginKey> =
            self.wanted.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            let Some(plugin) = self.published.get(&key).cloned() else { continue };
            match self.ensure_present(&plugin).await? {
                Ok(()) => self.mark_present(&plugin),
                Err(reason) => self.is_not_here(&plugin, &reason, now),
            }
        }
        Ok(())
    }

    fn mark_present(&mut self, plugin: &PublishedPlugin) {
        let PluginKey { tenant, plugin: name } = &plugin.key;
        self.wanted.remove(&plugin.key);
        self.shared.registry.set_remarks(tenant, name.as_str(), |said| {
            said.published_by = Some(plugin.host.clone());
            said.not_here = None;
        });
    }

    fn is_not_here(&mut self, plugin: &PublishedPlugin, reason: &str, now: Timestamp) {
        let PluginKey { tenant, plugin: name } = &plugin.key;
        let host = &plugin.host;
        let reason = format!("host `{host}` published it, and it is not here: {reason}");
        let mut told = false;
        self.shared.registry.set_remarks(tenant, name.as_str(), |said| {
            told = said.not_here.replace(reason.clone()).as_ref() == Some(&reason);
        });
        // The fetch is retried many times, so the warning is logged once.
        if !told {
            warn!(plugin = %name, tenant.name = %tenant, host.name = host, "Plugin `{name}`: {reason}");
        }
        self.wanted.insert(plugin.key.clone(), now.plus(FETCH_AGAIN));
    }

    /// Makes sure that a plugin is here as it was published.
    async fn ensure_present(&mut self, plugin: &PublishedPlugin) -> Result<Here> {
        let Some(tenant) = self.tenants.get(&plugin.key.tenant) else { return Ok(Ok(())) };
        let mark = Fingerprint::of(plugin);
        if tenant.copies.has(plugin.key.plugin.as_str(), &mark) {
            return Ok(Ok(()));
        }
        if plugin.size > tenant.max_component {
            let (size, limit) = (plugin.size, tenant.max_component);
            return Ok(Err(format!(
                "its component has {size} bytes, and {limit} are allowed here; raise `[runtime] max-component`"
            )));
        }
        let Some(component) = self.shared.store.component(&plugin.digest, plugin.size).await? else {
            return Ok(Err("the store does not have its component; drop it once more".into()));
        };
        let component = Arc::new(component);
        let compared = Arc::clone(&component);
        // The result is empty only after a panic, and an empty text is no digest.
        let found = tokio::task::spawn_blocking(move || digest(&compared)).await.unwrap_or_default();
        if found != mark.digest {
            let published = &mark.digest;
            return Ok(Err(format!(
                "its component in the store has the digest {found}, but {published} was published, so it was changed in the store; find out how, and drop the plugin once more"
            )));
        }
        Ok(self.keep(&plugin.key, mark, component).await)
    }

    /// Puts a plugin into the directory from which it is used.
    pub(super) async fn keep(&mut self, key: &PluginKey, mark: Fingerprint, component: Arc<Vec<u8>>) -> Here {
        let Some(tenant) = self.tenants.get_mut(&key.tenant) else { return Ok(()) };
        let put = tenant.copies.put(key.plugin.as_str(), mark, component).await;
        put.map_err(|error| format!("it cannot be written: {error}"))
    }
}

//! Observes published plugins and the plugin directories of this host, and follows the publish policy.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::Shared;
use super::local_cache::LocalCache;
use super::publish_policy::{self, DirectoryState, Step};
use crate::plugins::sink::{DirectoryEvent, Fingerprint};
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_runtime::runtime::digest;
use sexton_store::Result;
use sexton_store::published::{PluginKey, Publish, PublishedPlugin, TOLD_FOR};
use sexton_system::regular_file;

/// The interval of looks at published plugins without a notification.
const POLL: Duration = Duration::from_secs(5);

/// The wait after the store refused a request.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// The most plugins that are read at once, because each brings its manifest.
const PAGE: usize = 100;

/// Knows the published plugins and the contents of this host's directories.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) shared: Shared,
    pub(super) tenants: BTreeMap<Name, Tenant>,
    drops: mpsc::UnboundedReceiver<(Name, DirectoryEvent)>,
    lying: BTreeMap<PluginKey, DirectoryState>,
    pub(super) published: BTreeMap<PluginKey, PublishedPlugin>,
    /// The greatest version that was seen, and the time of that look.
    version: u64,
    looked_at: Option<Timestamp>,
    /// The plugins for which the policy must be applied.
    unsettled: BTreeSet<PluginKey>,
    /// The plugins that should be here and may not be yet, and when to try.
    pub(super) wanted: BTreeMap<PluginKey, Timestamp>,
    /// Whether the last request to the store failed.
    trouble: bool,
}

/// A tenant's directories on this host.
#[derive(Debug)]
pub(super) struct Tenant {
    /// The directory in which its plugins are dropped.
    pub(super) dropped: PathBuf,
    pub(super) max_component: u64,
    pub(super) copies: LocalCache,
    /// The plugins of the first look whose state was not reported yet; `None` before that look.
    pub(super) awaited: Option<BTreeSet<String>>,
}

impl Publisher {
    pub(super) fn new(
        shared: Shared,
        tenants: BTreeMap<Name, Tenant>,
        drops: mpsc::UnboundedReceiver<(Name, DirectoryEvent)>,
    ) -> Self {
        Self {
            shared,
            tenants,
            drops,
            lying: BTreeMap::new(),
            published: BTreeMap::new(),
            version: 0,
            looked_at: None,
            unsettled: BTreeSet::new(),
            wanted: BTreeMap::new(),
            trouble: false,
        }
    }

    /// Publishes and fetches until `over` is set. Sets `looked` once all published plugins were seen.
    pub(super) async fn run(mut self, looked: watch::Sender<bool>, mut over: watch::Receiver<bool>) {
        for tenant in self.tenants.values_mut() {
            tenant.copies.read(tenant.max_component).await;
        }
        let hint = self.shared.store.plugins_hint();
        let mut ended = over.clone();
        while !*over.borrow() {
            let told = hint.notified();
            tokio::pin!(told);
            // Registers before the query, so that no hint is missed.
            told.as_mut().enable();
            let wait = tokio::select! {
                done = self.sync() => self.log_store_failure(done, &looked),
                // Work in progress is finished after the next start, because fetching a component may take long.
                _ = ended.changed() => return,
            };
            tokio::select! {
                () = told => {}
                Some((tenant, dropped)) = self.drops.recv() => self.on_directory_event(&tenant, dropped),
                () = tokio::time::sleep(wait) => {}
                told = over.changed() => if told.is_err() { return },
            }
            while let Ok((tenant, dropped)) = self.drops.try_recv() {
                self.on_directory_event(&tenant, dropped);
            }
        }
    }

    /// Logs once that the store refuses requests. Returns how long to wait in that case.
    fn log_store_failure(&mut self, done: Result<()>, looked: &watch::Sender<bool>) -> Duration {
        let before = std::mem::replace(&mut self.trouble, done.is_err());
        match done {
            Ok(()) => {
                looked.send_replace(true);
                POLL
            }
            Err(error) => {
                if !before {
                    warn!(error = %error, "Cannot share plugins through the store, trying again");
                }
                AFTER_ERROR
            }
        }
    }

    /// Handles a change of a plugin directory.
    pub(super) fn on_directory_event(&mut self, tenant: &Name, dropped: DirectoryEvent) {
        match dropped {
            DirectoryEvent::There(names) => {
                let Some(place) = self.tenants.get_mut(tenant) else { return };
                place.awaited = Some(names.into_iter().collect());
                self.unsettled.extend(self.published.keys().filter(|key| key.tenant == *tenant).cloned());
            }
            DirectoryEvent::Good(plugin, mark) => {
                let dropped = !self.take_awaited(tenant, &plugin);
                self.set_directory_state(tenant, &plugin, DirectoryState::Good { mark, dropped }, None);
            }
            // The state of the plugin will still be reported, also if it lay there from the start.
            DirectoryEvent::Bad { plugin, reason, for_now: true } => {
                self.shared.registry.set_remarks(tenant, &plugin, |said| said.not_published = Some(reason));
            }
            DirectoryEvent::Bad { plugin, reason, for_now: false } => {
                self.take_awaited(tenant, &plugin);
                self.set_directory_state(tenant, &plugin, DirectoryState::Bad, Some(reason));
            }
            DirectoryEvent::Gone(plugin) => {
                self.take_awaited(tenant, &plugin);
                self.set_directory_state(tenant, &plugin, DirectoryState::NotThere, None);
            }
        }
    }

    /// Removes a plugin from those of the first look whose state is awaited. Returns whether it was one of them.
    fn take_awaited(&mut self, tenant: &Name, plugin: &str) -> bool {
        let awaited = self.tenants.get_mut(tenant).and_then(|tenant| tenant.awaited.as_mut());
        awaited.is_some_and(|names| names.remove(plugin))
    }

    fn set_directory_state(&mut self, tenant: &Name, plugin: &str, lies: DirectoryState, reason: Option<String>) {
        self.shared.registry.set_remarks(tenant, plugin, |said| said.not_published = reason);
        // A plugin without a valid name is never published.
        let Ok(plugin) = Name::new(plugin) else { return };
        let key = PluginKey { tenant: tenant.clone(), plugin };
        self.unsettled.insert(key.clone());
        self.lying.insert(key, lies);
    }

    /// Returns the state of a plugin in the directory.
    fn directory_state(&self, key: &PluginKey) -> DirectoryState {
        let awaited = self.tenants.get(&key.tenant).and_then(|tenant| tenant.awaited.as_ref());
        match self.lying.get(key) {
            _ if awaited.is_none_or(|names| names.contains(key.plugin.as_str())) => DirectoryState::Unknown,
            Some(lies) => lies.clone(),
            None => DirectoryState::NotThere,
        }
    }

    /// Reads the published plugins, follows the policy, and fetches missing plugins.
    pub(super) async fn sync(&mut self) -> Result<()> {
        self.look().await?;
        while let Some(key) = self.unsettled.first().cloned() {
            self.settle(&key).await?;
            self.unsettled.remove(&key);
        }
        self.fetch().await
    }

    /// Reads what was published and withdrawn since the last look. Reads everything if the last look is so long ago
    /// that withdrawals since then are no longer recorded.
    async fn look(&mut self) -> Result<()> {
        let now = self.shared.clock.now();
        let anew = self.looked_at.is_none_or(|at| now.since(at) > TOLD_FOR / 2);
        let (mut version, mut found) = (if anew { 0 } else { self.version }, BTreeSet::new());
        loop {
            let page = self.shared.store.published_since(version, PAGE).await?;
            let last = page.len() < PAGE;
            for plugin in page {
                version = version.max(plugin.version);
                if self.tenants.contains_key(&plugin.key.tenant) {
                    if !plugin.withdrawn {
                        found.insert(plugin.key.clone());
                    }
                    self.note(plugin, now);
                }
            }
            if last {
                break;
            }
        }
        if anew {
            self.forget_all_but(&found);
        }
        (self.version, self.looked_at) = (version, Some(now));
        Ok(())
    }

    /// Handles a plugin that was published or withdrawn.
    fn note(&mut self, plugin: PublishedPlugin, now: Timestamp) {
        if plugin.withdrawn {
            return self.forget(&plugin.key);
        }
        self.unsettled.insert(plugin.key.clone());
        self.wanted.insert(plugin.key.clone(), now);
        self.published.insert(plugin.key.clone(), plugin);
    }

    fn forget_all_but(&mut self, found: &BTreeSet<PluginKey>) {
        let copied = self.tenants.iter().flat_map(|(tenant, place)| {
            // A file without a valid name was not put there by this host.
            let names = place.copies.names().into_iter().filter_map(|name| Name::new(&name).ok());
            names.map(move |plugin| PluginKey { tenant: tenant.clone(), plugin })
        });
        let known: BTreeSet<PluginKey> = copied.chain(self.published.keys().cloned()).collect();
        for gone in known.difference(found) {
            self.forget(gone);
        }
    }

    /// Handles a plugin that is no longer published.
    fn forget(&mut self, key: &PluginKey) {
        self.wanted.remove(key);
        // If the plugin lies in the directory, it is published now.
        self.unsettled.insert(key.clone());
        if let Some(withdrawn) = self.published.remove(key) {
            let (tenant, plugin, host) = (&key.tenant, &key.plugin, &withdrawn.host);
            info!(plugin = %plugin, tenant.name = %tenant, host.name = host, "Plugin `{plugin}`, which host `{host}` had published, was withdrawn");
        }
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            tenant.copies.remove(key.plugin.as_str());
        }
        self.shared.registry.set_remarks(&key.tenant, key.plugin.as_str(), |said| {
            said.published_by = None;
            said.not_here = None;
        });
    }

    /// Follows the policy for a plugin.
    async fn settle(&mut self, key: &PluginKey) -> Result<()> {
        let (lies, published) = (self.directory_state(key), self.published.get(key));
        match publish_policy::step(&lies, published, &self.shared.host) {
            Step::Nothing => {
                if let (DirectoryState::Good { mark, .. }, Some(published)) = (&lies, published)
                    && *mark != Fingerprint::of(published)
                {
                    let (plugin, host) = (&key.plugin, &published.host);
                    info!(plugin = %plugin, tenant.name = %key.tenant, host.name = host, "Plugin `{plugin}` in the directory is not used, as host `{host}` has published another; drop it once more to have it used by all");
                }
                Ok(())
            }
            Step::Publish => match lies {
                DirectoryState::Good { mark, .. } => self.publish(key, mark).await,
                DirectoryState::Unknown | DirectoryState::NotThere | DirectoryState::Bad => Ok(()),
            },
            Step::Withdraw(version) => {
                let now = self.shared.clock.now();
                // If another version was published in between, the next look brings it.
                if self.shared.store.withdraw(key.clone(), version, now).await? {
                    self.forget(key);
                }
                Ok(())
            }
        }
    }

    /// Publishes the plugin in the directory.
    async fn publish(&mut self, key: &PluginKey, mark: Fingerprint) -> Result<()> {
        let Some(tenant) = self.tenants.get(&key.tenant) else { return Ok(()) };
        let (path, limit) = (tenant.dropped.join(format!("{}.wasm", key.plugin)), tenant.max_component);
        let read = tokio::task::spawn_blocking(move || {
            let component = regular_file::read(&path, limit).ok().flatten()?;
            Some((digest(&component), Arc::new(component)))
        });
        let component = match read.await {
            Ok(Some((digest, component))) if digest == mark.digest => component,
            // The file is being changed. Its new state will be reported.
            _ => return Ok(()),
        };
        let (now, size) = (self.shared.clock.now(), component.len() as u64);
        let new = Publish {
            key: key.clone(),
            manifest: mark.manifest.clone(),
            digest: mark.digest.clone(),
            component: Arc::clone(&component),
            host: self.shared.host.clone(),
            now,
        };
        let version = self.shared.store.publish(new).await?;
        let (tenant, plugin, short) = (&key.tenant, &key.plugin, &mark.digest[..12]);
        info!(plugin = %plugin, tenant.name = %tenant, digest = mark.digest, version, "Published plugin `{plugin}` ({short})");
        self.lying.insert(key.clone(), DirectoryState::Good { mark: mark.clone(), dropped: false });
        // The component is stored here directly, so that it need not be fetched. If that fails, the fetch is tried and
        // reports the error.
        drop(self.keep(key, mark.clone(), component).await);
        let Fingerprint { digest, manifest } = mark;
        let (key, host, published_at) = (key.clone(), self.shared.host.clone(), now);
        let published = PublishedPlugin { key, version, manifest, digest, size, host, published_at, withdrawn: false };
        self.note(published, now);
        Ok(())
    }
}

//! Sees what is published, and what lies in the plugin directories of this host, and does what the rule says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::Shared;
use super::copies::Copies;
use super::rule::{self, Lies, Step};
use crate::plugins::outlet::{Dropped, Mark};
use crate::regular_file;
use crate::runtime::digest;
use crate::store::Result;
use crate::store::published::{PluginKey, Publish, PublishedPlugin, TOLD_FOR};
use crate::task::Name;
use crate::time::Timestamp;

/// How often to look at what is published without having been told to.
const POLL: Duration = Duration::from_secs(5);

/// How long to wait after the store would not do what it was asked.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Plugins that are told in one go: each brings its manifest.
const PAGE: usize = 100;

/// Knows what is published, and what lies in this host's directories.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) shared: Shared,
    pub(super) tenants: BTreeMap<Name, Tenant>,
    drops: mpsc::UnboundedReceiver<(Name, Dropped)>,
    lying: BTreeMap<PluginKey, Lies>,
    pub(super) published: BTreeMap<PluginKey, PublishedPlugin>,
    /// The greatest version that was seen, and when that was.
    version: u64,
    looked_at: Option<Timestamp>,
    /// Of which the rule is to be asked.
    unsettled: BTreeSet<PluginKey>,
    /// What is to be here and may not be yet; and when to try.
    pub(super) wanted: BTreeMap<PluginKey, Timestamp>,
    /// The store did not do what it was asked last.
    trouble: bool,
}

/// What a tenant has on this host.
#[derive(Debug)]
pub(super) struct Tenant {
    /// Where its plugins are dropped.
    pub(super) dropped: PathBuf,
    pub(super) max_component: u64,
    pub(super) copies: Copies,
    /// What lay in its directory at the first look and was not told yet how it is; `None` before that look.
    pub(super) awaited: Option<BTreeSet<String>>,
}

impl Publisher {
    pub(super) fn new(
        shared: Shared,
        tenants: BTreeMap<Name, Tenant>,
        drops: mpsc::UnboundedReceiver<(Name, Dropped)>,
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

    /// Publish and fetch until `over` is set. `looked` is set once all that is published was seen.
    pub(super) async fn run(mut self, looked: watch::Sender<bool>, mut over: watch::Receiver<bool>) {
        for tenant in self.tenants.values_mut() {
            tenant.copies.read(tenant.max_component).await;
        }
        let hint = self.shared.store.plugins_hint();
        let mut ended = over.clone();
        while !*over.borrow() {
            let told = hint.notified();
            tokio::pin!(told);
            // Listen before looking, and nothing is missed.
            told.as_mut().enable();
            let wait = tokio::select! {
                done = self.go_on() => self.tell_trouble(done, &looked),
                // What was begun is done by the next start: a component may take long to come.
                _ = ended.changed() => return,
            };
            tokio::select! {
                () = told => {}
                Some((tenant, dropped)) = self.drops.recv() => self.hear(&tenant, dropped),
                () = tokio::time::sleep(wait) => {}
                told = over.changed() => if told.is_err() { return },
            }
            while let Ok((tenant, dropped)) = self.drops.try_recv() {
                self.hear(&tenant, dropped);
            }
        }
    }

    /// Say once if the store does not do what it is asked. Returns how long to wait then.
    fn tell_trouble(&mut self, done: Result<()>, looked: &watch::Sender<bool>) -> Duration {
        let before = std::mem::replace(&mut self.trouble, done.is_err());
        match done {
            Ok(()) => {
                looked.send_replace(true);
                POLL
            }
            Err(error) => {
                if !before {
                    warn!(error = %error, "Cannot share plugins by way of the store, trying again");
                }
                AFTER_ERROR
            }
        }
    }

    /// Take note of what is told of a plugin directory.
    pub(super) fn hear(&mut self, tenant: &Name, dropped: Dropped) {
        match dropped {
            Dropped::There(names) => {
                let Some(place) = self.tenants.get_mut(tenant) else { return };
                place.awaited = Some(names.into_iter().collect());
                self.unsettled.extend(self.published.keys().filter(|key| key.tenant == *tenant).cloned());
            }
            Dropped::Good(plugin, mark) => {
                let dropped = !self.was_awaited(tenant, &plugin);
                self.lies_so(tenant, &plugin, Lies::Good { mark, dropped }, None);
            }
            // How it is will be told yet, also how it was from the start.
            Dropped::Bad { plugin, reason, for_now: true } => {
                self.shared.registry.say(tenant, &plugin, |said| said.not_published = Some(reason));
            }
            Dropped::Bad { plugin, reason, for_now: false } => {
                self.was_awaited(tenant, &plugin);
                self.lies_so(tenant, &plugin, Lies::Bad, Some(reason));
            }
            Dropped::Gone(plugin) => {
                self.was_awaited(tenant, &plugin);
                self.lies_so(tenant, &plugin, Lies::NotThere, None);
            }
        }
    }

    /// Whether it was to be told yet how a plugin lay there from the start. It is now.
    fn was_awaited(&mut self, tenant: &Name, plugin: &str) -> bool {
        let awaited = self.tenants.get_mut(tenant).and_then(|tenant| tenant.awaited.as_mut());
        awaited.is_some_and(|names| names.remove(plugin))
    }

    fn lies_so(&mut self, tenant: &Name, plugin: &str, lies: Lies, reason: Option<String>) {
        self.shared.registry.say(tenant, plugin, |said| said.not_published = reason);
        // What has no good name is never published.
        let Ok(plugin) = Name::new(plugin) else { return };
        let key = PluginKey { tenant: tenant.clone(), plugin };
        self.unsettled.insert(key.clone());
        self.lying.insert(key, lies);
    }

    /// How a plugin lies in the directory.
    fn lies(&self, key: &PluginKey) -> Lies {
        let awaited = self.tenants.get(&key.tenant).and_then(|tenant| tenant.awaited.as_ref());
        match self.lying.get(key) {
            _ if awaited.is_none_or(|names| names.contains(key.plugin.as_str())) => Lies::Unknown,
            Some(lies) => lies.clone(),
            None => Lies::NotThere,
        }
    }

    /// See what is published, do what the rule says, and fetch what is not here.
    pub(super) async fn go_on(&mut self) -> Result<()> {
        self.look().await?;
        while let Some(key) = self.unsettled.first().cloned() {
            self.settle(&key).await?;
            self.unsettled.remove(&key);
        }
        self.fetch().await
    }

    /// Take note of what was published and withdrawn since the last look; of all there is where what was withdrawn since is
    /// not told any more.
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

    /// A plugin was published, or withdrawn.
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
            // What has no good name was not put there.
            let names = place.copies.names().into_iter().filter_map(|name| Name::new(&name).ok());
            names.map(move |plugin| PluginKey { tenant: tenant.clone(), plugin })
        });
        let known: BTreeSet<PluginKey> = copied.chain(self.published.keys().cloned()).collect();
        for gone in known.difference(found) {
            self.forget(gone);
        }
    }

    /// A plugin is no longer published.
    fn forget(&mut self, key: &PluginKey) {
        self.wanted.remove(key);
        // One that lies in the directory is published now.
        self.unsettled.insert(key.clone());
        if let Some(withdrawn) = self.published.remove(key) {
            let (tenant, plugin, host) = (&key.tenant, &key.plugin, &withdrawn.host);
            info!(plugin = %plugin, tenant.name = %tenant, host.name = host, "Plugin `{plugin}` was withdrawn, which host `{host}` had published");
        }
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            tenant.copies.remove(key.plugin.as_str());
        }
        self.shared.registry.say(&key.tenant, key.plugin.as_str(), |said| {
            said.published_by = None;
            said.not_here = None;
        });
    }

    /// Do what the rule says of a plugin.
    async fn settle(&mut self, key: &PluginKey) -> Result<()> {
        let (lies, published) = (self.lies(key), self.published.get(key));
        match rule::step(&lies, published, &self.shared.host) {
            Step::Nothing => {
                if let (Lies::Good { mark, .. }, Some(published)) = (&lies, published)
                    && *mark != Mark::of(published)
                {
                    let (plugin, host) = (&key.plugin, &published.host);
                    info!(plugin = %plugin, tenant.name = %key.tenant, host.name = host, "Plugin `{plugin}` in the directory is not used, as host `{host}` has published another; drop it once more to have it used by all");
                }
                Ok(())
            }
            Step::Publish => match lies {
                Lies::Good { mark, .. } => self.publish(key, mark).await,
                Lies::Unknown | Lies::NotThere | Lies::Bad => Ok(()),
            },
            Step::Withdraw(version) => {
                let now = self.shared.clock.now();
                // If it is another version by now, that is what the next look brings.
                if self.shared.store.withdraw(key.clone(), version, now).await? {
                    self.forget(key);
                }
                Ok(())
            }
        }
    }

    /// Publish what lies in the directory.
    async fn publish(&mut self, key: &PluginKey, mark: Mark) -> Result<()> {
        let Some(tenant) = self.tenants.get(&key.tenant) else { return Ok(()) };
        let (path, limit) = (tenant.dropped.join(format!("{}.wasm", key.plugin)), tenant.max_component);
        let read = tokio::task::spawn_blocking(move || {
            let component = regular_file::read(&path, limit).ok().flatten()?;
            Some((digest(&component), Arc::new(component)))
        });
        let component = match read.await {
            Ok(Some((digest, component))) if digest == mark.digest => component,
            // It is being changed. What it becomes is told.
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
        self.lying.insert(key.clone(), Lies::Good { mark: mark.clone(), dropped: false });
        // It need not be fetched. If it cannot be put there, it is tried again and told then.
        drop(self.keep(key, mark.clone(), component).await);
        let Mark { digest, manifest } = mark;
        let (key, host, published_at) = (key.clone(), self.shared.host.clone(), now);
        let published = PublishedPlugin { key, version, manifest, digest, size, host, published_at, withdrawn: false };
        self.note(published, now);
        Ok(())
    }
}

//! Tests two hosts in one process, on one store. The test reports changes in place of their directories.

use tempfile::TempDir;

use super::*;
use crate::plugins::PluginInfo;
use crate::plugins::sink::{DirectoryEvent, Fingerprint};
use crate::testkit::TestClock;
use sexton_domain::task::Name;
use sexton_runtime::runtime::digest;
use sexton_store::Retention;
use sexton_store::published::{PluginKey, Publish, TOLD_FOR};
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use std::time::Duration;

const LIMIT: u64 = 1000;

/// A store, and the hosts that share it.
struct Fleet {
    store: Arc<dyn Store>,
    clock: Arc<TestClock>,
    place: TempDir,
}

struct Host {
    publisher: Publisher,
    registry: Arc<Registry>,
    /// The directory in which plugins are dropped, and the directory of those in use.
    dropped: std::path::PathBuf,
    used: std::path::PathBuf,
}

fn mark(component: &[u8]) -> Fingerprint {
    Fingerprint { digest: digest(component), manifest: "[tasks.a]\n".into() }
}

fn tenant() -> Name {
    Name::default_tenant()
}

impl Fleet {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(place.path().join("db"), &SqliteOptions::default()).unwrap();
        Self { store, clock: Arc::default(), place }
    }

    /// Returns a host at its start. No change of its directory was reported yet.
    async fn host(&self, name: &str) -> Host {
        let registry = Arc::new(Registry::new(Arc::default()));
        let [dropped, used] = ["dropped", "used"].map(|kind| self.place.path().join(name).join(kind));
        for directory in [&dropped, &used] {
            std::fs::create_dir_all(directory).unwrap();
        }
        let shared = Shared {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            registry: Arc::clone(&registry),
            host: name.into(),
        };
        let mut copies = LocalCache::new(used.clone(), Arc::default());
        copies.read(LIMIT).await;
        let place = Tenant { dropped: dropped.clone(), max_component: LIMIT, copies, awaited: None };
        let (_, drops) = mpsc::unbounded_channel();
        Host { publisher: Publisher::new(shared, BTreeMap::from([(tenant(), place)]), drops), registry, dropped, used }
    }

    /// Returns a host whose directory is empty at its start.
    async fn empty_host(&self, name: &str) -> Host {
        let mut host = self.host(name).await;
        host.on_directory_event(DirectoryEvent::There(Vec::new())).await;
        host
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Writes to the store as an intruder could.
    async fn publish(&self, tenant: Name, component: &[u8], digest: String) {
        let key = PluginKey { tenant, plugin: Name::new("a").unwrap() };
        let (manifest, component) = ("[tasks.a]\n".into(), Arc::new(component.to_vec()));
        let plugin = Publish { key, manifest, digest, component, host: "other".into(), now: self.clock.now() };
        self.store.publish(plugin).await.unwrap();
    }
}

impl Host {
    async fn on_directory_event(&mut self, dropped: DirectoryEvent) {
        self.publisher.on_directory_event(&tenant(), dropped);
        self.sync().await;
    }

    async fn sync(&mut self) {
        self.publisher.sync().await.unwrap();
    }

    /// Drops a file `a.wasm` that loads into the directory.
    async fn drop_in(&mut self, component: &[u8]) {
        std::fs::write(self.dropped.join("a.wasm"), component).unwrap();
        self.on_directory_event(DirectoryEvent::Good("a".into(), mark(component))).await;
    }

    async fn take_away(&mut self) {
        std::fs::remove_file(self.dropped.join("a.wasm")).unwrap();
        self.on_directory_event(DirectoryEvent::Gone("a".into())).await;
    }

    /// Returns the component that the host uses, if it uses one.
    fn uses(&self) -> Option<String> {
        let component = std::fs::read_to_string(self.used.join("a.wasm")).ok();
        let manifest = std::fs::read_to_string(self.used.join("a.toml")).ok();
        assert_eq!(component.is_some(), manifest.is_some());
        component
    }

    fn info(&self) -> Option<PluginInfo> {
        self.registry.list().pop()
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.into())
}

#[tokio::test]
async fn a_plugin_dropped_on_one_host_is_used_by_all_until_it_is_removed_there() {
    let fleet = Fleet::new();
    let (mut a, mut b) = (fleet.empty_host("a").await, fleet.empty_host("b").await);

    a.drop_in(b"one").await;
    b.sync().await;
    assert_eq!((a.uses(), b.uses()), (text("one"), text("one")));

    a.drop_in(b"two").await;
    b.sync().await;
    assert_eq!((a.uses(), b.uses()), (text("two"), text("two")));

    a.take_away().await;
    b.sync().await;
    assert_eq!((a.uses(), b.uses()), (None, None));
}

#[tokio::test]
async fn the_last_drop_counts_on_any_host() {
    let fleet = Fleet::new();
    let (mut a, mut b) = (fleet.empty_host("a").await, fleet.empty_host("b").await);

    a.drop_in(b"one").await;
    b.drop_in(b"two").await;
    a.sync().await;
    assert_eq!((a.uses(), b.uses()), (text("two"), text("two")));

    a.take_away().await;
    b.sync().await;
    assert_eq!(b.uses(), text("two"), "it was taken away where something older lay");

    a.drop_in(b"two").await;
    b.take_away().await;
    a.sync().await;
    assert_eq!(a.uses(), text("two"), "the same was dropped once more, elsewhere");
}

#[tokio::test]
async fn a_plugin_in_a_directory_returns_when_a_later_drop_is_withdrawn() {
    let fleet = Fleet::new();
    let (mut a, mut b) = (fleet.empty_host("a").await, fleet.empty_host("b").await);
    a.drop_in(b"one").await;
    b.drop_in(b"two").await;

    b.take_away().await;
    for host in [&mut a, &mut b] {
        host.sync().await;
    }

    assert_eq!((a.uses(), b.uses()), (text("one"), text("one")));
}

#[tokio::test]
async fn a_host_that_starts_uses_published_plugins_and_publishes_those_that_are_not() {
    let fleet = Fleet::new();
    let mut b = fleet.empty_host("b").await;
    fleet.empty_host("a").await.drop_in(b"old").await;
    b.drop_in(b"new").await;

    let mut a = fleet.host("a").await;
    a.on_directory_event(DirectoryEvent::There(vec!["a".into(), "mine".into()])).await;
    assert_eq!(a.uses(), text("new"), "nothing is decided before its own files are known");
    std::fs::write(a.dropped.join("mine.wasm"), b"mine").unwrap();
    a.on_directory_event(DirectoryEvent::Good("a".into(), mark(b"old"))).await;
    a.on_directory_event(DirectoryEvent::Good("mine".into(), mark(b"mine"))).await;
    b.sync().await;

    assert_eq!((a.uses(), b.uses()), (text("new"), text("new")));
    assert!(b.used.join("mine.wasm").exists());
}

#[tokio::test]
async fn changes_while_a_host_was_down_are_published_or_withdrawn() {
    let fleet = Fleet::new();
    let mut b = fleet.empty_host("b").await;
    fleet.empty_host("a").await.drop_in(b"one").await;

    let mut a = fleet.host("a").await;
    a.on_directory_event(DirectoryEvent::There(vec!["a".into()])).await;
    a.drop_in(b"two").await;
    b.sync().await;
    assert_eq!(b.uses(), text("two"));

    drop(a);
    fleet.empty_host("a").await;
    b.sync().await;
    assert_eq!(b.uses(), None);
}

#[tokio::test]
async fn a_bad_file_says_why_and_the_version_before_stays() {
    let fleet = Fleet::new();
    let mut a = fleet.empty_host("a").await;
    a.drop_in(b"one").await;
    let bad = |for_now| DirectoryEvent::Bad { plugin: "a".into(), reason: "it is broken".into(), for_now };

    for for_now in [true, false] {
        a.on_directory_event(bad(for_now)).await;
        let said = a.info().unwrap();
        assert_eq!((a.uses(), said.quarantine), (text("one"), text("it is broken")));
    }
    a.drop_in(b"one").await;

    assert_eq!(a.info(), None, "nothing more is to be said of it, and nobody loads here");
}

#[tokio::test]
async fn a_component_that_was_changed_in_the_store_is_refused_and_the_version_before_stays() {
    let fleet = Fleet::new();
    let mut b = fleet.empty_host("b").await;
    fleet.publish(tenant(), b"good", digest(b"good")).await;
    b.sync().await;

    fleet.publish(tenant(), b"evil", digest(b"better")).await;
    b.sync().await;

    assert_eq!(b.uses(), text("good"));
    let said = b.info().unwrap().quarantine.unwrap();
    assert!(said.contains(&digest(b"evil")) && said.contains(&digest(b"better")), "{said}");

    fleet.publish(tenant(), b"better", digest(b"better")).await;
    fleet.pass(Duration::from_secs(60));
    b.sync().await;
    assert_eq!((b.uses(), b.info()), (text("better"), None));
}

#[tokio::test]
async fn plugins_that_are_too_large_or_of_an_unknown_tenant_are_not_fetched() {
    let fleet = Fleet::new();
    let mut b = fleet.empty_host("b").await;
    let large = vec![b'x'; LIMIT as usize + 1];

    fleet.publish(Name::new("acme").unwrap(), b"theirs", digest(b"theirs")).await;
    b.sync().await;
    assert_eq!((b.uses(), b.info()), (None, None));
    fleet.publish(tenant(), &large, digest(&large)).await;
    b.sync().await;

    assert_eq!(b.uses(), None);
    let said = b.info().unwrap().quarantine.unwrap();
    assert!(said.contains("1001 bytes") && said.contains("max-component"), "{said}");
}

#[tokio::test]
async fn a_host_that_has_not_looked_for_long_finds_out_what_was_withdrawn() {
    let fleet = Fleet::new();
    let (mut a, mut b) = (fleet.empty_host("a").await, fleet.empty_host("b").await);
    a.drop_in(b"one").await;
    b.sync().await;
    assert_eq!(b.uses(), text("one"));

    a.take_away().await;
    fleet.pass(TOLD_FOR * 2);
    let retention = Retention { runs: 1, age: Duration::from_secs(1), bytes: 1 };
    fleet.store.prune(retention, fleet.clock.now()).await.unwrap();
    assert!(fleet.store.published_since(0, 10).await.unwrap().is_empty(), "nobody is told any more");

    b.sync().await;
    assert_eq!(b.uses(), None);
}

#[tokio::test]
async fn cached_plugins_are_not_fetched_after_a_restart() {
    let fleet = Fleet::new();
    fleet.publish(tenant(), b"good", digest(b"good")).await;
    fleet.empty_host("b").await;
    // A host that fetches it now refuses it.
    fleet.publish(tenant(), b"evil", digest(b"good")).await;

    let b = fleet.empty_host("b").await;

    assert_eq!((b.uses(), b.info()), (text("good"), None));
}

//! Tests plugins that hosts share.

use super::*;
use crate::Retention;
use crate::published::{PART, PluginKey, Publish, PublishedPlugin, TOLD_FOR};

fn key(text: &str) -> PluginKey {
    PluginKey { tenant: Name::default_tenant(), plugin: name(text) }
}

/// Creates a plugin `text` with the component `component`, dropped on host `one` in second 0. Its digest is not the
/// real one: the store does not check it.
fn plugin(text: &str, component: &[u8]) -> Publish {
    Publish {
        key: key(text),
        manifest: "[tasks.a]\nevery = \"1s\"\n".into(),
        digest: format!("digest of {:?}", &component[..component.len().min(8)]),
        component: Arc::new(component.to_vec()),
        host: "one".into(),
        now: at(0),
    }
}

async fn publish(store: &Tested, text: &str, component: &[u8]) -> u64 {
    store.publish(plugin(text, component)).await.unwrap()
}

async fn since(store: &Tested, version: u64) -> Vec<PublishedPlugin> {
    store.published_since(version, 1000).await.unwrap()
}

/// Returns the component of a published plugin.
async fn component(store: &Tested, plugin: &Publish) -> Option<Vec<u8>> {
    store.component(&plugin.digest, plugin.component.len() as u64).await.unwrap()
}

/// Prunes so long after second 0 that nothing that is over is needed any more.
async fn prune_later(store: &Tested) {
    let retention = Retention { runs: 10, age: Duration::from_secs(1), bytes: 1 << 20 };
    store.prune(retention, at(1).plus(TOLD_FOR)).await.unwrap();
}

pub(crate) async fn a_published_plugin_is_read_as_it_was_written(store: Tested) {
    let published = plugin("front", b"wasm");

    let version = store.publish(published.clone()).await.unwrap();

    let Publish { key, manifest, digest, .. } = published.clone();
    let (host, published_at, size) = ("one".into(), at(0), 4);
    let expected = PublishedPlugin { key, version, manifest, digest, size, host, published_at, withdrawn: false };
    assert_eq!(since(&store, 0).await, [expected]);
    assert_eq!(component(&store, &published).await.unwrap(), b"wasm");
    assert_eq!(store.component("another digest", 4).await.unwrap(), None);
}

pub(crate) async fn a_component_of_several_parts_is_read_as_it_was_written(store: Tested) {
    let bytes: Vec<u8> = (0..2 * PART + 7).map(|n| (n % 251) as u8).collect();
    let large = plugin("large", &bytes);

    store.publish(large.clone()).await.unwrap();

    assert!(component(&store, &large).await.unwrap() == bytes);
    let beginning = store.component(&large.digest, PART as u64).await.unwrap().unwrap();
    assert!(beginning == bytes[..PART], "no more is read than was asked for");
}

pub(crate) async fn the_same_plugin_is_published_once_and_another_host_takes_it_over(store: Tested) {
    let first = publish(&store, "a", b"wasm").await;
    let again = store.publish(Publish { now: at(5), ..plugin("a", b"wasm") }).await.unwrap();
    let taken = store.publish(Publish { host: "two".into(), now: at(6), ..plugin("a", b"wasm") }).await.unwrap();

    assert_eq!(again, first);
    assert!(taken > first);
    let [now] = <[_; 1]>::try_from(since(&store, 0).await).unwrap();
    assert_eq!((now.version, now.host.as_str(), now.published_at), (taken, "two", at(6)));
}

pub(crate) async fn a_later_publication_replaces_the_earlier_one(store: Tested) {
    let first = publish(&store, "a", b"first").await;
    let second = publish(&store, "a", b"second").await;
    let granted = Publish { manifest: String::new(), ..plugin("a", b"second") };
    let third = store.publish(granted).await.unwrap();

    assert!(first < second && second < third);
    let [now] = <[_; 1]>::try_from(since(&store, first).await).unwrap();
    assert_eq!((now.version, now.manifest.as_str(), now.size), (third, "", 6));
    assert!(since(&store, third).await.is_empty());
}

pub(crate) async fn two_tenants_may_use_the_same_plugin_name(store: Tested) {
    let others = PluginKey { tenant: name("acme"), plugin: name("a") };

    publish(&store, "a", b"wasm").await;
    store.publish(Publish { key: others.clone(), ..plugin("a", b"other") }).await.unwrap();

    let keys: Vec<_> = since(&store, 0).await.into_iter().map(|plugin| plugin.key).collect();
    assert_eq!(keys, [key("a"), others]);
}

pub(crate) async fn published_plugins_are_listed_in_pages_by_version(store: Tested) {
    let mut versions = Vec::new();
    for text in ["b", "a", "c"] {
        versions.push(publish(&store, text, text.as_bytes()).await);
    }
    versions.push(publish(&store, "b", b"again").await);

    let first = store.published_since(0, 2).await.unwrap();
    let rest = store.published_since(first[1].version, 2).await.unwrap();

    let told: Vec<_> = first.iter().chain(&rest).map(|plugin| (plugin.key.plugin.as_str(), plugin.version)).collect();
    assert_eq!(told, [("a", versions[1]), ("c", versions[2]), ("b", versions[3])]);
}

pub(crate) async fn withdrawing_an_outdated_version_changes_nothing(store: Tested) {
    let first = publish(&store, "a", b"first").await;
    let second = publish(&store, "a", b"second").await;

    assert!(!store.withdraw(key("a"), first, at(1)).await.unwrap());
    assert!(!store.withdraw(key("b"), second, at(1)).await.unwrap());
    assert!(!since(&store, 0).await[0].withdrawn);

    assert!(store.withdraw(key("a"), second, at(2)).await.unwrap());
    assert!(!store.withdraw(key("a"), second, at(3)).await.unwrap());
}

pub(crate) async fn a_withdrawn_plugin_is_listed_for_a_while_and_may_come_back(store: Tested) {
    let first = publish(&store, "a", b"wasm").await;
    publish(&store, "b", b"wasm").await;
    store.withdraw(key("a"), first, at(0)).await.unwrap();
    let told = since(&store, first).await;
    let gone: Vec<_> = told.iter().map(|plugin| (plugin.key.plugin.as_str(), plugin.withdrawn)).collect();
    assert_eq!(gone, [("b", false), ("a", true)]);

    prune_later(&store).await;
    assert_eq!(since(&store, 0).await.len(), 1, "it is not told any more");

    let back = publish(&store, "a", b"wasm").await;
    assert!(back > told[1].version);
    assert!(!since(&store, 0).await.iter().any(|plugin| plugin.withdrawn));
}

pub(crate) async fn pruning_deletes_components_that_no_plugin_has(store: Tested) {
    let [shared, replaced, latest] = [b"shared", b"before", b"latest"].map(|bytes| plugin("a", bytes));
    for published in [&shared, &replaced, &latest] {
        store.publish(published.clone()).await.unwrap();
    }
    publish(&store, "b", b"shared").await;

    prune_later(&store).await;

    assert_eq!(component(&store, &shared).await.unwrap(), b"shared");
    assert_eq!(component(&store, &latest).await.unwrap(), b"latest");
    assert_eq!(component(&store, &replaced).await, None);
    assert_eq!(publish(&store, "b", b"shared").await, since(&store, 0).await[1].version);
}

pub(crate) async fn an_unused_component_is_kept_while_a_host_may_fetch_it(store: Tested) {
    let replaced = plugin("a", b"before");
    store.publish(replaced.clone()).await.unwrap();
    publish(&store, "a", b"latest").await;

    let retention = Retention { runs: 10, age: Duration::from_secs(1), bytes: 1 << 20 };
    store.prune(retention, at(60)).await.unwrap();

    assert_eq!(component(&store, &replaced).await.unwrap(), b"before");
}

pub(crate) async fn each_change_of_a_plugin_wakes_waiters(store: Tested) {
    let soon = |told| tokio::time::timeout(Duration::from_secs(10), told);
    let hint = store.plugins_hint();

    let told = hint.notified();
    let version = publish(&store, "a", b"wasm").await;
    soon(told).await.expect("the hint of a publication did not come");

    let told = hint.notified();
    store.withdraw(key("a"), version, at(1)).await.unwrap();
    soon(told).await.expect("the hint of a withdrawal did not come");
}

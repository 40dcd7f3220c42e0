//! Tests earlier versions of cache entries, which are kept beside them.

use std::time::Duration;

use super::*;
use crate::{CacheKey, CacheRestore, CacheWrite, Entry, Retention, WriteIf, WriteOutcome};

fn key(text: &str) -> CacheKey {
    CacheKey { tenant: Name::default_tenant(), key: text.into() }
}

/// Creates an operator's write of `value` to `k`, at second 0, after which `keep` earlier versions are kept.
fn write(value: &[u8], keep: u32) -> CacheWrite {
    CacheWrite {
        key: key("k"),
        value: value.to_vec(),
        expires_at: None,
        claim: None,
        only: WriteIf::Always,
        keep: Some(keep),
        quota: 1 << 20,
        budget: None,
        now: at(0),
    }
}

fn restore(version: u64) -> CacheRestore {
    CacheRestore { key: key("k"), version, claim: None, keep: None, quota: 1 << 20, budget: None, now: at(1) }
}

async fn set(store: &Tested, write: CacheWrite) -> u64 {
    match store.cache_write(write).await.unwrap() {
        WriteOutcome::Yes(version) => version,
        WriteOutcome::Conflict => panic!("it was not written"),
    }
}

/// Writes the values one, two, three, ..., of which `keep` earlier ones are kept. Returns their versions.
async fn set_all(store: &Tested, values: &[&[u8]], keep: u32) -> Vec<u64> {
    let mut versions = Vec::new();
    for value in values {
        versions.push(set(store, write(value, keep)).await);
    }
    versions
}

/// Returns the versions of `k`, the current one first, and checks that each can be read.
async fn versions(store: &Tested, now: i64) -> Vec<u64> {
    let Some(history) = store.cache_history(key("k"), at(now)).await.unwrap() else { return Vec::new() };
    for info in &history.versions {
        let entry = store.cache_version(key("k"), info.version, at(now)).await.unwrap().unwrap();
        assert_eq!((entry.version, entry.value.len() as u64), (info.version, info.size));
        assert_eq!((entry.set_at, entry.expires_at), (info.set_at, info.expires_at));
    }
    history.versions.iter().map(|info| info.version).collect()
}

async fn value(store: &Tested, version: u64) -> Option<Vec<u8>> {
    store.cache_version(key("k"), version, at(0)).await.unwrap().map(|entry| entry.value)
}

async fn used(store: &Tested) -> u64 {
    store.cache_usage().await.unwrap().get(&Name::default_tenant()).copied().unwrap_or_default()
}

pub(crate) async fn the_last_versions_of_an_entry_are_kept(store: Tested) {
    let written = set_all(&store, &[b"1", b"22", b"333", b"4444"], 2).await;

    assert_eq!(versions(&store, 0).await, [written[3], written[2], written[1]]);
    assert_eq!(value(&store, written[0]).await, None, "it is one too many");
    assert_eq!(value(&store, written[1]).await, Some(b"22".to_vec()));
    assert_eq!(store.cache_get(key("k"), at(0)).await.unwrap().unwrap().value, b"4444");
    assert_eq!(store.cache_history(key("k"), at(0)).await.unwrap().unwrap().keep, 2);
    assert_eq!(used(&store).await, 3 + 2 + 3 + 4, "each version counts its key and its value");
}

pub(crate) async fn an_entry_keeps_no_versions_unless_a_write_says_so(store: Tested) {
    let first = set(&store, CacheWrite { keep: None, ..write(b"1", 0) }).await;
    let second = set(&store, CacheWrite { keep: None, ..write(b"2", 0) }).await;
    assert_eq!(versions(&store, 0).await, [second]);
    assert_eq!(value(&store, first).await, None);

    let third = set(&store, write(b"3", 1)).await;
    let fourth = set(&store, CacheWrite { keep: None, ..write(b"4", 0) }).await;

    assert_eq!(versions(&store, 0).await, [fourth, third], "a writer without a word about it leaves it as it is");
    assert_eq!(store.cache_history(key("none"), at(0)).await.unwrap(), None);
}

pub(crate) async fn a_lower_number_of_versions_drops_the_earliest(store: Tested) {
    let written = set_all(&store, &[b"1", b"2", b"3", b"4"], 9).await;

    let fifth = set(&store, write(b"5", 2)).await;
    assert_eq!(versions(&store, 0).await, [fifth, written[3], written[2]]);
    let sixth = set(&store, write(b"6", 0)).await;

    assert_eq!(versions(&store, 0).await, [sixth]);
    assert_eq!(used(&store).await, 2);
}

pub(crate) async fn a_restored_version_is_a_new_version_with_the_old_value(store: Tested) {
    let first = set(&store, CacheWrite { expires_at: Some(at(60)), ..write(b"good", 3) }).await;
    let second = set(&store, write(b"bad", 3)).await;

    let WriteOutcome::Yes(third) = store.cache_restore(restore(first)).await.unwrap() else {
        panic!("it was restored")
    };

    assert!(third > second);
    let entry = store.cache_get(key("k"), at(1)).await.unwrap();
    assert_eq!(entry, Some(Entry { value: b"good".to_vec(), version: third, set_at: at(1), expires_at: Some(at(60)) }));
    assert_eq!(versions(&store, 1).await, [third, second, first], "nothing is lost by it");
}

pub(crate) async fn a_version_that_is_not_kept_is_not_restored(store: Tested) {
    let written = set_all(&store, &[b"1", b"2", b"3"], 1).await;

    assert_eq!(store.cache_restore(restore(written[0])).await.unwrap(), WriteOutcome::Conflict);
    let of_another = CacheRestore { key: key("other"), ..restore(written[1]) };
    assert_eq!(store.cache_restore(of_another).await.unwrap(), WriteOutcome::Conflict);

    assert_eq!(versions(&store, 1).await, [written[2], written[1]]);
    // The earliest one makes room for the one that it replaces.
    assert!(matches!(store.cache_restore(restore(written[1])).await.unwrap(), WriteOutcome::Yes(_)));
    assert_eq!(versions(&store, 1).await[1..], [written[2]]);
}

pub(crate) async fn a_stale_claim_restores_nothing(store: Tested) {
    let claim = running(&store, "a").await.key;
    let written = set_all(&store, &[b"1", b"2"], 1).await;
    store.finish(super::retry(claim, 0).into()).await.unwrap();

    for version in [written[0], 0] {
        let by_stale = CacheRestore { claim: Some(claim), ..restore(version) };
        assert_lost(store.cache_restore(by_stale).await, claim);
    }

    assert_eq!(versions(&store, 1).await, [written[1], written[0]]);
}

pub(crate) async fn deleting_an_entry_deletes_its_versions(store: Tested) {
    let written = set_all(&store, &[b"1", b"2", b"3"], 2).await;

    assert!(store.cache_delete(key("k"), None, at(0)).await.unwrap());

    assert_eq!(store.cache_history(key("k"), at(0)).await.unwrap(), None);
    assert_eq!(store.cache_restore(restore(written[2])).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(used(&store).await, 0);
    let anew = set(&store, CacheWrite { keep: None, ..write(b"4", 0) }).await;
    assert_eq!(versions(&store, 0).await, [anew]);
    assert_eq!(value(&store, written[1]).await, None);
}

pub(crate) async fn an_expired_entry_has_no_versions(store: Tested) {
    let first = set(&store, write(b"1", 2)).await;
    set(&store, CacheWrite { expires_at: Some(at(10)), ..write(b"2", 2) }).await;

    assert_eq!(store.cache_history(key("k"), at(10)).await.unwrap(), None);
    assert_eq!(store.cache_version(key("k"), first, at(10)).await.unwrap(), None);
    let late = CacheRestore { now: at(10), ..restore(first) };
    assert_eq!(store.cache_restore(late).await.unwrap(), WriteOutcome::Conflict);
    let anew = set(&store, CacheWrite { now: at(10), ..write(b"3", 2) }).await;

    assert_eq!(versions(&store, 10).await, [anew], "what expired does not come back");
    assert_eq!(used(&store).await, 2);
}

pub(crate) async fn an_expired_version_is_absent(store: Tested) {
    let first = set(&store, write(b"1", 2)).await;
    let second = set(&store, CacheWrite { expires_at: Some(at(10)), ..write(b"2", 2) }).await;
    let third = set(&store, write(b"3", 2)).await;
    assert_eq!(versions(&store, 9).await, [third, second, first]);

    assert_eq!(versions(&store, 10).await, [third, first]);
    assert_eq!(store.cache_version(key("k"), second, at(10)).await.unwrap(), None);
    let late = CacheRestore { now: at(10), ..restore(second) };
    assert_eq!(store.cache_restore(late).await.unwrap(), WriteOutcome::Conflict);
    let fourth = set(&store, CacheWrite { now: at(10), ..write(b"4", 2) }).await;

    assert_eq!(versions(&store, 10).await, [fourth, third, first], "an expired one takes no place");
}

pub(crate) async fn kept_versions_count_for_the_tenant_and_for_the_task_that_wrote_them(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "b").await.key);
    let by = |claim, value| CacheWrite { claim: Some(claim), budget: Some(10), ..write(value, 1) };
    set(&store, by(one, b"12345")).await;
    set(&store, by(two, b"12345")).await;
    assert_eq!(used(&store).await, 12);

    // The version that goes is its own, and makes room for another.
    set(&store, by(one, b"123456789")).await;
    assert_eq!(used(&store).await, 6 + 10);
    // Now the version that goes is the other task's, and its own stays.
    let full = store.cache_write(by(one, b"1")).await;
    assert!(matches!(full, Err(StoreError::CacheBudget { used: 10, budget: 10 })), "{full:?}");
    set(&store, by(two, b"1")).await;
    assert_eq!(used(&store).await, 10 + 2);

    store.cache_delete(key("k"), None, at(0)).await.unwrap();
    assert_eq!(used(&store).await, 0);
    for claim in [one, two] {
        set(&store, CacheWrite { keep: None, ..by(claim, b"123456789") }).await;
    }
}

pub(crate) async fn a_write_without_room_for_the_version_that_it_replaces_changes_nothing(store: Tested) {
    let first = set(&store, CacheWrite { quota: 10, ..write(b"12345", 1) }).await;

    let full = store.cache_write(CacheWrite { quota: 10, ..write(b"12345", 1) }).await;

    assert!(matches!(full, Err(StoreError::CacheFull { used: 6, quota: 10 })), "{full:?}");
    assert_eq!(versions(&store, 0).await, [first]);
    assert_eq!(used(&store).await, 6);
    set(&store, CacheWrite { quota: 10, ..write(b"123456789", 0) }).await;
}

pub(crate) async fn two_writers_of_a_kept_key_lose_no_version(store: Tested) {
    const EACH: usize = 20;
    let writer = |mark: u8| {
        let store = store.clone();
        async move {
            for _ in 0..EACH {
                set(&store, write(&[mark], 100)).await;
            }
        }
    };

    let (one, two) = tokio::join!(tokio::spawn(writer(1)), tokio::spawn(writer(2)));
    one.and(two).unwrap();

    let found = versions(&store, 0).await;
    assert_eq!(found.len(), 2 * EACH);
    assert!(found.is_sorted_by(|later, earlier| later > earlier), "{found:?}");
    assert_eq!(used(&store).await, 2 * 2 * EACH as u64);
}

pub(crate) async fn a_version_belongs_to_its_key_and_its_tenant(store: Tested) {
    let written = set_all(&store, &[b"1", b"2"], 1).await;
    let other = CacheKey { tenant: name("other"), ..key("k") };
    set(&store, CacheWrite { key: other.clone(), ..write(b"theirs", 1) }).await;

    for wrong in [key("l"), other.clone()] {
        assert_eq!(store.cache_version(wrong, written[0], at(0)).await.unwrap(), None);
    }
    assert_eq!(store.cache_history(other, at(0)).await.unwrap().unwrap().versions.len(), 1);
}

pub(crate) async fn pruning_deletes_expired_versions(store: Tested) {
    set(&store, CacheWrite { expires_at: Some(at(5)), ..write(b"12345", 1) }).await;
    let last = set(&store, write(b"1", 1)).await;
    let keep = Retention { runs: u64::MAX, age: Duration::MAX, bytes: u64::MAX };

    store.prune(keep, at(5)).await.unwrap();

    assert_eq!(used(&store).await, 2);
    assert_eq!(versions(&store, 0).await, [last]);
}

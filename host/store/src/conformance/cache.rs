//! Tests cache entries, which outlive a run.

use std::time::Duration;

use super::*;
use crate::{CacheKey, CacheWrite, Entry, LockKind, LockMode, LockName, LockTaken, Retention, WriteIf, WriteOutcome};

fn key(text: &str) -> CacheKey {
    CacheKey { tenant: Name::default_tenant(), key: text.into() }
}

/// Creates an operator's write of `value` to `text`, at second 0.
fn write(text: &str, value: &[u8]) -> CacheWrite {
    CacheWrite {
        key: key(text),
        value: value.to_vec(),
        expires_at: None,
        claim: None,
        only: WriteIf::Always,
        keep: None,
        quota: 1 << 20,
        budget: None,
        now: at(0),
    }
}

async fn set(store: &Tested, write: CacheWrite) -> u64 {
    match store.cache_write(write).await.unwrap() {
        WriteOutcome::Yes(version) => version,
        WriteOutcome::Conflict => panic!("it was not written"),
    }
}

async fn value(store: &Tested, text: &str) -> Option<Vec<u8>> {
    store.cache_get(key(text), at(0)).await.unwrap().map(|entry| entry.value)
}

async fn refresh(store: &Tested, text: &str, claim: ClaimKey) -> LockTaken {
    let lock = LockName { tenant: Name::default_tenant(), kind: LockKind::Refresh, name: text.into() };
    store.acquire_lock(lock, LockMode::Exclusive, claim, at(0)).await.unwrap()
}

fn publish(text: &str, claim: ClaimKey, taken: LockTaken) -> CacheWrite {
    let LockTaken::Yes { fence } = taken else { panic!("{taken:?}") };
    CacheWrite { claim: Some(claim), only: WriteIf::Refreshing(fence), ..write(text, b"published") }
}

pub(crate) async fn a_value_is_read_as_it_was_written(store: Tested) {
    let claim = running(&store, "a").await.key;

    let version =
        set(&store, CacheWrite { claim: Some(claim), expires_at: Some(at(9)), ..write("k", b"\0\xff") }).await;

    let entry = store.cache_get(key("k"), at(1)).await.unwrap();
    assert_eq!(entry, Some(Entry { value: b"\0\xff".to_vec(), version, set_at: at(0), expires_at: Some(at(9)) }));
    assert_eq!(value(&store, "other").await, None);
    assert_eq!(store.cache_get(CacheKey { tenant: name("other"), ..key("k") }, at(1)).await.unwrap(), None);
}

pub(crate) async fn an_expired_entry_is_absent(store: Tested) {
    let version = set(&store, CacheWrite { expires_at: Some(at(10)), ..write("k", b"old") }).await;

    assert!(store.cache_get(key("k"), at(9)).await.unwrap().is_some());
    assert_eq!(store.cache_get(key("k"), at(10)).await.unwrap(), None);
    assert!(store.cache_list(key(""), None, 9, at(10)).await.unwrap().is_empty());
    let late = |only| CacheWrite { only, now: at(10), ..write("k", b"new") };
    assert_eq!(store.cache_write(late(WriteIf::Version(version))).await.unwrap(), WriteOutcome::Conflict);
    assert!(!store.cache_delete(key("k"), None, at(10)).await.unwrap());
    assert!(set(&store, late(WriteIf::Absent)).await > version);
}

pub(crate) async fn versions_grow_even_over_a_deletion(store: Tested) {
    let first = set(&store, write("k", b"1")).await;
    let second = set(&store, write("k", b"1")).await;

    let deleted = store.cache_delete(key("k"), None, at(0)).await.unwrap();
    let again = store.cache_delete(key("k"), None, at(0)).await.unwrap();
    let third = set(&store, write("k", b"1")).await;

    assert!(first < second && second < third);
    assert_eq!((deleted, again), (true, false));
}

pub(crate) async fn a_swap_changes_only_the_version_it_expects(store: Tested) {
    let version = set(&store, write("k", b"1")).await;
    let swap = |version, value| CacheWrite { only: WriteIf::Version(version), ..write("k", value) };

    let wrong = store.cache_write(swap(version + 1, b"2")).await.unwrap();
    let kept = value(&store, "k").await;
    let next = set(&store, swap(version, b"3")).await;
    let late = store.cache_write(swap(version, b"4")).await.unwrap();

    assert_eq!((wrong, late), (WriteOutcome::Conflict, WriteOutcome::Conflict));
    assert_eq!(kept, Some(b"1".to_vec()));
    assert!(next > version);
    assert_eq!(value(&store, "k").await, Some(b"3".to_vec()));
    let absent = CacheWrite { only: WriteIf::Version(next), ..write("none", b"") };
    assert_eq!(store.cache_write(absent).await.unwrap(), WriteOutcome::Conflict);
}

pub(crate) async fn an_absent_entry_is_made_once(store: Tested) {
    let make = |value: &'static [u8]| store.cache_write(CacheWrite { only: WriteIf::Absent, ..write("k", value) });

    let (one, two) = tokio::join!(make(b"one"), make(b"two"));

    let (one, two) = (one.unwrap(), two.unwrap());
    assert!((one == WriteOutcome::Conflict) != (two == WriteOutcome::Conflict), "{one:?} {two:?}");
    let kept: &[u8] = if two == WriteOutcome::Conflict { b"one" } else { b"two" };
    assert_eq!(value(&store, "k").await.unwrap(), kept);
}

pub(crate) async fn two_writers_of_one_key_lose_no_update(store: Tested) {
    const EACH: usize = 50;
    set(&store, write("k", &[])).await;
    let writer = |mark: u8| {
        let store = store.clone();
        async move {
            let mut added = 0;
            while added < EACH {
                let Entry { value, version, .. } = store.cache_get(key("k"), at(0)).await.unwrap().unwrap();
                let longer = [&value[..], &[mark]].concat();
                let swap = CacheWrite { only: WriteIf::Version(version), ..write("k", &longer) };
                added += usize::from(store.cache_write(swap).await.unwrap() != WriteOutcome::Conflict);
            }
        }
    };

    let (one, two) = tokio::join!(tokio::spawn(writer(1)), tokio::spawn(writer(2)));
    one.and(two).unwrap();

    let marks = value(&store, "k").await.unwrap();
    assert_eq!(marks.iter().filter(|mark| **mark == 1).count(), EACH);
    assert_eq!(marks.len(), 2 * EACH);
}

pub(crate) async fn a_stale_claim_changes_no_entry(store: Tested) {
    let claim = running(&store, "a").await.key;
    store.finish(retry(claim, 0).into()).await.unwrap();
    set(&store, write("k", b"good")).await;

    assert_lost(store.cache_write(CacheWrite { claim: Some(claim), ..write("k", b"bad") }).await, claim);
    assert_lost(store.cache_delete(key("k"), Some(claim), at(0)).await, claim);

    assert_eq!(value(&store, "k").await, Some(b"good".to_vec()));
}

pub(crate) async fn a_publish_sets_the_entry_and_releases_the_refresh_lock(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let taken = refresh(&store, "k", one).await;

    let version = set(&store, publish("k", one, taken)).await;
    let again = store.cache_write(publish("k", one, taken)).await.unwrap();

    assert_eq!(store.cache_get(key("k"), at(0)).await.unwrap().unwrap().version, version);
    assert_eq!(again, WriteOutcome::Conflict);
    assert!(store.locks(Name::default_tenant()).await.unwrap().is_empty());
    assert!(matches!(refresh(&store, "k", two).await, LockTaken::Yes { .. }));
}

pub(crate) async fn a_publish_after_the_refresh_was_lost_changes_nothing(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    set(&store, write("k", b"good")).await;
    let lost = refresh(&store, "k", one).await;
    store.finish(retry(one, 0).into()).await.unwrap();
    let mine = refresh(&store, "k", two).await;

    assert_lost(store.cache_write(publish("k", one, lost)).await, one);
    let again = claim(&store, &[("a", 9)], 1, 1).await.claims[0].key;
    assert_eq!(store.cache_write(publish("k", again, lost)).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(store.cache_write(publish("k", two, lost)).await.unwrap(), WriteOutcome::Conflict);

    assert_eq!(value(&store, "k").await, Some(b"good".to_vec()));
    assert_eq!(store.locks(Name::default_tenant()).await.unwrap().len(), 1);
    set(&store, publish("k", two, mine)).await;
}

pub(crate) async fn a_publish_without_the_refresh_changes_nothing(store: Tested) {
    let one = running(&store, "a").await.key;
    let taken = refresh(&store, "k", one).await;
    let named = LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: "other".into() };
    let named = store.acquire_lock(named, LockMode::Exclusive, one, at(0)).await.unwrap();

    let by_nobody = CacheWrite { claim: None, ..publish("k", one, taken) };

    for wrong in [by_nobody, publish("other", one, taken), publish("other", one, named)] {
        assert_eq!(store.cache_write(wrong).await.unwrap(), WriteOutcome::Conflict);
    }
    assert!(store.cache_list(key(""), None, 9, at(0)).await.unwrap().is_empty());
    assert_eq!(store.locks(Name::default_tenant()).await.unwrap().len(), 2);
}

pub(crate) async fn a_write_beyond_the_quota_changes_nothing(store: Tested) {
    let one = running(&store, "a").await.key;
    set(&store, CacheWrite { quota: 10, ..write("k", b"12345") }).await;
    let taken = refresh(&store, "l", one).await;

    let full = store.cache_write(CacheWrite { quota: 10, ..publish("l", one, taken) }).await;
    let longer = store.cache_write(CacheWrite { quota: 10, ..write("k", b"1234567890") }).await;

    assert!(matches!(full, Err(StoreError::CacheFull { used: 6, quota: 10 })), "{full:?}");
    assert!(matches!(longer, Err(StoreError::CacheFull { used: 6, quota: 10 })), "{longer:?}");
    assert_eq!((value(&store, "k").await, value(&store, "l").await), (Some(b"12345".to_vec()), None));
    set(&store, CacheWrite { quota: 20, ..publish("l", one, taken) }).await;
}

pub(crate) async fn expired_entries_and_replaced_values_free_their_bytes(store: Tested) {
    let small = |text, value| CacheWrite { quota: 10, ..write(text, value) };
    set(&store, small("k", b"123456789")).await;
    set(&store, small("k", b"987654321")).await;
    store.cache_delete(key("k"), None, at(0)).await.unwrap();
    set(&store, CacheWrite { expires_at: Some(at(5)), ..small("l", b"123456789") }).await;

    assert!(store.cache_write(CacheWrite { now: at(4), ..small("m", b"1") }).await.is_err());
    set(&store, CacheWrite { now: at(5), ..small("l", b"12345678") }).await;
    set(&store, CacheWrite { expires_at: Some(at(6)), now: at(5), ..small("l", b"1234") }).await;
    set(&store, CacheWrite { now: at(6), ..small("m", b"123456789") }).await;
}

pub(crate) async fn each_tenant_has_a_quota_of_its_own(store: Tested) {
    let small =
        |tenant| CacheWrite { key: CacheKey { tenant: name(tenant), ..key("k") }, quota: 10, ..write("k", b"12345") };

    set(&store, small("default")).await;
    set(&store, small("other")).await;
}

pub(crate) async fn cache_usage_returns_the_bytes_of_each_tenant(store: Tested) {
    let of = |tenant, value| CacheWrite { key: CacheKey { tenant: name(tenant), ..key("k") }, ..write("k", value) };
    assert_eq!(store.cache_usage().await.unwrap().values().sum::<u64>(), 0);

    set(&store, of("default", b"12345")).await;
    set(&store, of("other", b"12")).await;
    set(&store, of("other", b"1234")).await;

    let usage = store.cache_usage().await.unwrap();
    assert_eq!((usage[&name("default")], usage[&name("other")]), (6, 5), "keys count, too");
}

pub(crate) async fn an_entry_counts_for_the_task_that_wrote_it_last(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "b").await.key);
    let by = |claim, text, value| CacheWrite { claim: Some(claim), budget: Some(10), ..write(text, value) };
    set(&store, by(one, "k", b"12345")).await;
    set(&store, by(two, "l", b"12345")).await;

    let more = store.cache_write(by(one, "m", b"1234")).await;
    let longer = store.cache_write(by(one, "k", b"1234567890")).await;
    let of_another = store.cache_write(by(one, "l", b"1234")).await;

    for full in [more, longer, of_another] {
        assert!(matches!(full, Err(StoreError::CacheBudget { used: 6, budget: 10 })), "{full:?}");
    }
    // An entry counts for the task that wrote it only, not for another task, nor for an operator.
    set(&store, by(two, "m", b"12")).await;
    set(&store, CacheWrite { budget: Some(10), ..write("n", b"1234567890") }).await;
    // An entry counts for the task that wrote it last.
    set(&store, by(two, "k", b"")).await;
    set(&store, by(one, "o", b"123456789")).await;
    set(&store, write("o", b"by an operator")).await;
    set(&store, by(one, "p", b"123456789")).await;
    store.cache_delete(key("p"), None, at(0)).await.unwrap();
    set(&store, CacheWrite { expires_at: Some(at(5)), ..by(one, "q", b"123456789") }).await;
    assert!(store.cache_write(CacheWrite { now: at(4), ..by(one, "r", b"1") }).await.is_err());
    set(&store, CacheWrite { now: at(5), ..by(one, "r", b"123456789") }).await;
    // A lowered budget admits a value that is smaller than the old one.
    set(&store, CacheWrite { budget: Some(1), ..by(one, "r", b"1234") }).await;
}

pub(crate) async fn keys_are_listed_in_order_by_prefix(store: Tested) {
    for text in ["b/2", "a", "b/1", "b", "b/é", "b0", "b/3"] {
        set(&store, write(text, text.as_bytes())).await;
    }
    set(&store, CacheWrite { key: CacheKey { tenant: name("other"), ..key("b/0") }, ..write("", b"") }).await;
    let list = async |prefix, after: Option<&str>, limit| {
        let entries = store.cache_list(key(prefix), after.map(Into::into), limit, at(0)).await.unwrap();
        entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
    };

    assert_eq!(list("", None, 9).await, ["a", "b", "b/1", "b/2", "b/3", "b/é", "b0"]);
    assert_eq!(list("b/", None, 2).await, ["b/1", "b/2"]);
    assert_eq!(list("b/", Some("b/2"), 9).await, ["b/3", "b/é"]);
    assert_eq!(list("b/", Some("a"), 1).await, ["b/1"]);
    assert_eq!(list("b/", Some("c"), 9).await, Vec::<String>::new());
    let info = store.cache_list(key("a"), None, 1, at(0)).await.unwrap().remove(0);
    assert_eq!((info.size, info.set_at, info.expires_at), (1, at(0), None));
}

pub(crate) async fn pruning_deletes_expired_entries(store: Tested) {
    let long = |text| CacheWrite { quota: 10, ..write(text, b"123456789") };
    set(&store, CacheWrite { expires_at: Some(at(5)), ..long("k") }).await;
    let keep = Retention { runs: u64::MAX, age: Duration::MAX, bytes: u64::MAX };

    store.prune(keep, at(5)).await.unwrap();

    // By the time of this write the old entry has not expired: only its deletion makes room.
    set(&store, long("l")).await;
}

//! Tests versions of cache entries that are left over, as by a program that knows nothing of versions. A move takes them
//! in like all others, so that a test can make them in any store.

use std::time::Duration;

use crate::transfer::{Page, Transfer, VersionRecord};
use crate::{CacheKey, CacheWrite, Retention, Store, WriteIf, WriteOutcome};
use sexton_domain::task::Name;

use super::lived_in::{NOW, task};

fn key(text: &str) -> CacheKey {
    CacheKey { tenant: Name::default_tenant(), key: text.into() }
}

/// Leaves earlier versions of `l` behind, each of three bytes with its key.
async fn leave_over<S: Store + Transfer>(store: &S, versions: &[u64]) {
    let record = |version: &u64| VersionRecord {
        version: *version,
        tenant: Name::default_tenant(),
        key: "l".into(),
        set_at: NOW,
        expires_at: None,
        writer: Some(task("writer")),
        value: b"12".to_vec(),
    };
    let counters = store.counters().await.unwrap();
    store.begin_move("elsewhere", counters).await.unwrap();
    store.take(Page::Versions(versions.iter().map(record).collect())).await.unwrap();
    store.end_move(counters).await.unwrap();
}

async fn write<S: Store>(store: &S, to: &str, value: &[u8], keep: Option<u32>) {
    let write = CacheWrite {
        key: key(to),
        value: value.to_vec(),
        expires_at: None,
        claim: None,
        only: WriteIf::Always,
        keep,
        quota: 1 << 20,
        budget: None,
        now: NOW,
    };
    assert!(matches!(store.cache_write(write).await.unwrap(), WriteOutcome::Yes(_)));
}

async fn used<S: Store>(store: &S) -> u64 {
    store.cache_usage().await.unwrap().get(&Name::default_tenant()).copied().unwrap_or_default()
}

pub(crate) async fn go_with_their_key<S: Store + Transfer>(store: &S) {
    leave_over(store, &[1001]).await;
    assert_eq!(used(store).await, 3);

    assert!(!store.cache_delete(key("l"), None, NOW).await.unwrap(), "there was no entry");

    assert_eq!(used(store).await, 0);
}

pub(crate) async fn are_pruned_and_no_others_are<S: Store + Transfer>(store: &S) {
    let keep = Retention { runs: u64::MAX, age: Duration::MAX, bytes: u64::MAX };
    for value in [b"1", b"2"] {
        write(store, "kept", value, Some(1)).await;
    }
    let before = used(store).await;

    leave_over(store, &[1001, 1002]).await;
    assert_eq!(used(store).await, before + 3 + 3);
    store.prune(keep.clone(), NOW).await.unwrap();
    assert_eq!(used(store).await, before, "they belong to no entry");

    leave_over(store, &[1003]).await;
    write(store, "l", b"new", None).await;
    assert_eq!(used(store).await, before + 3 + 4);
    store.prune(keep, NOW).await.unwrap();
    assert_eq!(used(store).await, before + 4, "their entry was written anew, and keeps none");
    assert_eq!(store.cache_history(key("kept"), NOW).await.unwrap().unwrap().versions.len(), 2);
    assert_eq!(store.cache_get(key("l"), NOW).await.unwrap().unwrap().value, b"new");
}

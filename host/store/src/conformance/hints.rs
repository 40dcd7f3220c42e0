//! Tests hints. No test sleeps: each waits for the hint that it was promised, with a bound.

use std::future::Future;
use std::time::Duration;

use super::*;
use crate::{LockKind, LockMode, LockName};

/// Awaits a hint that comes at once or never.
async fn soon<T>(told: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the hint did not come")
}

pub(crate) async fn a_waiter_that_listens_before_it_looks_misses_no_run(store: Tested) {
    let hint = store.runs_hint();
    let told = hint.notified();
    assert!(claim(&store, &[("a", 1)], 1, 0).await.claims.is_empty());

    enqueue(&store, vec![new("a"); 2]).await;

    soon(told).await;
    let first = claim(&store, &[("a", 1)], 1, 0).await.claims[0].key;
    let told = hint.notified();
    store.finish(success(first).into()).await.unwrap();
    soon(told).await;
    assert_eq!(claim(&store, &[("a", 1)], 1, 0).await.claims.len(), 1);
}

pub(crate) async fn a_waiter_that_listens_before_it_looks_misses_no_lock(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let lock = LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: "x".into() };
    let hint = store.locks_hint();

    store.acquire_lock(lock.clone(), LockMode::Exclusive, one, at(0)).await.unwrap();
    let told = hint.notified();
    store.release_lock(lock.clone(), one).await.unwrap();
    soon(told).await;

    store.acquire_lock(lock.clone(), LockMode::Exclusive, two, at(0)).await.unwrap();
    let told = hint.notified();
    store.finish(success(two).into()).await.unwrap();
    soon(told).await;
}

pub(crate) async fn a_retry_and_a_resumption_wake_waiters(store: Tested) {
    let claimed = running(&store, "a").await.key;
    let hint = store.runs_hint();

    let told = hint.notified();
    store.finish(retry(claimed, 5).into()).await.unwrap();
    soon(told).await;

    store.set_paused(task("a"), true, at(1)).await.unwrap();
    let told = hint.notified();
    store.set_paused(task("a"), false, at(2)).await.unwrap();
    soon(told).await;
}

pub(crate) async fn resuming_a_task_that_was_held_back_wakes_waiters(store: Tested) {
    let crash = |claim| ending(claim, Outcome::Trapped, Transition::Wait { run_at: at(0), failed: true }).into();
    let mut claimed = running(&store, "a").await.key;
    for _ in 0..2 {
        store.finish(crash(claimed)).await.unwrap();
        claimed = claim(&store, &[("a", 1)], 1, 1).await.claims[0].key;
    }
    store.finish(crash(claimed)).await.unwrap();
    assert!(claim(&store, &[("a", 1)], 1, 1).await.claims.is_empty());
    let hint = store.runs_hint();

    let told = hint.notified();
    store.set_paused(task("a"), false, at(1)).await.unwrap();

    soon(told).await;
    assert_eq!(claim(&store, &[("a", 1)], 1, 1).await.claims.len(), 1);
}

pub(crate) async fn every_change_of_a_run_wakes_watchers(store: Tested) {
    let mut changes = store.changes();
    changes.mark_unchanged();

    let run = enqueue(&store, vec![new("a")]).await[0];
    soon(changes.changed()).await.unwrap();
    let key = claim(&store, &[("a", 1)], 1, 0).await.claims[0].key;
    soon(changes.changed()).await.unwrap();
    store.cancel(run, "no", at(1)).await.unwrap();
    soon(changes.changed()).await.unwrap();
    store.finish(success(key).into()).await.unwrap();
    soon(changes.changed()).await.unwrap();
}

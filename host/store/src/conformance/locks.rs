//! Tests which run holds which lock.

use super::*;
use crate::{LockKind, LockMode, LockName, LockTaken};

fn lock(text: &str) -> LockName {
    LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: text.into() }
}

async fn acquire(store: &Tested, text: &str, mode: LockMode, claim: ClaimKey) -> LockTaken {
    store.acquire_lock(lock(text), mode, claim, at(0)).await.unwrap()
}

async fn wait(store: &Tested, text: &str, mode: LockMode, claim: ClaimKey) -> LockTaken {
    store.wait_for_lock(lock(text), mode, claim, at(0)).await.unwrap()
}

fn fence(taken: LockTaken) -> u64 {
    let LockTaken::Yes { fence } = taken else { panic!("{taken:?}") };
    fence
}

pub(crate) async fn an_exclusive_lock_keeps_all_others_out(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);

    let taken = acquire(&store, "x", LockMode::Exclusive, one).await;

    let held = store.locks(Name::default_tenant()).await.unwrap();
    assert_eq!(acquire(&store, "x", LockMode::Exclusive, two).await, LockTaken::HeldBy(one.run));
    assert_eq!(acquire(&store, "x", LockMode::Shared, two).await, LockTaken::HeldBy(one.run));
    assert_eq!(held.len(), 1);
    assert_eq!((&held[0].lock, held[0].mode, held[0].run), (&lock("x"), LockMode::Exclusive, one.run));
    assert_eq!((held[0].task.as_str(), held[0].fence, held[0].since), ("a", fence(taken), at(0)));
    store.release_lock(lock("x"), one).await.unwrap();
    fence(acquire(&store, "x", LockMode::Exclusive, two).await);
}

pub(crate) async fn a_shared_lock_is_held_by_many(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);

    let fences = [acquire(&store, "x", LockMode::Shared, one).await, acquire(&store, "x", LockMode::Shared, two).await]
        .map(fence);

    assert!(fences[0] < fences[1]);
    assert_eq!(store.locks(Name::default_tenant()).await.unwrap().len(), 2);
}

pub(crate) async fn a_shared_lock_keeps_an_exclusive_one_out(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let three = running(&store, "a").await.key;
    acquire(&store, "x", LockMode::Shared, one).await;
    acquire(&store, "x", LockMode::Shared, two).await;

    assert!(matches!(acquire(&store, "x", LockMode::Exclusive, three).await, LockTaken::HeldBy(_)));
    store.release_lock(lock("x"), one).await.unwrap();
    assert_eq!(acquire(&store, "x", LockMode::Exclusive, three).await, LockTaken::HeldBy(two.run));
    store.release_lock(lock("x"), two).await.unwrap();
    fence(acquire(&store, "x", LockMode::Exclusive, three).await);
}

pub(crate) async fn a_lock_that_is_taken_again_keeps_its_fence(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);

    for mode in [LockMode::Exclusive, LockMode::Shared] {
        let text = format!("{mode:?}");
        let first = acquire(&store, &text, mode, one).await;
        if mode == LockMode::Shared {
            acquire(&store, &text, mode, two).await;
        }
        assert_eq!(acquire(&store, &text, mode, one).await, first);
    }
}

pub(crate) async fn a_lock_is_not_taken_in_two_modes_by_one_run(store: Tested) {
    let one = running(&store, "a").await.key;
    acquire(&store, "x", LockMode::Shared, one).await;
    acquire(&store, "y", LockMode::Exclusive, one).await;

    assert_eq!(acquire(&store, "x", LockMode::Exclusive, one).await, LockTaken::HeldBy(one.run));
    assert_eq!(acquire(&store, "y", LockMode::Shared, one).await, LockTaken::HeldBy(one.run));
}

pub(crate) async fn a_later_holder_has_a_greater_fence(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let first = fence(acquire(&store, "x", LockMode::Exclusive, one).await);
    store.release_lock(lock("x"), one).await.unwrap();

    let second = fence(acquire(&store, "x", LockMode::Exclusive, two).await);
    store.release_lock(lock("x"), two).await.unwrap();
    let third = fence(acquire(&store, "x", LockMode::Exclusive, one).await);

    assert!(first < second && second < third);
}

pub(crate) async fn a_finish_releases_all_locks_of_its_run(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let refresh = LockName { kind: LockKind::Refresh, ..lock("x") };
    acquire(&store, "x", LockMode::Exclusive, one).await;
    store.acquire_lock(refresh, LockMode::Exclusive, one, at(0)).await.unwrap();
    acquire(&store, "shared", LockMode::Shared, one).await;
    acquire(&store, "shared", LockMode::Shared, two).await;

    store.finish(retry(one, 5).into()).await.unwrap();

    let held = store.locks(Name::default_tenant()).await.unwrap();
    assert_eq!(held.iter().map(|held| held.run).collect::<Vec<_>>(), [two.run]);
}

pub(crate) async fn a_stale_claim_gets_no_lock(store: Tested) {
    let first = running(&store, "a").await.key;
    store.finish(retry(first, 0).into()).await.unwrap();
    let second = claim(&store, &[("a", 1)], 1, 1).await.claims[0].key;

    assert_lost(store.acquire_lock(lock("x"), LockMode::Shared, first, at(1)).await, first);

    assert!(store.locks(Name::default_tenant()).await.unwrap().is_empty());
    fence(acquire(&store, "x", LockMode::Exclusive, second).await);
}

pub(crate) async fn only_the_holder_releases_a_lock(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    acquire(&store, "x", LockMode::Exclusive, one).await;

    store.release_lock(lock("x"), two).await.unwrap();
    store.release_lock(lock("x"), stale(one)).await.unwrap();
    store.release_lock(lock("y"), one).await.unwrap();

    assert_eq!(store.locks(Name::default_tenant()).await.unwrap().len(), 1);
}

pub(crate) async fn locks_of_different_names_kinds_and_tenants_are_independent(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let others =
        [lock("y"), LockName { kind: LockKind::Refresh, ..lock("x") }, LockName { tenant: name("other"), ..lock("x") }];
    acquire(&store, "x", LockMode::Exclusive, one).await;

    for other in others {
        fence(store.acquire_lock(other, LockMode::Exclusive, two, at(0)).await.unwrap());
    }

    let held = store.locks(Name::default_tenant()).await.unwrap();
    assert_eq!(held.iter().map(|held| &held.lock.name[..]).collect::<Vec<_>>(), ["x", "x", "y"]);
    assert_eq!(store.locks(name("other")).await.unwrap().len(), 1);
}

pub(crate) async fn a_waiting_run_takes_the_lock_when_it_is_free(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let first = fence(acquire(&store, "x", LockMode::Exclusive, one).await);

    for _ in 0..2 {
        assert_eq!(wait(&store, "x", LockMode::Shared, two).await, LockTaken::HeldBy(one.run));
    }
    store.release_lock(lock("x"), one).await.unwrap();

    let taken = wait(&store, "x", LockMode::Shared, two).await;
    assert!(fence(taken) > first);
    assert_eq!(wait(&store, "x", LockMode::Shared, two).await, taken);
    // The run left the queue when it got the lock: after its release no run is ahead of the next one.
    store.release_lock(lock("x"), two).await.unwrap();
    fence(acquire(&store, "x", LockMode::Exclusive, one).await);
}

pub(crate) async fn a_run_that_left_the_queue_blocks_no_other(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let three = running(&store, "a").await.key;
    acquire(&store, "x", LockMode::Exclusive, one).await;
    wait(&store, "x", LockMode::Exclusive, two).await;

    store.leave_lock_queue(lock("x"), two).await.unwrap();
    store.leave_lock_queue(lock("x"), two).await.unwrap();
    store.leave_lock_queue(lock("y"), three).await.unwrap();

    store.release_lock(lock("x"), one).await.unwrap();
    fence(acquire(&store, "x", LockMode::Exclusive, three).await);
}

pub(crate) async fn a_run_that_ends_while_it_waits_blocks_no_other(store: Tested) {
    let (one, two) = (running(&store, "a").await.key, running(&store, "a").await.key);
    let three = running(&store, "a").await.key;
    acquire(&store, "x", LockMode::Exclusive, one).await;
    wait(&store, "x", LockMode::Exclusive, two).await;

    store.finish(retry(two, 5).into()).await.unwrap();

    store.release_lock(lock("x"), one).await.unwrap();
    fence(acquire(&store, "x", LockMode::Exclusive, three).await);
}

pub(crate) async fn a_stale_claim_waits_for_no_lock(store: Tested) {
    let first = running(&store, "a").await.key;
    store.finish(retry(first, 0).into()).await.unwrap();
    let second = claim(&store, &[("a", 1)], 1, 1).await.claims[0].key;

    assert_lost(store.wait_for_lock(lock("x"), LockMode::Shared, first, at(1)).await, first);
    store.leave_lock_queue(lock("x"), first).await.unwrap();

    fence(acquire(&store, "x", LockMode::Exclusive, second).await);
}

//! Tests the cache through WASI's interfaces, on a real store.

use std::time::Duration;

use crate::attempt::HowItEnds;
use crate::imports::bindings::sexton::task::cache::Host as HostCache;
use crate::imports::testing::{Guest, SplitTrap as _, World, grants, soon};

use super::*;

async fn open(guest: &mut Guest) -> Resource<Bucket> {
    guest.imports().open("default".to_owned()).split_trap().unwrap().unwrap()
}

fn again(bucket: &Resource<Bucket>) -> Resource<Bucket> {
    Resource::new_borrow(bucket.rep())
}

async fn get(guest: &mut Guest, bucket: &Resource<Bucket>, key: &str) -> Option<Vec<u8>> {
    soon(HostBucket::get(&mut guest.imports(), again(bucket), key.to_owned())).await.split_trap().unwrap().unwrap()
}

async fn set(guest: &mut Guest, bucket: &Resource<Bucket>, key: &str, value: &[u8]) -> Result<(), Error> {
    soon(HostBucket::set(&mut guest.imports(), again(bucket), key.to_owned(), value.to_vec()))
        .await
        .split_trap()
        .unwrap()
}

async fn increment(guest: &mut Guest, bucket: &Resource<Bucket>, delta: i64) -> Result<i64, Error> {
    soon(guest.imports().increment(again(bucket), "n".to_owned(), delta)).await.split_trap().unwrap()
}

#[tokio::test]
async fn the_only_bucket_is_the_tenants_cache() {
    let world = World::new();
    let mut guest = world.guest().await;
    assert!(matches!(guest.imports().open("other".to_owned()).split_trap().unwrap(), Err(Error::NoSuchStore)));
    let unnamed = guest.imports().open(String::new()).split_trap().unwrap().unwrap();
    let bucket = open(&mut guest).await;

    set(&mut guest, &unnamed, "a", b"1").await.unwrap();

    assert_eq!(get(&mut guest, &bucket, "a").await.as_deref(), Some(&b"1"[..]));
    let exists = soon(guest.imports().exists(again(&bucket), "a".to_owned())).await.split_trap().unwrap();
    assert!(exists.unwrap());
    soon(HostBucket::delete(&mut guest.imports(), again(&bucket), "a".to_owned())).await.split_trap().unwrap().unwrap();
    assert_eq!(get(&mut guest, &bucket, "a").await, None);
}

#[tokio::test]
async fn both_interfaces_of_the_cache_tell_activity_alike() {
    let world = World::new();
    let mut guest = world.guest().await;
    let bucket = open(&mut guest).await;
    let handle = std::sync::Arc::clone(&guest.order.handle);
    handle.begin(HowItEnds { idle: Some(Duration::from_secs(3600)), ..HowItEnds::default() });
    let mut last = handle.usage.last_activity();
    let mut acted = || std::mem::replace(&mut last, handle.usage.last_activity()) != handle.usage.last_activity();

    assert_eq!(get(&mut guest, &bucket, "a").await, None);
    assert!(!acted(), "there is no entry");
    assert!(soon(HostCache::get(&mut guest.imports(), "a".to_owned())).await.split_trap().unwrap().unwrap().is_none());
    assert!(!acted(), "there is no entry");
    set(&mut guest, &bucket, "a", b"").await.unwrap();
    assert!(acted(), "an entry is written");
    let write = HostCache::set(&mut guest.imports(), "a".to_owned(), Vec::new(), None).await;
    let version = write.split_trap().unwrap().unwrap();
    assert!(acted(), "an entry is written");
    assert_eq!(get(&mut guest, &bucket, "a").await, Some(Vec::new()));
    assert!(acted(), "an entry is read");
    assert!(soon(HostCache::get(&mut guest.imports(), "a".to_owned())).await.split_trap().unwrap().unwrap().is_some());
    assert!(acted(), "an entry is read");
    assert!(soon(guest.imports().exists(again(&bucket), "a".to_owned())).await.split_trap().unwrap().unwrap());
    assert!(!acted(), "nothing is read");
    soon(HostCache::restore(&mut guest.imports(), "a".to_owned(), version)).await.split_trap().unwrap().unwrap();
    assert!(acted(), "an entry is written");
}

#[tokio::test]
async fn a_task_has_its_granted_keys_and_no_others() {
    let world = World::new();
    let mut all = world.guest().await;
    let everything = open(&mut all).await;
    for key in ["mine/1", "mine/2", "theirs"] {
        set(&mut all, &everything, key, b"x").await.unwrap();
    }
    let mut guest = world.guest_of("caller", grants(&["mine/*"])).await;
    let bucket = open(&mut guest).await;

    let keys = soon(guest.imports().list_keys(again(&bucket), None)).await.split_trap().unwrap().unwrap();
    assert_eq!((keys.keys.as_slice(), keys.cursor), (&["mine/1".to_owned(), "mine/2".to_owned()][..], None));
    assert!(matches!(set(&mut guest, &bucket, "theirs", b"y").await, Err(Error::AccessDenied)));
    let many = ["mine/1", "theirs"].map(str::to_owned).to_vec();
    let refused = soon(guest.imports().get_many(again(&bucket), many.clone())).await.split_trap().unwrap();
    assert!(matches!(refused, Err(Error::AccessDenied)));
    let refused = soon(guest.imports().delete_many(again(&bucket), many)).await.split_trap().unwrap();
    assert!(matches!(refused, Err(Error::AccessDenied)));
    let refused = soon(guest.imports().increment(again(&bucket), "theirs".to_owned(), 1)).await.split_trap().unwrap();
    assert!(matches!(refused, Err(Error::AccessDenied)));
    let refused =
        soon(HostCas::new(&mut guest.imports(), again(&bucket), "theirs".to_owned())).await.split_trap().unwrap();
    assert!(matches!(refused, Err(Error::AccessDenied)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_at_the_same_time_are_all_counted() {
    let world = World::new();
    let mut guests = Vec::new();
    for _ in 0..8 {
        let mut guest = world.guest().await;
        guests.push(tokio::spawn(async move {
            let bucket = open(&mut guest).await;
            for _ in 0..5 {
                increment(&mut guest, &bucket, 3).await.unwrap();
            }
        }));
    }
    for guest in guests {
        soon(guest).await.unwrap();
    }

    let mut guest = world.guest().await;
    let bucket = open(&mut guest).await;

    assert_eq!(increment(&mut guest, &bucket, -20).await.unwrap(), 8 * 5 * 3 - 20);
    assert_eq!(get(&mut guest, &bucket, "n").await.as_deref(), Some(&b"100"[..]));
    assert!(increment(&mut guest, &bucket, i64::MAX).await.is_err(), "the sum has more than 64 bits");
    set(&mut guest, &bucket, "n", b"ten").await.unwrap();
    assert!(matches!(increment(&mut guest, &bucket, 1).await, Err(Error::Other(message)) if message == NO_NUMBER));
}

#[tokio::test]
async fn a_swap_fails_after_the_value_was_changed_and_gives_a_handle_to_try_again() {
    let world = World::new();
    let mut guest = world.guest().await;
    let bucket = open(&mut guest).await;
    set(&mut guest, &bucket, "a", b"1").await.unwrap();
    let cas =
        soon(HostCas::new(&mut guest.imports(), again(&bucket), "a".to_owned())).await.split_trap().unwrap().unwrap();
    let seen = soon(guest.imports().current(Resource::new_borrow(cas.rep()))).await.split_trap().unwrap().unwrap();
    assert_eq!(seen.as_deref(), Some(&b"1"[..]));
    set(&mut guest, &bucket, "a", b"2").await.unwrap();

    let failed = soon(HostAtomics::swap(&mut guest.imports(), cas, b"3".to_vec())).await.split_trap().unwrap();

    let Err(CasError::CasFailed(next)) = failed else { panic!("the value was changed since") };
    assert_eq!(get(&mut guest, &bucket, "a").await.as_deref(), Some(&b"2"[..]));
    soon(HostAtomics::swap(&mut guest.imports(), next, b"3".to_vec())).await.split_trap().unwrap().unwrap();
    assert_eq!(get(&mut guest, &bucket, "a").await.as_deref(), Some(&b"3"[..]));
    let new =
        soon(HostCas::new(&mut guest.imports(), again(&bucket), "new".to_owned())).await.split_trap().unwrap().unwrap();
    soon(HostAtomics::swap(&mut guest.imports(), new, b"4".to_vec())).await.split_trap().unwrap().unwrap();
    assert_eq!(get(&mut guest, &bucket, "new").await.as_deref(), Some(&b"4"[..]));
}

#[tokio::test]
async fn a_batch_reads_writes_and_deletes_several_keys_within_bounds() {
    let world = World::new();
    let mut guest = world.guest().await;
    let bucket = open(&mut guest).await;
    let values = ["a", "b"].map(|key| (key.to_owned(), key.as_bytes().to_vec()));
    soon(guest.imports().set_many(again(&bucket), values.to_vec())).await.split_trap().unwrap().unwrap();

    let keys = ["b", "none", "a"].map(str::to_owned).to_vec();
    let [a, b] = values;
    let got = soon(guest.imports().get_many(again(&bucket), keys.clone())).await.split_trap().unwrap().unwrap();
    assert_eq!(got, [Some(b), None, Some(a)]);
    soon(guest.imports().delete_many(again(&bucket), keys)).await.split_trap().unwrap().unwrap();
    assert_eq!(get(&mut guest, &bucket, "a").await, None);

    let many = vec!["a".to_owned(); MOST_KEYS + 1];
    assert!(matches!(
        soon(guest.imports().get_many(again(&bucket), many)).await.split_trap().unwrap(),
        Err(Error::Other(message)) if message.contains("1000 keys")
    ));
}

#[tokio::test]
async fn the_values_of_a_batch_are_charged_to_the_run_while_they_are_gathered() {
    use crate::attempt::{AllMemory, ChargeError, Ledger};

    let world = World::new();
    let mut guest = world.guest().await;
    let bucket = open(&mut guest).await;
    set(&mut guest, &bucket, "a", &[0; 100_000]).await.unwrap();
    guest.ctx.ledger = Ledger::new(250_000, &std::sync::Arc::new(AllMemory::of(u64::MAX)));

    let keys = |count| vec!["a".to_owned(); count];
    assert!(soon(guest.imports().get_many(again(&bucket), keys(2))).await.split_trap().unwrap().is_ok());
    let refused = soon(guest.imports().get_many(again(&bucket), keys(3))).await.split_trap().unwrap_err();

    assert!(refused.downcast_ref::<ChargeError>().is_some(), "{refused:#}");
}

#[tokio::test]
async fn the_key_of_a_swap_is_counted_and_its_value_is_not() {
    let world = World::new();
    let mut guest = world.guest().await;
    let bucket = open(&mut guest).await;
    let key = "k".repeat(200);
    set(&mut guest, &bucket, &key, &[0; 100_000]).await.unwrap();
    let before = crate::imports::held_by::<Guest>(&mut guest.table);

    let cas = soon(HostCas::new(&mut guest.imports(), again(&bucket), key)).await.split_trap().unwrap().unwrap();
    soon(guest.imports().current(Resource::new_borrow(cas.rep()))).await.split_trap().unwrap().unwrap();

    let held = crate::imports::held_by::<Guest>(&mut guest.table) - before;
    assert_eq!(held, (crate::imports::HANDLE + 200) as u64);
}

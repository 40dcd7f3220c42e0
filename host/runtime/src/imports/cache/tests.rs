//! Tests the cache through its import, on a real store.

use std::sync::Arc;

use crate::attempt::{AllMemory, ChargeError, Interrupt, InterruptReason, Ledger, Stop};
use crate::imports::LARGEST_VALUE;
use crate::imports::testing::{Guest, QUOTA, SplitTrap as _, World, grants, soon};
use sexton_domain::lifecycle::Transition;
use sexton_domain::task::{Keep, Pattern, Task};

use super::*;

async fn set(guest: &mut Guest, key: &str, value: &[u8]) -> Result<u64, Error> {
    soon(guest.imports().set(key.to_owned(), value.to_vec(), None)).await.split_trap().unwrap()
}

async fn get(guest: &mut Guest, key: &str) -> Option<Entry> {
    soon(guest.imports().get(key.to_owned())).await.split_trap().unwrap().unwrap()
}

async fn refresh(guest: &mut Guest, key: &str, max_age: u64) -> Refreshed {
    soon(guest.imports().refresh(key.to_owned(), max_age)).await.split_trap().unwrap().unwrap()
}

/// Refreshes `key` and returns the renewal, which this guest must get.
async fn renew(guest: &mut Guest, key: &str) -> Resource<Renewal> {
    match refresh(guest, key, 0).await {
        Refreshed::Yours(renewal) => renewal,
        Refreshed::Fresh(_) | Refreshed::Held(_) => panic!("another run renews `{key}`"),
    }
}

async fn publish(guest: &mut Guest, renewal: &Resource<Renewal>, value: &[u8]) -> wasmtime::Result<Result<u64, Error>> {
    soon(guest.imports().publish(Resource::new_borrow(renewal.rep()), value.to_vec(), None)).await.split_trap()
}

async fn release_refresh(guest: &mut Guest, renewal: Resource<Renewal>) {
    soon(HostRenewal::drop(&mut guest.imports(), renewal)).await.unwrap();
}

async fn list(guest: &mut Guest, prefix: &str, after: Option<&str>) -> Vec<String> {
    soon(guest.imports().list(prefix.to_owned(), after.map(str::to_owned))).await.split_trap().unwrap().unwrap()
}

#[tokio::test]
async fn an_entry_returns_its_value_with_its_age() {
    let world = World::new();
    let mut guest = world.guest().await;
    let at = world.services.clock.now();
    let version = set(&mut guest, "a", b"\0value").await.unwrap();
    world.clock.advance(Duration::from_secs(3));

    let entry = get(&mut guest, "a").await.unwrap();

    assert_eq!((entry.value.as_slice(), entry.version, entry.age), (&b"\0value"[..], version, 3000));
    assert_eq!(i64::try_from(entry.set_at).unwrap(), at.as_millis());
    assert!(soon(guest.imports().delete("a".to_owned())).await.split_trap().unwrap().is_ok());
    assert!(get(&mut guest, "a").await.is_none());
}

async fn history(guest: &mut Guest, key: &str) -> Vec<u64> {
    let versions = soon(guest.imports().history(key.to_owned())).await.split_trap().unwrap().unwrap();
    versions.into_iter().map(|version| version.version).collect()
}

/// Grants all keys, with two earlier versions of those that begin with `kept/`.
fn keeping() -> Grants {
    let keep = Keep { keys: Pattern("kept/*".to_owned()), versions: 2 };
    Grants { keep: vec![keep], ..grants(&["*"]) }
}

#[tokio::test]
async fn the_versions_that_the_manifest_keeps_are_listed_read_and_restored() {
    let world = World::new();
    let mut guest = world.guest_of("caller", keeping()).await;
    let mut versions = Vec::new();
    for value in ["1", "2", "3", "4"] {
        versions.push(set(&mut guest, "kept/a", value.as_bytes()).await.unwrap());
        set(&mut guest, "other", value.as_bytes()).await.unwrap();
    }

    assert_eq!(history(&mut guest, "kept/a").await, [versions[3], versions[2], versions[1]]);
    assert_eq!(history(&mut guest, "other").await.len(), 1);
    assert!(history(&mut guest, "nothing").await.is_empty());
    let mut of = async |version| {
        let entry =
            soon(guest.imports().get_version("kept/a".to_owned(), version)).await.split_trap().unwrap().unwrap();
        entry.map(|entry| entry.value)
    };
    assert_eq!((of(versions[1]).await, of(versions[0]).await), (Some(b"2".to_vec()), None));

    let mut restore =
        async |version| soon(guest.imports().restore("kept/a".to_owned(), version)).await.split_trap().unwrap();
    let restored = restore(versions[2]).await.unwrap();
    assert!(matches!(restore(versions[0]).await, Err(Error::Conflict)));

    assert!(restored > versions[3]);
    assert_eq!(get(&mut guest, "kept/a").await.unwrap().value, b"3");
    assert_eq!(history(&mut guest, "kept/a").await, [restored, versions[3], versions[2]]);
}

#[tokio::test]
async fn versions_of_a_key_that_is_not_granted_are_neither_seen_nor_restored() {
    let world = World::new();
    let mut owner = world.guest_of("caller", keeping()).await;
    let version = set(&mut owner, "kept/a", b"1").await.unwrap();
    let mut other = world.guest_of("caller", grants(&["mine"])).await;

    let key = || "kept/a".to_owned();
    let seen = soon(other.imports().history(key())).await.split_trap().unwrap();
    let read = soon(other.imports().get_version(key(), version)).await.split_trap().unwrap();
    let restored = soon(other.imports().restore(key(), version)).await.split_trap().unwrap();

    assert!(matches!(seen, Err(Error::AccessDenied)));
    assert!(matches!(read, Err(Error::AccessDenied)));
    assert!(matches!(restored, Err(Error::AccessDenied)));
}

#[tokio::test]
async fn an_entry_expires_at_the_time_that_was_set() {
    let world = World::new();
    let mut guest = world.guest().await;
    for (key, expires_in) in [("brief", 10), ("for ever", u64::MAX)] {
        soon(guest.imports().set(key.to_owned(), vec![1], Some(expires_in))).await.split_trap().unwrap().unwrap();
    }
    assert!(get(&mut guest, "brief").await.is_some());

    world.clock.advance(Duration::from_millis(11));

    assert!(get(&mut guest, "brief").await.is_none());
    assert!(get(&mut guest, "for ever").await.is_some());
}

#[tokio::test]
async fn a_swap_needs_the_version_at_which_the_entry_was_read() {
    let world = World::new();
    let mut guest = world.guest().await;
    let mut swap = async |expected, value: &str| {
        soon(guest.imports().swap("a".to_owned(), expected, value.into(), None)).await.split_trap().unwrap()
    };

    let first = swap(None, "1").await.unwrap();
    assert!(matches!(swap(None, "2").await, Err(Error::Conflict)));
    let second = swap(Some(first), "2").await.unwrap();
    assert!(matches!(swap(Some(first), "3").await, Err(Error::Conflict)));

    assert!(second > first);
    assert_eq!(get(&mut guest, "a").await.unwrap().value, b"2");
}

#[tokio::test]
async fn keys_and_sizes_are_checked_by_every_function() {
    let world = World::new();
    let mut guest = world.guest_of("caller", grants(&["mine/*", "one"])).await;

    for (key, denied) in [(String::new(), false), ("x".repeat(257), false), ("ones".to_owned(), true)] {
        let right = |error: Error| match error {
            Error::BadKey => !denied,
            Error::AccessDenied => denied,
            _ => false,
        };
        let mut view = guest.imports();
        assert!(soon(view.get(key.clone())).await.split_trap().unwrap().is_err_and(right), "get `{key}`");
        assert!(soon(view.set(key.clone(), vec![], None)).await.split_trap().unwrap().is_err_and(right), "set `{key}`");
        assert!(
            soon(view.swap(key.clone(), None, vec![], None)).await.split_trap().unwrap().is_err_and(right),
            "swap `{key}`"
        );
        assert!(soon(view.delete(key.clone())).await.split_trap().unwrap().is_err_and(right), "delete `{key}`");
        assert!(soon(view.refresh(key.clone(), 0)).await.split_trap().unwrap().is_err_and(right), "refresh `{key}`");
    }
    assert!(soon(guest.imports().list("x".repeat(257), None)).await.split_trap().unwrap().is_err());

    assert!(matches!(set(&mut guest, "one", &vec![0; LARGEST_VALUE + 1]).await, Err(Error::TooLarge)));
    assert!(set(&mut guest, "one", &vec![0; LARGEST_VALUE]).await.is_ok());
}

#[tokio::test]
async fn the_last_good_values_of_renewals_are_charged_until_they_are_published_or_dropped() {
    let world = World::new();
    let mut guest = world.guest().await;
    let ledger = Arc::clone(&guest.ctx.ledger);
    for key in ["published", "dropped"] {
        set(&mut guest, key, &vec![0; 100_000]).await.unwrap();
    }
    let published = renew(&mut guest, "published").await;
    let dropped = renew(&mut guest, "dropped").await;
    assert!((200_000..201_000).contains(&ledger.held()), "{}", ledger.held());

    publish(&mut guest, &published, &[0; 100_000]).await.unwrap().unwrap();
    assert!(ledger.held() < 101_000, "{}", ledger.held());
    assert!(guest.imports().last(Resource::new_borrow(published.rep())).unwrap().is_none());
    release_refresh(&mut guest, dropped).await;

    assert!(ledger.held() < 1000, "{}", ledger.held());
}

#[tokio::test]
async fn a_run_has_no_more_renewals_than_its_memory_has_room_for_their_last_good_values() {
    let world = World::new();
    let mut guest = world.guest().await;
    guest.ctx.ledger = Ledger::new(250_000, &Arc::new(AllMemory::of(u64::MAX)));
    for key in ["a", "b", "c"] {
        set(&mut guest, key, &vec![0; 100_000]).await.unwrap();
    }
    let _held = [renew(&mut guest, "a").await, renew(&mut guest, "b").await];

    let refused = soon(guest.imports().refresh("c".to_owned(), 0)).await.split_trap().unwrap_err();

    assert!(refused.downcast_ref::<ChargeError>().is_some(), "{refused:#}");
}

#[tokio::test]
async fn a_tenant_gets_no_more_than_its_share_of_the_cache() {
    let world = World::new();
    let mut guest = world.guest().await;
    let fitting = QUOTA / (LARGEST_VALUE as u64 + 1);
    for n in 0..fitting {
        set(&mut guest, &n.to_string(), &vec![0; LARGEST_VALUE]).await.unwrap();
    }

    assert!(matches!(set(&mut guest, "more", &vec![0; LARGEST_VALUE]).await, Err(Error::TooLarge)));
    assert!(set(&mut guest, "0", b"small").await.is_ok());
    assert!(set(&mut guest, "more", &vec![0; LARGEST_VALUE]).await.is_ok());
}

#[tokio::test]
async fn a_task_gets_no_more_of_the_cache_than_its_budget_and_its_log_says_so() {
    let world = World::new();
    let mut other = world.guest_of("other", grants(&["*"])).await;
    set(&mut other, "theirs", &[0; 500]).await.unwrap();
    let mut guest = world.guest().await;
    let mut task = Task::clone(&guest.order.task);
    task.budget.cache = Some(1000);
    guest.ctx.task = Arc::new(task);

    set(&mut guest, "one", &[0; 500]).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(set(&mut guest, "two", &[0; 500]).await, Err(Error::TooLarge)));
    }
    let renewal = renew(&mut guest, "three").await;
    assert!(matches!(publish(&mut guest, &renewal, &[0; 500]).await.unwrap(), Err(Error::TooLarge)));

    let (log, _) = guest.order.handle.lines(0);
    let said: Vec<_> = log.iter().map(|line| (line.level.as_str(), line.message.as_str())).collect();
    assert_eq!(said, [("warn", "the task's budget of the cache is used up: 503 of 1000 bytes are in use")]);
    assert!(set(&mut guest, "one", b"").await.is_ok());
    assert!(publish(&mut guest, &renewal, &[0; 500]).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_list_shows_only_granted_keys() {
    let world = World::new();
    let mut all = world.guest().await;
    for key in ["a", "b/1", "b/2", "b/3", "c", "cc", "d/1"] {
        set(&mut all, key, b"").await.unwrap();
    }
    let mut guest = world.guest_of("caller", grants(&["b/*", "b/2*", "c", "nothing"])).await;

    assert_eq!(list(&mut guest, "", None).await, ["b/1", "b/2", "b/3", "c"]);
    assert_eq!(list(&mut guest, "", Some("b/1")).await, ["b/2", "b/3", "c"]);
    assert_eq!(list(&mut guest, "b/2", None).await, ["b/2"]);
    assert_eq!(list(&mut guest, "c", None).await, ["c"]);
    assert_eq!(list(&mut guest, "d", None).await, Vec::<String>::new());
    assert_eq!(list(&mut all, "", None).await.len(), 7);
}

#[tokio::test]
async fn the_first_guest_to_refresh_renews_and_others_get_the_last_good_value() {
    let world = World::new();
    let (mut one, mut other) = (world.guest().await, world.guest().await);
    set(&mut other, "a", b"old").await.unwrap();
    world.clock.advance(Duration::from_secs(10));
    assert!(matches!(refresh(&mut one, "a", 10_001).await, Refreshed::Fresh(entry) if entry.value == b"old"));

    let Refreshed::Yours(renewal) = refresh(&mut one, "a", 10_000).await else { panic!("it is old") };
    let last = one.imports().last(Resource::new_borrow(renewal.rep())).unwrap().unwrap();
    assert_eq!((last.value.as_slice(), last.age), (&b"old"[..], 10_000));
    assert!(matches!(refresh(&mut other, "a", 10_000).await, Refreshed::Held(Some(entry)) if entry.value == b"old"));
    assert!(matches!(refresh(&mut one, "a", 10_000).await, Refreshed::Held(Some(_))), "it would wait for itself");

    publish(&mut one, &renewal, b"new").await.unwrap().unwrap();
    assert!(matches!(refresh(&mut other, "a", 10_000).await, Refreshed::Fresh(entry) if entry.value == b"new"));
    let next = renew(&mut one, "a").await;
    release_refresh(&mut one, renewal).await;
    assert!(matches!(refresh(&mut other, "a", 0).await, Refreshed::Held(_)), "the old handle let go for the new one");
    release_refresh(&mut one, next).await;
    renew(&mut other, "a").await;
}

#[tokio::test]
async fn a_dropped_renewal_does_not_change_the_last_good_value() {
    let world = World::new();
    let (mut one, mut other) = (world.guest().await, world.guest().await);
    let version = set(&mut one, "a", b"old").await.unwrap();

    let renewal = renew(&mut one, "a").await;
    release_refresh(&mut one, renewal).await;
    renew(&mut one, "a").await;
    one.finish(Transition::Fail).await;
    renew(&mut other, "a").await;

    let entry = get(&mut other, "a").await.unwrap();
    assert_eq!((entry.value.as_slice(), entry.version), (&b"old"[..], version));
}

#[tokio::test]
async fn a_renewal_is_published_once_and_only_by_a_run_that_still_has_it() {
    let world = World::new();
    let (mut guest, mut other) = (world.guest().await, world.guest().await);
    let first = renew(&mut guest, "a").await;
    assert!(matches!(publish(&mut guest, &first, &vec![0; LARGEST_VALUE + 1]).await, Ok(Err(Error::TooLarge))));
    assert!(publish(&mut guest, &first, b"1").await.unwrap().is_ok());
    let second = renew(&mut guest, "a").await;
    assert!(matches!(publish(&mut guest, &first, b"2").await, Ok(Err(Error::Conflict))));
    assert!(publish(&mut guest, &second, b"3").await.unwrap().is_ok());

    let third = renew(&mut guest, "a").await;
    guest.finish(Transition::Fail).await;
    let ended = publish(&mut guest, &third, b"4").await.unwrap_err().downcast::<Interrupt>().unwrap();

    assert_eq!(ended.why, InterruptReason::Stopped(Stop::ClaimLost));
    assert_eq!(get(&mut other, "a").await.unwrap().value, b"3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_of_fifty_concurrent_refreshes_renews() {
    let world = World::new();
    let start = std::sync::Arc::new(tokio::sync::Barrier::new(50));
    let mut guests = Vec::new();
    for _ in 0..50 {
        let (mut guest, start) = (world.guest().await, start.clone());
        guests.push(tokio::spawn(async move {
            start.wait().await;
            match refresh(&mut guest, "a", 1000).await {
                Refreshed::Yours(renewal) => {
                    publish(&mut guest, &renewal, b"new").await.unwrap().unwrap();
                    1
                }
                // There was no value before, so a guest that gets one came after the publication.
                Refreshed::Fresh(entry) | Refreshed::Held(Some(entry)) => {
                    assert_eq!(entry.value, b"new");
                    0
                }
                Refreshed::Held(None) => 0,
            }
        }));
    }

    let mut renewed = 0;
    for guest in guests {
        renewed += soon(guest).await.unwrap();
    }

    assert_eq!(renewed, 1);
}

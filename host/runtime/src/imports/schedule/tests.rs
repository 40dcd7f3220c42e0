//! Tests what the import makes of a guest's requests and of the host's answers. `ops::requests` tests the decision.

use super::*;
use crate::imports::testing::{Guest, SplitTrap as _, World, soon};
use sexton_store::StoreError;

async fn enqueue(guest: &mut Guest, when: When, key: Option<&str>) -> Result<String, Error> {
    let mut view = guest.imports();
    soon(view.enqueue("other".to_owned(), when, b"input".to_vec(), key.map(str::to_owned))).await.split_trap().unwrap()
}

async fn continued(guest: &mut Guest) -> Result<String, Error> {
    let mut view = guest.imports();
    soon(view.continue_later(When::After(0), b"state".to_vec())).await.split_trap().unwrap()
}

/// Creates a world whose host refuses the next requests for these reasons.
fn refusing(refusals: impl IntoIterator<Item = RunRefused>) -> World {
    let world = World::new();
    world.requests.refusals.lock().unwrap().extend(refusals);
    world
}

fn full(lasts: bool) -> RunRefused {
    RunRefused::Full { message: "too many wait".to_owned(), lasts }
}

#[tokio::test]
async fn a_request_names_the_run_that_asks_and_carries_what_the_guest_sent() {
    let world = World::new();
    let mut guest = world.guest().await;

    let run = enqueue(&mut guest, When::Now, Some("key")).await.unwrap();

    let asked = world.requests.asked.lock().unwrap();
    let (by, request) = &asked[0];
    assert_eq!((run.as_str(), *by), ("101", guest.order.claim.key.run));
    assert_eq!((request.task.as_str(), request.input.as_slice()), ("other", &b"input"[..]));
    assert_eq!(request.key, Some(RequestKey::Chosen("key".to_owned())));
}

#[tokio::test]
async fn an_instant_is_read_as_the_guest_means_it() {
    let world = World::new();
    let mut guest = world.guest().await;
    let now = world.services.clock.now();

    for (when, due_at) in [
        (When::Now, None),
        (When::After(5), Some(now.plus(Duration::from_millis(5)))),
        (When::At(7), Some(Timestamp::from_millis(7))),
        (When::At(u64::MAX), Some(Timestamp::from_millis(i64::MAX))),
    ] {
        enqueue(&mut guest, when, None).await.unwrap();
        assert_eq!(world.requests.asked.lock().unwrap().last().unwrap().1.due_at, due_at, "{when:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_no_name_is_not_passed_on() {
    let world = World::new();
    let mut guest = world.guest().await;

    for key in ["", &"x".repeat(257)] {
        assert!(matches!(enqueue(&mut guest, When::Now, Some(key)).await, Err(Error::BadKey)), "{key}");
    }
    assert!(world.requests.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn continuations_are_counted_and_one_that_was_refused_keeps_its_number() {
    let world = refusing([full(false)]);
    let mut guest = world.guest().await;

    continued(&mut guest).await.unwrap_err();
    continued(&mut guest).await.unwrap();
    continued(&mut guest).await.unwrap();

    let asked = world.requests.asked.lock().unwrap();
    let keys: Vec<_> = asked.iter().map(|(_, request)| request.key.clone().unwrap()).collect();
    assert_eq!(keys, [1, 1, 2].map(RequestKey::Continuation));
    assert!(asked.iter().all(|(_, request)| request.task == "caller"));
}

#[tokio::test]
async fn requests_count_once_the_store_was_asked() {
    let store_failed = RunRefused::Store(StoreError::Other("locked".to_owned()));
    let world = refusing([
        RunRefused::NotGranted,
        RunRefused::NoTask,
        RunRefused::TooLarge,
        RunRefused::TooFarAhead(Duration::from_secs(60)),
        full(false),
        store_failed,
    ]);
    let mut guest = world.guest().await;

    for _ in 0..8 {
        drop(enqueue(&mut guest, When::Now, None).await);
    }

    let before: Vec<u32> = world.requests.asked.lock().unwrap().iter().map(|(_, asked)| asked.asked_before).collect();
    assert_eq!(before, [0, 0, 0, 0, 0, 1, 2, 3]);
}

#[tokio::test]
async fn an_attempt_gets_no_further_run_if_there_will_hardly_be_room_before_its_end() {
    let world = refusing([full(true)]);
    let mut guest = world.guest().await;

    assert!(matches!(enqueue(&mut guest, When::Now, None).await, Err(Error::TooLarge)));
    enqueue(&mut guest, When::Now, None).await.unwrap();
    enqueue(&mut guest, When::Now, None).await.unwrap();

    let before: Vec<u32> = world.requests.asked.lock().unwrap().iter().map(|(_, asked)| asked.asked_before).collect();
    assert_eq!(before, [0, u32::MAX, u32::MAX]);
}

#[tokio::test]
async fn the_log_says_once_why_there_is_no_room_and_the_guest_is_not_told() {
    let world = refusing([full(false), full(true)]);
    let mut guest = world.guest().await;

    for _ in 0..2 {
        assert!(matches!(enqueue(&mut guest, When::Now, None).await, Err(Error::TooLarge)));
    }

    let log = guest.order.handle.stored_log().text;
    assert_eq!(log.matches("too many wait").count(), 1, "{log}");
}

#[tokio::test]
async fn each_refusal_has_its_error() {
    let world = refusing([
        RunRefused::NotGranted,
        RunRefused::NoTask,
        RunRefused::TooLarge,
        RunRefused::TooMany,
        RunRefused::TooFarAhead(Duration::from_secs(60)),
        RunRefused::Store(StoreError::Other("near `SELECT`".to_owned())),
    ]);
    let mut guest = world.guest().await;

    assert!(matches!(enqueue(&mut guest, When::Now, None).await, Err(Error::AccessDenied)));
    assert!(matches!(enqueue(&mut guest, When::Now, None).await, Err(Error::NotFound)));
    assert!(matches!(enqueue(&mut guest, When::Now, None).await, Err(Error::TooLarge)));
    assert!(matches!(enqueue(&mut guest, When::Now, None).await, Err(Error::TooLarge)));
    let ahead = enqueue(&mut guest, When::Now, None).await;
    assert!(matches!(&ahead, Err(Error::Other(why)) if why == "a run may be due at most 1m ahead"), "{ahead:?}");
    let failed = enqueue(&mut guest, When::Now, None).await;
    assert!(matches!(&failed, Err(Error::Other(why)) if why == "the host's store failed"), "{failed:?}");
    assert!(guest.order.handle.stored_log().text.contains("other"), "the author learns which grant is missing");
}

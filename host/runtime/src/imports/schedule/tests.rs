//! Tests what the import makes of a guest's requests and of the host's answers. `ops::requests` tests the decision.

use super::*;
use crate::imports::ScheduleRefused;
use crate::imports::testing::{Guest, SplitTrap as _, World, soon};
use sexton_domain::schedule::request::Request;
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

fn every(task: &str, ms: u64) -> Recurring {
    Recurring {
        task: task.to_owned(),
        recurrence: schedule::Recurrence::Every(ms),
        zone: None,
        delay: 0,
        start: None,
        end: None,
        first: None,
        times: None,
        input: Some(b"input".to_vec()),
    }
}

async fn add(
    guest: &mut Guest,
    key: &str,
    schedule: Recurring,
    replace: bool,
) -> Result<bool, schedule::ScheduleError> {
    soon(guest.imports().add_schedule(key.to_owned(), schedule, replace)).await.split_trap().unwrap()
}

fn schedules_refused(refusals: impl IntoIterator<Item = ScheduleRefused>) -> World {
    let world = World::new();
    world.requests.refused_schedules.lock().unwrap().extend(refusals);
    world
}

#[tokio::test]
async fn a_schedule_is_asked_for_in_the_words_of_people() {
    let world = World::new();
    let mut guest = world.guest().await;
    let from = Recurring { start: Some(1_800_000_000_000), delay: 5, times: Some(3), ..every("other", 60_000) };

    assert!(add(&mut guest, "k", from, true).await.unwrap());

    let asked = world.requests.schedules.lock().unwrap().pop().unwrap();
    assert_eq!((asked.key.as_str(), asked.task.as_str(), asked.replace), ("k", "other", true));
    assert_eq!((asked.data.as_deref(), asked.asked_before), (Some(&b"input"[..]), 0));
    let request = Request {
        every: Some("60000ms".to_owned()),
        delay: Some("5ms".to_owned()),
        start: Some("2027-01-15T08:00:00.000Z".to_owned()),
        times: Some(3),
        ..Request::default()
    };
    assert_eq!(asked.request, request);
}

#[tokio::test]
async fn a_text_or_an_instant_that_people_could_not_write_is_not_passed_on() {
    let world = World::new();
    let mut guest = world.guest().await;
    let long = schedule::Recurrence::Cron("*".repeat(257));

    for (wrong, field) in [
        (Recurring { recurrence: long, ..every("other", 1) }, "`cron`"),
        (Recurring { zone: Some("x".repeat(257)), ..every("other", 1) }, "`zone`"),
        (Recurring { start: Some(u64::MAX), ..every("other", 1) }, "`start`"),
    ] {
        match add(&mut guest, "k", wrong, false).await {
            Err(schedule::ScheduleError::BadSchedule(why)) => assert!(why.contains(field), "{field}: {why}"),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert!(world.requests.schedules.lock().unwrap().is_empty());
}

#[tokio::test]
async fn schedules_count_if_they_were_added_or_reading_them_took_time() {
    let world = schedules_refused([
        ScheduleRefused::NotGranted("other".to_owned()),
        ScheduleRefused::NoTask,
        ScheduleRefused::TooLarge,
        ScheduleRefused::Taken,
        ScheduleRefused::Bad("no".to_owned()),
    ]);
    let mut guest = world.guest().await;

    for _ in 0..7 {
        drop(add(&mut guest, "k", every("other", 1000), false).await);
    }

    let before: Vec<u32> = world.requests.schedules.lock().unwrap().iter().map(|asked| asked.asked_before).collect();
    assert_eq!(before, [0, 0, 0, 0, 1, 2, 3]);
}

#[tokio::test]
async fn each_refusal_of_a_schedule_has_its_error() {
    use schedule::ScheduleError as Refused;

    let world = schedules_refused([
        ScheduleRefused::NotGranted("secret".to_owned()),
        ScheduleRefused::NoTask,
        ScheduleRefused::TooLarge,
        ScheduleRefused::Taken,
        ScheduleRefused::Full("1000 are there".to_owned()),
        ScheduleRefused::Store(StoreError::Other("near `SELECT`".to_owned())),
        ScheduleRefused::Changed,
    ]);
    let mut guest = world.guest().await;
    let mut refused = Vec::new();

    for _ in 0..6 {
        refused.push(add(&mut guest, "k", every("other", 1000), false).await.unwrap_err());
    }
    let changed = soon(guest.imports().delete_schedule("k".to_owned())).await.split_trap().unwrap();

    let [denied, unknown, large, taken, full, failed] = &refused[..] else { panic!("{refused:?}") };
    assert!(matches!(denied, Refused::AccessDenied) && matches!(unknown, Refused::NotFound), "{refused:?}");
    assert!(matches!(large, Refused::TooLarge) && matches!(full, Refused::TooLarge), "{refused:?}");
    assert!(matches!(taken, Refused::AlreadyExists), "{taken:?}");
    assert!(matches!(failed, Refused::Other(why) if why == "the host's store failed"), "{failed:?}");
    assert!(matches!(changed, Err(Refused::Other(_))), "{changed:?}");
    let log = guest.order.handle.stored_log().text;
    assert!(log.contains("secret") && log.contains("1000 are there"), "{log}");
}

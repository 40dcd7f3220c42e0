//! What guests enqueue, on a real store.

use super::*;
use crate::imports::testing::{BOUND, Guest, World, grants, soon};
use crate::lifecycle::Transition;
use crate::run::RunId;

async fn enqueue(guest: &mut Guest, task: &str, key: Option<&str>) -> Result<RunId, Error> {
    let mut view = guest.imports();
    let answer = view.enqueue(task.to_owned(), When::Now, b"input".to_vec(), key.map(str::to_owned));
    soon(answer).await.unwrap().map(|run| run.parse().unwrap())
}

async fn continued(guest: &mut Guest) -> Result<RunId, Error> {
    let mut view = guest.imports();
    soon(view.continue_later(When::After(0), b"state".to_vec())).await.unwrap().map(|run| run.parse().unwrap())
}

#[tokio::test]
async fn a_run_that_is_asked_for_is_made_with_its_input_and_its_parent() {
    let world = World::new();
    world.know(&["other"]);
    let mut guest = world.guest().await;

    let run = enqueue(&mut guest, "other", None).await.unwrap();

    let info = world.services.store.run(run).await.unwrap().unwrap();
    assert_eq!((info.cause, info.parent), (Cause::Task, Some(guest.order.claim.key.run)));
    let claim = world.claim_next("other").await.unwrap();
    assert_eq!((claim.key.run, claim.input.as_slice()), (run, &b"input"[..]));
}

#[tokio::test]
async fn only_tasks_that_are_granted_and_known_can_be_asked_for() {
    let world = World::new();
    world.know(&["other", "secret"]);
    let mut guest = world.guest_of("caller", grants(&["other", "gone", "no name*"])).await;

    assert!(matches!(enqueue(&mut guest, "secret", None).await, Err(Error::AccessDenied)));
    assert!(matches!(enqueue(&mut guest, "not there", None).await, Err(Error::AccessDenied)));
    assert!(matches!(enqueue(&mut guest, "gone", None).await, Err(Error::NotFound)));
    assert!(matches!(enqueue(&mut guest, "no name\0", None).await, Err(Error::NotFound)));
    assert!(matches!(continued(&mut guest).await, Err(Error::AccessDenied)));
}

#[tokio::test]
async fn keys_and_sizes_are_checked() {
    let world = World::new();
    world.know(&["other"]);
    let mut guest = world.guest().await;

    for key in ["", &"x".repeat(257)] {
        assert!(matches!(enqueue(&mut guest, "other", Some(key)).await, Err(Error::BadKey)), "{key}");
    }
    let large = vec![0; LARGEST_VALUE + 1];
    let answer = soon(guest.imports().enqueue("other".to_owned(), When::Now, large, None)).await.unwrap();
    assert!(matches!(answer, Err(Error::TooLarge)));
}

#[tokio::test]
async fn a_key_makes_one_run_of_each_task_that_asks_and_is_asked() {
    let world = World::new();
    world.know(&["a", "b"]);
    let (mut one, mut same) = (world.guest().await, world.guest().await);
    let mut other = world.guest_of("stranger", grants(&["*"])).await;

    let run = enqueue(&mut one, "a", Some("key")).await.unwrap();

    assert_eq!(enqueue(&mut one, "a", Some("key")).await.unwrap(), run);
    assert_eq!(enqueue(&mut same, "a", Some("key")).await.unwrap(), run);
    assert_ne!(enqueue(&mut one, "a", None).await.unwrap(), run);
    assert_ne!(enqueue(&mut one, "b", Some("key")).await.unwrap(), run);
    assert_ne!(enqueue(&mut other, "a", Some("key")).await.unwrap(), run);
}

#[tokio::test]
async fn a_run_cannot_flood_the_store() {
    let world = World::new();
    world.know(&["other"]);
    let mut guest = world.guest().await;

    for _ in 0..MOST_RUNS {
        enqueue(&mut guest, "other", None).await.unwrap();
    }

    assert!(matches!(enqueue(&mut guest, "other", None).await, Err(Error::TooLarge)));
}

#[tokio::test]
async fn a_further_attempt_continues_with_the_runs_that_the_first_one_made() {
    let world = World::new();
    world.know(&["caller"]);
    let mut first = world.guest().await;
    let runs = [continued(&mut first).await.unwrap(), continued(&mut first).await.unwrap()];
    assert_ne!(runs[0], runs[1]);
    // Out of the way, so that the next claim is of the first run again.
    for run in runs {
        world.services.store.cancel(run, "later", world.services.clock.now()).await.unwrap();
    }
    first.finish(Transition::Wait { run_at: world.services.clock.now(), failed: true }).await;

    let claim = world.claim_next("caller").await.unwrap();
    assert_eq!((claim.key.run, claim.key.attempt), (first.order.claim.key.run, 2));
    let mut second = world.guest_in(claim, grants(&["*"]), BOUND);

    assert_eq!([continued(&mut second).await.unwrap(), continued(&mut second).await.unwrap()], runs);
}

#[tokio::test]
async fn a_run_is_due_when_it_was_asked_for_and_never_overtakes() {
    let world = World::new();
    world.know(&["other"]);
    let mut guest = world.guest().await;
    let now = world.services.clock.now();
    let far = Timestamp::from_millis(253_402_300_799_999);

    for (when, due_at, run_at) in [
        (When::Now, now, now),
        (When::After(5), now.plus(Duration::from_millis(5)), now.plus(Duration::from_millis(5))),
        (When::At(7), Timestamp::from_millis(7), now),
        (When::At(u64::MAX), far, far),
        (When::After(u64::MAX), far, far),
    ] {
        let run = soon(guest.imports().enqueue("other".to_owned(), when, vec![], None)).await.unwrap().unwrap();
        let info = world.services.store.run(run.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((info.due_at, info.run_at), (due_at, run_at), "{when:?}");
    }
}

#[tokio::test]
async fn a_task_that_asks_for_more_and_more_runs_is_refused_when_a_thousand_wait() {
    let world = World::new();
    world.know(&["other"]);
    let now = world.services.clock.now();
    let run = |n: usize| NewRun {
        dedup: Some(n.to_string()),
        ..NewRun::of(TaskKey { tenant: Name::default_tenant(), task: Name::new("other").unwrap() }, now, Cause::Demand)
    };
    soon(world.services.store.enqueue((1..MOST_WAITING).map(run).collect(), now)).await.unwrap();
    let mut guest = world.guest().await;

    enqueue(&mut guest, "other", None).await.unwrap();
    assert!(matches!(enqueue(&mut guest, "other", None).await, Err(Error::TooLarge)));
}

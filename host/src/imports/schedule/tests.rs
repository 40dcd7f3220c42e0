//! Tests the runs that guests enqueue, on a real store.

use super::*;
use crate::imports::testing::{BOUND, Guest, SplitTrap as _, World, grants, soon};
use crate::lifecycle::Transition;
use crate::run::Cause;
use crate::run::RunId;
use crate::tenant::{TenantLimits, Tenants};

async fn enqueue(guest: &mut Guest, task: &str, key: Option<&str>) -> Result<RunId, Error> {
    let mut view = guest.imports();
    let answer = view.enqueue(task.to_owned(), When::Now, b"input".to_vec(), key.map(str::to_owned));
    soon(answer).await.split_trap().unwrap().map(|run| run.parse().unwrap())
}

async fn continued(guest: &mut Guest) -> Result<RunId, Error> {
    let mut view = guest.imports();
    soon(view.continue_later(When::After(0), b"state".to_vec()))
        .await
        .split_trap()
        .unwrap()
        .map(|run| run.parse().unwrap())
}

#[tokio::test]
async fn an_enqueued_run_has_its_input_and_its_parent() {
    let world = World::new();
    world.add_tasks(&["other"]);
    let mut guest = world.guest().await;

    let run = enqueue(&mut guest, "other", None).await.unwrap();

    let info = world.services.store.run(run).await.unwrap().unwrap();
    assert_eq!((info.cause, info.parent), (Cause::Task, Some(guest.order.claim.key.run)));
    let claim = world.claim_next("other").await.unwrap();
    assert_eq!((claim.key.run, claim.input.as_slice()), (run, &b"input"[..]));
}

#[tokio::test]
async fn only_tasks_that_are_granted_and_known_can_be_enqueued() {
    let world = World::new();
    world.add_tasks(&["other", "secret"]);
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
    world.add_tasks(&["other"]);
    let mut guest = world.guest().await;

    for key in ["", &"x".repeat(257)] {
        assert!(matches!(enqueue(&mut guest, "other", Some(key)).await, Err(Error::BadKey)), "{key}");
    }
    let large = vec![0; LARGEST_VALUE + 1];
    let answer = soon(guest.imports().enqueue("other".to_owned(), When::Now, large, None)).await.split_trap().unwrap();
    assert!(matches!(answer, Err(Error::TooLarge)));
}

#[tokio::test]
async fn a_key_makes_one_run_for_each_pair_of_requesting_and_requested_task() {
    let world = World::new();
    world.add_tasks(&["a", "b"]);
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
    world.add_tasks(&["other"]);
    let mut guest = world.guest().await;

    for _ in 0..MOST_RUNS {
        enqueue(&mut guest, "other", None).await.unwrap();
    }

    assert!(matches!(enqueue(&mut guest, "other", None).await, Err(Error::TooLarge)));
}

#[tokio::test]
async fn a_further_attempt_continues_with_the_runs_that_the_first_one_made() {
    let world = World::new();
    world.add_tasks(&["caller"]);
    let mut first = world.guest().await;
    let runs = [continued(&mut first).await.unwrap(), continued(&mut first).await.unwrap()];
    assert_ne!(runs[0], runs[1]);
    // The runs are cancelled, so that the next claim is of the first run again.
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
async fn a_run_is_due_at_the_requested_instant_and_never_starts_before_now() {
    let world = World::new();
    world.add_tasks(&["other"]);
    let mut guest = world.guest().await;
    let now = world.services.clock.now();

    for (when, due_at, run_at) in [
        (When::Now, now, now),
        (When::After(5), now.plus(Duration::from_millis(5)), now.plus(Duration::from_millis(5))),
        (When::At(7), Timestamp::from_millis(7), now),
    ] {
        let run =
            soon(guest.imports().enqueue("other".to_owned(), when, vec![], None)).await.split_trap().unwrap().unwrap();
        let info = world.services.store.run(run.parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((info.due_at, info.run_at), (due_at, run_at), "{when:?}");
    }
}

#[tokio::test]
async fn an_enqueued_run_is_refused_when_a_thousand_wait() {
    let world = World::new();
    world.add_tasks(&["other"]);
    let now = world.services.clock.now();
    let run = |n: usize| NewRun {
        dedup: Some(n.to_string()),
        ..NewRun::of(TaskKey { tenant: Name::default_tenant(), task: Name::new("other").unwrap() }, now, Cause::Demand)
    };
    soon(world.services.store.enqueue((1..1000).map(run).collect(), now)).await.unwrap();
    let mut guest = world.guest().await;

    enqueue(&mut guest, "other", None).await.unwrap();
    assert!(matches!(enqueue(&mut guest, "other", None).await, Err(Error::TooLarge)));
}

const KIB: usize = 1 << 10;

/// Creates a host on which the inputs of waiting runs may take 1 MiB for each task, and 3 MiB together.
fn narrow(tasks: &[&str]) -> World {
    let world = World::new();
    world.add_tasks(tasks);
    let backlog = BacklogLimits { task: 1 << 20, tenant: 3 << 20, ..BacklogLimits::default() };
    let limits = TenantLimits { runs: None, fuel_per_minute: None, cache: 0, tasks: 1000, backlog };
    world.services.tenants.change(&Tenants::new(0, [(Name::default_tenant(), limits)].into()));
    world
}

async fn enqueue_bytes(guest: &mut Guest, task: &str, bytes: usize) -> Result<String, Error> {
    soon(guest.imports().enqueue(task.to_owned(), When::After(1000), vec![7; bytes], None)).await.split_trap().unwrap()
}

#[tokio::test]
async fn a_run_is_refused_when_the_inputs_of_the_tasks_waiting_runs_take_their_limit() {
    let world = narrow(&["a", "b"]);
    let mut guest = world.guest().await;

    for _ in 0..7 {
        enqueue_bytes(&mut guest, "a", 128 * KIB).await.unwrap();
    }
    for _ in 0..2 {
        assert!(matches!(enqueue_bytes(&mut guest, "a", 128 * KIB).await, Err(Error::TooLarge)), "each row takes some");
    }
    assert!(enqueue_bytes(&mut guest, "a", 0).await.is_ok(), "a run without input takes no room");
    assert!(enqueue_bytes(&mut guest, "b", 128 * KIB).await.is_ok(), "another task has room of its own");

    let log = guest.order.handle.stored_log().text;
    assert_eq!(log.matches("[enqueued] task").count(), 1, "{log}");
}

#[tokio::test]
async fn all_tasks_of_a_tenant_share_the_limit_for_inputs_of_waiting_runs() {
    let world = narrow(&["a", "b", "c", "d"]);
    let mut guest = world.guest().await;

    for task in ["a", "b", "c"] {
        for _ in 0..7 {
            enqueue_bytes(&mut guest, task, 128 * KIB).await.unwrap();
        }
    }
    // The runs take 21 of 24 places.
    let last: Vec<bool> = [
        enqueue_bytes(&mut guest, "d", 128 * KIB).await,
        enqueue_bytes(&mut guest, "d", 128 * KIB).await,
        enqueue_bytes(&mut guest, "d", 128 * KIB).await,
    ]
    .iter()
    .map(Result::is_ok)
    .collect();

    assert_eq!(last, [true, true, false]);
    let log = guest.order.handle.stored_log().text;
    assert!(log.contains("[enqueued] tenant"), "{log}");
}

#[tokio::test]
async fn a_run_that_is_due_beyond_the_horizon_is_refused() {
    let world = World::new();
    world.add_tasks(&["other"]);
    let mut guest = world.guest().await;
    let ten_years = 3660 * 24 * 3600 * 1000;

    for when in [When::At(u64::MAX), When::After(u64::MAX), When::After(ten_years + 1)] {
        let answer = soon(guest.imports().enqueue("other".to_owned(), when, vec![], None)).await.split_trap().unwrap();
        assert!(matches!(&answer, Err(Error::Other(why)) if why.contains("ahead")), "{when:?}: {answer:?}");
    }
    let answer = soon(guest.imports().enqueue("other".to_owned(), When::After(ten_years), vec![], None))
        .await
        .split_trap()
        .unwrap();
    assert!(answer.is_ok(), "{answer:?}");
}

//! Tests locks through the import, on a real store.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::attempt::{Interrupt, InterruptReason, Stop};
use crate::imports::testing::{Guest, SplitTrap as _, World, eventually, grants, named, soon};
use sexton_domain::lifecycle::Transition;
use sexton_domain::task::Name;

use super::*;

const LONG: u64 = 1 << 40;

type Answer = wasmtime::Result<Result<Resource<HeldLock>, Error>>;

async fn acquire(guest: &mut Guest, name: &str, mode: Mode, wait: u64) -> Answer {
    soon(guest.imports().acquire(name.to_owned(), mode, wait)).await.split_trap()
}

/// Takes a lock that is free.
async fn take(guest: &mut Guest, name: &str, mode: Mode) -> Resource<HeldLock> {
    acquire(guest, name, mode, 0).await.unwrap().unwrap()
}

async fn release(guest: &mut Guest, lock: Resource<HeldLock>) {
    soon(HostLock::drop(&mut guest.imports(), lock)).await.unwrap();
}

fn interrupt(answer: Answer) -> Interrupt {
    answer.expect_err("it should have trapped").downcast().expect("it should be an interrupt")
}

/// Lets a guest wait for the lock `a`, and returns once it is in the queue. The guest sends `number` when it has the
/// lock, and releases it.
async fn waiter(
    world: &World,
    mode: Mode,
    number: u32,
    got: &mpsc::UnboundedSender<u32>,
) -> tokio::task::JoinHandle<()> {
    let before = world.services.lock_waits.waiting(&named("a"));
    let mut guest = world.guest().await;
    let got = got.clone();
    let waiter = tokio::spawn(async move {
        let lock = acquire(&mut guest, "a", mode, LONG).await.unwrap().unwrap();
        got.send(number).unwrap();
        release(&mut guest, lock).await;
    });
    eventually(|| world.services.lock_waits.waiting(&named("a")) > before).await;
    waiter
}

#[tokio::test]
async fn a_lock_belongs_to_one_run_until_it_is_dropped() {
    let world = World::new();
    let (mut one, mut other) = (world.guest().await, world.guest().await);
    let lock = take(&mut one, "a", Mode::Exclusive).await;
    let fence = one.imports().fence(Resource::new_borrow(lock.rep())).unwrap();

    assert!(matches!(acquire(&mut other, "a", Mode::Exclusive, 0).await, Ok(Err(Error::Held))));
    assert!(matches!(acquire(&mut other, "a", Mode::Shared, 20).await, Ok(Err(Error::Held))));
    release(&mut one, lock).await;

    let lock = take(&mut other, "a", Mode::Exclusive).await;
    assert!(other.imports().fence(lock).unwrap() > fence);
}

#[tokio::test]
async fn a_run_does_not_wait_for_itself() {
    let world = World::new();
    let mut guest = world.guest().await;
    let lock = take(&mut guest, "a", Mode::Shared).await;

    for mode in [Mode::Exclusive, Mode::Shared] {
        assert!(matches!(acquire(&mut guest, "a", mode, LONG).await, Ok(Err(Error::Held))));
    }

    release(&mut guest, lock).await;
    take(&mut guest, "a", Mode::Exclusive).await;
}

#[tokio::test]
async fn names_are_checked_before_anything_else() {
    let world = World::new();
    let mut guest = world.guest_of("caller", grants(&["mine/*"])).await;

    for name in [String::new(), "x".repeat(257)] {
        assert!(matches!(acquire(&mut guest, &name, Mode::Shared, 0).await, Ok(Err(Error::BadName))), "{name}");
    }
    assert!(matches!(acquire(&mut guest, "theirs", Mode::Shared, 0).await, Ok(Err(Error::AccessDenied))));
    take(&mut guest, &format!("mine/{}", "é\0'\n".repeat(50)), Mode::Shared).await;
}

// The runs are on several threads, so that the order is not just the one in which a single thread wakes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiters_are_served_in_the_order_they_came() {
    let world = World::new();
    let (got, mut order) = mpsc::unbounded_channel();
    let mut holder = world.guest().await;
    let lock = take(&mut holder, "a", Mode::Exclusive).await;
    for number in 0..40 {
        waiter(&world, Mode::Exclusive, number, &got).await;
    }

    release(&mut holder, lock).await;

    for number in 0..40 {
        assert_eq!(soon(order.recv()).await, Some(number));
    }
}

#[tokio::test]
async fn a_guest_that_is_dropped_in_a_wait_does_not_block_the_guests_behind_it() {
    let world = World::new();
    let (got, mut order) = mpsc::unbounded_channel();
    let mut holder = world.guest().await;
    let lock = take(&mut holder, "a", Mode::Exclusive).await;
    let first = waiter(&world, Mode::Exclusive, 0, &got).await;
    let second = waiter(&world, Mode::Exclusive, 1, &got).await;
    waiter(&world, Mode::Exclusive, 2, &got).await;

    first.abort();
    second.abort();
    eventually(|| world.services.lock_waits.waiting(&named("a")) == 1).await;
    release(&mut holder, lock).await;

    assert_eq!(soon(order.recv()).await, Some(2));
}

#[tokio::test]
async fn sharers_hold_a_lock_together() {
    let world = World::new();
    let mut holder = world.guest().await;
    let lock = take(&mut holder, "a", Mode::Exclusive).await;
    let together = Arc::new(tokio::sync::Barrier::new(3));
    let mut waiters = Vec::new();
    for _ in 0..3 {
        let (mut guest, together) = (world.guest().await, Arc::clone(&together));
        waiters.push(tokio::spawn(async move {
            let lock = acquire(&mut guest, "a", Mode::Shared, LONG).await.unwrap().unwrap();
            // The barrier opens only if all three hold the lock at once.
            together.wait().await;
            release(&mut guest, lock).await;
        }));
    }
    eventually(|| world.services.lock_waits.waiting(&named("a")) == 3).await;

    release(&mut holder, lock).await;

    for waiter in waiters {
        soon(waiter).await.unwrap();
    }
}

#[tokio::test]
async fn a_sharer_does_not_overtake_a_waiter_that_wants_the_lock_alone() {
    let world = World::new();
    let (got, mut order) = mpsc::unbounded_channel();
    let (mut holder, mut late) = (world.guest().await, world.guest().await);
    let lock = take(&mut holder, "a", Mode::Shared).await;
    waiter(&world, Mode::Exclusive, 0, &got).await;

    assert!(matches!(acquire(&mut late, "a", Mode::Shared, 0).await, Ok(Err(Error::Held))));
    assert!(matches!(acquire(&mut late, "a", Mode::Shared, 20).await, Ok(Err(Error::Held))));
    waiter(&world, Mode::Shared, 1, &got).await;
    release(&mut holder, lock).await;

    assert_eq!([soon(order.recv()).await, soon(order.recv()).await], [Some(0), Some(1)]);
}

#[tokio::test]
async fn the_end_of_the_holders_run_gives_the_lock_to_the_next_waiter() {
    let world = World::new();
    let (got, mut order) = mpsc::unbounded_channel();
    let mut holder = world.guest().await;
    let _lock = take(&mut holder, "a", Mode::Exclusive).await;
    waiter(&world, Mode::Exclusive, 7, &got).await;

    holder.finish(Transition::Fail).await;

    assert_eq!(soon(order.recv()).await, Some(7));
}

#[tokio::test]
async fn a_wait_ends_with_the_run_in_a_trap_that_names_the_call() {
    let world = World::new();
    let mut holder = world.guest().await;
    let _lock = take(&mut holder, "a", Mode::Exclusive).await;

    let claim = world.claim("caller").await;
    let mut hurried = world.guest_in(claim, grants(&["*"]), Duration::from_millis(50));
    let ended = interrupt(acquire(&mut hurried, "a", Mode::Shared, LONG).await);
    assert_eq!(ended, Interrupt { why: InterruptReason::Deadline, in_call: "locks.acquire" });

    let mut killed = world.guest().await;
    let handle = Arc::clone(&killed.order.handle);
    let waiting = tokio::spawn(async move { acquire(&mut killed, "a", Mode::Exclusive, LONG).await });
    eventually(|| world.services.lock_waits.waiting(&named("a")) == 1).await;
    handle.stop(Stop::Killed("by hand".to_owned()));
    let ended = interrupt(soon(waiting).await.unwrap());
    assert_eq!(ended.why, InterruptReason::Stopped(Stop::Killed("by hand".to_owned())));
    assert_eq!(world.services.lock_waits.waiting(&named("a")), 0);
}

#[tokio::test]
async fn two_runs_that_take_two_locks_in_opposite_order_do_not_wait_for_ever() {
    let world = World::new();
    let (mut one, mut other) = (world.guest().await, world.guest().await);
    let _a = take(&mut one, "a", Mode::Exclusive).await;
    let b = take(&mut other, "b", Mode::Exclusive).await;
    let handle = Arc::clone(&one.order.handle);
    let waiting = tokio::spawn(async move { acquire(&mut one, "b", Mode::Exclusive, LONG).await.unwrap().is_ok() });
    eventually(|| world.services.lock_waits.list(&Name::default_tenant()).len() == 1).await;
    let shown = handle.usage.snapshot().waiting.unwrap();
    assert_eq!((shown.call, shown.what.as_deref()), ("locks.acquire", Some("b")));

    assert!(matches!(acquire(&mut other, "a", Mode::Shared, 0).await, Ok(Err(Error::Held))), "it would not wait");
    let told = acquire(&mut other, "a", Mode::Shared, LONG).await;

    assert!(matches!(told, Ok(Err(Error::Deadlock))), "{told:?}");
    let (log, _) = other.order.handle.lines(0);
    assert!(log[0].message.starts_with("deadlock: run ") && log[0].message.contains("waits for lock `a`"), "{log:?}");
    release(&mut other, b).await;
    assert!(soon(waiting).await.unwrap(), "the other one goes on");
    assert!(handle.usage.lock_wait() > Duration::ZERO);
}

#[tokio::test]
async fn the_time_of_a_wait_is_counted_however_the_wait_ends() {
    let world = World::new();
    let (mut holder, mut late) = (world.guest().await, world.guest().await);
    let _lock = take(&mut holder, "a", Mode::Exclusive).await;
    assert_eq!(holder.order.handle.usage.lock_wait(), Duration::ZERO, "it did not wait");

    assert!(matches!(acquire(&mut late, "a", Mode::Exclusive, 30).await, Ok(Err(Error::Held))));
    let waited = late.order.handle.usage.lock_wait();
    assert!(waited >= Duration::from_millis(25), "{waited:?}");

    let claim = world.claim("caller").await;
    let mut hurried = world.guest_in(claim, grants(&["*"]), Duration::from_millis(30));
    interrupt(acquire(&mut hurried, "a", Mode::Exclusive, LONG).await);
    assert!(hurried.order.handle.usage.lock_wait() > Duration::ZERO);
    assert!(world.services.lock_waits.list(&Name::default_tenant()).is_empty());
}

#[tokio::test]
async fn a_run_that_has_lost_its_claim_gets_no_lock_and_ends() {
    let world = World::new();
    let mut guest = world.guest().await;
    guest.finish(Transition::Fail).await;

    let ended = interrupt(acquire(&mut guest, "a", Mode::Exclusive, LONG).await);

    assert_eq!(ended.why, InterruptReason::Stopped(Stop::ClaimLost));
    take(&mut world.guest().await, "a", Mode::Exclusive).await;
}

#[tokio::test]
async fn a_guest_holds_no_more_locks_than_handles() {
    let world = World::new();
    let mut guest = world.guest().await;
    guest.table.set_max_capacity(10);

    let mut taken = 0;
    let trap = loop {
        match acquire(&mut guest, &format!("lock {taken}"), Mode::Exclusive, 0).await {
            Ok(lock) => drop(lock.unwrap()),
            Err(trap) => break trap,
        }
        taken += 1;
    };

    assert_eq!(taken, 10);
    assert!(trap.is::<wasmtime::component::ResourceTableError>(), "{trap}");
}

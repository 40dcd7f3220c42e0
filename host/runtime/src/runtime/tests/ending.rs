//! Tests guests that do not stop by themselves.

use sexton_store::locks::Locks as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attempt::{Ended, Order, Stop};
use crate::runtime::lanes::{Expected, GuestTask};
use sexton_domain::lifecycle::Ending;
use sexton_domain::run::Outcome;
use sexton_domain::task::{Limits, Pattern, Task};
use sexton_store::{LockKind, LockMode, LockName};

use super::rig::{
    GUEST_THREADS, Rig, SLACK, component, limits, order, program, runner, sleeping, task, timed, under_way,
};

const DEADLINE: Duration = Duration::from_millis(200);

fn short() -> Limits {
    Limits { deadline: DEADLINE, ..limits() }
}

async fn ends_in_time(rig: &Rig, wasm: Vec<u8>, limits: Limits) -> Ended {
    let task = Arc::new(Task { limits, ..task() });
    let prepared = rig.prepare(wasm, &task).await.unwrap();
    let (ended, took) = timed(rig.runtime.run(&prepared, order(&task))).await;
    assert!(took >= DEADLINE, "it ended after {took:?}, before its deadline: {ended:?}");
    assert!(took < DEADLINE + SLACK, "it ended only after {took:?}: {ended:?}");
    assert_eq!(ended.report().outcome, Outcome::TimedOut, "{ended:?}");
    ended
}

#[tokio::test]
async fn a_guest_that_spins_ends_at_its_deadline_and_says_where_it_was() {
    let rig = Rig::new();

    let ended = ends_in_time(&rig, program("", "(loop $again br $again) unreachable"), short()).await;

    assert_eq!(ended.report().backtrace.as_deref(), Some("run"), "{ended:?}");
    assert!(ended.report().message.as_deref().unwrap().contains("deadline of 200ms, while it was computing"));
    assert!(ended.report().accounts.fuel > 1_000_000, "an interrupted run is billed: {ended:?}");
    // A million units take half a millisecond. The guest had far longer, but a busy machine may have given it little of
    // the processor.
    assert!(ended.report().accounts.guest >= Duration::from_micros(100), "{ended:?}");
    assert!(ended.report().accounts.host < DEADLINE / 2, "{ended:?}");
    assert_eq!(ended.report().accounts.host_calls, 0, "{ended:?}");
}

#[tokio::test]
async fn a_guest_that_spins_in_its_start_section_ends_at_its_deadline() {
    let rig = Rig::new();

    let wasm = program("(func $begin (loop $again br $again)) (start $begin)", "i32.const 0");
    let ended = ends_in_time(&rig, wasm, short()).await;

    assert_eq!(ended.report().backtrace.as_deref(), Some("begin"), "{ended:?}");
}

#[tokio::test]
async fn a_guest_that_copies_64_mib_over_and_over_ends_at_its_deadline() {
    let rig = Rig::new();

    let copy = "(loop $again (memory.copy (i32.const 0) (i32.const 1) (i32.const 67108863)) br $again) unreachable";
    let ended = ends_in_time(&rig, program("(memory 1024)", copy), short()).await;

    assert!(ended.report().accounts.fuel > 64 << 20, "copies are paid by the byte: {ended:?}");
}

#[tokio::test]
async fn a_guest_that_sleeps_in_a_host_call_ends_at_its_deadline_and_says_where_it_was() {
    let rig = Rig::new();

    let ended = ends_in_time(&rig, sleeping(), short()).await;

    assert_eq!(ended.report().backtrace.as_deref(), Some("nap\nrun"), "{ended:?}");
    assert!(ended.report().message.as_deref().unwrap().contains("waiting in a host call"), "{ended:?}");
    let accounts = &ended.report().accounts;
    assert!(accounts.host > Duration::ZERO && accounts.host + accounts.queued > DEADLINE / 2, "{ended:?}");
    assert_eq!(ended.report().accounts.host_calls, 2, "{ended:?}");
}

#[tokio::test]
async fn a_guest_has_all_of_its_deadline_however_long_its_attempt_waited_before() {
    let rig = Rig::new();
    let task = Arc::new(Task { limits: short(), ..task() });
    let prepared = rig.prepare(sleeping(), &task).await.unwrap();
    let order = order(&task);
    tokio::time::sleep(DEADLINE).await; // stands for a wait for the lock of the task

    let (ended, took) = timed(rig.runtime.run(&prepared, order)).await;

    assert!(took >= DEADLINE, "it ended after {took:?}: {ended:?}");
}

/// Keeps the threads that begin guests from their work, until what this returns is dropped.
async fn keep_busy(rig: &Rig) -> Vec<std::sync::mpsc::Sender<()>> {
    let mut holds = Vec::new();
    for _ in 0..GUEST_THREADS {
        let order = order(&Arc::new(task()));
        let far = Instant::now() + Duration::from_secs(3600);
        let turn = GuestTask::new(far, order.task.key.tenant.clone(), Expected::Unknown, Arc::clone(&order.handle));
        let ((hold, held), (begins, begun)) = (std::sync::mpsc::channel::<()>(), tokio::sync::oneshot::channel());
        rig.runtime
            .env
            .lanes
            .spawn(Arc::new(turn), async move {
                begins.send(()).unwrap();
                assert!(held.recv().is_err(), "it is dropped");
            })
            .detach();
        begun.await.unwrap();
        holds.push(hold);
    }
    holds
}

#[tokio::test]
async fn a_guest_that_waits_for_a_guest_thread_is_not_idle() {
    let rig = Rig::new();
    let limit = Duration::from_millis(20);
    let task = Arc::new(Task { limits: Limits { idle: Some(limit), ..limits() }, ..task() });
    let prepared = rig.prepare(program("", "i32.const 0"), &task).await.unwrap();
    let busy = keep_busy(&rig).await;

    let mut run = std::pin::pin!(rig.runtime.run(&prepared, order(&task)));
    // Nothing tells that the guest is not ended, so there is many times the limit to do so.
    assert!(tokio::time::timeout(limit * 10, run.as_mut()).await.is_err(), "it has no thread");
    drop(busy);
    let ended = run.await;

    assert_eq!(ended.report().outcome, Outcome::Succeeded, "{ended:?}");
}

#[tokio::test]
async fn a_guest_that_waits_for_a_guest_thread_goes_back_at_a_shutdown() {
    let rig = Rig::new();
    let task = Arc::new(task());
    let prepared = rig.prepare(sleeping(), &task).await.unwrap();
    let busy = keep_busy(&rig).await;
    let order = order(&task);
    let handle = Arc::clone(&order.handle);
    let mut run = std::pin::pin!(rig.runtime.run(&prepared, order));
    assert!(futures_util::poll!(run.as_mut()).is_pending());

    handle.announce_shutdown();
    drop(busy);
    let ended = run.await;

    assert_eq!(ended.ending(), &Ending::Other(Outcome::Lost));
    let message = "ended before a guest thread was free: its host takes no more runs";
    assert_eq!(ended.report().message.as_deref(), Some(message));
}

#[tokio::test]
async fn a_guest_that_waits_for_a_lock_ends_at_its_deadline_and_names_the_call() {
    let rig = Rig::new();
    let mut task = Task { limits: short(), ..task() };
    task.grants.locks.push(Pattern("*".into()));
    let claims = rig.claims(&task, 2).await;
    let lock = LockName { tenant: task.key.tenant.clone(), kind: LockKind::Named, name: "door".into() };
    rig.store.acquire_lock(lock, LockMode::Exclusive, claims[0].key, claims[0].due_at).await.unwrap();
    let acquire = r#"(import "sexton:task/locks@0.1.0" "acquire" (func $acquire (param i32 i32 i32 i64 i32)))"#;
    let body =
        "(call $acquire (i32.const 64) (i32.const 4) (i32.const 0) (i64.const 3600000) (i32.const 0)) unreachable";
    let task = Arc::new(task);
    let prepared = rig.prepare(runner("door", acquire, body), &task).await.unwrap();

    let order = Order { claim: Arc::new(claims[1].clone()), ..order(&task) };
    let (ended, took) = timed(rig.runtime.run(&prepared, order)).await;

    assert!(took < DEADLINE + SLACK, "it ended only after {took:?}");
    assert_eq!(ended.report().outcome, Outcome::TimedOut, "{ended:?}");
    assert!(ended.report().message.as_deref().unwrap().ends_with("in `locks.acquire`"), "{ended:?}");
    assert!(ended.report().backtrace.as_deref().unwrap().ends_with("run"), "{ended:?}");
}

#[tokio::test]
async fn a_guest_that_spins_in_its_post_return_function_ends_at_its_deadline() {
    let rig = Rig::new();

    let wasm = runner(
        "",
        r#"(func (export "cabi_post_sexton:task/runner@0.1.0#run") (param i32) (loop $again br $again))"#,
        "i32.const 0",
    );
    ends_in_time(&rig, wasm, short()).await;
}

#[tokio::test]
async fn a_killed_guest_ends_at_once_whether_it_computes_or_waits() {
    let rig = Rig::new();
    for wasm in [program("", "(loop $again br $again) unreachable"), sleeping()] {
        let task = Arc::new(task());
        let prepared = rig.prepare(wasm, &task).await.unwrap();
        let order = order(&task);
        let handle = Arc::clone(&order.handle);

        let run = rig.runtime.run(&prepared, order);
        tokio::pin!(run);
        tokio::select! {
            ended = &mut run => panic!("it ended by itself: {ended:?}"),
            () = under_way(&handle) => handle.stop(Stop::Killed("enough".into())),
        }
        let (ended, took) = timed(run).await;

        assert!(took < SLACK, "it took {took:?}");
        assert_eq!(ended.ending(), &Ending::Other(Outcome::Killed));
        assert_eq!(ended.report().message.as_deref(), Some("enough"));
        assert!(ended.report().backtrace.is_some(), "{ended:?}");
    }
}

#[tokio::test]
async fn a_shutdown_loses_the_run_and_a_lost_claim_is_reported_as_such() {
    let rig = Rig::new();
    for (stop, lost) in [(Stop::Shutdown, false), (Stop::ClaimLost, true)] {
        let task = Arc::new(task());
        let prepared = rig.prepare(sleeping(), &task).await.unwrap();
        let order = order(&task);
        order.handle.stop(stop);

        let ended = rig.runtime.run(&prepared, order).await;

        assert_eq!(ended.ending(), &Ending::Other(Outcome::Lost));
        assert_eq!(ended.claim_lost, lost);
    }
}

#[tokio::test]
async fn a_stopped_runtime_gives_up_its_guests_and_takes_no_more() {
    let rig = Rig::new();
    let task = Arc::new(task());
    let mut running = Vec::new();
    for wasm in [sleeping(), program("", "(loop $again br $again) unreachable")] {
        let prepared = rig.prepare(wasm, &task).await.unwrap();
        let (runtime, order) = (Arc::clone(&rig.runtime), order(&task));
        let handle = Arc::clone(&order.handle);
        running.push(tokio::spawn(async move { runtime.run(&prepared, order).await }));
        under_way(&handle).await;
    }
    let late = rig.prepare(sleeping(), &task).await.unwrap();

    let runtime = Arc::clone(&rig.runtime);
    tokio::task::spawn_blocking(move || runtime.stop()).await.unwrap();

    for run in running {
        let ended = tokio::time::timeout(SLACK, run).await.expect("it is given up at once").unwrap();
        assert_eq!(ended.ending(), &Ending::Other(Outcome::Lost), "{ended:?}");
    }
    let ended = rig.runtime.run(&late, order(&task)).await;
    assert_eq!(ended.ending(), &Ending::Other(Outcome::Lost), "{ended:?}");
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing_of_its_guest() {
    let rig = Rig::new();
    let task = Arc::new(task());
    let prepared = rig.prepare(sleeping(), &task).await.unwrap();
    let order = order(&task);
    let watched = Arc::clone(&order.handle);
    let handle = Arc::downgrade(&watched);

    {
        let run = rig.runtime.run(&prepared, order);
        tokio::pin!(run);
        tokio::select! {
            ended = &mut run => panic!("it ended by itself: {ended:?}"),
            () = under_way(&watched) => {}
        }
    }
    drop(watched);

    let gone = async {
        while handle.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SLACK, gone).await.expect("the guest is dropped on its thread");
}

#[tokio::test]
async fn a_hundred_spinning_guests_delay_neither_a_new_run_nor_their_own_ends() {
    let rig = Rig::new();
    let deadline = Duration::from_secs(10);
    let spin = Arc::new(Task { limits: Limits { deadline, ..limits() }, ..task() });
    let spinning = rig.prepare(program("", "(loop $again br $again) unreachable"), &spin).await.unwrap();
    let quick = Arc::new(task());
    let returning = rig.prepare(component(QUICK), &quick).await.unwrap();

    let mut spinners = Vec::new();
    for _ in 0..100 {
        let (runtime, prepared, order) = (Arc::clone(&rig.runtime), Arc::clone(&spinning), order(&spin));
        spinners.push(tokio::spawn(async move { timed(runtime.run(&prepared, order)).await }));
    }
    for _ in 0..50 {
        let ended = rig.runtime.run(&returning, order(&quick)).await;
        assert_eq!(ended.report().outcome, Outcome::Succeeded);
    }

    let spinning = spinners.iter().filter(|spinner| !spinner.is_finished()).count();
    assert_eq!(spinning, 100, "all new runs were over before any of them");
    for spinner in spinners {
        let (ended, took) = spinner.await.unwrap();
        assert_eq!(ended.report().outcome, Outcome::TimedOut);
        assert!(took < deadline + SLACK, "it ended only after {took:?}");
    }
}

const QUICK: &str = r#"(core module $m (func (export "run") (result i32) i32.const 0))
    (core instance $i (instantiate $m))
    (func $run (result (result)) (canon lift (core func $i "run")))
    (instance $export (export "run" (func $run)))
    (export "wasi:cli/run@0.2.0" (instance $export))"#;

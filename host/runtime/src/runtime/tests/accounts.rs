//! Tests that an interrupted run is charged for its use and no more, wherever it was.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::{Ended, RunHandle, Stop};
use sexton_domain::run::Outcome;
use sexton_domain::task::{Limits, Task};

use super::rig::{Rig, SLACK, component, limits, order, task};

/// Makes a program that does `inner` rounds and a host call, `outer` times over, then sleeps for an hour if `nap`. Its
/// accounts say how often it has called the host, and so how far it got. `call` is the host's function: `get` takes
/// next to no time, `fill` much time and no fuel.
pub(super) fn telling(inner: u32, outer: u32, call: &str, nap: bool) -> Vec<u8> {
    let nap = if nap { "(call $block (call $after (i64.const 3600000000000)))" } else { "" };
    component(&format!(
        r#"(import "wasi:random/insecure@0.2.0" (instance $random
             (export "get-insecure-random-u64" (func (result u64)))
             (export "get-insecure-random-bytes" (func (param "len" u64) (result (list u8))))))
           (import "wasi:io/poll@0.2.0" (instance $poll
             (export "pollable" (type $pollable (sub resource)))
             (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
           (alias export $poll "pollable" (type $pollable))
           (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
             (alias outer 1 $pollable (type $outer))
             (export "pollable" (type $pollable (eq $outer)))
             (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
           (core module $memory
             (memory (export "memory") 8)
             (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
           (core instance $memory (instantiate $memory))
           (core func $get (canon lower (func $random "get-insecure-random-u64")))
           (core func $bytes (canon lower (func $random "get-insecure-random-bytes")
             (memory $memory "memory") (realloc (func $memory "realloc"))))
           (core func $after (canon lower (func $clock "subscribe-duration")))
           (core func $block (canon lower (func $poll "[method]pollable.block")))
           (core module $m
             (func $random (import "host" "get") (result i64))
             (func $bytes (import "host" "bytes") (param i64 i32))
             (func $after (import "host" "after") (param i64) (result i32))
             (func $block (import "host" "block") (param i32))
             (func $get (drop (call $random)))
             (func $fill (call $bytes (i64.const 262144) (i32.const 0)))
             (func $run (export "run") (result i32) (local $i i32) (local $o i32)
               (local.set $o (i32.const {outer}))
               (loop $tell
                 (local.set $i (i32.const {inner}))
                 (loop $round (br_if $round (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
                 (call ${call})
                 (br_if $tell (local.tee $o (i32.sub (local.get $o) (i32.const 1)))))
               {nap}
               i32.const 0))
           (core instance $i (instantiate $m (with "host" (instance
             (export "get" (func $get)) (export "bytes" (func $bytes))
             (export "after" (func $after)) (export "block" (func $block))))))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $export (export "run" (func $run)))
           (export "wasi:cli/run@0.2.0" (instance $export))"#
    ))
}

/// Rounds between two calls, which cost about a quarter of a slice of fuel.
pub(super) const ROUNDS: u32 = 50_000;

/// Rounds that take some milliseconds, so that reading a thread's clock costs nothing beside them.
const MANY_ROUNDS: u32 = 20 * ROUNDS;

/// A number of rounds whose end no test sees.
pub(super) const ENDLESS: u32 = u32::MAX;

fn plenty() -> Limits {
    Limits { fuel: u64::MAX / 4, host_calls: u64::MAX / 4, ..limits() }
}

/// Returns the fuel charged for `times` calls with `inner` rounds each, without an interruption.
async fn uninterrupted(rig: &Rig, inner: u32, times: u32, call: &str) -> u64 {
    let ended = rig.run(telling(inner, times, call, false), plenty()).await;
    assert_eq!(ended.report().outcome, Outcome::Succeeded, "{ended:?}");
    assert_eq!(ended.report().accounts.host_calls, u64::from(times));
    ended.report().accounts.fuel
}

/// Returns the fuel charged before the first call, and for each call with its rounds.
async fn prices(rig: &Rig, inner: u32, call: &str) -> (u64, u64) {
    let (once, often) = (uninterrupted(rig, inner, 1, call).await, uninterrupted(rig, inner, 11, call).await);
    let each = (often - once) / 10;
    (once - each, each)
}

/// Asserts that `ended` was charged for the rounds that it did, which are those of its counted calls and some of those
/// up to the next; within one part in a hundred (or, if that is less, a twentieth of a slice).
fn charged_fairly(ended: &Ended, (start, each): (u64, u64)) {
    let accounts = &ended.report().accounts;
    let (least, most) = (start + accounts.host_calls * each, start + (accounts.host_calls + 1) * each);
    assert!(accounts.fuel + (least / 100).max(50_000) >= least, "less than {least} was charged: {ended:?}");
    assert!(accounts.fuel <= most + (most / 100).max(50_000), "more than {most} was charged: {ended:?}");
}

/// Runs `wasm` until it ends, or kills it `after` a time.
async fn run(rig: &Rig, wasm: Vec<u8>, limits: Limits, after: Option<Duration>) -> (Ended, Arc<RunHandle>) {
    let most = limits.deadline + SLACK;
    let task = Arc::new(Task { limits, ..task() });
    let prepared = rig.prepare(wasm, &task).await.unwrap();
    let order = order(&task);
    let handle = Arc::clone(&order.handle);
    let run = rig.runtime.run(&prepared, order);
    tokio::pin!(run);
    if let Some(after) = after {
        tokio::select! {
            ended = &mut run => panic!("it ended by itself: {ended:?}"),
            // The time until the kill is what the tests vary.
            () = tokio::time::sleep(after) => handle.stop(Stop::Killed("enough".into())),
        }
    }
    (tokio::time::timeout(most, run).await.expect("it ends in time"), handle)
}

/// Runs `wasm` with ample limits, and kills it `after` a time.
async fn killed(rig: &Rig, wasm: Vec<u8>, after: Duration) -> Ended {
    run(rig, wasm, plenty(), Some(after)).await.0
}

#[tokio::test]
async fn a_run_that_is_ended_while_it_computes_is_charged_what_it_used() {
    let rig = Rig::new();
    let prices = prices(&rig, ROUNDS, "get").await;

    for ms in [60, 111, 200, 333] {
        let deadline = Duration::from_millis(ms);
        let late = rig.run(telling(ROUNDS, ENDLESS, "get", false), Limits { deadline, ..plenty() }).await;
        assert_eq!(late.report().outcome, Outcome::TimedOut, "{late:?}");
        charged_fairly(&late, prices);

        let killed = killed(&rig, telling(ROUNDS, ENDLESS, "get", false), deadline).await;
        assert_eq!(killed.report().outcome, Outcome::Killed, "{killed:?}");
        charged_fairly(&killed, prices);
    }
}

#[tokio::test]
async fn a_run_that_runs_out_of_fuel_is_charged_all_of_it_and_has_used_it() {
    let rig = Rig::new();
    let prices = prices(&rig, ROUNDS, "get").await;

    for fuel in [700_000, 33_333_333] {
        let ended = rig.run(telling(ROUNDS, ENDLESS, "get", false), Limits { fuel, ..plenty() }).await;

        assert_eq!(ended.report().outcome, Outcome::OutOfFuel, "{ended:?}");
        assert_eq!(ended.report().accounts.fuel, fuel);
        charged_fairly(&ended, prices);
    }
}

#[tokio::test]
async fn a_run_that_is_ended_while_it_waits_is_charged_what_it_computed_before() {
    let rig = Rig::new();
    let computed = uninterrupted(&rig, ROUNDS, 40, "get").await;

    let deadline = Duration::from_secs(1);
    let late = rig.run(telling(ROUNDS, 40, "get", true), Limits { deadline, ..plenty() }).await;
    let killed = killed(&rig, telling(ROUNDS, 40, "get", true), deadline).await;

    for (ended, outcome) in [(late, Outcome::TimedOut), (killed, Outcome::Killed)] {
        assert_eq!(ended.report().outcome, outcome, "{ended:?}");
        assert!(ended.report().backtrace.as_ref().is_some_and(|at| at.ends_with("run")), "it was not waiting yet");
        let fuel = ended.report().accounts.fuel;
        assert!(fuel.abs_diff(computed) <= computed / 100, "{fuel} for what is {computed}");
    }
}

#[tokio::test]
async fn a_run_is_charged_no_fuel_for_work_of_the_host() {
    let rig = Rig::new();
    let prices = prices(&rig, 10, "fill").await;

    // Far less than a slice in all, with every turn cut by the ticker.
    for ms in [40, 90, 140] {
        let limits = Limits { deadline: Duration::from_millis(ms), ..plenty() };
        let ended = rig.run(telling(10, ENDLESS, "fill", false), limits).await;

        assert_eq!(ended.report().outcome, Outcome::TimedOut, "{ended:?}");
        charged_fairly(&ended, prices);
    }
}

/// Asserts that the guest of `ended` was charged for its processor time by its thread's own clock, within one part in a
/// hundred. That clock is read on both sides of the moment at which a guest enters the host, because reading it takes
/// longer than entering.
fn charged_for_what_it_took((ended, handle): &(Ended, Arc<RunHandle>), outcome: Outcome) {
    let charged = ended.report().accounts.guest;
    let [at_least, at_most] = [0, 1].map(|n: usize| handle.stopwatches[n].total());
    assert_eq!(ended.report().outcome, outcome, "{ended:?}");
    assert!(charged >= at_least - at_least / 100, "{charged:?} were charged for {at_least:?}: {ended:?}");
    assert!(charged <= at_most + at_most / 100, "{charged:?} were charged for {at_most:?}: {ended:?}");
}

#[tokio::test]
async fn a_run_that_is_ended_is_charged_the_processor_time_of_its_guest() {
    let rig = Rig::new();
    let deadline = Duration::from_millis(300);

    for (inner, call) in [(ENDLESS, "get"), (MANY_ROUNDS, "get"), (MANY_ROUNDS, "fill")] {
        let wasm = || telling(inner, ENDLESS, call, false);
        let late = run(&rig, wasm(), Limits { deadline, ..plenty() }, None).await;
        charged_for_what_it_took(&late, Outcome::TimedOut);
        let killed = run(&rig, wasm(), plenty(), Some(deadline)).await;
        charged_for_what_it_took(&killed, Outcome::Killed);
    }
    let asleep = run(&rig, telling(MANY_ROUNDS, 4, "get", true), Limits { deadline, ..plenty() }, None).await;
    charged_for_what_it_took(&asleep, Outcome::TimedOut);
    let all_of_it =
        run(&rig, telling(MANY_ROUNDS, ENDLESS, "get", false), Limits { fuel: 50_000_000, ..plenty() }, None).await;
    charged_for_what_it_took(&all_of_it, Outcome::OutOfFuel);
}

#[tokio::test]
async fn a_run_is_not_charged_for_the_processor_time_of_others() {
    let rig = Rig::new();
    let limits = Limits { deadline: Duration::from_secs(1), ..plenty() };

    // More runs than processors, so that the system makes them take turns.
    let runs = (0..8).map(|_| run(&rig, telling(MANY_ROUNDS, ENDLESS, "get", false), limits.clone(), None));
    for ended in futures_util::future::join_all(runs).await {
        charged_for_what_it_took(&ended, Outcome::TimedOut);
    }
}

#[tokio::test]
async fn a_short_run_is_not_charged_for_its_start() {
    let rig = Rig::new();

    // An interrupt of the machine counts as processor time of the thread that it hits, and takes more than a hundredth
    // of so short a run. A start would be charged each time, whereas the machine does not interrupt each of these runs
    // within the few moments between the two clocks.
    let mut tried = Vec::new();
    for _ in 0..20 {
        let short = run(&rig, telling(ROUNDS, 2, "get", false), plenty(), None).await;
        let (charged, took) = (short.0.report().accounts.guest, short.1.stopwatches[1].total());
        if charged <= took + took / 100 {
            return;
        }
        tried.push((charged, took));
    }
    panic!("more than it took was charged each time: {tried:?}");
}

//! Tests what guests return, and the limits that they reach.

use std::time::Duration;

use super::rig::{Rig, component, exiting, limits, program, runner, task};
use sexton_domain::lifecycle::Ending;
use sexton_domain::run::{Outcome, Output};
use sexton_domain::task::{Limits, Task};

#[tokio::test]
async fn a_task_that_returns_its_input_succeeds_with_it() {
    let rig = Rig::new();
    // ok(output { content-type: some("text/x"), body: input })
    let body = r#"(i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 12) (i32.const 64)) (i32.store (i32.const 16) (i32.const 6))
        (i32.store (i32.const 20) (local.get $input)) (i32.store (i32.const 24) (local.get $input_len))
        i32.const 0"#;

    let ended = rig.run(runner("text/x", "", body), limits()).await;

    let output = Output { content_type: Some("text/x".into()), body: b"the input".to_vec() };
    assert_eq!(ended.ending(), &Ending::Output(output), "{ended:?}");
    assert_eq!(ended.report().outcome, Outcome::Succeeded);
    assert!(ended.report().accounts.fuel > 0);
    assert_eq!(ended.report().accounts.peak_memory, 2 << 16);
}

#[tokio::test]
async fn failures_are_distinguished_and_keep_their_messages() {
    let rig = Rig::new();
    for (case, ending) in [
        (0, Ending::Other(Outcome::FailedTransient)),
        (1, Ending::Other(Outcome::FailedPermanent)),
        (2, Ending::Deferred(Duration::from_millis(64 + (5 << 32)))),
    ] {
        // err(case("words")), or err(deferred(..)), which lies in the same 8 bytes
        let body = format!(
            "(i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const {case}))
             (i32.store (i32.const 16) (i32.const 64)) (i32.store (i32.const 20) (i32.const 5))
             i32.const 0"
        );

        let ended = rig.run(runner("words", "", &body), limits()).await;

        assert_eq!(ended.ending(), &ending, "{ended:?}");
        assert_eq!(ended.report().message.as_deref(), (case < 2).then_some("words"));
    }
}

#[tokio::test]
async fn an_output_over_the_limit_fails_for_good() {
    let rig = Rig::new();
    let body = "(i32.store (i32.const 20) (i32.const 64)) (i32.store (i32.const 24) (i32.const 2000)) i32.const 0";

    let ended = rig.run(runner("", "", body), Limits { output: 1999, ..limits() }).await;

    assert_eq!(ended.ending(), &Ending::Other(Outcome::FailedPermanent));
    assert_eq!(ended.report().message.as_deref(), Some("its output of 2000 bytes is over its limit of 1999 bytes"));
}

#[tokio::test]
async fn a_program_succeeds_with_exit_code_0_and_fails_with_any_other() {
    let rig = Rig::new();

    for wasm in [program("", "i32.const 0"), exiting("(i32.const 0)")] {
        let ended = rig.run(wasm, limits()).await;
        let empty = Output { content_type: Some("text/plain; charset=utf-8".into()), body: Vec::new() };
        assert_eq!(ended.ending(), &Ending::Output(empty), "{ended:?}");
    }
    for wasm in [program("", "i32.const 1"), exiting("(i32.const 1)")] {
        let ended = rig.run(wasm, limits()).await;
        assert_eq!(ended.ending(), &Ending::Other(Outcome::FailedTransient), "{ended:?}");
        assert_eq!(
            ended.report().message.as_deref(),
            Some("exit code other than 0; WASI 0.2 does not tell the host which")
        );
    }
}

#[tokio::test]
async fn a_guest_that_uses_up_its_fuel_ends_out_of_fuel() {
    let rig = Rig::new();

    let wasm = program("", "(loop $again br $again) unreachable");
    let ended = rig.run(wasm, Limits { fuel: 3_000_000, ..limits() }).await;

    assert_eq!(ended.report().outcome, Outcome::OutOfFuel, "{ended:?}");
    assert_eq!(ended.report().accounts.fuel, 3_000_000);
    assert_eq!(ended.report().backtrace.as_deref(), Some("run"));
}

#[tokio::test]
async fn a_memory_bomb_exhausts_its_own_memory_and_not_the_hosts() {
    let rig = Rig::new();

    // Grows by 1 MiB until that is refused.
    let bomb = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let ended = rig.run(program("(memory 1)", bomb), Limits { memory: 8 << 20, ..limits() }).await;

    assert_eq!(ended.report().outcome, Outcome::OutOfMemory, "{ended:?}");
    assert_eq!(ended.report().accounts.peak_memory, (7 << 20) + (1 << 16));
}

#[tokio::test]
async fn a_component_that_starts_with_more_memory_than_it_may_have_runs_out_of_memory() {
    let rig = Rig::new();

    let ended = rig.run(program("(memory 1024)", "i32.const 0"), Limits { memory: 8 << 20, ..limits() }).await;

    assert_eq!(ended.report().outcome, Outcome::OutOfMemory, "{ended:?}");
}

#[tokio::test]
async fn several_memories_count_together() {
    let rig = Rig::new();

    let wasm = program("(memory 64) (memory 64) (memory 64)", "i32.const 0");
    let ended = rig.run(wasm, Limits { memory: 8 << 20, ..limits() }).await;

    assert_eq!(ended.report().outcome, Outcome::OutOfMemory, "{ended:?}");
}

#[tokio::test]
async fn a_table_bomb_is_refused_more_elements() {
    let rig = Rig::new();

    let bomb = "(loop $again (br_if $again (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let ended = rig.run(program("(table 1 funcref)", bomb), limits()).await;

    assert_eq!(ended.report().outcome, Outcome::Trapped, "{ended:?}");
    assert!(ended.report().message.as_deref().unwrap().starts_with("asked for more than its 20000 table elements"));
}

/// Makes a program that also has `count` instances of a module with `fields`.
fn crowd(count: usize, fields: &str) -> Vec<u8> {
    let crowd = "(core instance (instantiate $crowd))".repeat(count);
    component(&format!(
        r#"(core module $crowd {fields}) {crowd}
           (core module $m (func (export "run") (result i32) i32.const 0))
           (core instance $i (instantiate $m))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $export (export "run" (func $run)))
           (export "wasi:cli/run@0.2.0" (instance $export))"#
    ))
}

#[tokio::test]
async fn a_component_whose_core_instances_need_more_than_it_may_have_runs_out_of_memory() {
    let rig = Rig::new();
    // Passive segments of 32 kB in each of sixty instances, from a file of some kilobytes.
    let hoard = crowd(60, &format!("(func $f) (elem func {})", "$f ".repeat(2000)));
    assert!(hoard.len() < 10_000, "{}", hoard.len());

    let ended = rig.run(hoard.clone(), Limits { memory: 1 << 20, ..limits() }).await;

    assert_eq!(ended.report().outcome, Outcome::OutOfMemory, "{ended:?}");
    let message = ended.report().message.as_deref().unwrap();
    assert!(message.starts_with("asked for more than its 1048576 bytes of memory: the host would hold 1"), "{message}");
    assert!(message.contains("in tables and core instances"), "{message}");
    assert_eq!(ended.report().accounts.peak_memory, 0, "it must not be instantiated");

    let fits = rig.run(hoard, Limits { memory: 4 << 20, ..limits() }).await;
    assert_eq!(fits.report().outcome, Outcome::Succeeded, "{fits:?}");
    let peak = fits.report().accounts.peak_memory;
    assert!((60 * 32_000 - (64 << 10)..60 * 34_000).contains(&peak), "{peak}");
}

#[tokio::test]
async fn elements_of_tables_count_as_memory() {
    let rig = Rig::new();
    let bomb = "(loop $again (br_if $again (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable";
    let limits = Limits { memory: 256 << 10, table_elements: 100_000, ..limits() };

    let ended = rig.run(program("(table 1 funcref)", bomb), limits.clone()).await;
    assert_eq!(ended.report().outcome, Outcome::OutOfMemory, "{ended:?}");
    let message = ended.report().message.as_deref().unwrap();
    assert!(message.contains("in tables and core instances"), "{message}");

    let declared = rig.run(program("(table 90000 funcref)", "i32.const 0"), limits).await;
    assert_eq!(declared.report().outcome, Outcome::OutOfMemory, "{declared:?}");
}

#[tokio::test]
async fn a_component_as_compilers_make_it_is_not_charged_for_its_tables_and_instances() {
    let rig = Rig::new();

    let ended = rig.run(runner("", "(table 500 funcref)", "i32.const 8"), limits()).await;

    assert_eq!(ended.report().outcome, Outcome::Succeeded, "{ended:?}");
    assert_eq!(ended.report().accounts.peak_memory, 2 << 16);
}

#[tokio::test]
async fn endless_recursion_traps() {
    let rig = Rig::new();

    let ended = rig.run(program("(func $down call $down)", "call $down unreachable"), limits()).await;

    assert_eq!(ended.report().outcome, Outcome::Trapped, "{ended:?}");
    assert_eq!(ended.report().message.as_deref(), Some("wasm trap: call stack exhausted"));
}

#[tokio::test]
async fn a_trap_reports_its_reason_and_its_stack() {
    let rig = Rig::new();

    let ended = rig.run(program("(func $inner unreachable)", "call $inner i32.const 0"), limits()).await;

    assert_eq!(ended.report().outcome, Outcome::Trapped);
    assert_eq!(ended.report().message.as_deref(), Some("wasm trap: wasm `unreachable` instruction executed"));
    assert_eq!(ended.report().backtrace.as_deref(), Some("inner\nrun"));
}

const LOGS_FOR_EVER: &str = r#"(import "sexton:task/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

#[tokio::test]
async fn host_calls_are_counted_and_limited() {
    let rig = Rig::new();

    let body = "(loop $again (call $log (i32.const 1) (i32.const 64) (i32.const 2)) br $again) unreachable";
    let ended = rig.run(runner("hi", LOGS_FOR_EVER, body), Limits { host_calls: 5, ..limits() }).await;

    assert_eq!(ended.report().outcome, Outcome::Trapped, "{ended:?}");
    assert_eq!(ended.report().message.as_deref(), Some("made more than 5 host calls"));
    assert_eq!(ended.report().log.text.lines().count(), 5);
}

#[tokio::test]
async fn a_string_over_the_limit_never_reaches_the_host() {
    let rig = Rig::new();

    let body = "(call $log (i32.const 1) (i32.const 64) (i32.const 60000)) i32.const 0";
    let ended = rig.run(runner("hi", LOGS_FOR_EVER, body), Limits { host_call_bytes: 50_000, ..limits() }).await;

    assert_eq!(ended.report().outcome, Outcome::Trapped, "{ended:?}");
    assert_eq!(ended.report().message.as_deref(), Some("handed more than 50000 bytes to the host in one call"));
    assert_eq!(ended.report().log.text, "");
}

#[tokio::test]
async fn a_missing_granted_directory_refuses_the_run() {
    let rig = Rig::new();
    let mut task = task();
    task.grants.directories.push(sexton_domain::task::Directory {
        host: rig.directory.path().join("missing"),
        guest: "/data".into(),
        write: false,
        quota: None,
    });

    let ended = rig.run_task(program("", "i32.const 0"), Task { ..task }).await;

    assert_eq!(ended.report().outcome, Outcome::Refused, "{ended:?}");
    assert!(ended.report().message.as_deref().unwrap().contains("missing`"), "{ended:?}");
}

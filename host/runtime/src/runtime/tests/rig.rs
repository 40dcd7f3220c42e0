//! Sets up a runtime for tests, and makes components for it on the spot.

use sexton_store::claims::Claims as _;
use sexton_store::runs::Runs as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::attempt::{Ended, Order, RunHandle};
use crate::imports::Services;
use crate::imports::testing::RecordedRequests;
use crate::runtime::{Compiler, LoadError, Prepared, Refusal, Runtime, RuntimeConfig};
use crate::testkit::{self, first_claim, name};
use sexton_domain::run::{Cause, Claim, ClaimKey};
use sexton_domain::task::{Limits, Task};
use sexton_domain::tenant::Tenants;
use sexton_domain::time::Clock as _;
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_store::{ClaimRequest, NewRun, Store};
use sexton_system::clock::SystemClock;

/// Time after its deadline within which an attempt must end. It is far more than the promise of 50 ms, which holds for
/// a machine that does nothing else, because tests run beside compilers. A guest that is not ended at all takes a
/// minute.
pub(super) const SLACK: Duration = Duration::from_secs(20);

/// The number of threads for guests that begin, and of those for guests that spin.
pub(super) const GUEST_THREADS: usize = 2;

/// A runtime, and the directory of its compiled code.
pub(super) struct Rig {
    pub(super) runtime: Arc<Runtime>,
    pub(super) directory: Arc<tempfile::TempDir>,
    pub(super) store: Arc<SqliteStore>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// Makes a runtime that finds the code that another has compiled.
    pub(super) fn on(directory: Arc<tempfile::TempDir>) -> Self {
        let name = format!("{}.db", std::fs::read_dir(directory.path()).unwrap().count());
        let store = SqliteStore::open(directory.path().join(name), &SqliteOptions::default()).unwrap();
        let services = Services {
            store: Arc::clone(&store) as Arc<dyn Store>,
            clock: Arc::new(SystemClock),
            run_requests: Arc::new(RecordedRequests::default()),
            schedule_requests: Arc::new(RecordedRequests::default()),
            tenants: Arc::new(Tenants::only_default(1 << 20)),
            lock_waits: Arc::default(),
            virtual_time: None,
        };
        let config = RuntimeConfig {
            code_cache: directory.path().join("code"),
            guest_threads: GUEST_THREADS,
            slots: 128,
            max_memory: 512 << 20,
            tick: Duration::from_millis(5),
            max_component: 4 << 20,
            // These tests are about runs; children are for the end-to-end tests, which have the binary.
            compiler: Compiler::InProcess,
        };
        Self { runtime: Runtime::new(config, Arc::new(services)).unwrap(), directory, store }
    }

    /// Claims `n` new runs of `task`.
    pub(super) async fn claims(&self, task: &Task, n: usize) -> Vec<Claim> {
        let now = SystemClock.now();
        let run = NewRun::of(task.key.clone(), now, Cause::Demand);
        self.store.enqueue(vec![run; n], now).await.unwrap();
        let request = ClaimRequest { limit: n, ..testkit::claim_request([(task.key.clone(), 10)], now) };
        self.store.claim(request).await.unwrap().claims
    }

    pub(super) async fn load(&self, wasm: Vec<u8>) -> Result<Arc<crate::runtime::Component>, LoadError> {
        self.runtime.load(wasm).await
    }

    pub(super) async fn prepare(&self, wasm: Vec<u8>, task: &Arc<Task>) -> Result<Arc<Prepared>, Refusal> {
        let component = self.load(wasm).await.unwrap();
        self.runtime.prepare(&component, task)
    }

    /// Runs a component once within `limits`.
    pub(super) async fn run(&self, wasm: Vec<u8>, limits: Limits) -> Ended {
        self.run_task(wasm, Task { limits, ..task() }).await
    }

    pub(super) async fn run_task(&self, wasm: Vec<u8>, task: Task) -> Ended {
        let task = Arc::new(task);
        let prepared = self.prepare(wasm, &task).await.unwrap();
        self.runtime.run(&prepared, order(&task)).await
    }
}

/// Returns limits with a deadline so far away that only what is tested ends the run.
pub(super) fn limits() -> Limits {
    Limits { deadline: Duration::from_secs(60), ..Limits::default() }
}

pub(super) fn task() -> Task {
    Task { plugin: name("probes"), limits: limits(), args: vec!["--loud".into()], ..testkit::task("probe") }
}

pub(super) fn order(task: &Arc<Task>) -> Order {
    let order = testkit::order(ClaimKey { attempt: 2, ..first_claim(7) }, task, SystemClock.now());
    let claim = Claim { input: b"the input".to_vec(), failures: 1, ..Claim::clone(&order.claim) };
    Order { claim: Arc::new(claim), ..order }
}

/// Makes a program whose `run` has `body`, in a module that also has `fields`. 0 is success.
pub(super) fn program(fields: &str, body: &str) -> Vec<u8> {
    component(&format!(
        r#"(core module $m {fields} (func $run (export "run") (result i32) {body}))
           (core instance $i (instantiate $m))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $export (export "run" (func $run)))
           (export "wasi:cli/run@0.2.0" (instance $export))"#
    ))
}

/// Makes a program that calls `exit` with the status that `body` leaves.
pub(super) fn exiting(body: &str) -> Vec<u8> {
    component(&format!(
        r#"(import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
           (core func $exit (canon lower (func $exit "exit")))
           (core module $m
             (func $exit (import "host" "exit") (param i32))
             (func (export "run") (result i32) (call $exit {body}) i32.const 1))
           (core instance $i (instantiate $m (with "host" (instance (export "exit" (func $exit))))))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $export (export "run" (func $run)))
           (export "wasi:cli/run@0.2.0" (instance $export))"#
    ))
}

/// Makes a program that sleeps for an hour, in a host call.
pub(super) fn sleeping() -> Vec<u8> {
    component(
        r#"(import "wasi:io/poll@0.2.0" (instance $poll
             (export "pollable" (type $pollable (sub resource)))
             (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
           (alias export $poll "pollable" (type $pollable))
           (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
             (alias outer 1 $pollable (type $outer))
             (export "pollable" (type $pollable (eq $outer)))
             (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
           (core func $after (canon lower (func $clock "subscribe-duration")))
           (core func $block (canon lower (func $poll "[method]pollable.block")))
           (core module $m
             (func $after (import "host" "after") (param i64) (result i32))
             (func $block (import "host" "block") (param i32))
             (func $nap (call $block (call $after (i64.const 3600000000000))))
             (func $run (export "run") (result i32) call $nap i32.const 0))
           (core instance $i (instantiate $m
             (with "host" (instance (export "after" (func $after)) (export "block" (func $block))))))
           (func $run (result (result)) (canon lift (core func $i "run")))
           (instance $export (export "run" (func $run)))
           (export "wasi:cli/run@0.2.0" (instance $export))"#,
    )
}

pub(super) fn component(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {body})")).unwrap()
}

/// Makes a task from a core module as a compiler would: `run` has `body`, which leaves the address of its result.
/// `text` is at 64 for the body to return; `$input` and `$input_len` are the run's input.
pub(super) fn runner(text: &str, fields: &str, body: &str) -> Vec<u8> {
    let module = format!(
        r#"(module
             {fields}
             (memory (export "memory") 2)
             (data (i32.const 64) "{text}")
             (global $free (mut i32) (i32.const 65536))
             (func (export "cabi_realloc") (param i32 i32 i32 $size i32) (result i32)
               global.get $free
               global.get $free local.get $size i32.add i32.const 7 i32.add i32.const -8 i32.and global.set $free)
             (func $run (export "sexton:task/runner@0.1.0#run")
               (param i32 i32 i32 i32 i32 i64 i32) (param $input i32) (param $input_len i32) (result i32)
               {body}))"#
    );
    let module = module.replace("(param i32 i32 i32 $size i32)", "(param i32 i32 i32) (param $size i32)");
    let mut module = wat::parse_str(module).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("task")).unwrap();
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8).unwrap();
    wit_component::ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// Waits until the guest of a run computes, or waits in a host call.
pub(super) async fn under_way(handle: &RunHandle) {
    while handle.used().0 == 0 && handle.waiting_call(Duration::ZERO).is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await; // a guest gives no signal
    }
}

/// Returns the output of `work`, and how long it took.
pub(super) async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (work.await, start.elapsed())
}

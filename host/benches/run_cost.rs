//! Measures the cost of a run without the store, against the bare wasmtime calls in the same process and on the same
//! engine.
//!
//! `cargo bench --bench run_cost [-- COMPONENT [RUNS]]`. The component is a task that does nothing; the default is
//! `noop` of the test guests. Both sides make a fresh store, instantiate, call and drop, with fuel and epochs on. The
//! host's side adds limits, accounts, capture of stdout and stderr, imports, the queue to the guest threads and the way
//! back.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::bare::BareCalls;
use sexton::ops::Ops;
use sexton::plugins::manifest::Manifest;
use sexton_domain::run::{Cause, Claim, ClaimKey, Outcome, RunId};
use sexton_domain::task::{Name, Task};
use sexton_domain::tenant::Tenants;
use sexton_domain::time::Timestamp;
use sexton_runtime::attempt::{Order, RunHandle};
use sexton_runtime::catalog::Catalog;
use sexton_runtime::imports::Services;
use sexton_runtime::runtime::{Compiler, Prepared, Runtime, RuntimeConfig};
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_system::clock::SystemClock;

/// The runs that are under way at a time, so that no thread waits for the next.
const AT_ONCE: u64 = 64;

/// The measurements of each side, taken in turn. The best counts, because other work of the machine only adds to it.
const ROUNDS: usize = 7;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let wasm = arguments.next().map_or_else(default_component, PathBuf::from);
    let runs: u64 = arguments.next().map_or(Ok(20_000), |runs| runs.parse())?;
    let wasm = std::fs::read(&wasm).map_err(|e| anyhow::anyhow!("cannot read `{}`: {e}", wasm.display()))?;
    println!("{} bytes of component, {runs} runs a round, {AT_ONCE} at once, best of {ROUNDS} rounds", wasm.len());

    let mut worst: f64 = 0.0;
    for threads in [1, 2] {
        let bench = Bench::new(&wasm, threads)?;
        let (mut bare, mut ours) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            bare = bare.min(bench.bare.micros_each(runs, threads));
            ours = ours.min(bench.ours(runs));
        }
        let ratio = ours / bare;
        worst = worst.max(ratio);
        println!("{threads} guest thread(s): bare {bare:.2} us a run, ours {ours:.2} us a run, ratio {ratio:.2}");
        println!("figure run_cost_bare_us_{threads} {bare:.2} us");
        println!("figure run_cost_ours_us_{threads} {ours:.2} us");
        bench.runtime.stop();
    }
    println!("figure run_cost_ratio {worst:.2} x");
    Ok(())
}

fn default_component() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_BIN_EXE_sexton"));
    target.ancestors().nth(2).expect("it lies in target/release").join("guests/noop.wasm")
}

struct Bench {
    control: tokio::runtime::Runtime,
    runtime: Arc<Runtime>,
    prepared: Arc<Prepared>,
    task: Arc<Task>,
    bare: BareCalls,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(wasm: &[u8], threads: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let store = SqliteStore::open(directory.path().join("store.db"), &SqliteOptions::default())?;
        let tenants = Arc::new(Tenants::only_default(1 << 20));
        let (catalog, clock) = (Arc::<Catalog>::default(), Arc::new(SystemClock));
        let ops = Ops::new("bench".to_owned(), store.clone(), catalog, Arc::clone(&tenants), clock.clone());
        let services = Services {
            store,
            clock,
            run_requests: Arc::new(ops.clone()),
            schedule_requests: Arc::new(ops),
            tenants,
            lock_waits: Arc::default(),
            virtual_time: None,
        };
        let config = RuntimeConfig {
            code_cache: directory.path().join("code"),
            guest_threads: threads,
            slots: 256,
            max_memory: 512 << 20,
            tick: Duration::from_millis(5),
            max_component: 64 << 20,
            compiler: Compiler::InProcess,
        };
        let control = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let runtime = Runtime::new(config, Arc::new(services))?;
        let component = control.block_on(runtime.load(wasm.to_vec()))?;
        let task = Arc::new(task());
        let prepared = runtime.prepare(&component, &task)?;

        let bare = BareCalls::new(runtime.engine(), wasm)?;
        Ok(Self { control, runtime, prepared, task, bare, _directory: directory })
    }

    /// Returns the microseconds a run, by the wall clock, of the host's runtime.
    fn ours(&self, runs: u64) -> f64 {
        let todo = Arc::new(AtomicU64::new(runs));
        let start = Instant::now();
        self.control.block_on(async {
            let mut workers = tokio::task::JoinSet::new();
            for _ in 0..AT_ONCE {
                let (runtime, prepared, task) = (self.runtime.clone(), self.prepared.clone(), self.task.clone());
                let todo = todo.clone();
                workers.spawn(async move {
                    while todo.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                        let ended = runtime.run(&prepared, order(&task)).await;
                        assert_eq!(ended.report().outcome, Outcome::Succeeded, "{ended:?}");
                    }
                });
            }
            workers.join_all().await;
        });
        micros(start.elapsed(), runs)
    }
}

fn micros(time: Duration, runs: u64) -> f64 {
    time.as_secs_f64() * 1e6 / runs as f64
}

fn order(task: &Arc<Task>) -> Order {
    let key = ClaimKey { run: RunId(1), attempt: 1, fence: 1 };
    let at = Timestamp::default();
    Order {
        claim: Arc::new(Claim {
            key,
            task: task.key.clone(),
            due_at: at,
            run_at: at,
            cause: Cause::Demand,
            input: Vec::new(),
            failures: 0,
            claimed_at: at,
        }),
        task: task.clone(),
        handle: Arc::new(RunHandle::new(key, task.key.clone(), task.limits.log)),
    }
}

fn task() -> Task {
    let name = Name::new("noop").expect("it is a name");
    Manifest::for_plugin_without(&name).tasks(&Name::default_tenant(), &name, Path::new("/")).remove(0)
}

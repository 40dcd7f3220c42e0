//! Calls a task with wasmtime alone, which says what the machine can do.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use sexton_runtime::imports::bindings::TaskPre;
use sexton_runtime::imports::bindings::exports::sexton::task::runner;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// A task that does nothing, ready to be called with the least that a guest needs.
pub(crate) struct BareCalls {
    engine: Engine,
    task: TaskPre<Bare>,
}

struct Bare {
    table: ResourceTable,
    wasi: WasiCtx,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl BareCalls {
    pub(crate) fn new(engine: &Engine, wasm: &[u8]) -> anyhow::Result<Self> {
        let mut linker = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(anyhow::Error::from)?;
        let component = Component::from_binary(engine, wasm).map_err(anyhow::Error::from)?;
        let task = linker.instantiate_pre(&component).and_then(TaskPre::new).map_err(anyhow::Error::from)?;
        Ok(Self { engine: engine.clone(), task })
    }

    /// Makes an engine that counts fuel and epochs, as the host's does.
    pub(crate) fn with_own_engine(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut config = wasmtime::Config::new();
        config.consume_fuel(true).epoch_interruption(true);
        config.allocation_strategy(wasmtime::InstanceAllocationStrategy::pooling());
        Self::new(&Engine::new(&config).map_err(anyhow::Error::from)?, wasm)
    }

    /// Returns the microseconds a call, by the wall clock, of calls on this many threads.
    pub(crate) fn micros_each(&self, calls: u64, threads: usize) -> f64 {
        let todo = AtomicU64::new(calls);
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while todo.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                        at_once(self.call());
                    }
                });
            }
        });
        start.elapsed().as_secs_f64() * 1e6 / calls as f64
    }

    async fn call(&self) {
        let data = Bare { table: ResourceTable::new(), wasi: WasiCtx::builder().build() };
        let mut store = Store::new(&self.engine, data);
        store.set_fuel(u64::MAX).expect("fuel is on");
        store.set_epoch_deadline(1 << 40);
        let task = self.task.instantiate_async(&mut store).await.expect("there are slots");
        let request = runner::Request {
            run_id: "1".into(),
            task: "noop".into(),
            attempt: 1,
            due_at: 0,
            cause: runner::Cause::Demand,
            input: Vec::new(),
        };
        let returned = task.sexton_task_runner().call_run(&mut store, &request).await;
        assert!(matches!(returned, Ok(Ok(_))), "the component is to do nothing, and do it well: {returned:?}");
    }
}

/// Returns the output of a future that never waits.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing is there that a bare call could wait for"),
    }
}

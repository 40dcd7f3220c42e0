//! Runs components within limits. Only this module and `imports` know wasmtime.
//!
//! The runtime knows nothing of retries, schedules, or what a run is for: it loads a component, checks the component's
//! imports against its task's grants, and runs it once per [`Order`], to an [`Ended`].

mod attempt;
mod attempt_env;
mod author;
mod backtrace;
mod classify;
mod code_cache;
mod compiler;
mod component_summary;
mod components;
mod config;
mod debug_info;
mod debug_lines;
mod diagnosis;
mod engine;
mod file_streams;
mod file_threads;
mod files;
mod filesystem;
mod guarded_call;
mod guest;
mod in_use;
mod instrumented_calls;
mod io_errors;
mod kinds;
mod lanes;
mod limits;
mod link;
#[cfg(unix)]
mod listing;
mod loader;
mod opening;
mod profile;
mod quota;
mod read_only;
mod resident;
mod sockets;
mod stdio;
mod streams;
mod symbolizer;
mod virtual_clocks;
mod wake_batch;
mod wasi_ctx;
mod wording;

#[cfg(test)]
mod tests;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{Either, select};

pub use author::is_of_author;
pub use compiler::child::{compile_if_asked, compile_in_process};
pub use component_summary::ComponentSummary;
pub use components::{Component, LoadError, digest};
pub use config::{CompileLimits, Compiler, RuntimeConfig, RuntimeError};
pub use kinds::Kind;
pub use link::{Prepared, Refusal};

pub use diagnosis::{Diagnosis, SampleInfo, Verdict};

use crate::attempt::{AllMemory, Ended, Order};
use crate::imports::Services;
use sexton_domain::run::ClaimKey;
use sexton_domain::task::Task;
use sexton_domain::tenant::Tenants;
use sexton_domain::time::Timestamp;

/// Loads components and runs them. Each host has one.
#[derive(Debug)]
pub struct Runtime {
    env: Arc<attempt_env::AttemptEnv>,
    loader: loader::Loader,
    linked: link::Linked,
    ticker: Arc<engine::Ticker>,
    max_memory: u64,
    /// The runtime that drives the guests' timers and sockets, so that neither the host's own work nor a guest delays
    /// them.
    io: Mutex<Option<tokio::runtime::Runtime>>,
}

/// Threads that look up names for guests, which the system only offers as blocking calls. Files have threads of their
/// own (`file_threads`).
const BLOCKING_THREADS: usize = 32;

impl Runtime {
    /// Reserves memory, and starts the threads that run guests.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`] if the system does not provide memory, threads, a compiler, or the directory for compiled code.
    pub fn new(config: RuntimeConfig, services: Arc<Services>) -> Result<Arc<Self>, RuntimeError> {
        let (wasm, code) = engine::build(&config)?;
        let max_memory = config.max_memory;
        let threads = match config.guest_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let apart = config.compiler.apart(&wasm, code, config.max_component)?;
        let lines = Arc::new(debug_lines::DebugLines::new(config.code_cache.clone(), apart.clone()));
        let symbolizer_thread = symbolizer::SymbolizerThread::start(Arc::clone(&lines))?;
        let loader = loader::Loader::start(wasm.clone(), apart, &config)?;
        let ticker = Arc::new(engine::Ticker::start(wasm.clone(), config.tick)?);
        let file_threads = file_threads::FileThreads::new()?;
        // Built late, because an early return would drop it, and it must not be dropped inside async code.
        let io = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("sexton-io")
            .enable_all()
            .build()
            .map_err(RuntimeError::Thread)?;
        let lanes = match lanes::Lanes::start(threads, Arc::clone(&ticker), io.handle()) {
            Ok(lanes) => lanes,
            Err(error) => {
                io.shutdown_background();
                return Err(error);
            }
        };
        let files = Arc::new(files::AllFiles::of_this_process());
        // Made after the engine has reserved its address space, which counts where data is limited (`ulimit -d`).
        let memory = Arc::new(AllMemory::of_this_process());
        let env = Arc::new(attempt_env::AttemptEnv {
            engine: wasm,
            services,
            lanes,
            symbolizer: lines,
            symbolizer_thread,
            files,
            file_threads,
            directories: Arc::default(),
            memory,
        });
        let (linked, io) = (Default::default(), Mutex::new(Some(io)));
        Ok(Arc::new(Self { env, loader, linked, ticker, max_memory, io }))
    }

    /// Returns the engine, for measuring what wasmtime costs by itself.
    pub fn engine(&self) -> &wasmtime::Engine {
        &self.env.engine
    }

    /// Returns the number of components that are loaded at once.
    pub fn loads_at_once(&self) -> usize {
        self.loader.threads()
    }

    /// Checks and compiles a component, or finds it compiled. `wasm` holds the bytes of its file. A component that
    /// takes long lets later ones pass; dropping the future gives up.
    ///
    /// # Errors
    ///
    /// [`LoadError`], one line that says what is wrong with the file.
    pub async fn load(self: &Arc<Self>, wasm: Vec<u8>) -> Result<Arc<Component>, LoadError> {
        self.load_by(wasm, Timestamp::from_millis(i64::MAX)).await
    }

    /// Does the same for a component that is needed at `due`: of those that wait to be compiled, the one that is needed
    /// first is next.
    ///
    /// # Errors
    ///
    /// The errors of [`Runtime::load`].
    pub async fn load_by(self: &Arc<Self>, wasm: Vec<u8>, due: Timestamp) -> Result<Arc<Component>, LoadError> {
        self.loader.load(wasm, due).await
    }

    /// Checks the imports of `component` against the grants of `task`, and links it. This takes about a millisecond;
    /// the result serves any number of runs of this task.
    ///
    /// # Errors
    ///
    /// [`Refusal`], which says what the manifest must grant, or what else does not fit.
    pub fn prepare(&self, component: &Arc<Component>, task: &Arc<Task>) -> Result<Arc<Prepared>, Refusal> {
        self.linking(component).prepare(task).map(Arc::new)
    }

    /// Links `component` for each of `tasks`. Tasks with the same grants are linked once, so thousands of tasks of one
    /// plugin, or of plugins with the same component, cost little more than one.
    ///
    /// # Errors
    ///
    /// The first task for which linking fails, and the reason.
    pub fn prepare_all<'a>(
        &self,
        component: &Arc<Component>,
        tasks: &'a [Arc<Task>],
    ) -> Result<Vec<Arc<Prepared>>, (&'a Arc<Task>, Refusal)> {
        let mut linking = self.linking(component);
        tasks.iter().map(|task| linking.prepare(task).map(Arc::new).map_err(|refusal| (task, refusal))).collect()
    }

    fn linking<'a>(&'a self, component: &'a Arc<Component>) -> link::Linking<'a> {
        let virtual_time = self.env.services.virtual_time.is_some();
        link::Linking::of(&self.env.engine, self.max_memory, virtual_time, component, &self.linked)
    }

    /// Returns the parts of the host that guests use, for what the host does on behalf of an attempt.
    pub fn services(&self) -> &Services {
        &self.env.services
    }

    /// Returns the tenants' limits.
    pub fn tenants(&self) -> &Tenants {
        &self.env.services.tenants
    }

    /// Makes one attempt. The guest runs on guest threads; when this returns (or is dropped) no instruction of the
    /// guest runs any more, and what it held is free.
    pub async fn run(&self, prepared: &Arc<Prepared>, order: Order) -> Ended {
        let tenant = order.task.key.tenant.clone();
        if let Some(time) = &self.env.services.virtual_time {
            order.handle.use_virtual_time(time, order.task.limits.deadline);
        }
        let turn =
            lanes::GuestTask::new(guest::deadline(&order), tenant, prepared.expected(), Arc::clone(&order.handle));
        let turn = Arc::new(turn);
        order.handle.usage.add_received(order.claim.input.len());
        let attempt = attempt::attempt(Arc::clone(&self.env), Arc::clone(prepared), order.clone(), Arc::clone(&turn));
        let ended = self.env.lanes.wait(self.env.lanes.spawn(turn, attempt));
        let ended = match order.task.limits.idle {
            Some(limit) => match select(pin!(ended), pin!(order.handle.watch_idle(limit))).await {
                Either::Left((ended, _)) => ended,
                Either::Right((never, _)) => match never {},
            },
            None => ended.await,
        };
        match ended {
            Some(ended) => ended,
            None => attempt::abandoned(&order, self.env.services.clock.now()),
        }
    }

    /// Returns a number from 0 to 1 for the jitter of a retry after the attempt `claim`.
    pub fn jitter_fraction(&self, claim: ClaimKey) -> f64 {
        self.env.services.virtual_time.as_ref().map_or_else(rand::random, |time| time.jitter_fraction(claim))
    }

    /// Has attempts that end from now on store their outcome soon, because the host stops: their stacks are told by names
    /// alone if more would take long.
    pub fn shorten_waits(&self) {
        self.env.symbolizer_thread.shorten_waits();
    }

    /// Returns whether [`Runtime::shorten_waits`] was called.
    pub fn has_shortened_waits(&self) -> bool {
        self.env.symbolizer_thread.has_shortened_waits()
    }

    /// Stops the runtime: drops guests that still run, wherever they stand, and waits for the threads that run them.
    ///
    /// It must not be called from a guest's import.
    pub fn stop(&self) {
        self.env.lanes.stop();
        self.ticker.stop();
        if let Some(io) = self.io.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Does not wait, because a blocking call that hangs would hang the host.
            io.shutdown_background();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
    }
}

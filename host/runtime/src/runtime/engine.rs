//! Makes the only wasmtime configuration, and runs the ticker that asks guests to yield.
//!
//! Fuel limits work repeatably, the epoch makes a guest yield, the deadline ends it (`watch`). Each alone has holes, so
//! all three are on.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use sexton_system::supervisor::{AfterPanic, Supervisor};

use super::{RuntimeConfig, RuntimeError};

/// Stack of guest code: deep enough for recursive parsers, shallow enough that endless recursion traps in microseconds.
const WASM_STACK: usize = 1 << 20;

/// Stack of a guest and of the host functions it calls; only touched pages take memory.
const FIBER_STACK: usize = 3 << 20;

/// Linear memory, per slot, that is cleared by hand instead of being given back to the kernel. Giving it back takes the
/// address space's lock, which made two guest threads slower than one. A Rust task that does nothing (1.1 MB of memory,
/// little of it touched) costs 7 us a run in wasmtime alone when only written pages are cleared, and 17 to 30 us when
/// all of this is cleared.
const KEEP_RESIDENT: usize = 64 << 10;

/// Memories that one component may have; composed components bring one per part.
const MEMORIES_PER_COMPONENT: u32 = 4;

/// Tables that one component may have: each core module that `wit-component` makes has one.
const TABLES_PER_COMPONENT: u32 = 16;

/// Core instances that one component may have. A plain Rust task has about 4.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;

/// The most elements of one table, whatever its task's limit (which counts all tables together).
const TABLE_ELEMENTS: usize = 100_000;

/// Address space reserved per memory with which compiled code needs no bounds checks.
const FULL_RESERVATION: u64 = 4 << 30;

/// Address space for all memories above which each reservation is cut to what the memory may grow to. It is a quarter
/// of a process's address space on x86-64 and AArch64.
const ADDRESS_SPACE: u64 = 32 << 40;

/// Builds the engine.
///
/// # Errors
///
/// wasmtime's error, most likely that so much address space cannot be reserved.
pub(super) fn build(config: &RuntimeConfig) -> Result<(wasmtime::Engine, CodeSettings), RuntimeError> {
    let max_memory = config.max_memory.next_multiple_of(64 << 10).clamp(64 << 10, FULL_RESERVATION);
    let memories = u64::from(places(config)) * u64::from(MEMORIES_PER_COMPONENT);
    if memories.saturating_mul(FULL_RESERVATION) <= ADDRESS_SPACE {
        // The smaller reservation may still do if address space is limited (`ulimit -v`).
        let code = CodeSettings { reservation: FULL_RESERVATION };
        if let Ok(engine) = wasmtime::Engine::new(&settings(config, max_memory, code)) {
            return Ok((engine, code));
        }
    }
    let code = CodeSettings { reservation: max_memory };
    match wasmtime::Engine::new(&settings(config, max_memory, code)) {
        Ok(engine) => Ok((engine, code)),
        Err(e) => Err(RuntimeError::Engine { slots: config.slots, max_memory, reason: format!("{e:#}") }),
    }
}

/// The settings that compiled code depends on and that differ between hosts of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodeSettings {
    /// Address space for each linear memory, in bytes: it decides whether code has bounds checks.
    pub(super) reservation: u64,
}

impl CodeSettings {
    /// Makes an engine that compiles the same code as that of [`build`] but reserves nothing, so it cannot run code.
    ///
    /// # Errors
    ///
    /// wasmtime's error.
    pub(super) fn compiling(self) -> wasmtime::Result<wasmtime::Engine> {
        wasmtime::Engine::new(&self.settings())
    }

    /// Returns all settings that compiled code depends on. Settings made elsewhere must not change code.
    fn settings(self) -> Config {
        let mut settings = Config::new();
        settings
            .memory_reservation(self.reservation)
            .consume_fuel(true)
            .epoch_interruption(true)
            .wasm_memory64(false)
            .wasm_backtrace_details(WasmBacktraceDetails::Disable);
        settings
    }
}

/// Returns how many guests fit: a few more than run at once, because dropped guests leave a moment later.
fn places(config: &RuntimeConfig) -> u32 {
    config.slots.saturating_add(config.slots / 8).saturating_add(8)
}

fn settings(config: &RuntimeConfig, max_memory: u64, code: CodeSettings) -> Config {
    let slots = places(config);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(slots.saturating_mul(MEMORIES_PER_COMPONENT))
        .total_tables(slots.saturating_mul(TABLES_PER_COMPONENT))
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_memories_per_module(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .max_memory_size(usize::try_from(max_memory).expect("at most 4 GiB, and pointers have 64 bits"))
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        // Clears only written pages where the kernel can tell (Linux 6.7), otherwise the first so many bytes.
        .pagemap_scan(Enabled::Auto)
        .table_keep_resident(KEEP_RESIDENT);

    let mut settings = code.settings();
    settings
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK);
    settings
}

/// Advances the engine's epoch while guests run, so that they yield; sleeps without any wake-ups while no guest runs.
#[derive(Debug)]
pub(super) struct Ticker {
    state: Arc<TickerState>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct TickerState {
    /// Guest threads that are working.
    busy: AtomicUsize,
    /// Whether the ticker sleeps until a guest thread works.
    asleep: AtomicBool,
    stopping: AtomicBool,
}

/// Ticks without any guest after which the ticker sleeps: waking it is a system call, and runs come in swarms.
const IDLE_TICKS: u32 = 16;

impl Ticker {
    /// Starts ticking on a plain thread, which must be on time whatever the async runtimes do.
    pub(super) fn start(engine: wasmtime::Engine, tick: Duration) -> Result<Self, RuntimeError> {
        let state = Arc::new(TickerState::default());
        let ticking = Arc::clone(&state);
        let thread = Supervisor::of_process()
            .thread("sexton-ticker", AfterPanic::Again, move || ticking.tick(&engine, tick))
            .map_err(RuntimeError::Thread)?;
        Ok(Self { state, thread: Mutex::new(Some(thread)) })
    }

    /// Notes that a guest thread begins to work.
    pub(super) fn busy(&self) {
        self.state.busy.fetch_add(1, Ordering::SeqCst);
        if self.state.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Notes that a guest thread goes to sleep.
    pub(super) fn idle(&self) {
        self.state.busy.fetch_sub(1, Ordering::SeqCst);
    }

    /// Stops ticking, and waits for the thread to end.
    pub(super) fn stop(&self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        self.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A ticker that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }

    fn wake(&self) {
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.thread().unpark();
        }
    }
}

impl TickerState {
    fn tick(&self, engine: &wasmtime::Engine, tick: Duration) {
        let mut idle = 0;
        self.asleep.store(false, Ordering::SeqCst);
        while !self.stopping.load(Ordering::SeqCst) {
            std::thread::park_timeout(tick);
            engine.increment_epoch();
            idle = if self.busy.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle >= IDLE_TICKS {
                self.sleep();
                idle = 0;
            }
        }
    }

    fn sleep(&self) {
        // Sets `asleep` before it looks: a thread that becomes busy in between sees `asleep`, and wakes the ticker.
        self.asleep.store(true, Ordering::SeqCst);
        while self.busy.load(Ordering::SeqCst) == 0 && !self.stopping.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// Version of what this program does to a component before and after compiling it. Raise it when that changes; code of another
/// version is compiled anew.
const PREPARED: u32 = 3;

/// Hashes all that the code of `engine` depends on. The hash is the same in every process of this program.
pub(super) fn engine_hash(engine: &Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    PREPARED.hash(&mut hasher);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

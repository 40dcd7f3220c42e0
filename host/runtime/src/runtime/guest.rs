//! Holds what belongs to one guest: the data of its wasmtime store, made fresh for each attempt.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::component::ResourceTable;
use wasmtime::{CallHook, StoreContextMut, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::attempt::stack::Stack;
use crate::attempt::{ChargeError, Ledger, Order, Refusals, RunHandle, Sleeper};
use crate::imports::{self, ImportsCtx, ImportsCtxView, ImportsView};
use sexton_domain::time::Clock;

use super::attempt_env::AttemptEnv;
use super::backtrace::stack_of;
use super::file_threads::Pool;
use super::files::Files;
use super::filesystem::{self, Below, Opened};
use super::kinds::Kind;
use super::lanes::{Expected, GuestTask};
use super::limits::{Meter, Space};
use super::quota::Directories;
use super::wasi_ctx::LazyWasi;

/// Fuel after which a guest yields: about half a millisecond of computing.
pub(super) const SLICE: u64 = 1_000_000;

/// Fuel after which a guest of which nothing is known yields for the first time: about a tenth of a millisecond, so that
/// a flood of strangers delays another stranger little. Most runs are over by then.
const FIRST_SLICE: u64 = 200_000;

/// Returns the fuel after which a guest yields for the first time.
fn first_slice(turn: &GuestTask) -> u64 {
    if turn.expected() == Expected::Short { SLICE } else { FIRST_SLICE }
}

/// Divisor for the part of a run's time that goes into stacks taken in case the guest rests: a hundredth.
const BUDGET: u32 = 100;

/// Assumed cost of taking a stack before the first one was taken.
const FIRST_GUESS: Duration = Duration::from_micros(20);

/// Time beyond its deadline for which the real world may keep a guest in virtual time waiting.
const REAL_PATIENCE: Duration = Duration::from_secs(3600);

/// Bytes that a call may add to the table of handles unless it announces more: two handles.
const CALL: usize = 2 * imports::HANDLE;

/// The data of a guest's store.
pub(super) struct Guest {
    table: ResourceTable,
    pub(super) wasi: LazyWasi,
    imports: ImportsCtx,
    turn: Arc<GuestTask>,
    pub(super) space: Space,
    pub(super) meter: Meter,
    pub(super) files: Files,
    file_threads: Arc<Pool>,
    /// The directories that the guest is granted, once they are open.
    granted: Vec<Opened>,
    /// The granted directory that each of its descriptors is below.
    below: Below,
    directories: Arc<Directories>,
    /// The guest's stack when its call was dropped.
    pub(super) stack: Option<Stack>,
    seen: Seen,
    clock: Arc<dyn Clock>,
}

/// The data that others see of a guest while it goes on.
struct Seen {
    handle: Arc<RunHandle>,
    /// Fuel that the guest may use.
    limit: u64,
    /// Fuel after which it yields.
    slice: u64,
    /// Fuel used at which it yields next.
    yields_at: u64,
    /// Fuel used, as last reported.
    fuel: u64,
    /// Whether `fuel` was reported anew when the guest last entered the host. When the ticker cuts a turn, or the guest
    /// asks for memory, wasmtime repeats its last report.
    fuel_known: bool,
    /// Time that went into taking stacks, and the cost of one.
    spent: Duration,
    cost: Duration,
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.handle.sampler.guest_ended();
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("space", &self.space).field("meter", &self.meter).finish_non_exhaustive()
    }
}

impl Guest {
    pub(super) fn new(env: &AttemptEnv, order: &Order, kind: Kind, turn: &Arc<GuestTask>) -> Self {
        let AttemptEnv { services, files, memory, .. } = env;
        let limits = &order.task.limits;
        let ledger = Ledger::new(limits.memory, memory);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            table,
            wasi: LazyWasi::new(order, kind, &services.clock),
            imports: ImportsCtx::new(Arc::clone(services), order, turn.deadline, Arc::clone(&ledger)),
            turn: Arc::clone(turn),
            space: Space::new(limits, ledger),
            files: Files::new(limits.files, files),
            file_threads: env.file_threads.of(&order.task.key),
            granted: Vec::new(),
            below: Below::new(),
            directories: Arc::clone(&env.directories),
            meter: Meter::new(limits),
            stack: None,
            clock: Arc::clone(&services.clock),
            seen: Seen {
                handle: Arc::clone(&order.handle),
                limit: limits.fuel,
                slice: first_slice(turn),
                yields_at: first_slice(turn),
                fuel: 0,
                fuel_known: false,
                spent: Duration::ZERO,
                cost: FIRST_GUESS,
            },
        }
    }

    /// Opens the directories that the task is granted. The error says which cannot be opened.
    pub(super) async fn open_granted(&mut self, order: &Order) -> Result<(), String> {
        let granted = &order.task.grants.directories;
        if !granted.is_empty() {
            let refusals = Refusals::new(Arc::clone(&order.task), Arc::clone(&order.handle), Arc::clone(&self.clock));
            self.granted = filesystem::open_granted(&self.file_threads, granted, &self.directories, refusals).await?;
        }
        Ok(())
    }

    /// Returns the threads for the guest's work with files.
    pub(super) fn file_threads(&self) -> Arc<Pool> {
        Arc::clone(&self.file_threads)
    }

    /// Returns what `wasi:filesystem` works on.
    pub(super) fn filesystem_view(&mut self) -> filesystem::View<'_> {
        filesystem::View {
            wasi: WasiFilesystemCtxView { ctx: self.wasi.ctx().filesystem(), table: &mut self.table },
            granted: &self.granted,
            below: &mut self.below,
            files: &mut self.files,
            pool: &self.file_threads,
            handle: &self.seen.handle,
            clock: &*self.clock,
        }
    }

    /// Returns its attempt in virtual time, if it lives there.
    pub(super) fn sleeper(&self) -> Option<Arc<Sleeper>> {
        self.seen.handle.sleeper().cloned()
    }

    /// Makes the guest's store, with every limit in force before any of the guest runs.
    pub(super) fn into_store(
        self,
        engine: &wasmtime::Engine,
        order: &Order,
    ) -> wasmtime::Result<wasmtime::Store<Self>> {
        let limits = &order.task.limits;
        let mut store = wasmtime::Store::try_new(engine, self)?;
        store.limiter(|guest| &mut guest.space);
        store.fuel_async_yield_interval(Some(store.data().seen.slice))?;
        store.set_fuel(limits.fuel)?;
        store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
        store.set_max_component_handles(most_component_handles(limits.memory));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            let guest = store.data();
            let now = guest.meter.in_host_since().unwrap_or_else(Instant::now);
            guest.turn.tick();
            // The tick was taken for a host call when it entered the host.
            guest.seen.handle.sampler.is_in_no_call();
            if guest.seen.handle.sampler.wants_sample(now) {
                Self::shows_where_it_yields(&mut store, now);
            }
            // `watch` decides whether a guest that yields goes on.
            Ok(UpdateDeadline::Yield(1))
        });
        store.call_hook(Self::on_call_hook);
        #[cfg(test)]
        store.call_hook(Self::on_timed_call_hook);
        Ok(store)
    }

    /// Returns the ledger to which its memory is charged.
    pub(super) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.space.ledger)
    }

    /// Counts what the host holds for the guest's handles, if much may be uncounted.
    fn charge_handles(&mut self) -> Result<(), ChargeError> {
        let ledger = &self.space.ledger;
        ledger.expect_handles(CALL);
        if !ledger.is_due() {
            return Ok(());
        }
        ledger.set_handle_bytes(imports::held_by::<Self>(&mut self.table))
    }

    fn on_call_hook(mut store: StoreContextMut<'_, Self>, hook: CallHook) -> wasmtime::Result<()> {
        let guest = store.data_mut();
        let counted = guest.meter.count_crossing(hook, guest.turn.yields());
        if !hook.exiting_host() {
            guest.turn.enters_host(guest.meter.in_host_since().unwrap_or_else(Instant::now));
        } else {
            // Before its first instruction the guest was in the host as well, which made room for it.
            let now = guest.meter.resumed_at().unwrap_or_else(Instant::now);
            guest.turn.leaves_host(now);
            if guest.seen.fuel_known {
                guest.turn.fuel_known();
            }
        }
        counted?;
        match hook {
            CallHook::CallingHost => {
                Self::looked_at(&mut store);
                store.data_mut().charge_handles()?;
            }
            CallHook::ReturningFromHost => {
                let now = guest.meter.resumed_at().unwrap_or_else(Instant::now);
                // Only here is it known to be a call: the ticker's yields enter the host in the same way.
                if guest.seen.handle.sampler.wants_sample(now) {
                    Self::shows_the_call(&mut store, now);
                }
                let guest = store.data_mut();
                guest.seen.handle.sampler.is_in_no_call();
                // A dropped call returns from the host function it is in; its stack is still there then.
                if guest.turn.ending() && guest.stack.is_none() {
                    let stack = stack_of(&WasmBacktrace::force_capture(&store));
                    let guest = store.data_mut();
                    guest.stack = Some(if guest.turn.in_yield() { stack.ahead() } else { stack });
                }
            }
            CallHook::CallingWasm => {}
            CallHook::ReturningFromWasm => guest.seen.fuel_known = true,
        }
        Ok(())
    }

    /// Does the same as [`Self::on_call_hook`], and reads the thread's clock on both sides of the moment from or to which a
    /// guest's accounts count.
    #[cfg(test)]
    fn on_timed_call_hook(mut store: StoreContextMut<'_, Self>, hook: CallHook) -> wasmtime::Result<()> {
        let handle = Arc::clone(&store.data().seen.handle);
        let [at_least, at_most] = &handle.stopwatches;
        if !hook.exiting_host() {
            at_least.stops();
            return Self::on_call_hook(store, hook); // which stops the other stopwatch
        }
        // A guest whose call is dropped only seems to go on.
        let goes_on = !store.data().turn.ending();
        if goes_on {
            at_most.resume();
        }
        Self::on_call_hook(wasmtime::AsContextMut::as_context_mut(&mut store), hook)?;
        if goes_on {
            at_least.resume();
        }
        Ok(())
    }

    /// Notes that the guest enters the host, to call it or to yield: reports what it has used, and its stack if a
    /// sample is wanted.
    fn looked_at(store: &mut StoreContextMut<'_, Self>) {
        let left = store.get_fuel().unwrap_or(0);
        let guest = store.data_mut();
        let (seen, now) = (&mut guest.seen, guest.meter.in_host_since().unwrap_or_else(Instant::now));
        let fuel = seen.limit.saturating_sub(left);
        seen.fuel_known = fuel != seen.fuel;
        seen.fuel = fuel;
        let usage = &seen.handle.usage;
        usage.fuel_used(fuel);
        usage.has_memory(guest.space.ledger.total());
        usage.set_calls(guest.meter.host_calls(guest.turn.yields()));
        // Its slice of fuel is used up. A call just before that is taken for a yield, which does no harm.
        let yields = fuel >= seen.yields_at;
        let first_ends = yields && seen.slice != SLICE;
        if yields {
            guest.turn.slice_ends();
            seen.slice = SLICE;
            seen.yields_at = fuel.saturating_add(SLICE);
            seen.handle.sampler.is_in_no_call();
        } else {
            guest.turn.calls();
            seen.handle.sampler.enters_call(now);
        }
        let affordable = (seen.spent + seen.cost) * BUDGET <= now.saturating_duration_since(guest.turn.came);
        let wanted = seen.handle.sampler.wants_sample(now);
        if first_ends {
            // It fails only without fuel, which the store has.
            let _ = store.fuel_async_yield_interval(Some(SLICE));
        }
        if yields && wanted {
            Self::shows_where_it_yields(store, now);
        } else if !yields && (wanted || affordable) {
            Self::rests(store);
        }
    }

    /// Gives the guest's stack to its watchers as it yields.
    fn shows_where_it_yields(store: &mut StoreContextMut<'_, Self>, now: Instant) {
        let stack = stack_of(&WasmBacktrace::force_capture(&*store)).ahead();
        let handle = &store.data().seen.handle;
        handle.sampler.record(now, handle.used(), &stack);
    }

    /// Gives its watchers the guest's stack in the host call that it returns from. A guest that has yielded is in no
    /// call.
    fn shows_the_call(store: &mut StoreContextMut<'_, Self>, now: Instant) {
        if !store.data().turn.ending() && store.data().seen.handle.sampler.is_in_call() {
            let handle = Self::rests(store);
            let stack = handle.sampler.current_wait().map(|(_, stack)| stack).unwrap_or_default();
            handle.sampler.record(now, handle.used(), &stack);
        }
    }

    /// Takes the guest's stack in the host call that it is in, because it probably rests there.
    pub(super) fn rests(store: &mut StoreContextMut<'_, Self>) -> Arc<RunHandle> {
        let guest = store.data();
        if !guest.seen.handle.sampler.is_in_call() {
            // The guest made this call at the end of its slice, and was taken for one that yields.
            guest.turn.calls();
            guest.seen.handle.sampler.enters_call(guest.meter.in_host_since().unwrap_or_else(Instant::now));
        }
        if !store.data().seen.handle.sampler.stack_is_captured() {
            let start = Instant::now();
            let stack = stack_of(&WasmBacktrace::force_capture(&*store));
            let seen = &mut store.data_mut().seen;
            seen.handle.sampler.rests(stack);
            let cost = start.elapsed();
            seen.spent += cost;
            // Averaged, so that one stack that took long because others had the processor does not make all later ones
            // look expensive.
            seen.cost = (seen.cost + cost) / 2;
        }
        Arc::clone(&store.data().seen.handle)
    }
}

/// Returns how many handles a guest with so much memory may have, including those to its own resources: wasmtime keeps
/// tables of them, a few dozen bytes for each. They take a sixteenth of its memory at most, and no more than wasmtime's
/// own limit.
fn most_component_handles(memory: u64) -> usize {
    const BYTES: u64 = 64;
    const LEAST: u64 = 1_000;
    const MOST: u64 = 100_000;
    usize::try_from((memory / 16 / BYTES).clamp(LEAST, MOST)).expect("at most a hundred thousand")
}

/// Returns the instant at which an attempt ends at the latest if its guest is started now. The time before, such as the
/// wait for the lock of its task, is no part of the guest's.
pub(super) fn deadline(order: &Order) -> Instant {
    // In virtual time this only ends a guest that the real world keeps waiting.
    let limit = order.task.limits.deadline + order.handle.sleeper().map_or(Duration::ZERO, |_| REAL_PATIENCE);
    // A deadline beyond what the clock can represent is as good as ten years.
    let far = std::time::Duration::from_secs(10 * 365 * 24 * 3600);
    Instant::now() + limit.min(far)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.ctx(), table: &mut self.table }
    }
}

impl ImportsView for Guest {
    fn imports(&mut self) -> ImportsCtxView<'_> {
        ImportsCtxView { ctx: &mut self.imports, table: &mut self.table }
    }

    fn rests(guest: &mut StoreContextMut<'_, Self>) {
        Self::rests(guest);
    }
}

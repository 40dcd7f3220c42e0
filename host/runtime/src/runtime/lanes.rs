//! Gives guests their processor time on a few threads of their own, apart from the host's.
//!
//! A guest's future is polled until it yields or waits, then another guest's is (`queues` decides which). There are two
//! threads for each core: a faster one for short turns and for guests that must end, and a slower one, of a lower
//! priority, for guests that spin. So a thousand spinning guests delay a new guest, or the end of one of them, only by
//! the time that the system takes to switch threads.
//!
//! This module knows nothing of wasm: it polls futures. `watch` ends guests.

mod guest_task;
mod queues;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_task::{Builder, Task, WithInfo};

pub(super) use guest_task::{Expected, GuestTask, SPINS, TYPICAL_SLICE};

use crate::attempt::Lane;
use crate::cpu_time;
use sexton_system::supervisor::{AfterPanic, Supervisor};

use super::RuntimeError;
use super::engine::Ticker;
use super::wake_batch::WakeBatch;
use queues::{Job, Queues, ThreadClass};

/// Niceness of the faster threads, so that they give way to the host's own. Linux counts niceness by thread.
const FAST_NICE: i32 = 5;

/// Niceness of the slower threads, so that they give way to all others. On a machine that other programs keep busy, a
/// guest that has much to compute gets a tenth of what one of those programs gets. With the maximum, 19, it would get a
/// seventieth, and no other thread here was better off (see `docs/design/0007-lanes.md`).
const SLOW_NICE: i32 = 10;

/// Number of guests that must end and wait, from which on they end without their fuel being known exactly: with a slice of
/// each, the last would be late by tens of milliseconds.
const MANY: usize = 8;

thread_local! {
    /// The kind of guest thread that this is, if it is one.
    static GUEST_THREAD: Cell<Option<ThreadClass>> = const { Cell::new(None) };
    /// Whether this thread's priority has been lowered.
    static LOWERED: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether this is a guest thread, which gives `wakes` as it goes on with guests.
pub(super) fn on_guest_thread() -> bool {
    GUEST_THREAD.get().is_some()
}

/// The guest threads and their work.
#[derive(Debug)]
pub(super) struct Lanes {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    fast: Threads,
    slow: Threads,
    /// The guests that must end and wait for a turn to do so, for those that do not hold the lock.
    must_end: AtomicUsize,
    ticker: Arc<Ticker>,
    wakes: Arc<WakeBatch>,
}

/// The threads of one class. Each class has a lock of its own, because a slow thread may lose the processor while it
/// holds one.
#[derive(Debug, Default)]
struct Threads {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queues: Queues,
    sleeping: usize,
    stopping: bool,
}

/// A turn that is over: its lane, its guest, and how long it took.
type Done = (Lane, Arc<GuestTask>, Duration);

impl Lanes {
    /// Starts a pair of guest threads for each of `cores`. `io` is the current runtime there, and drives what guests
    /// wait for.
    pub(super) fn start(cores: usize, ticker: Arc<Ticker>, io: &tokio::runtime::Handle) -> Result<Self, RuntimeError> {
        let shared = Arc::new(Shared {
            fast: Threads::default(),
            slow: Threads::default(),
            must_end: AtomicUsize::new(0),
            ticker,
            wakes: Arc::default(),
        });
        let lanes = Self { shared, threads: Mutex::new(Vec::new()) };
        for (class, name) in [(ThreadClass::Fast, "guest"), (ThreadClass::Slow, "spent")] {
            for n in 0..cores {
                let shared = Arc::clone(&lanes.shared);
                let io = io.clone();
                let serve = move || shared.serve(class, &io);
                let thread = Supervisor::of_process()
                    .thread(&format!("sexton-{name}-{n}"), AfterPanic::Again, serve)
                    .map_err(RuntimeError::Thread)?;
                lanes.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            }
        }
        Ok(lanes)
    }

    /// Spawns `future` on the guest threads. It is dropped there, too, even if the task is dropped.
    pub(super) fn spawn<F>(&self, turn: Arc<GuestTask>, future: F) -> Task<F::Output, Arc<GuestTask>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let schedule = WithInfo(move |job: Job, info: async_task::ScheduleInfo| {
            job.metadata().queues(info.woken_while_running);
            shared.push(job, info.woken_while_running);
        });
        let (job, task) = Builder::new().propagate_panic(true).metadata(turn).spawn(move |_| future, schedule);
        job.schedule();
        task
    }

    /// Waits for a spawned guest; returns `None` if it was given up.
    pub(super) async fn wait<T>(&self, task: Task<T, Arc<GuestTask>>) -> Option<T> {
        self.shared.wakes.wait(task.fallible()).await
    }

    /// Makes the waker of a guest that must end: it wakes the guest ahead of all others in the queue.
    pub(super) fn expedite(&self, turn: &Arc<GuestTask>, guest: &Waker) -> Waker {
        Waker::from(Arc::new(Expedite {
            shared: Arc::clone(&self.shared),
            turn: Arc::clone(turn),
            guest: guest.clone(),
        }))
    }

    /// Returns whether so many guests must end that none of them may take longer than it has to.
    pub(super) fn many_must_end(&self) -> bool {
        self.shared.must_end.load(Ordering::Relaxed) >= MANY
    }

    /// Stops polling, and waits for the threads to end.
    pub(super) fn stop(&self) {
        for threads in [&self.shared.fast, &self.shared.slow] {
            threads.lock().stopping = true;
            threads.work.notify_all();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A guest thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
        self.shared.wakes.stop();
        // Futures are dropped outside of the lock, because their drop may schedule others.
        for threads in [&self.shared.fast, &self.shared.slow] {
            let left = threads.lock().queues.drain();
            drop(left);
        }
    }
}

struct Expedite {
    shared: Arc<Shared>,
    turn: Arc<GuestTask>,
    guest: Waker,
}

impl std::task::Wake for Expedite {
    fn wake(self: Arc<Self>) {
        // Set first: a thread that queues the guest right now either sees it, or has queued the guest where the loop
        // below finds it.
        self.turn.make_urgent();
        for class in [ThreadClass::Slow, ThreadClass::Fast] {
            let job = self.shared.threads(class).lock().queues.remove(class, &self.turn);
            if let Some(job) = job {
                self.shared.push(job, false);
            }
        }
        // A guest that was not queued goes into the urgent queue now.
        self.guest.wake_by_ref();
    }
}

impl Threads {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves no queue half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn threads(&self, class: ThreadClass) -> &Threads {
        match class {
            ThreadClass::Fast => &self.fast,
            ThreadClass::Slow => &self.slow,
        }
    }

    /// Queues a guest. One that `yielded` was polled by the caller just now.
    fn push(&self, job: Job, yielded: bool) {
        loop {
            let mut lane = job.metadata().choose_lane();
            let mut threads = self.threads(ThreadClass::of(lane));
            let mut state = threads.lock();
            let uncrowded = state.queues.uncrowded(lane);
            if uncrowded != lane && !state.stopping {
                drop(state);
                (lane, threads) = (uncrowded, self.threads(ThreadClass::of(uncrowded)));
                job.metadata().goes_to(lane);
                state = threads.lock();
            }
            if state.stopping {
                // No thread would poll it any more, so it ends by being dropped: outside of the lock, because its drop
                // may schedule others.
                drop(state);
                drop(job);
                return;
            }
            // The guest may have become urgent before the lock was taken.
            if lane != Lane::Urgent && job.metadata().is_urgent() {
                continue;
            }
            // The thread that has just polled the guest looks for the next one at once, and finds this one. Waking
            // another thread with every slice of a guest that spins alone takes the system a third of the time.
            let finds_it = yielded && state.queues.is_empty() && GUEST_THREAD.get() == Some(ThreadClass::of(lane));
            state.queues.push(lane, job);
            if lane == Lane::Urgent {
                self.count_ends(&state);
            }
            let wake = state.sleeping > 0 && !finds_it;
            drop(state);
            if wake {
                threads.work.notify_one();
            }
            return;
        }
    }

    fn count_ends(&self, state: &State) {
        self.must_end.store(state.queues.must_end(), Ordering::Relaxed);
    }

    fn serve(&self, class: ThreadClass, io: &tokio::runtime::Handle) {
        let _io = io.enter();
        lower_priority(if class == ThreadClass::Fast { FAST_NICE } else { SLOW_NICE });
        GUEST_THREAD.set(Some(class));
        let _busy = Busy::begin(&self.ticker);
        let mut done = None;
        while let Some((job, lane)) = self.next(class, done.take()) {
            if !job.metadata().is_new() {
                self.wakes.wake_all();
            }
            let turn = Arc::clone(job.metadata());
            let start = Instant::now();
            job.run();
            done = Some((lane, turn, start.elapsed()));
            self.wakes.wake_if_late();
        }
        GUEST_THREAD.set(None);
        self.wakes.wake_all();
    }

    /// Charges the turn `done`, waits for the next guest and returns it; returns `None` when the threads must end.
    fn next(&self, class: ThreadClass, done: Option<Done>) -> Option<(Job, Lane)> {
        let threads = self.threads(class);
        let mut state = threads.lock();
        if let Some((lane, turn, time)) = done {
            state.queues.charge(lane, turn.tenant(), time);
        }
        let mut given = false;
        loop {
            if state.stopping {
                return None;
            }
            if let Some(next) = state.queues.pop(class) {
                if next.1 == Lane::Urgent {
                    self.count_ends(&state);
                }
                return Some(next);
            }
            if !given {
                // Given before the thread sleeps, because a caller that waits for an ended run may bring the next one.
                drop(state);
                self.wakes.wake_all();
                given = true;
                state = threads.lock();
                continue;
            }
            state.sleeping += 1;
            self.ticker.idle();
            state = threads.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            cpu_time::slept();
            self.ticker.busy();
            state.sleeping -= 1;
        }
    }
}

/// Counts a guest thread as working until it is dropped.
struct Busy<'a>(&'a Ticker);

impl<'a> Busy<'a> {
    fn begin(ticker: &'a Ticker) -> Self {
        ticker.busy();
        Self(ticker)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.idle();
    }
}

/// Lowers this thread's priority, so that it gives way to others that want the processor. A thread that restarts its
/// work has done so already, so only the first call has an effect.
pub(super) fn lower_priority(by: i32) {
    if LOWERED.replace(true) {
        return;
    }
    if let Err(error) = rustix::process::nice(by) {
        tracing::debug!(%error, "Could not lower the priority of a thread");
    }
}

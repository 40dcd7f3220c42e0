//! Where guests get their processor time: a few threads of their own, apart from the host's.
//!
//! A guest's future is polled until it yields or waits, then somebody else's is: first those that are to end, then those
//! that have used little, last those that have used much. So a hundred guests that spin delay a new one by the time
//! between two yields (about a millisecond), and not by a hundred times that.
//!
//! This module knows nothing of wasm: it polls futures. What ends a guest is in `watch`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_task::{Builder, Runnable, Task, WithInfo};

use super::RuntimeError;
use super::answers::Answers;
use super::engine::Ticker;

/// Processor time up to which a guest counts as new. One slice of a spinning guest, so that only the first slice of
/// each goes before those that have just come.
const NEW: Duration = Duration::from_millis(1);

/// Processor time up to which a guest goes before those that spin.
const QUANTUM: Duration = Duration::from_millis(20);

/// How long a lane may wait for those before it, lest a stream of short runs starve the long ones.
const PATIENCE: Duration = Duration::from_millis(20);

/// Lanes, in the order they are served.
const LANES: usize = 4;
const URGENT: usize = 0;
const FRESH: usize = 1;
const SPENT: usize = LANES - 1;

/// What the lanes know of a guest, and what its future tells them.
#[derive(Debug)]
pub(super) struct Turn {
    /// When the guest is to end: from then on it goes before all others.
    pub(super) deadline: Instant,
    /// Nanoseconds it was polled for.
    used: AtomicU64,
    /// Whether it is to end before its deadline.
    urgent: AtomicBool,
    /// Whether it is in the queue because it yielded, rather than because what it waited for came.
    yielded: AtomicBool,
    /// How often it has yielded so far.
    yields: AtomicU64,
    /// Whether its call is being dropped.
    ending: AtomicBool,
}

impl Turn {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            used: AtomicU64::new(0),
            urgent: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            yields: AtomicU64::new(0),
            ending: AtomicBool::new(false),
        }
    }

    /// The guest was polled for this long.
    pub(super) fn spend(&self, time: Duration) {
        self.used.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether the guest last stopped because it yielded: it was computing, not waiting.
    pub(super) fn yielded(&self) -> bool {
        self.yielded.load(Ordering::Relaxed)
    }

    /// The guest has yielded so often.
    pub(super) fn yields_seen(&self, yields: u64) {
        self.yields.store(yields, Ordering::Relaxed);
    }

    /// How often the guest has yielded.
    pub(super) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }

    /// The guest's call is dropped now.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether the guest's call is being dropped.
    pub(super) fn ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Whether it has not been polled yet.
    fn is_new(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    fn lane(&self) -> usize {
        if self.urgent.load(Ordering::Relaxed) || Instant::now() >= self.deadline {
            return URGENT;
        }
        match Duration::from_nanos(self.used.load(Ordering::Relaxed)) {
            used if used < NEW => FRESH,
            used if used < QUANTUM => FRESH + 1,
            _ => SPENT,
        }
    }
}

thread_local! {
    static GUEST_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a thread that goes on with guests, and gives `answers` as it does.
pub(super) fn on_guest_thread() -> bool {
    GUEST_THREAD.get()
}

type Job = Runnable<Arc<Turn>>;

/// The guest threads and what they have to do.
#[derive(Debug)]
pub(super) struct Lanes {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    queues: Mutex<Queues>,
    work: Condvar,
    ticker: Arc<Ticker>,
    answers: Arc<Answers>,
}

#[derive(Debug)]
struct Queues {
    lanes: [VecDeque<Job>; LANES],
    served: [Instant; LANES],
    sleeping: usize,
    stopping: bool,
}

impl Lanes {
    /// Start `threads` guest threads, on which `io` is the current runtime: what guests wait for is driven there.
    pub(super) fn start(
        threads: usize,
        ticker: Arc<Ticker>,
        io: &tokio::runtime::Handle,
    ) -> Result<Self, RuntimeError> {
        let shared = Arc::new(Shared {
            queues: Mutex::new(Queues::new()),
            work: Condvar::new(),
            ticker,
            answers: Arc::default(),
        });
        let lanes = Self { shared, threads: Mutex::new(Vec::new()) };
        for n in 0..threads {
            let shared = Arc::clone(&lanes.shared);
            let io = io.clone();
            let thread = std::thread::Builder::new()
                .name(format!("sexton-guest-{n}"))
                .spawn(move || shared.serve(&io))
                .map_err(RuntimeError::Thread)?;
            lanes.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(lanes)
    }

    /// Have `future` polled on the guest threads. It is dropped there, too, also if the task is dropped.
    pub(super) fn spawn<F>(&self, turn: Arc<Turn>, future: F) -> Task<F::Output, Arc<Turn>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let schedule = WithInfo(move |job: Job, info: async_task::ScheduleInfo| {
            job.metadata().yielded.store(info.woken_while_running, Ordering::Relaxed);
            shared.push(job);
        });
        let (job, task) = Builder::new().propagate_panic(true).metadata(turn).spawn(move |_| future, schedule);
        job.schedule();
        task
    }

    /// Wait for a guest that was spawned; `None` if it was given up.
    pub(super) async fn wait<T>(&self, task: Task<T, Arc<Turn>>) -> Option<T> {
        self.shared.answers.wait(task.fallible()).await
    }

    /// What wakes a guest because it is to end, past all others that are in the queue.
    pub(super) fn expedite(&self, turn: &Arc<Turn>, guest: &Waker) -> Waker {
        Waker::from(Arc::new(Expedite {
            shared: Arc::clone(&self.shared),
            turn: Arc::clone(turn),
            guest: guest.clone(),
        }))
    }

    /// Poll nothing any more, and wait for the threads to end.
    pub(super) fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.work.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A guest thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
        self.shared.answers.stop();
        // Futures are dropped outside of the lock: their drop may schedule.
        let left = std::mem::take(&mut self.shared.lock().lanes);
        drop(left);
    }
}

struct Expedite {
    shared: Arc<Shared>,
    turn: Arc<Turn>,
    guest: Waker,
}

impl std::task::Wake for Expedite {
    fn wake(self: Arc<Self>) {
        self.turn.urgent.store(true, Ordering::Relaxed);
        self.shared.lock().promote(&self.turn);
        // If it was not in a queue it is now, in the urgent one.
        self.guest.wake_by_ref();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing that is done under the lock leaves the queues half changed.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        let mut queues = self.lock();
        if queues.stopping {
            // Nobody would ever poll it. Dropping it ends it; outside of the lock, as its drop may schedule others.
            drop(queues);
            drop(job);
            return;
        }
        queues.push(job);
        let wake = queues.sleeping > 0;
        drop(queues);
        if wake {
            self.work.notify_one();
        }
    }

    fn serve(&self, io: &tokio::runtime::Handle) {
        let _io = io.enter();
        lower_priority(5);
        GUEST_THREAD.set(true);
        self.ticker.busy();
        loop {
            let ready = self.lock().pop();
            let Some(job) = ready.or_else(|| {
                // Before it sleeps: whoever waits for a run that is over may be who brings the next one.
                self.answers.give();
                self.next()
            }) else {
                break;
            };
            if !job.metadata().is_new() {
                self.answers.give();
            }
            job.run();
            self.answers.give_if_late();
        }
        GUEST_THREAD.set(false);
        self.answers.give();
        self.ticker.idle();
    }

    fn next(&self) -> Option<Job> {
        let mut queues = self.lock();
        loop {
            if queues.stopping {
                return None;
            }
            if let Some(job) = queues.pop() {
                return Some(job);
            }
            queues.sleeping += 1;
            self.ticker.idle();
            queues = self.work.wait(queues).unwrap_or_else(PoisonError::into_inner);
            self.ticker.busy();
            queues.sleeping -= 1;
        }
    }
}

impl Queues {
    fn new() -> Self {
        Self { lanes: Default::default(), served: [Instant::now(); LANES], sleeping: 0, stopping: false }
    }

    fn push(&mut self, job: Job) {
        let lane = job.metadata().lane();
        self.lanes[lane].push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        if self.stopping {
            return None;
        }
        if let Some(job) = self.lanes[URGENT].pop_front() {
            return Some(job);
        }
        let waiting = |lane: &usize| !self.lanes[*lane].is_empty();
        let first = (FRESH..LANES).find(waiting)?;
        let lane = if self.lanes[first + 1..].iter().all(VecDeque::is_empty) {
            first
        } else {
            let now = Instant::now();
            let overdue = |lane: &usize| waiting(lane) && now.duration_since(self.served[*lane]) > PATIENCE;
            (first + 1..LANES).rev().find(overdue).unwrap_or(first)
        };
        if lane != FRESH {
            self.served[lane] = Instant::now();
        }
        self.lanes[lane].pop_front()
    }

    /// Put a guest before all others, if it is in a queue.
    fn promote(&mut self, turn: &Arc<Turn>) {
        for lane in FRESH..LANES {
            let place = self.lanes[lane].iter().position(|job| Arc::ptr_eq(job.metadata(), turn));
            if let Some(job) = place.and_then(|place| self.lanes[lane].remove(place)) {
                self.lanes[URGENT].push_back(job);
                return;
            }
        }
    }
}

/// Let this thread go after the host's own where both want the processor. Linux counts niceness by thread.
pub(super) fn lower_priority(by: i32) {
    if let Err(error) = rustix::process::nice(by) {
        tracing::debug!(%error, "Could not lower the priority of a guest thread");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guest that has been polled for `used`, and is due in `left`.
    fn guest(used: Duration, left: Duration) -> (Arc<Turn>, Job) {
        let turn = Arc::new(Turn::new(Instant::now() + left));
        turn.spend(used);
        let schedule = |_: Job| unreachable!("nobody wakes it");
        let (job, task) = Builder::new().metadata(Arc::clone(&turn)).spawn(|_| async {}, schedule);
        task.detach();
        (turn, job)
    }

    const LONG: Duration = Duration::from_secs(3600);

    /// The guests in the order in which they are polled, as their numbers.
    fn order(queues: &mut Queues, guests: &[Arc<Turn>]) -> Vec<usize> {
        let number = |job: Job| guests.iter().position(|turn| Arc::ptr_eq(turn, job.metadata())).unwrap();
        std::iter::from_fn(|| queues.pop()).map(number).collect()
    }

    fn queued(guests: impl IntoIterator<Item = (Arc<Turn>, Job)>) -> (Queues, Vec<Arc<Turn>>) {
        let mut queues = Queues::new();
        let turns = guests.into_iter().map(|(turn, job)| {
            queues.push(job);
            turn
        });
        let turns = turns.collect();
        (queues, turns)
    }

    #[test]
    fn those_that_are_due_go_first_then_new_ones_then_those_that_used_little_then_those_that_spin() {
        let (mut queues, turns) = queued([
            guest(QUANTUM, LONG),
            guest(NEW, LONG),
            guest(QUANTUM * 9, LONG),
            guest(Duration::ZERO, LONG),
            guest(QUANTUM * 9, Duration::ZERO),
            guest(Duration::ZERO, LONG),
        ]);

        assert_eq!(order(&mut queues, &turns), [4, 3, 5, 1, 0, 2]);
    }

    #[test]
    fn a_guest_that_is_to_end_overtakes_all_that_are_queued_before_it() {
        let (mut queues, turns) = queued((0..4).map(|_| guest(QUANTUM, LONG)));

        queues.promote(&turns[2]);

        assert_eq!(order(&mut queues, &turns), [2, 0, 1, 3]);
    }

    #[test]
    fn new_ones_do_not_starve_those_that_spin() {
        let (mut queues, turns) = queued([guest(QUANTUM, LONG), guest(Duration::ZERO, LONG), guest(QUANTUM, LONG)]);

        let long_ago = Instant::now().checked_sub(PATIENCE * 2).expect("the machine is up for longer");
        queues.served = [long_ago; LANES];

        assert_eq!(order(&mut queues, &turns), [0, 1, 2], "one of them had its turn, and the next waits again");
    }
}

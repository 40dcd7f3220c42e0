//! Counts what an attempt uses while it runs. The guest's side writes the numbers, and any thread may read them.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::pulse::Pulse;
use sexton_domain::lengths::nanos;

/// The lane in which a guest gets its processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    /// The guest has used little so far and goes before guests that have used more.
    #[default]
    Fresh,
    /// The guest has used little so far, as the runs of its task do. It goes before guests of which less is known.
    Known,
    /// The guest has used some.
    Used,
    /// The guest spins, or is expected to, and runs on threads of a lower priority.
    Spent,
    /// The guest must end and goes before all others.
    Urgent,
}

impl Lane {
    /// Returns the lane's name, the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Known => "known",
            Self::Used => "used",
            Self::Spent => "spent",
            Self::Urgent => "urgent",
        }
    }

    pub(crate) fn of(number: u8) -> Self {
        [Self::Fresh, Self::Known, Self::Used, Self::Spent, Self::Urgent]
            .get(usize::from(number))
            .copied()
            .unwrap_or_default()
    }
}

/// A host call that a guest waits in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The host function, such as `locks.acquire`.
    pub call: &'static str,
    /// The thing that it waits for, such as a lock's name. The guest chooses the text, so it must be made harmless
    /// before it is shown.
    pub what: Option<String>,
    /// When the wait began.
    pub since: Instant,
}

/// The resources that an attempt has used so far, and its present activity.
#[derive(Debug, Default)]
pub struct Usage {
    fuel: AtomicU64,
    memory: AtomicU64,
    guest_ns: AtomicU64,
    host_calls: AtomicU64,
    lock_wait_ns: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    lane: AtomicU8,
    waiting: Mutex<Option<Waiting>>,
    /// When the guest last sent or received anything.
    pub(super) pulse: Pulse,
}

/// The values of [`Usage`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Units of fuel, up to one slice too few while the guest computes.
    pub fuel: u64,
    /// Bytes of memory now: linear memory, and what the host holds for the guest.
    pub memory: u64,
    /// Processor time.
    pub guest: Duration,
    /// Calls to the host.
    pub host_calls: u64,
    /// Time spent waiting for locks, without the present wait.
    pub lock_wait: Duration,
    /// Bytes that the guest received.
    pub bytes_in: u64,
    /// Bytes that the guest sent.
    pub bytes_out: u64,
    /// The lane in which the guest gets its processor time.
    pub lane: Lane,
    /// The host call that the guest waits in, if any.
    pub waiting: Option<Waiting>,
}

impl Usage {
    /// Returns all values, read at about the same moment.
    pub fn snapshot(&self) -> Snapshot {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Snapshot {
            fuel: read(&self.fuel),
            memory: read(&self.memory),
            guest: Duration::from_nanos(read(&self.guest_ns)),
            host_calls: read(&self.host_calls),
            lock_wait: self.lock_wait(),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
            lane: Lane::of(self.lane.load(Ordering::Relaxed)),
            waiting: self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Sets the fuel used so far.
    pub fn fuel_used(&self, fuel: u64) {
        self.fuel.store(fuel, Ordering::Relaxed);
    }

    /// Sets the bytes of memory now.
    pub(crate) fn has_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// Sets the processor time used so far.
    pub(crate) fn guest_used(&self, time: Duration) {
        self.guest_ns.store(nanos(time), Ordering::Relaxed);
    }

    /// Sets the number of host calls made so far.
    pub(crate) fn set_calls(&self, calls: u64) {
        self.host_calls.store(calls, Ordering::Relaxed);
    }

    /// Sets the lane.
    pub(crate) fn in_lane(&self, lane: Lane) {
        self.lane.store(lane as u8, Ordering::Relaxed);
    }

    /// Adds a wait for a lock.
    pub(crate) fn waited_for_lock(&self, time: Duration) {
        self.lock_wait_ns.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// Returns the time spent waiting for locks up to now.
    pub(crate) fn lock_wait(&self) -> Duration {
        Duration::from_nanos(self.lock_wait_ns.load(Ordering::Relaxed))
    }

    /// Adds bytes that the guest received. No bytes are no activity.
    pub(crate) fn add_received(&self, bytes: usize) {
        self.passed(&self.bytes_in, bytes);
    }

    fn passed(&self, sum: &AtomicU64, bytes: usize) {
        if bytes > 0 {
            sum.fetch_add(bytes as u64, Ordering::Relaxed);
            self.acts();
        }
    }

    /// Notes that the guest sent or received something, so that it is not idle.
    pub(crate) fn acts(&self) {
        self.pulse.beats();
    }

    /// Returns when the guest last sent or received something, if it has a limit of idle time.
    #[cfg(test)]
    pub(crate) fn last_activity(&self) -> Option<Instant> {
        self.pulse.last()
    }

    /// Notes that the guest waits for its turn from now on, which is no idle time.
    pub(crate) fn queues(&self) {
        self.pulse.queues();
    }

    /// Notes that the guest has its turn from `now` on.
    pub(crate) fn has_turn(&self, now: Instant) {
        self.pulse.has_turn(now);
    }

    /// Adds bytes that the guest sent. No bytes are no activity.
    pub(crate) fn add_sent(&self, bytes: usize) {
        self.passed(&self.bytes_out, bytes);
    }

    /// Shows that the guest waits in `call` for `what`, until the guard is dropped.
    pub(crate) fn waits(&self, call: &'static str, what: Option<String>) -> WaitGuard<'_> {
        let waiting = Waiting { call, what, since: Instant::now() };
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
        WaitGuard(self)
    }
}

/// Shows a wait until it is dropped.
#[derive(Debug)]
pub(crate) struct WaitGuard<'a>(&'a Usage);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

//! What can be seen of an attempt while it goes on: written where its guest runs, read by anybody at any time.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where a guest gets its processor time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    /// It has used little so far: goes before those that have used more.
    #[default]
    Fresh,
    /// It has used some.
    Used,
    /// It spins, or is known to: on threads of a lower priority.
    Spent,
    /// It is to end: goes before all others.
    Urgent,
}

impl Lane {
    /// The word for it, the same everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Used => "used",
            Self::Spent => "spent",
            Self::Urgent => "urgent",
        }
    }

    pub(crate) fn of(number: u8) -> Self {
        [Self::Fresh, Self::Used, Self::Spent, Self::Urgent].get(usize::from(number)).copied().unwrap_or_default()
    }
}

/// A host call that a guest waits in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The host function, such as `locks.acquire`.
    pub call: &'static str,
    /// For what, such as a lock's name. The guest's own words: to be made harmless before they are shown.
    pub what: Option<String>,
    /// Since when.
    pub since: Instant,
}

/// What an attempt has used up to now, and what it is doing.
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
}

/// What [`Usage`] were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Units of fuel, up to one slice too few while it computes.
    pub fuel: u64,
    /// Bytes of memory that it has now: linear memory, and what the host holds for it.
    pub memory: u64,
    /// Processor time.
    pub guest: Duration,
    /// Calls to the host.
    pub host_calls: u64,
    /// Time it waited for locks; the wait that it is in not counted.
    pub lock_wait: Duration,
    /// Bytes that it was given.
    pub bytes_in: u64,
    /// Bytes that it handed over.
    pub bytes_out: u64,
    /// Where it gets its processor time.
    pub lane: Lane,
    /// The host call that it waits in, if it does.
    pub waiting: Option<Waiting>,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Usage {
    /// All of it, at about the same moment.
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

    /// It has used so much fuel.
    pub(crate) fn fuel_used(&self, fuel: u64) {
        self.fuel.store(fuel, Ordering::Relaxed);
    }

    /// It has so many bytes of memory now.
    pub(crate) fn has_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// It has used so much processor time.
    pub(crate) fn guest_used(&self, time: Duration) {
        self.guest_ns.store(nanos(time), Ordering::Relaxed);
    }

    /// It has made so many calls.
    pub(crate) fn called(&self, calls: u64) {
        self.host_calls.store(calls, Ordering::Relaxed);
    }

    /// It gets its turns there now.
    pub(crate) fn in_lane(&self, lane: Lane) {
        self.lane.store(lane as u8, Ordering::Relaxed);
    }

    /// It has waited for a lock.
    pub(crate) fn waited_for_lock(&self, time: Duration) {
        self.lock_wait_ns.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// Time it waited for locks, up to now.
    pub(crate) fn lock_wait(&self) -> Duration {
        Duration::from_nanos(self.lock_wait_ns.load(Ordering::Relaxed))
    }

    /// It was given so many bytes.
    pub(crate) fn was_given(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It handed over so many bytes.
    pub(crate) fn handed_over(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// It begins to wait in `call`, for `what`; until the guard is dropped.
    pub(crate) fn waits(&self, call: &'static str, what: Option<String>) -> WaitGuard<'_> {
        let waiting = Waiting { call, what, since: Instant::now() };
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waiting);
        WaitGuard(self)
    }
}

/// A wait that is shown until this is dropped.
#[derive(Debug)]
pub(crate) struct WaitGuard<'a>(&'a Usage);

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

//! What the lanes know of one guest, and what its future tells them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::runtime::handle::RunHandle;
use crate::runtime::vitals::Lane;
use crate::task::Name;

/// Turns of computing after which a guest does not count as fresh any more, the one that it is at not counted. Only the first
/// ones of each that spins go before those that have just come.
pub(super) const FRESH: u32 = 1;

/// Turns of computing after which a guest loses its place on the faster threads: about 3 ms. Most runs are over by then, and
/// a flood of guests that spin is past it soon.
pub(super) const QUANTUM: u32 = 5;

/// What a turn may take on average before a guest is judged by its processor time. A turn is a slice of fuel, and mostly takes
/// half a millisecond. It takes longer where the system is busy with the memory of others, for which nobody is to lose their
/// place; but also where much is computed for a guest that uses little fuel itself.
const LONG_TURN: Duration = Duration::from_millis(5);

/// Processor time from which on a guest that had to be ended counts as one that spins.
pub(in crate::runtime) const SPINS: Duration = Duration::from_millis(3);

/// One guest's turns on the guest threads.
#[derive(Debug)]
pub(in crate::runtime) struct Turn {
    /// When the guest is to end: from then on it goes before all others.
    pub(in crate::runtime) deadline: Instant,
    /// When it came. Other instants are told in nanoseconds since then.
    pub(in crate::runtime) came: Instant,
    handle: Arc<RunHandle>,
    tenant: Name,
    /// Whether it starts among those that spin, as it did so the last time.
    hog: bool,
    /// Processor time it has used, in nanoseconds.
    used: AtomicU64,
    /// When it was last given a turn.
    polled: AtomicU64,
    /// Whether it is to end before its deadline.
    urgent: AtomicBool,
    /// Whether it is in the queue because it yielded, rather than because what it waited for came.
    yielded: AtomicBool,
    /// Whether its last turn was cut by the ticker, so that its fuel is not known to the last unit.
    ticked: AtomicBool,
    /// How often it has yielded so far.
    yields: AtomicU64,
    /// Whether its call is being dropped.
    ending: AtomicBool,
    /// Where in its lane it is, plus one; 0 if it is in none. Written under the lock of that lane, after `lane`.
    place: AtomicU64,
    /// The lane of that place.
    lane: AtomicU8,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Turn {
    pub(in crate::runtime) fn new(deadline: Instant, tenant: Name, hog: bool, handle: Arc<RunHandle>) -> Self {
        Self {
            deadline,
            came: Instant::now(),
            handle,
            tenant,
            hog,
            used: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            urgent: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            ticked: AtomicBool::new(false),
            yields: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            place: AtomicU64::new(0),
            lane: AtomicU8::new(0),
        }
    }

    /// The guest is given a turn now.
    pub(in crate::runtime) fn begin(&self, now: Instant) {
        self.polled.store(nanos(now.duration_since(self.came)), Ordering::Relaxed);
        self.ticked.store(false, Ordering::Relaxed);
    }

    /// When the guest was last given a turn.
    pub(in crate::runtime) fn began(&self) -> Instant {
        self.came + Duration::from_nanos(self.polled.load(Ordering::Relaxed))
    }

    /// The guest's turn took so much processor time.
    pub(in crate::runtime) fn spend(&self, time: Duration) {
        // At least a nanosecond: it has had a turn.
        self.used.fetch_add(nanos(time).max(1), Ordering::Relaxed);
    }

    /// Processor time of all its turns.
    pub(in crate::runtime) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// The ticker ends the guest's turn.
    pub(in crate::runtime) fn tick(&self) {
        self.ticked.store(true, Ordering::Relaxed);
    }

    /// Whether the ticker ended its last turn.
    pub(in crate::runtime) fn ticked(&self) -> bool {
        self.ticked.load(Ordering::Relaxed)
    }

    /// Whether the guest last stopped because it yielded: it was computing, not waiting.
    pub(in crate::runtime) fn yielded(&self) -> bool {
        self.yielded.load(Ordering::Relaxed)
    }

    /// It is in the queue since it yielded, or since what it waited for came.
    pub(in crate::runtime) fn queued_by(&self, yielded: bool) {
        self.yielded.store(yielded, Ordering::Relaxed);
    }

    /// The guest has yielded so often.
    pub(in crate::runtime) fn yields_seen(&self, yields: u64) {
        self.yields.store(yields, Ordering::Relaxed);
    }

    /// How often the guest has yielded.
    pub(in crate::runtime) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }

    /// The guest's call is dropped now.
    pub(in crate::runtime) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Whether the guest's call is being dropped.
    pub(in crate::runtime) fn ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// From now on it goes before all others.
    pub(super) fn hurry(&self) {
        self.urgent.store(true, Ordering::Relaxed);
    }

    /// Whether it goes before all others.
    pub(super) fn hurries(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    /// Whether it has not been polled yet.
    pub(super) fn is_new(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    pub(super) fn tenant(&self) -> &Name {
        &self.tenant
    }

    /// Whether it has had fewer turns of computing than `turns`, and they were not long.
    fn is_within(&self, turns: u32) -> bool {
        self.yields() < u64::from(turns) && self.used() < LONG_TURN * turns
    }

    /// The lane that it belongs in.
    pub(super) fn choose_lane(&self) -> Lane {
        let lane = if self.hurries() || (!self.is_new() && Instant::now() >= self.deadline) {
            Lane::Urgent
        } else if self.hog {
            Lane::Spent
        } else if self.is_within(FRESH) {
            Lane::Fresh
        } else if self.is_within(QUANTUM) {
            Lane::Used
        } else {
            Lane::Spent
        };
        self.handle.vitals.in_lane(lane);
        lane
    }

    /// It is in `lane`, the `number`th that came there.
    pub(super) fn put(&self, lane: Lane, number: u64) {
        self.lane.store(lane as u8, Ordering::Relaxed);
        self.place.store(number + 1, Ordering::Release);
    }

    /// It is in no queue.
    pub(super) fn taken(&self) {
        self.place.store(0, Ordering::Release);
    }

    /// Lane and number of its place, if it has one.
    pub(super) fn place(&self) -> Option<(Lane, u64)> {
        let number = self.place.load(Ordering::Acquire).checked_sub(1)?;
        Some((Lane::of(self.lane.load(Ordering::Relaxed)), number))
    }
}

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
    /// The part of it that the host took for it.
    host: AtomicU64,
    /// How long it was in the host in the turn that it is at, and since when it is, if so.
    host_in_turn: AtomicU64,
    in_host_since: AtomicU64,
    /// The same sums over those turns only in which the thread did not lose the processor.
    whole_used: AtomicU64,
    whole_host: AtomicU64,
    /// When it was last given a turn.
    polled: AtomicU64,
    /// Whether it is to end before its deadline.
    urgent: AtomicBool,
    /// Whether it is in the queue because it yielded, rather than because what it waited for came.
    yielded: AtomicBool,
    /// Whether its last turn was cut by the ticker, so that its fuel is not known to the last unit.
    ticked: AtomicBool,
    /// Whether it is in the host because its slice of fuel is used up.
    slice_end: AtomicBool,
    /// When the ticker did so.
    ticked_at: AtomicU64,
    /// When its fuel was last known to the last unit.
    known: AtomicU64,
    /// How often it has yielded so far.
    yields: AtomicU64,
    /// Whether its call is being dropped.
    ending: AtomicBool,
    /// Where in its lane it is, plus one; 0 if it is in none. Written under the lock of that lane, after `lane`.
    place: AtomicU64,
    /// The lane of that place.
    lane: AtomicU8,
}

/// Since when a guest is in the host that is not.
const GUEST: u64 = u64::MAX;

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
            host: AtomicU64::new(0),
            host_in_turn: AtomicU64::new(0),
            in_host_since: AtomicU64::new(GUEST),
            whole_used: AtomicU64::new(0),
            whole_host: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            urgent: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            ticked: AtomicBool::new(false),
            slice_end: AtomicBool::new(false),
            ticked_at: AtomicU64::new(0),
            known: AtomicU64::new(0),
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

    /// The guest's turn is over, at `end`, and took so much processor time.
    pub(in crate::runtime) fn spend(&self, time: Duration, end: Instant) {
        let passed = nanos(end.duration_since(self.began()));
        if self.in_host_since.load(Ordering::Relaxed) != GUEST {
            self.in_host_for(nanos(end.duration_since(self.came)));
        }
        let in_host = self.host_in_turn.swap(0, Ordering::Relaxed);
        // At least a nanosecond: it has had a turn.
        let time = nanos(time).max(1);
        let lost = passed.saturating_sub(time);
        let host = if lost < time / 100 {
            self.whole_used.fetch_add(time, Ordering::Relaxed);
            self.whole_host.fetch_add(in_host.min(time), Ordering::Relaxed);
            in_host.min(time)
        } else {
            // Nobody knows whether the thread lost the processor in the host or in the guest. As much as is usual for the
            // guest went to the host, as far as that can be.
            let whole = self.whole_used.load(Ordering::Relaxed);
            let (of, all) =
                if whole > 0 { (self.whole_host.load(Ordering::Relaxed), whole) } else { (in_host, passed) };
            let usual = u128::from(time) * u128::from(of) / u128::from(all.max(1));
            let usual = u64::try_from(usual).unwrap_or(u64::MAX);
            usual.max(in_host.saturating_sub(lost)).min(in_host).min(time)
        };
        self.host.fetch_add(host, Ordering::Relaxed);
        self.used.fetch_add(time, Ordering::Relaxed);
    }

    /// The guest enters the host at `now`.
    pub(in crate::runtime) fn enters_host(&self, now: Instant) {
        self.in_host_since.store(nanos(now.duration_since(self.came)), Ordering::Relaxed);
    }

    /// The guest goes on at `now`.
    pub(in crate::runtime) fn leaves_host(&self, now: Instant) {
        self.in_host_for(nanos(now.duration_since(self.came)));
        self.in_host_since.store(GUEST, Ordering::Relaxed);
    }

    /// It was in the host until `now`. What was before its turn was nobody's time.
    fn in_host_for(&self, now: u64) {
        let since = self.in_host_since.load(Ordering::Relaxed).max(self.polled.load(Ordering::Relaxed));
        self.host_in_turn.fetch_add(now.saturating_sub(since), Ordering::Relaxed);
    }

    /// Processor time of all its turns that the host took for it.
    pub(in crate::runtime) fn used_by_host(&self) -> Duration {
        Duration::from_nanos(self.host.load(Ordering::Relaxed))
    }

    /// Processor time of all its turns.
    pub(in crate::runtime) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// The ticker ends the guest's turn; it has entered the host at `now`.
    pub(in crate::runtime) fn tick(&self, now: Instant) {
        self.ticked_at.store(nanos(now.duration_since(self.came)), Ordering::Relaxed);
        self.ticked.store(true, Ordering::Relaxed);
    }

    /// Whether the ticker ended its last turn.
    pub(in crate::runtime) fn ticked(&self) -> bool {
        self.ticked.load(Ordering::Relaxed)
    }

    /// The guest enters the host, because its slice of fuel is used up or for some other reason.
    pub(in crate::runtime) fn at_slice_end(&self, is: bool) {
        self.slice_end.store(is, Ordering::Relaxed);
    }

    /// Whether the guest, whose turn is over, has stopped in a yield rather than in a call.
    pub(in crate::runtime) fn in_yield(&self) -> bool {
        self.ticked() || self.slice_end.load(Ordering::Relaxed)
    }

    /// The guest goes on at `now`, and up to then its fuel is known to the last unit.
    pub(in crate::runtime) fn fuel_known(&self, now: Instant) {
        self.known.store(nanos(now.duration_since(self.came)), Ordering::Relaxed);
    }

    /// In which part of a turn that the ticker has ended nobody knows what the guest has used of its fuel; the whole of it if
    /// nobody knows when it began.
    pub(in crate::runtime) fn fuel_unknown(&self) -> (Instant, Instant) {
        let at = |nanos: &AtomicU64| self.came + Duration::from_nanos(nanos.load(Ordering::Relaxed));
        (at(&self.known), at(&self.ticked_at))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{ClaimKey, RunId};
    use crate::task::TaskKey;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    struct Taken(Turn, Instant);

    impl Taken {
        fn new() -> Self {
            let task = TaskKey { tenant: Name::default_tenant(), task: Name::new("probe").unwrap() };
            let handle = Arc::new(RunHandle::new(ClaimKey { run: RunId(1), attempt: 1, fence: 1 }, task.clone(), 0));
            let turn = Turn::new(Instant::now() + ms(1000), task.tenant, false, handle);
            let came = turn.came;
            Self(turn, came)
        }

        /// A turn that takes `passed`, and `used` of the processor; in the host from `in_host` on, for so long. What the host
        /// is charged for it.
        fn turn(&self, passed: u64, used: u64, in_host: (u64, u64)) -> Duration {
            let (Self(turn, start), before) = (self, self.0.used_by_host());
            turn.begin(*start);
            turn.enters_host(*start + ms(in_host.0));
            turn.leaves_host(*start + ms(in_host.0 + in_host.1));
            turn.spend(ms(used), *start + ms(passed));
            turn.used_by_host() - before
        }
    }

    #[test]
    fn what_the_host_took_is_told_from_what_the_guest_took() {
        let taken = Taken::new();
        assert_eq!(taken.turn(10, 10, (2, 3)), ms(3));
        assert_eq!(taken.0.used(), ms(10));
    }

    #[test]
    fn a_guest_whose_thread_loses_the_processor_in_the_host_is_charged_all_the_same() {
        let taken = Taken::new();
        taken.turn(100, 100, (0, 1));
        // Of these 91 ms 90 were others': a host that took 90 ms is not what this guest is like.
        assert_eq!(taken.turn(100, 10, (0, 91)), ms(1));
        // And one that the host works for is charged for what it took at least.
        assert_eq!(taken.turn(100, 90, (0, 50)), ms(40));
    }

    #[test]
    fn a_turn_that_ends_in_the_host_is_the_hosts_from_there_on() {
        let Taken(turn, start) = Taken::new();
        turn.begin(start);
        turn.enters_host(start + ms(4));
        turn.spend(ms(10), start + ms(10));
        assert_eq!(turn.used_by_host(), ms(6));
        // What passes until its next turn is nobody's.
        turn.begin(start + ms(50));
        turn.leaves_host(start + ms(51));
        turn.spend(ms(10), start + ms(60));
        assert_eq!(turn.used_by_host(), ms(7));
    }
}

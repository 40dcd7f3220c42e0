//! What the lanes know of one guest, and what its future tells them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::attempt::{Lane, RunHandle};
use crate::cpu_time;
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
    /// Whether the host works for it, or it computes itself.
    in_host: AtomicBool,
    /// Since when in the turn that it is at; [`NO_TURN`] between two turns.
    since: AtomicU64,
    /// Whether it is to end before its deadline.
    urgent: AtomicBool,
    /// Whether it is in the queue because it yielded, rather than because what it waited for came.
    yielded: AtomicBool,
    /// Whether its last turn was cut by the ticker, so that its fuel is not known to the last unit.
    ticked: AtomicBool,
    /// Whether it is in the host because its slice of fuel is used up.
    slice_end: AtomicBool,
    /// The processor time that the guest itself had used when its fuel was last known to the last unit, in nanoseconds.
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

/// Since when it does what it does, of a guest that has no turn.
const NO_TURN: u64 = u64::MAX;

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
            in_host: AtomicBool::new(true), // room is made for it first
            since: AtomicU64::new(NO_TURN),
            urgent: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            ticked: AtomicBool::new(false),
            slice_end: AtomicBool::new(false),
            known: AtomicU64::new(0),
            yields: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            place: AtomicU64::new(0),
            lane: AtomicU8::new(0),
        }
    }

    /// The guest is given a turn now, on this thread.
    pub(in crate::runtime) fn begin(&self, now: Instant) {
        cpu_time::begin_turn(now);
        self.since.store(nanos(now.duration_since(self.came)), Ordering::Relaxed);
        self.ticked.store(false, Ordering::Relaxed);
    }

    /// The guest's turn was over at `now`.
    pub(in crate::runtime) fn end_at(&self, now: Instant) {
        self.end_part(now);
        self.since.store(NO_TURN, Ordering::Relaxed);
        // At least a nanosecond: it has had a turn.
        self.used.fetch_max(1, Ordering::Relaxed);
    }

    /// As if its turns had taken so much processor time.
    #[cfg(test)]
    pub(super) fn has_used(&self, time: Duration) {
        self.used.store(nanos(time), Ordering::Relaxed);
    }

    /// The guest enters the host at `now`.
    pub(in crate::runtime) fn enters_host(&self, now: Instant) {
        #[cfg(test)]
        self.handle.stopwatches[1].stops();
        self.end_part(now);
        self.in_host.store(true, Ordering::Relaxed);
    }

    /// The guest goes on at `now`.
    pub(in crate::runtime) fn leaves_host(&self, now: Instant) {
        self.end_part(now);
        self.in_host.store(false, Ordering::Relaxed);
    }

    /// A part of its turn ends at `now`, in the host or not. As it is dropped it has no turn, and nothing is charged to it.
    fn end_part(&self, now: Instant) {
        let (since, at) = (self.since.load(Ordering::Relaxed), nanos(now.duration_since(self.came)));
        if since == NO_TURN {
            return;
        }
        self.since.store(at, Ordering::Relaxed);
        let took = nanos(cpu_time::end_part(Duration::from_nanos(at.saturating_sub(since)), now));
        // Only the thread that it has its turn on adds to them.
        let add = |sum: &AtomicU64| sum.store(sum.load(Ordering::Relaxed) + took, Ordering::Relaxed);
        add(&self.used);
        if self.in_host.load(Ordering::Relaxed) {
            add(&self.host);
        }
    }

    /// Processor time of all its turns that the host took for it.
    pub(in crate::runtime) fn used_by_host(&self) -> Duration {
        Duration::from_nanos(self.host.load(Ordering::Relaxed))
    }

    /// Returns the processor time of all its turns that the guest itself computed.
    pub(in crate::runtime) fn used_by_guest(&self) -> Duration {
        self.used().saturating_sub(self.used_by_host())
    }

    /// Processor time of all its turns.
    pub(in crate::runtime) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Records that the ticker ends the guest's turn, which has entered the host for it.
    pub(in crate::runtime) fn tick(&self) {
        self.ticked.store(true, Ordering::Relaxed);
    }

    /// Whether the ticker ended its last turn.
    pub(in crate::runtime) fn ticked(&self) -> bool {
        self.ticked.load(Ordering::Relaxed)
    }

    /// The guest enters the host because its slice of fuel is used up.
    pub(in crate::runtime) fn slice_ends(&self) {
        self.slice_end.store(true, Ordering::Relaxed);
    }

    /// The guest enters the host for some other reason.
    pub(in crate::runtime) fn calls(&self) {
        self.slice_end.store(false, Ordering::Relaxed);
    }

    /// Whether the guest, whose turn is over, has stopped in a yield rather than in a call.
    pub(in crate::runtime) fn in_yield(&self) -> bool {
        self.ticked() || self.slice_end.load(Ordering::Relaxed)
    }

    /// Records that the guest goes on, and that its fuel is known to the last unit up to here.
    pub(in crate::runtime) fn fuel_known(&self) {
        self.known.store(nanos(self.used_by_guest()), Ordering::Relaxed);
    }

    /// Returns the processor time that the guest itself had used when its fuel was last known to the last unit.
    pub(in crate::runtime) fn fuel_known_at(&self) -> Duration {
        Duration::from_nanos(self.known.load(Ordering::Relaxed))
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
        self.handle.usage.in_lane(lane);
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
    use crate::testkit::{first_claim, handle, task_key};

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    struct Taken(Turn, Instant);

    impl Taken {
        fn new() -> Self {
            let task = task_key("probe");
            let handle = handle(first_claim(1), task.clone());
            let turn = Turn::new(Instant::now() + Duration::from_secs(1), task.tenant, false, handle);
            let came = turn.came;
            Self(turn, came)
        }
    }

    #[test]
    fn what_the_host_took_is_told_from_what_the_guest_took() {
        let Taken(turn, start) = Taken::new();

        turn.begin(start);
        turn.leaves_host(start + us(5));
        turn.enters_host(start + us(15));
        turn.leaves_host(start + us(18));
        turn.enters_host(start + us(40));
        turn.end_at(start + us(42));

        assert_eq!((turn.used(), turn.used_by_host()), (us(42), us(5 + 3 + 2)));
    }

    #[test]
    fn the_time_for_which_a_guest_lost_its_processor_is_not_time_in_which_it_used_fuel() {
        let Taken(turn, _) = Taken::new();
        turn.begin(Instant::now());
        turn.leaves_host(Instant::now());
        turn.fuel_known();

        // The system gives the processor to others for so long.
        std::thread::sleep(Duration::from_millis(30));
        turn.enters_host(Instant::now());
        turn.tick();
        turn.end_at(Instant::now());

        let since = turn.used_by_guest() - turn.fuel_known_at();
        assert!(since < Duration::from_millis(10), "it computed for {since:?}");
    }

    #[test]
    fn a_turn_that_ends_in_the_host_is_the_hosts_from_there_on() {
        let Taken(turn, start) = Taken::new();
        turn.begin(start);
        turn.leaves_host(start);
        turn.enters_host(start + us(4));
        turn.end_at(start + us(10));
        assert_eq!(turn.used_by_host(), us(6));

        // What passes until its next turn is nobody's.
        turn.begin(start + us(5000));
        turn.leaves_host(start + us(5001));
        turn.enters_host(start + us(5009));
        turn.end_at(start + us(5009));
        assert_eq!((turn.used(), turn.used_by_host()), (us(10 + 9), us(7)));

        // And so is what it takes to drop it.
        turn.leaves_host(start + us(9000));
        turn.enters_host(start + us(9009));
        assert_eq!(turn.used(), us(19));
    }

    /// Takes so much of the processor, and is kept from it for four times as long.
    fn interrupted(time: Duration) {
        let now = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_nsec;
        let (mut before, mut took) = (now(), 0);
        while took < i64::try_from(time.as_nanos()).unwrap() {
            let at = now();
            took += (at - before).rem_euclid(1_000_000_000);
            before = at;
        }
        std::thread::sleep(time * 4); // stands for a processor that was taken away
    }

    #[test]
    fn what_others_took_meanwhile_is_charged_neither_to_the_guest_nor_to_the_host() {
        let Taken(turn, start) = Taken::new();
        let (in_guest, in_host) = (us(5000), us(3000));

        turn.begin(start);
        turn.leaves_host(Instant::now());
        interrupted(in_guest);
        turn.enters_host(Instant::now());
        interrupted(in_host);
        turn.end_at(Instant::now());

        let (host, guest) = (turn.used_by_host(), turn.used() - turn.used_by_host());
        assert!(guest >= in_guest && guest < in_guest + us(1000), "{guest:?}");
        assert!(host >= in_host && host < in_host + us(1000), "{host:?}");
    }
}

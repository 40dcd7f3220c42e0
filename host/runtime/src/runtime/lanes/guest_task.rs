//! Keeps what the lanes know of one guest, and what its future tells them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::attempt::{Lane, RunHandle};
use crate::cpu_time;
use sexton_domain::lengths::nanos;
use sexton_domain::task::Name;

/// Turns of computing after which a guest is no longer fresh, not counting its current turn. Only the first turns of
/// each spinning guest go before guests that have just come.
pub(super) const FRESH: u32 = 1;

/// Turns of computing after which a guest loses its place on the faster threads: about 3 ms. Most runs are over by
/// then, and a flood of spinning guests is past it soon.
pub(super) const QUANTUM: u32 = 5;

/// Time in which most guests use up a slice of fuel when nothing else wants the processor.
pub(in crate::runtime) const TYPICAL_SLICE: Duration = Duration::from_micros(500);

/// Average length of a turn above which a guest is judged by its processor time. A turn is a slice of fuel, and mostly
/// takes half a millisecond. It takes longer when the system is busy with the memory of others, for which no guest
/// should lose its place; but also when the host computes much for a guest that uses little fuel itself.
const LONG_TURN: Duration = Duration::from_millis(5);

/// Processor time from which a guest that had to be ended counts as one that spins.
pub(in crate::runtime) const SPINS: Duration = Duration::from_millis(3);

/// The expectation of a guest, from earlier runs of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Expected {
    /// No run of its task has ended here so far.
    Unknown,
    /// The runs of its task compute for less than a slice of fuel.
    Short,
    /// They take longer.
    Long,
    /// Its last run had to be ended while it spun.
    Spins,
}

/// One guest's turns on the guest threads.
#[derive(Debug)]
pub(in crate::runtime) struct GuestTask {
    /// When the guest must end: from then on it goes before all others.
    pub(in crate::runtime) deadline: Instant,
    /// When the guest came. Other instants are kept in nanoseconds since then.
    pub(in crate::runtime) came: Instant,
    handle: Arc<RunHandle>,
    tenant: Name,
    expected: Expected,
    /// Processor time that the guest has used, in nanoseconds.
    used: AtomicU64,
    /// The part of `used` that the host spent for the guest.
    host: AtomicU64,
    /// Whether the host works for the guest, rather than the guest computing itself.
    in_host: AtomicBool,
    /// When the current part of its turn began; [`NO_TURN`] between two turns.
    since: AtomicU64,
    /// Whether the guest must end before its deadline.
    urgent: AtomicBool,
    /// Whether the guest is queued because it yielded, rather than because its wait ended.
    yielded: AtomicBool,
    /// Whether the ticker cut its last turn, so that its fuel is not known exactly.
    ticked: AtomicBool,
    /// Whether the guest is in the host because its slice of fuel is used up.
    slice_end: AtomicBool,
    /// The slices of fuel that it has used up.
    slices: AtomicU32,
    /// Processor time that the guest itself had used when its fuel was last known exactly, in nanoseconds.
    known: AtomicU64,
    /// The number of its yields so far.
    yields: AtomicU64,
    /// Whether its call is being dropped.
    ending: AtomicBool,
    /// Its place in its lane, plus one; 0 if it is in none. Written under that lane's lock, after `lane`.
    place: AtomicU64,
    /// The lane of that place.
    lane: AtomicU8,
}

/// The value of `since` for a guest that has no turn.
const NO_TURN: u64 = u64::MAX;

impl GuestTask {
    pub(in crate::runtime) fn new(deadline: Instant, tenant: Name, expected: Expected, handle: Arc<RunHandle>) -> Self {
        Self {
            deadline,
            came: Instant::now(),
            handle,
            tenant,
            expected,
            used: AtomicU64::new(0),
            host: AtomicU64::new(0),
            in_host: AtomicBool::new(true), // the host makes room for the guest first
            since: AtomicU64::new(NO_TURN),
            urgent: AtomicBool::new(false),
            yielded: AtomicBool::new(false),
            ticked: AtomicBool::new(false),
            slice_end: AtomicBool::new(false),
            slices: AtomicU32::new(0),
            known: AtomicU64::new(0),
            yields: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            place: AtomicU64::new(0),
            lane: AtomicU8::new(0),
        }
    }

    /// Begins a turn of the guest on this thread.
    pub(in crate::runtime) fn begin(&self, now: Instant) {
        cpu_time::begin_turn(now);
        self.since.store(nanos(now.duration_since(self.came)), Ordering::Relaxed);
        self.ticked.store(false, Ordering::Relaxed);
        self.handle.usage.has_turn(now);
    }

    /// Ends the guest's turn at `now`.
    pub(in crate::runtime) fn end_at(&self, now: Instant) {
        self.end_part(now);
        self.since.store(NO_TURN, Ordering::Relaxed);
        // At least a nanosecond, because the guest has had a turn.
        self.used.fetch_max(1, Ordering::Relaxed);
    }

    /// Pretends that its turns have taken `time` of the processor.
    #[cfg(test)]
    pub(super) fn has_used(&self, time: Duration) {
        self.used.store(nanos(time), Ordering::Relaxed);
    }

    /// Notes that the guest enters the host at `now`.
    pub(in crate::runtime) fn enters_host(&self, now: Instant) {
        #[cfg(test)]
        self.handle.stopwatches[1].stops();
        self.end_part(now);
        self.in_host.store(true, Ordering::Relaxed);
    }

    /// Notes that the guest goes on at `now`.
    pub(in crate::runtime) fn leaves_host(&self, now: Instant) {
        self.end_part(now);
        self.in_host.store(false, Ordering::Relaxed);
    }

    /// Ends a part of the turn at `now`, in the host or not. A guest that is being dropped has no turn, and is charged
    /// nothing.
    fn end_part(&self, now: Instant) {
        let (since, at) = (self.since.load(Ordering::Relaxed), nanos(now.duration_since(self.came)));
        if since == NO_TURN {
            return;
        }
        self.since.store(at, Ordering::Relaxed);
        let took = nanos(cpu_time::end_part(Duration::from_nanos(at.saturating_sub(since)), now));
        // Only the thread on which the guest has its turn adds to these sums.
        let add = |sum: &AtomicU64| sum.store(sum.load(Ordering::Relaxed) + took, Ordering::Relaxed);
        add(&self.used);
        if self.in_host.load(Ordering::Relaxed) {
            add(&self.host);
        }
    }

    /// Returns the processor time that the host spent for the guest in all its turns.
    pub(in crate::runtime) fn used_by_host(&self) -> Duration {
        Duration::from_nanos(self.host.load(Ordering::Relaxed))
    }

    /// Returns the processor time of all its turns that the guest itself computed.
    pub(in crate::runtime) fn used_by_guest(&self) -> Duration {
        self.used().saturating_sub(self.used_by_host())
    }

    /// Returns the processor time of all its turns.
    pub(in crate::runtime) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Notes that the ticker ends the turn of the guest, which has entered the host for it.
    pub(in crate::runtime) fn tick(&self) {
        self.ticked.store(true, Ordering::Relaxed);
    }

    /// Returns whether the ticker ended its last turn.
    pub(in crate::runtime) fn ticked(&self) -> bool {
        self.ticked.load(Ordering::Relaxed)
    }

    /// Notes that the guest enters the host because its slice of fuel is used up.
    pub(in crate::runtime) fn slice_ends(&self) {
        self.slice_end.store(true, Ordering::Relaxed);
        self.slices.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the guest enters the host for another reason.
    pub(in crate::runtime) fn calls(&self) {
        self.slice_end.store(false, Ordering::Relaxed);
    }

    /// Returns whether the guest, whose turn is over, has stopped in a yield rather than in a call.
    pub(in crate::runtime) fn in_yield(&self) -> bool {
        self.ticked() || self.slice_end.load(Ordering::Relaxed)
    }

    /// Notes that the guest goes on, and that its fuel is known exactly up to here.
    pub(in crate::runtime) fn fuel_known(&self) {
        self.known.store(nanos(self.used_by_guest()), Ordering::Relaxed);
    }

    /// Returns the processor time that the guest itself had used when its fuel was last known exactly.
    pub(in crate::runtime) fn fuel_known_at(&self) -> Duration {
        Duration::from_nanos(self.known.load(Ordering::Relaxed))
    }

    /// Returns whether the guest last stopped because it yielded: it was computing, not waiting.
    pub(in crate::runtime) fn yielded(&self) -> bool {
        self.yielded.load(Ordering::Relaxed)
    }

    /// Notes that the guest is queued: because it yielded, or because its wait ended.
    pub(super) fn queues(&self, yielded: bool) {
        self.handle.usage.queues();
        self.queued_by(yielded);
    }

    /// Notes whether the guest is queued because it yielded, or because its wait ended.
    pub(in crate::runtime) fn queued_by(&self, yielded: bool) {
        self.yielded.store(yielded, Ordering::Relaxed);
    }

    /// Notes how often the guest has yielded.
    pub(in crate::runtime) fn yields_seen(&self, yields: u64) {
        self.yields.store(yields, Ordering::Relaxed);
    }

    /// Returns how often the guest has yielded.
    pub(in crate::runtime) fn yields(&self) -> u64 {
        self.yields.load(Ordering::Relaxed)
    }

    /// Notes that the guest's call is being dropped.
    pub(in crate::runtime) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Returns whether the guest's call is being dropped.
    pub(in crate::runtime) fn ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Makes the guest go before all others from now on.
    pub(super) fn make_urgent(&self) {
        self.urgent.store(true, Ordering::Relaxed);
    }

    /// Returns whether the guest goes before all others.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent.load(Ordering::Relaxed)
    }

    /// Returns whether the guest has not been polled yet.
    pub(super) fn is_new(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    /// Returns what is expected of the guest.
    pub(in crate::runtime) fn expected(&self) -> Expected {
        self.expected
    }

    pub(super) fn tenant(&self) -> &Name {
        &self.tenant
    }

    /// Returns whether the guest has had fewer turns of computing than `turns`, and short ones. A turn that the ticker cut
    /// because the system had no processor for the thread does not count, because the guest has used next to nothing.
    fn is_within(&self, turns: u32) -> bool {
        let used = self.used();
        let few = self.yields() < u64::from(turns) || used < TYPICAL_SLICE * turns;
        few && self.slices.load(Ordering::Relaxed) < turns && used < LONG_TURN * turns
    }

    /// Returns whether the guest waited in a host call before its first slice was used up, and goes on now. It mostly ends
    /// soon, and others may wait for a lock that it holds.
    fn has_waited_soon(&self) -> bool {
        !self.is_new() && !self.yielded() && self.is_within(FRESH)
    }

    /// Returns the lane for the guest.
    pub(super) fn choose_lane(&self) -> Lane {
        let lane = if self.is_urgent() || (!self.is_new() && Instant::now() >= self.deadline) {
            Lane::Urgent
        } else if self.expected == Expected::Spins {
            Lane::Spent
        } else if self.is_within(FRESH) {
            let is_short = self.expected == Expected::Short || self.has_waited_soon();
            if is_short { Lane::Known } else { Lane::Fresh }
        } else if self.is_within(QUANTUM) {
            Lane::Used
        } else {
            Lane::Spent
        };
        self.handle.usage.in_lane(lane);
        lane
    }

    /// Notes that the guest goes to another lane than the one that was chosen for it.
    pub(super) fn goes_to(&self, lane: Lane) {
        self.handle.usage.in_lane(lane);
    }

    /// Notes that the guest is in `lane`, the `number`th that came there.
    pub(super) fn put(&self, lane: Lane, number: u64) {
        self.lane.store(lane as u8, Ordering::Relaxed);
        self.place.store(number + 1, Ordering::Release);
    }

    /// Notes that the guest is in no queue.
    pub(super) fn taken(&self) {
        self.place.store(0, Ordering::Release);
    }

    /// Returns the lane and number of its place, if it has one.
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

    #[test]
    fn a_guest_whose_turns_were_cut_before_it_used_anything_keeps_its_lane() {
        let Taken(turn, _) = Taken::new();
        turn.has_used(us(40));
        turn.yields_seen(3);
        turn.queued_by(true);
        assert_eq!(turn.choose_lane(), Lane::Fresh);

        turn.slice_ends();
        assert_eq!(turn.choose_lane(), Lane::Used);
    }

    #[test]
    fn a_guest_that_waited_before_its_first_slice_was_used_up_goes_before_strangers() {
        let Taken(turn, _) = Taken::new();
        assert_eq!(turn.choose_lane(), Lane::Fresh);

        turn.has_used(us(40));
        turn.queued_by(false);
        assert_eq!(turn.choose_lane(), Lane::Known);
        turn.slice_ends();
        assert_eq!(turn.choose_lane(), Lane::Used);
    }

    struct Taken(GuestTask, Instant);

    impl Taken {
        fn new() -> Self {
            let task = task_key("probe");
            let handle = handle(first_claim(1), task.clone());
            let turn = GuestTask::new(Instant::now() + Duration::from_secs(1), task.tenant, Expected::Unknown, handle);
            let came = turn.came;
            Self(turn, came)
        }
    }

    #[test]
    fn the_hosts_time_is_distinguished_from_the_guests() {
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
    fn a_guest_uses_no_fuel_while_it_has_no_processor() {
        let Taken(turn, _) = Taken::new();
        turn.begin(Instant::now());
        turn.leaves_host(Instant::now());
        turn.fuel_known();

        // Stands for a processor that the system gives to other threads.
        std::thread::sleep(Duration::from_millis(30));
        turn.enters_host(Instant::now());
        turn.tick();
        turn.end_at(Instant::now());

        let since = turn.used_by_guest() - turn.fuel_known_at();
        assert!(since < Duration::from_millis(10), "it computed for {since:?}");
    }

    #[test]
    fn a_turn_that_ends_in_the_host_is_charged_to_the_host_from_there_on() {
        let Taken(turn, start) = Taken::new();
        turn.begin(start);
        turn.leaves_host(start);
        turn.enters_host(start + us(4));
        turn.end_at(start + us(10));
        assert_eq!(turn.used_by_host(), us(6));

        // The time until its next turn is charged to neither.
        turn.begin(start + us(5000));
        turn.leaves_host(start + us(5001));
        turn.enters_host(start + us(5009));
        turn.end_at(start + us(5009));
        assert_eq!((turn.used(), turn.used_by_host()), (us(10 + 9), us(7)));

        // The time that it takes to drop the guest is charged to neither, too.
        turn.leaves_host(start + us(9000));
        turn.enters_host(start + us(9009));
        assert_eq!(turn.used(), us(19));
    }

    /// Uses `time` of the processor or a little more, and is kept from it for four times as long. Returns the processor
    /// time that it used, which is more if the system itself was kept from its processor.
    fn interrupted(time: Duration) -> Duration {
        let start = processor_time();
        while processor_time() - start < time {}
        std::thread::sleep(time * 4); // stands for a processor that other threads use
        processor_time() - start
    }

    fn processor_time() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::try_from(time).expect("a thread's clock begins at zero")
    }

    #[test]
    fn processor_time_of_others_is_charged_neither_to_the_guest_nor_to_the_host() {
        let Taken(turn, start) = Taken::new();

        turn.begin(start);
        turn.leaves_host(Instant::now());
        let in_guest = interrupted(us(5000));
        turn.enters_host(Instant::now());
        let in_host = interrupted(us(3000));
        turn.end_at(Instant::now());

        let (host, guest) = (turn.used_by_host(), turn.used() - turn.used_by_host());
        assert!(guest >= in_guest && guest < in_guest + us(1000), "{guest:?} for {in_guest:?}");
        assert!(host >= in_host && host < in_host + us(1000), "{host:?} for {in_host:?}");
    }
}

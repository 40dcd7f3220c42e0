//! What parts of a turn on a guest thread took of the processor: those in which the guest computed, and those in which the
//! host worked for it.
//!
//! Asking the system for a thread's processor time takes longer than a short part does. So that is done at the end of those
//! parts only that are long enough for the thread to have lost the processor meanwhile; what a shorter one took is what passed.
//! So is what the thread does between two turns, which is nobody's.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What takes less was not interrupted: the system gives a processor away for longer than that.
const SHORT: Duration = Duration::from_micros(100);

/// Turns of short parts after which the system is asked all the same, lest what is not quite so adds up.
const SHORT_ONES: u32 = 64;

/// What is known of a thread.
#[derive(Clone, Copy)]
struct Known {
    /// Its processor time, as far as it was asked for or added up.
    used: Duration,
    /// Up to when that is; none if nobody knows how much of it was since.
    until: Option<Instant>,
    /// Turns since it was asked for, all of them short.
    short_ones: u32,
}

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { used: Duration::ZERO, until: None, short_ones: 0 }) };
}

/// A turn begins on this thread, at `now`, and the first part of it.
pub(crate) fn begin_turn(now: Instant) {
    let Known { used, until, short_ones } = KNOWN.get();
    let between = until.map(|until| now.saturating_duration_since(until)).filter(|time| *time < SHORT);
    KNOWN.set(match between {
        Some(time) if short_ones < SHORT_ONES => {
            Known { used: used + time, until: Some(now), short_ones: short_ones + 1 }
        }
        _ => Known { used: processor_time(), until: Some(now), short_ones: 0 },
    });
}

/// A part of this thread's turn ended at `now`, in which so much time has passed, and the next one begins. What it took of the
/// processor.
pub(crate) fn end_part(passed: Duration, now: Instant) -> Duration {
    let Known { used, short_ones, .. } = KNOWN.get();
    if passed < SHORT {
        KNOWN.set(Known { used: used + passed, until: Some(now), short_ones });
        return passed;
    }
    let asked = processor_time();
    KNOWN.set(Known { used: asked, until: Some(now), short_ones: 0 });
    asked.saturating_sub(used).min(passed)
}

/// This thread was asleep.
pub(crate) fn slept() {
    KNOWN.set(Known { until: None, ..KNOWN.get() });
}

/// What a guest takes of the processor by its thread's own clock, which is read wherever the guest enters the host and where it
/// goes on. Too dear for a host, as a guest may do so a million times a second: what tests compare with.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    /// The thread's processor time when the guest last went on, in nanoseconds; 0 while it is in the host.
    went_on: AtomicU64,
    took: AtomicU64,
}

#[cfg(test)]
impl Stopwatch {
    /// The guest goes on, on this thread.
    pub(crate) fn goes_on(&self) {
        self.went_on.store(processor_nanos(), Ordering::Relaxed);
    }

    /// The guest enters the host, on the thread on which it went on.
    pub(crate) fn stops(&self) {
        let now = processor_nanos();
        let went_on = self.went_on.swap(0, Ordering::Relaxed);
        if went_on > 0 {
            self.took.fetch_add(now - went_on, Ordering::Relaxed);
        }
    }

    /// What it took in all.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.took.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
fn processor_nanos() -> u64 {
    u64::try_from(processor_time().as_nanos()).expect("no thread is that old")
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processor time of a process, with all of its threads; `None` if it was waited for already.
pub(crate) fn process_time(process: u32) -> Option<Duration> {
    clock_of(process, 2)
}

/// Processor time of a thread of this process; `None` if it has ended.
fn thread_time(thread: u32) -> Option<Duration> {
    clock_of(thread, 6)
}

/// The clock of a process or thread by its number. What `kind` means is part of Linux's interface: 2 is the scheduler's own
/// account, 4 more makes that a thread's.
#[expect(unsafe_code, reason = "the safe wrapper has no clocks of other threads and processes; see the proof")]
fn clock_of(id: u32, kind: libc::clockid_t) -> Option<Duration> {
    let id = libc::clockid_t::try_from(id).ok()?;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes during the call, and a clock that is not there is an error.
    let asked = unsafe { libc::clock_gettime((!id << 3) | kind, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (asked == 0).then_some(Duration::new(seconds, nanos))
}

/// Processor time that a thread and the children that it waits for use, as other threads see it.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    /// The thread's number; 0 if there is none.
    thread: AtomicU32,
    /// The child's process; 0 if there is none.
    child: AtomicU32,
    /// What children used that have ended, in nanoseconds.
    ended: AtomicU64,
}

impl Effort {
    /// The thread that calls this is the one.
    pub(crate) fn of_this_thread(&self) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.thread.store(thread.unsigned_abs(), Ordering::Relaxed);
    }

    /// A child begins. There is one at a time.
    pub(crate) fn child_begins(&self, process: u32) {
        self.child.store(process, Ordering::Relaxed);
    }

    /// The child has ended, and used so much.
    pub(crate) fn child_ended(&self, used: Option<Duration>) {
        self.child.store(0, Ordering::Relaxed);
        let nanos = u64::try_from(used.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
        self.ended.fetch_add(nanos, Ordering::Relaxed);
    }

    /// All of it up to now. May be a little behind while a child ends.
    pub(crate) fn used(&self) -> Duration {
        let of = |id: &AtomicU32, time: fn(u32) -> Option<Duration>| match id.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            id => time(id).unwrap_or_default(),
        };
        let ended = Duration::from_nanos(self.ended.load(Ordering::Relaxed));
        of(&self.thread, thread_time) + of(&self.child, process_time) + ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let before = processor_time();
        while processor_time() - before < time {
            std::hint::spin_loop();
        }
    }

    /// What a part took in which this thread computes for so long, and sleeps for four times as long.
    fn interrupted(time: Duration) -> Duration {
        let start = Instant::now();
        spin(time);
        std::thread::sleep(time * 4); // stands for a processor that was taken away
        let end = Instant::now();
        end_part(end - start, end)
    }

    const TIME: Duration = Duration::from_millis(5);
    const MOST: Duration = Duration::from_millis(7);

    #[test]
    fn a_long_part_is_charged_for_what_it_computed_and_not_for_what_it_slept() {
        begin_turn(Instant::now());

        let used = [interrupted(TIME), interrupted(TIME)];

        assert!(used.iter().all(|used| (TIME..MOST).contains(used)), "{used:?}");
    }

    #[test]
    fn short_turns_before_it_are_not_charged_to_a_long_one() {
        for _ in 0..SHORT_ONES - 1 {
            let start = Instant::now();
            begin_turn(start);
            spin(Duration::from_micros(30));
            let end = Instant::now();
            end_part(end - start, end);
            spin(Duration::from_micros(30)); // as if it took so long to find the next guest
        }

        begin_turn(Instant::now());
        let used = interrupted(TIME);

        // What is short took what passed, and a busy machine may have taken some of that.
        assert!((TIME * 9 / 10..MOST).contains(&used), "{used:?}");
    }

    #[test]
    fn what_a_thread_does_between_two_turns_is_charged_to_neither() {
        for time in [Duration::from_micros(50), TIME] {
            begin_turn(Instant::now());
            let first = interrupted(TIME);
            spin(time); // as if it took so long to find the next guest

            begin_turn(Instant::now());
            let second = interrupted(TIME);

            // A short time between turns counts as computed, and a busy machine may have taken a part of that.
            let charged = TIME - SHORT..MOST;
            assert!([first, second].iter().all(|used| charged.contains(used)), "{first:?}, {second:?}");
        }
    }

    #[test]
    fn a_thread_that_slept_for_a_moment_is_not_taken_to_have_computed_meanwhile() {
        for _ in 0..SHORT_ONES {
            let start = Instant::now();
            begin_turn(start);
            let end = Instant::now();
            end_part(end - start, end);
            std::thread::sleep(Duration::from_micros(1)); // for a guest that comes a moment later
            slept();
        }

        begin_turn(Instant::now());
        let used = interrupted(TIME);

        assert!((TIME..MOST).contains(&used), "{used:?}");
    }
}

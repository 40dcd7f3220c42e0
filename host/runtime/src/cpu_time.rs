//! Measures the processor time of the parts of a turn on a guest thread: those in which the guest computed, and those
//! in which the host worked for it.
//!
//! Asking the system for a thread's processor time takes longer than a short part. So the system is asked only at the
//! end of parts that are long enough for the thread to have lost the processor. A shorter part is charged with the time
//! that passed. The same holds for the thread's work between two turns, which is charged to neither.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A shorter part was not interrupted, because the system gives a processor away for longer than that.
const SHORT: Duration = Duration::from_micros(100);

/// The number of turns of short parts after which the system is asked anyway, so that small errors do not add up.
const SHORT_ONES: u32 = 64;

/// The known times of a thread.
#[derive(Clone, Copy)]
struct Known {
    /// The processor time, as far as it was measured or added up.
    used: Duration,
    /// The instant up to which `used` counts; `None` if the time since then is unknown.
    until: Option<Instant>,
    /// The number of turns since the last measurement, all of them short.
    short_ones: u32,
}

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { used: Duration::ZERO, until: None, short_ones: 0 }) };
}

/// Begins a turn on this thread at `now`, and its first part.
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

/// Ends a part of this thread's turn at `now`, in which `passed` has passed, and begins the next one. Returns the
/// processor time of the part.
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

/// Records that this thread was asleep.
pub(crate) fn slept() {
    KNOWN.set(Known { until: None, ..KNOWN.get() });
}

/// Measures a guest's processor time with its thread's own clock, which is read whenever the guest enters the host and
/// goes on. That is too expensive for a host, because a guest may do so a million times a second. Tests compare with
/// it.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    /// The thread's processor time when the guest last went on, in nanoseconds; 0 while it is in the host.
    went_on: AtomicU64,
    took: AtomicU64,
}

#[cfg(test)]
impl Stopwatch {
    /// Records that the guest goes on, on this thread.
    pub(crate) fn resume(&self) {
        self.went_on.store(processor_nanos(), Ordering::Relaxed);
    }

    /// Records that the guest enters the host, on the thread on which it went on.
    pub(crate) fn stops(&self) {
        let now = processor_nanos();
        let went_on = self.went_on.swap(0, Ordering::Relaxed);
        if went_on > 0 {
            self.took.fetch_add(now - went_on, Ordering::Relaxed);
        }
    }

    /// Returns the total time.
    pub(crate) fn total(&self) -> Duration {
        Duration::from_nanos(self.took.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
fn processor_nanos() -> u64 {
    u64::try_from(processor_time().as_nanos()).expect("no thread is that old")
}

/// Returns the processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Returns the processor time of a process with all of its threads, or `None` if it was waited for already.
pub(crate) fn process_time(process: u32) -> Option<Duration> {
    clock_of(process, 2)
}

/// Returns the processor time of a thread of this process, or `None` if it has ended.
fn thread_time(thread: u32) -> Option<Duration> {
    clock_of(thread, 6)
}

/// Reads the clock of a process or thread by its number. The meaning of `kind` is part of Linux's interface: 2 is the
/// scheduler's own account, and adding 4 makes that a thread's.
#[expect(unsafe_code, reason = "the safe wrapper has no clocks of other threads and processes; see the proof")]
fn clock_of(id: u32, kind: libc::clockid_t) -> Option<Duration> {
    let id = libc::clockid_t::try_from(id).ok()?;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes during the call, and a missing clock is an error.
    let asked = unsafe { libc::clock_gettime((!id << 3) | kind, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
    (asked == 0).then_some(Duration::new(seconds, nanos))
}

/// The processor time of a thread and of the children that it waits for, as other threads see it.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    /// The thread's number; 0 if there is none.
    thread: AtomicU32,
    /// The child's process; 0 if there is none.
    child: AtomicU32,
    /// The time of children that have ended, in nanoseconds.
    ended: AtomicU64,
}

impl Effort {
    /// Sets the calling thread as the measured one.
    pub(crate) fn of_this_thread(&self) {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        self.thread.store(thread.unsigned_abs(), Ordering::Relaxed);
    }

    /// Records that a child begins. There is one at a time.
    pub(crate) fn child_begins(&self, process: u32) {
        self.child.store(process, Ordering::Relaxed);
    }

    /// Records that the child has ended, and the time that it used.
    pub(crate) fn child_ended(&self, used: Option<Duration>) {
        self.child.store(0, Ordering::Relaxed);
        let nanos = sexton_domain::lengths::nanos(used.unwrap_or_default());
        self.ended.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Returns the total time up to now. It may be a little behind while a child ends.
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

    /// Returns the measured time of a part in which this thread computes for `time`, and sleeps for four times as long.
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

        // A short part is charged with the time that passed, and a busy machine may have taken some of that.
        assert!((TIME * 9 / 10..MOST).contains(&used), "{used:?}");
    }

    #[test]
    fn work_between_two_turns_is_charged_to_neither() {
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
    fn a_thread_that_slept_for_a_moment_is_not_charged_for_it() {
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

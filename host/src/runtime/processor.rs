//! What parts of a turn on a guest thread took of the processor: those in which the guest computed, and those in which the
//! host worked for it.
//!
//! Asking the system for a thread's processor time takes longer than a short part does. So that is done at the end of those
//! parts only that are long enough for the thread to have lost the processor meanwhile; what a shorter one took is what passed.
//! After a long part it is asked at the beginning of the next turn, too, in which there is mostly one as long: what the thread
//! does between two turns is nobody's.

use std::cell::Cell;
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A part that takes less was not interrupted: the system gives a processor away for longer than that.
const SHORT: Duration = Duration::from_micros(100);

/// Turns of short parts after which the system is asked all the same, lest what lies between them adds up.
const SHORT_ONES: u32 = 64;

#[derive(Clone, Copy, Default)]
struct Known {
    /// This thread's processor time, as far as it was asked for or added up.
    used: Duration,
    /// Turns since it was asked for, all of them short.
    short_ones: u32,
}

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { used: Duration::ZERO, short_ones: SHORT_ONES }) };
}

/// A turn begins on this thread, and the first part of it.
pub(super) fn begin_turn() {
    let Known { used, short_ones } = KNOWN.get();
    KNOWN.set(match short_ones < SHORT_ONES {
        true => Known { used, short_ones: short_ones + 1 },
        false => Known { used: processor_time(), short_ones: 0 },
    });
}

/// What a part of this thread's turn took of the processor, in which so much time has passed; the next part begins.
pub(super) fn end_part(passed: Duration) -> Duration {
    let Known { used, short_ones } = KNOWN.get();
    if passed < SHORT {
        KNOWN.set(Known { used: used + passed, short_ones });
        return passed;
    }
    let now = processor_time();
    KNOWN.set(Known { used: now, short_ones: SHORT_ONES });
    // If short turns came just before it, what this thread did between them is in the difference, too.
    now.saturating_sub(used).min(passed)
}

/// What a guest takes of the processor by its thread's own clock, which is read wherever the guest enters the host and where it
/// goes on. Too dear for a host, as a guest may do so a million times a second: what tests compare with.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    /// The thread's processor time when the guest last went on, in nanoseconds; 0 while it is in the host.
    went_on: AtomicU64,
    took: AtomicU64,
}

#[cfg(test)]
impl Stopwatch {
    /// The guest goes on, on this thread.
    pub(super) fn goes_on(&self) {
        self.went_on.store(processor_nanos(), Ordering::Relaxed);
    }

    /// The guest enters the host, on the thread on which it went on.
    pub(super) fn stops(&self) {
        let now = processor_nanos();
        let went_on = self.went_on.swap(0, Ordering::Relaxed);
        if went_on > 0 {
            self.took.fetch_add(now - went_on, Ordering::Relaxed);
        }
    }

    /// What it took in all.
    pub(super) fn took(&self) -> Duration {
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

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
        end_part(start.elapsed())
    }

    const TIME: Duration = Duration::from_millis(5);
    const MOST: Duration = Duration::from_millis(7);

    #[test]
    fn a_long_part_is_charged_for_what_it_computed_and_not_for_what_it_slept() {
        begin_turn();

        let used = [interrupted(TIME), interrupted(TIME)];

        assert!(used.iter().all(|used| (TIME..MOST).contains(used)), "{used:?}");
    }

    #[test]
    fn short_turns_before_it_are_not_charged_to_a_long_one() {
        for _ in 0..SHORT_ONES - 1 {
            begin_turn();
            let start = Instant::now();
            spin(Duration::from_micros(50));
            end_part(start.elapsed());
        }

        begin_turn();
        let used = interrupted(TIME);

        // What a short part took is what passed, and a busy machine may have taken some of that.
        assert!((TIME * 9 / 10..MOST).contains(&used), "{used:?}");
    }

    #[test]
    fn what_a_thread_does_between_two_long_turns_is_charged_to_neither() {
        begin_turn();
        let first = interrupted(TIME);
        spin(TIME); // as if it took so long to find the next guest

        begin_turn();
        let second = interrupted(TIME);

        assert!([first, second].iter().all(|used| (TIME..MOST).contains(used)), "{first:?}, {second:?}");
    }
}

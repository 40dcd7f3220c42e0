//! What a turn on a guest thread took of the processor.
//!
//! Asking the system for a thread's processor time takes longer than the whole of a short turn. So that is done for turns
//! only that are long enough for the thread to have lost the processor meanwhile; what a shorter one took is what passed.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A turn that takes less was not interrupted: the system gives a processor away for longer than that.
const SHORT: Duration = Duration::from_micros(100);

/// Short turns after which the system is asked all the same, lest what lies between them adds up.
const SHORT_ONES: u32 = 64;

#[derive(Clone, Copy, Default)]
struct Known {
    /// This thread's processor time, as far as it was asked for or added up.
    used: Duration,
    short_ones: u32,
}

thread_local! {
    static KNOWN: Cell<Known> = const { Cell::new(Known { used: Duration::ZERO, short_ones: SHORT_ONES }) };
}

/// Do `work`, a turn that begins at `start`. Returns what comes of it, the processor time it took, and when it ended.
pub(super) fn timed<T>(start: Instant, work: impl FnOnce() -> T) -> (T, Duration, Instant) {
    if KNOWN.get().short_ones >= SHORT_ONES {
        KNOWN.set(Known { used: processor_time(), short_ones: 0 });
    }
    let done = work();
    let end = Instant::now();
    let passed = end.duration_since(start);
    let Known { used, short_ones } = KNOWN.get();
    if passed < SHORT {
        KNOWN.set(Known { used: used + passed, short_ones: short_ones + 1 });
        return (done, passed, end);
    }
    let now = processor_time();
    KNOWN.set(Known { used: now, short_ones: 0 });
    // What this thread did between its turns is in the difference, too.
    (done, now.saturating_sub(used).min(passed), end)
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
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

    #[test]
    fn a_long_turn_is_charged_for_what_it_computed_and_not_for_what_it_slept() {
        let work = || {
            spin(Duration::from_millis(20));
            std::thread::sleep(Duration::from_millis(60)); // stands for a processor that was taken away
        };

        let (_, used, _) = timed(Instant::now(), work);

        assert!(used >= Duration::from_millis(20) && used < Duration::from_millis(40), "{used:?}");
    }

    #[test]
    fn short_turns_before_it_are_not_charged_to_a_long_one() {
        for _ in 0..SHORT_ONES - 1 {
            timed(Instant::now(), || spin(Duration::from_micros(50)));
        }

        let work = || {
            spin(Duration::from_millis(5));
            std::thread::sleep(Duration::from_millis(20)); // as above
        };
        let (_, used, _) = timed(Instant::now(), work);

        assert!(used >= Duration::from_millis(5) && used < Duration::from_millis(7), "{used:?}");
    }
}

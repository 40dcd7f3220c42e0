//! Measures how much longer any program takes because others want the processors as well.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The priority of a host's guests, below that of other programs.
const NICE: i32 = 5;

/// The computing time of a program's short turn, and its sleep before the next.
const TURN: Duration = Duration::from_millis(1);
const REST: Duration = Duration::from_millis(5);

/// Measures for `time` how many times longer than its computing time a program takes that wants a processor now and
/// then, as a host's guests do: 1 if it has a processor for itself. Must be called while the host has nothing to do.
pub(crate) fn slowdown(time: Duration) -> f64 {
    slowdown_with(REST, time)
}

/// Does the same for a program that sleeps for `rest` between its turns.
fn slowdown_with(rest: Duration, time: Duration) -> f64 {
    let measured = std::thread::spawn(move || {
        // Sets the priority of this thread alone. If that is not allowed, the thread waits less than guests do.
        let _ = rustix::process::setpriority_process(None, NICE);
        let start = Instant::now();
        let (mut took, mut computed) = (Duration::ZERO, Duration::ZERO);
        while start.elapsed() < time {
            let (begun, before) = (Instant::now(), processor_time());
            while processor_time() - before < TURN {
                std::hint::spin_loop();
            }
            took += begun.elapsed();
            computed += processor_time() - before;
            std::thread::sleep(rest); // the pace of the measurement
        }
        took.as_secs_f64() / computed.max(TURN).as_secs_f64()
    });
    measured.join().map_or(1.0, |slowdown| slowdown.max(1.0))
}

/// Returns the time that this thread has computed.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_machine_with_more_to_do_than_it_has_processors_is_slower() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let over = Arc::new(AtomicBool::new(false));
        let spin = |over: Arc<AtomicBool>| {
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let busy: Vec<_> = (0..cores * 4).map(|_| spin(Arc::clone(&over))).collect();
        // Some schedulers serve a program that wants little at once, however many others want as much as possible.
        let slowdown = slowdown_with(Duration::ZERO, Duration::from_secs(1));
        over.store(true, Ordering::Relaxed);
        busy.into_iter().for_each(|thread| thread.join().expect("it ends"));

        assert!(slowdown > 1.2, "{slowdown}");
    }
}

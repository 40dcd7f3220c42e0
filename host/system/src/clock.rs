//! Provides the clocks of the operating system, and what a clock needs that does not follow a step of a moment.

mod steady;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use sexton_domain::time::{Clock, Timestamp};
pub use steady::{SETTLES, Steady};

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        chrono::Utc::now().into()
    }
}

/// The system's clock for a host without a shared store. It does not follow a step that is far off and lasts only a
/// moment (`clock/steady.rs`).
#[derive(Debug)]
pub struct HostClock(Mutex<Steady>);

impl HostClock {
    /// Creates a clock that shows what the system's shows now.
    pub fn start() -> Self {
        Self(Mutex::new(Steady::new(system_micros() - since_boot())))
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let mut steady = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let boot = since_boot();
        if let Some(turn) = steady.see(system_micros() - boot, boot) {
            turn.tell("this machine's clock");
        }
        from_micros(boot + steady.ahead())
    }

    fn doubt(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).doubt("this machine's clock")
    }
}

/// Returns the microseconds since the Unix epoch by the system's clock.
fn system_micros() -> i64 {
    chrono::Utc::now().timestamp_micros()
}

/// Returns the instant `micros` microseconds after the Unix epoch, cut to whole milliseconds.
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_millis(micros.div_euclid(1000))
}

/// Returns microseconds by a clock that only goes forward, also while the machine sleeps.
pub fn since_boot() -> i64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let time = clock_gettime(CLOCK);
    let time = Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

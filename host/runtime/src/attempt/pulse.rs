//! Notes when a guest last sent or received anything, and tells when it has been idle for too long.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::virtual_time::Sleeper;

/// The instant at which a guest last sent or received anything. Nothing is noted while no limit needs it.
#[derive(Debug, Default)]
pub(super) struct Pulse(OnceLock<Beats>);

#[derive(Debug)]
struct Beats {
    /// The clock, if it is not the real one.
    clock: Option<Arc<Sleeper>>,
    last: Mutex<Instant>,
}

impl Beats {
    fn now(&self) -> Instant {
        self.clock.as_ref().map_or_else(Instant::now, |clock| clock.now())
    }
}

impl Pulse {
    /// Begins to note activity, of which this is the first.
    pub(super) fn begin(&self, clock: Option<Arc<Sleeper>>) {
        let now = clock.as_ref().map_or_else(Instant::now, |clock| clock.now());
        // An attempt begins only once.
        let _ = self.0.set(Beats { clock, last: Mutex::new(now) });
    }

    /// Notes activity.
    pub(super) fn beats(&self) {
        if let Some(beats) = self.0.get() {
            *beats.last.lock().unwrap_or_else(PoisonError::into_inner) = beats.now();
        }
    }

    /// Returns how much longer the guest may be idle if it may be so for `limit`; zero once it has been.
    pub(super) fn left(&self, limit: Duration) -> Duration {
        let Some(beats) = self.0.get() else { return limit };
        let last = *beats.last.lock().unwrap_or_else(PoisonError::into_inner);
        limit.saturating_sub(beats.now().saturating_duration_since(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3600);

    #[test]
    fn a_guest_is_idle_since_its_last_activity() {
        let pulse = Pulse::default();
        assert_eq!(pulse.left(LIMIT), LIMIT, "nothing is noted before it begins");

        pulse.begin(None);
        let first = pulse.left(LIMIT);
        std::thread::sleep(Duration::from_millis(2)); // so that the clock moves
        let second = pulse.left(LIMIT);
        pulse.beats();

        assert!(second < first && pulse.left(LIMIT) > second);
        assert_eq!(pulse.left(Duration::ZERO), Duration::ZERO);
    }
}

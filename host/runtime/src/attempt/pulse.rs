//! Notes when a guest last sent or received anything, and tells when it has been idle for too long.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::virtual_time::Sleeper;

/// The instant at which a guest last sent or received anything. Nothing is noted while no limit needs it.
#[derive(Debug, Default)]
pub(super) struct Pulse(OnceLock<Beats>);

#[derive(Debug)]
struct Beats {
    /// The clock, if it is not the real one.
    clock: Option<Arc<Sleeper>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the guest last acted, moved forward by the time for which it has waited for its turns since.
    last: Instant,
    /// Since when the guest has waited for its turn, if it does.
    queued: Option<Instant>,
}

impl Beats {
    fn now(&self) -> Instant {
        self.clock.as_ref().map_or_else(Instant::now, |clock| clock.now())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes activity at `now`.
    fn acts(&mut self, now: Instant) {
        self.last = now;
        // The host may act for the guest while the guest waits for its turn.
        self.queued = self.queued.map(|_| now);
    }

    /// Ends the wait for a turn at `now`.
    fn has_turn(&mut self, now: Instant) {
        if let Some(queued) = self.queued.take() {
            self.last += now.saturating_duration_since(queued);
        }
    }
}

impl Pulse {
    /// Begins to note activity, of which this is the first.
    pub(super) fn begin(&self, clock: Option<Arc<Sleeper>>) {
        let now = clock.as_ref().map_or_else(Instant::now, |clock| clock.now());
        // An attempt begins only once.
        let _ = self.0.set(Beats { clock, state: Mutex::new(State { last: now, queued: None }) });
    }

    /// Notes activity.
    pub(super) fn beats(&self) {
        if let Some(beats) = self.0.get() {
            let now = beats.now();
            beats.state().acts(now);
        }
    }

    /// Notes that the guest waits for its turn from now on. That is the host's delay, and no idleness of the guest. In
    /// virtual time it takes none.
    pub(super) fn queues(&self) {
        if let Some(beats) = self.0.get().filter(|beats| beats.clock.is_none()) {
            beats.state().queued = Some(Instant::now());
        }
    }

    /// Notes that the guest has its turn from `now` on.
    pub(super) fn has_turn(&self, now: Instant) {
        if let Some(beats) = self.0.get().filter(|beats| beats.clock.is_none()) {
            beats.state().has_turn(now);
        }
    }

    /// Returns when the guest last acted.
    #[cfg(test)]
    pub(super) fn last(&self) -> Option<Instant> {
        self.0.get().map(|beats| beats.state().last)
    }

    /// Returns how much longer the guest may be idle if it may be so for `limit`; zero once it has been.
    pub(super) fn left(&self, limit: Duration) -> Duration {
        let Some(beats) = self.0.get() else { return limit };
        let state = beats.state();
        let until = state.queued.unwrap_or_else(|| beats.now());
        limit.saturating_sub(until.saturating_duration_since(state.last))
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

    #[test]
    fn a_wait_for_a_turn_is_not_idle_time() {
        let pulse = Pulse::default();
        pulse.begin(None);

        pulse.queues();
        let left = pulse.left(LIMIT);
        std::thread::sleep(Duration::from_millis(2)); // so that the clock moves

        assert_eq!(pulse.left(LIMIT), left);
    }

    #[test]
    fn a_guest_that_has_its_turn_has_been_idle_for_as_long_as_before_it_was_queued() {
        let (acted, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = State { last: acted, queued: None };
        state.has_turn(acted + second * 2);
        assert_eq!(state.last, acted, "it was not queued");

        state.queued = Some(acted + second * 3);
        state.has_turn(acted + second * 33);

        assert_eq!((state.last, state.queued), (acted + second * 30, None));
    }

    #[test]
    fn activity_while_a_guest_is_queued_counts_from_then_on() {
        let (acted, second) = (Instant::now(), Duration::from_secs(1));
        let mut state = State { last: acted, queued: Some(acted + second) };

        state.acts(acted + second * 5);
        state.has_turn(acted + second * 6);

        assert_eq!(state.last, acted + second * 6);
    }
}

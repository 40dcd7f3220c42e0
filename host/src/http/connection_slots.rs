//! Tracks the open connections, and closes one of them if there is no room for another.
//!
//! A client that opens connections and sends nothing, or sends or reads slowly, must not keep others out. So if all
//! places are taken, the connection that has been idle for longest is closed. If none is idle, the one whose request
//! has been under way for longest is closed, if that is long. Requests that wait by right ([`super::waiting`]) are
//! bounded separately and are not closed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The age of a request that does not wait by right from which its connection may be closed to make room.
const SLOW: Duration = Duration::from_secs(5);

/// The open connections.
#[derive(Debug, Default)]
pub(super) struct ConnectionSlots(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    numbers: u64,
    places: BTreeMap<u64, Arc<ConnectionSlot>>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    state: Mutex<PlaceState>,
    close: Notify,
}

#[derive(Clone, Copy, Debug)]
struct PlaceState {
    /// The number of requests under way: 0 or 1.
    requests: u32,
    /// Whether the request waits by right.
    waiting: bool,
    /// The instant of the last change of this state.
    since: Instant,
    /// Whether the connection is being closed to make room.
    closing: bool,
}

/// Counts a request as under way until this is dropped.
#[derive(Debug)]
pub(super) struct RequestGuard(Arc<ConnectionSlot>);

/// Holds a place until this is dropped.
#[derive(Debug)]
pub(super) struct SlotGuard {
    places: Arc<ConnectionSlots>,
    number: u64,
    /// The connection.
    pub(super) place: Arc<ConnectionSlot>,
}

impl ConnectionSlots {
    /// Takes a place for a connection.
    pub(super) fn take(self: &Arc<Self>) -> SlotGuard {
        let state = PlaceState { requests: 0, waiting: false, since: Instant::now(), closing: false };
        let place = Arc::new(ConnectionSlot { state: Mutex::new(state), close: Notify::new() });
        let mut open = self.open();
        open.numbers += 1;
        let number = open.numbers;
        open.places.insert(number, Arc::clone(&place));
        SlotGuard { places: Arc::clone(self), number, place }
    }

    /// Closes a connection to make room for another at `now`, if one may be closed.
    pub(super) fn make_room(&self, now: Instant) {
        let open = self.open();
        let oldest = |may_go: fn(&PlaceState, Instant) -> bool| {
            let state = open.places.values().map(|place| (*place.state(), place));
            let fit = state.filter(|(state, _)| !state.closing && may_go(state, now));
            fit.min_by_key(|(state, _)| state.since).map(|(_, place)| place)
        };
        let idle = oldest(|state, _| state.requests == 0);
        let slow = || oldest(|state, now| !state.waiting && now.duration_since(state.since) >= SLOW);
        if let Some(place) = idle.or_else(slow) {
            place.state().closing = true;
            place.close.notify_one();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // No operation under the lock leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionSlot {
    fn state(&self) -> MutexGuard<'_, PlaceState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request.
    pub(super) fn begin(self: &Arc<Self>) -> RequestGuard {
        let mut state = self.state();
        state.requests += 1;
        state.since = Instant::now();
        RequestGuard(Arc::clone(self))
    }

    /// Sets whether the request under way waits by right.
    pub(super) fn set_waiting(&self, waiting: bool) {
        let mut state = self.state();
        state.waiting = waiting;
        state.since = Instant::now();
    }

    /// Completes when the connection must be closed.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests = state.requests.saturating_sub(1);
        state.since = Instant::now();
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        self.places.open().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closing(places: &[&SlotGuard]) -> Vec<bool> {
        places.iter().map(|taken| taken.place.state().closing).collect()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_makes_room_then_slow_ones_and_never_one_that_waits() {
        let places = Arc::new(ConnectionSlots::default());
        let (waits, slow, first, second) = (places.take(), places.take(), places.take(), places.take());
        let _waits = waits.place.begin();
        waits.place.set_waiting(true);
        let _slow = slow.place.begin();
        let all = [&waits, &slow, &first, &second];
        // The second connection became idle later than the first.
        drop(second.place.begin());
        let now = Instant::now();

        places.make_room(now);
        assert_eq!(closing(&all), [false, false, true, false]);
        tokio::time::timeout(Duration::from_secs(60), first.place.closed()).await.expect("it is told");
        places.make_room(now);
        assert_eq!(closing(&all), [false, false, true, true]);
        places.make_room(now);
        assert_eq!(closing(&all), [false, false, true, true], "it is not slow yet");
        for _ in 0..2 {
            places.make_room(now + SLOW);
        }
        assert_eq!(closing(&all), [false, true, true, true]);

        drop(first);
        assert_eq!(places.open().places.len(), 3);
    }
}

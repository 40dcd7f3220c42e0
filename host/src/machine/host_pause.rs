//! Pauses this host after a signal: it neither claims runs nor makes scheduled ones, and running attempts go on. The
//! pause belongs to this process and is forgotten with it. Pauses that last are kept in the store.

use tokio::sync::watch;

use sexton_domain::run::HeldBack;
use sexton_domain::time::Timestamp;

/// The state of a host's pause, and its latest end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostPauseState {
    /// The begin of the pause, if the host is paused.
    pub since: Option<Timestamp>,
    /// The latest pause that has ended. Its end identifies it, so that even a pause too short for an observer to see
    /// its begin is noticed.
    pub over: Option<EndedPause>,
}

/// A pause that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedPause {
    /// The instant at which it began.
    pub from: Timestamp,
    /// The instant at which it ended.
    pub to: Timestamp,
}

/// Shares the pause of a host between the signal handler and the parts that obey it.
#[derive(Debug, Default)]
pub struct HostPause(watch::Sender<HostPauseState>);

impl HostPause {
    /// Pauses the host. Returns whether it was not paused before.
    pub fn begin(&self, now: Timestamp) -> bool {
        self.0.send_if_modified(|state| {
            let moved = state.since.is_none();
            state.since = state.since.or(Some(now));
            moved
        })
    }

    /// Ends the pause. Returns whether the host was paused.
    pub fn end(&self, now: Timestamp) -> bool {
        self.0.send_if_modified(|state| {
            let Some(from) = state.since.take() else { return false };
            state.over = Some(EndedPause { from, to: now });
            true
        })
    }

    /// Returns the begin of the pause, if the host is paused.
    pub fn since(&self) -> Option<Timestamp> {
        self.0.borrow().since
    }

    /// Returns a receiver of changes.
    pub fn changes(&self) -> watch::Receiver<HostPauseState> {
        self.0.subscribe()
    }

    /// Returns the reason why no runs start here, if the pause is one.
    pub fn held_back(&self) -> Option<HeldBack> {
        let since = self.since()?;
        Some(HeldBack { reason: format!("this host is paused by a signal since {since}"), until: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_changes_nothing_and_a_short_pause_leaves_its_trace() {
        let (pause, at) = (HostPause::default(), Timestamp::from_millis);
        let mut changes = pause.changes();

        assert!(!pause.end(at(1)) && !changes.has_changed().unwrap());
        assert!(pause.begin(at(2)) && !pause.begin(at(3)));
        assert_eq!(pause.since(), Some(at(2)));
        assert!(pause.held_back().unwrap().reason.ends_with("paused by a signal since 1970-01-01T00:00:00.002Z"));
        assert!(pause.end(at(4)) && !pause.end(at(5)));

        let seen = *changes.borrow_and_update();
        assert_eq!(seen, HostPauseState { since: None, over: Some(EndedPause { from: at(2), to: at(4) }) });
    }
}

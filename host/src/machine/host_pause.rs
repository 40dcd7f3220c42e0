//! Whether this host stands still because somebody sent it a signal: nothing is claimed or made by schedule here, and what
//! runs goes on. It is this process's alone, and forgotten with it; pauses that last are the store's.

use tokio::sync::watch;

use crate::run::HeldBack;
use crate::time::Timestamp;

/// Whether a host stands still, and whether it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// Since when it does.
    pub since: Option<Timestamp>,
    /// The latest pause that is over. Told apart from one before by when it ended, so that one so short that nobody saw it
    /// begin is seen all the same.
    pub over: Option<Over>,
}

/// A pause that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
}

/// The pause of a host, shared by those who signal and those who heed it.
#[derive(Debug, Default)]
pub struct HostPause(watch::Sender<Stand>);

impl HostPause {
    /// Stand still. Returns whether it did not already.
    pub fn begin(&self, now: Timestamp) -> bool {
        self.0.send_if_modified(|stand| {
            let moved = stand.since.is_none();
            stand.since = stand.since.or(Some(now));
            moved
        })
    }

    /// Go on. Returns whether it stood still.
    pub fn end(&self, now: Timestamp) -> bool {
        self.0.send_if_modified(|stand| {
            let Some(from) = stand.since.take() else { return false };
            stand.over = Some(Over { from, to: now });
            true
        })
    }

    /// Since when it stands still.
    pub fn since(&self) -> Option<Timestamp> {
        self.0.borrow().since
    }

    /// For those who heed it.
    pub fn changes(&self) -> watch::Receiver<Stand> {
        self.0.subscribe()
    }

    /// Why nothing starts here, if that is why.
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
        assert_eq!(seen, Stand { since: None, over: Some(Over { from: at(2), to: at(4) }) });
    }
}

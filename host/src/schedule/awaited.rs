//! A run that is waited for, and when what follows it is due. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chain::ChainState;
use super::{Cooldowns, PaceState};
use crate::run::{RunId, RunState};
use crate::time::Timestamp;

/// What happened so much later than it is now cannot have: the clock was set back since, and what follows is due at once.
pub const SET_BACK: Duration = Duration::from_secs(5);

/// How a run that is waited for stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// It is not over.
    Going,
    /// It is.
    Over {
        /// Which.
        run: RunId,
        /// What became of it.
        state: RunState,
        /// When.
        at: Timestamp,
    },
    /// Nothing is known of it any more: it was over so long ago that its history is gone.
    Gone,
}

impl Cooldowns {
    /// When the next one is due after that; `None` while it is going.
    pub fn due(&self, after: Awaited, now: Timestamp) -> Option<Timestamp> {
        match after {
            Awaited::Going => None,
            Awaited::Gone => Some(now),
            Awaited::Over { at, .. } if at > now.plus(SET_BACK) => Some(now),
            Awaited::Over { state, at, .. } => Some(at.plus(self.after(state == RunState::Succeeded))),
        }
    }

    /// How long after one that succeeded, or did not.
    pub fn after(&self, succeeded: bool) -> Duration {
        if succeeded { self.success } else { self.fail }
    }
}

/// What is remembered of the run after whose end the next one is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterState {
    /// The key that it was made with.
    pub awaits: String,
    /// How it ended, where that is to be known for longer than its history may be kept.
    pub ended: Option<AfterEnd>,
}

/// How the run ended after which the next one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterEnd {
    /// Which it was.
    pub run: RunId,
    /// What became of it.
    pub state: RunState,
    /// When.
    pub at: Timestamp,
}

impl AfterState {
    /// How the run stands, if it stands like `seen` as far as the store knows.
    pub fn stands(&self, seen: Awaited) -> Awaited {
        self.ended.map_or(seen, |AfterEnd { run, state, at }| Awaited::Over { run, state, at })
    }

    /// The same, with its end.
    #[must_use]
    pub fn with(&self, end: Awaited) -> Self {
        let ended = match end {
            Awaited::Over { run, state, at } => Some(AfterEnd { run, state, at }),
            Awaited::Going | Awaited::Gone => self.ended,
        };
        Self { awaits: self.awaits.clone(), ended }
    }
}

/// What a schedule that goes by how earlier runs went remembers: the words in which the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// The run after whose end the next one is due.
    After(AfterState),
    /// How a pace has come along.
    Pace(PaceState),
    /// Where a chain is.
    Chain(ChainState),
}

impl Memory {
    /// What was remembered; `None` if nothing was, or in words of another time.
    pub fn read(text: Option<&str>) -> Option<Self> {
        serde_json::from_str(text?).ok()
    }

    /// As it is kept.
    pub fn write(&self) -> String {
        serde_json::to_string(self).expect("names, numbers and instants are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn what_follows_is_due_so_long_after_the_end_as_its_outcome_says() {
        let cooldowns = Cooldowns { success: Duration::from_secs(10), fail: Duration::from_secs(60) };
        let due = |state, at| cooldowns.due(Awaited::Over { run: RunId(1), state, at }, NOW);

        assert_eq!(due(RunState::Succeeded, NOW), Some(NOW.plus(Duration::from_secs(10))));
        assert_eq!(due(RunState::Failed, NOW), Some(NOW.plus(Duration::from_secs(60))));
        assert_eq!(due(RunState::Cancelled, NOW), Some(NOW.plus(Duration::from_secs(60))));
        assert_eq!((cooldowns.due(Awaited::Going, NOW), cooldowns.due(Awaited::Gone, NOW)), (None, Some(NOW)));
    }

    #[test]
    fn an_end_in_the_future_is_not_waited_for() {
        let cooldowns = Cooldowns { success: Duration::from_secs(10), fail: Duration::from_secs(60) };
        let end = Awaited::Over { run: RunId(1), state: RunState::Failed, at: NOW.plus(Duration::from_secs(86_400)) };
        assert_eq!(cooldowns.due(end, NOW), Some(NOW));
        // Hosts' clocks differ a little, and an end that is that much ahead is one.
        let ahead = |by| Awaited::Over { run: RunId(1), state: RunState::Succeeded, at: NOW.plus(by) };
        let [at_most, more] = [SET_BACK, SET_BACK + Duration::from_millis(1)].map(|by| cooldowns.due(ahead(by), NOW));
        assert_eq!((at_most, more), (Some(NOW.plus(SET_BACK + Duration::from_secs(10))), Some(NOW)));
    }

    #[test]
    fn what_was_remembered_is_read_again_and_anything_else_is_nothing() {
        let memory = Memory::After(AfterState { awaits: "after:7".into(), ended: None });
        assert_eq!(Memory::read(Some(&memory.write())), Some(memory));
        for other in [None, Some(""), Some("{}"), Some(r#"{"times":3}"#)] {
            assert_eq!(Memory::read(other), None);
        }
    }
}

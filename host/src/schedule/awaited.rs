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

/// What a schedule that goes by how earlier runs went remembers: the words in which the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// The key of the run after whose end the next one is due.
    After(String),
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
    }

    #[test]
    fn what_was_remembered_is_read_again_and_anything_else_is_nothing() {
        let memory = Memory::After("after:7".into());
        assert_eq!(Memory::read(Some(&memory.write())), Some(memory));
        for other in [None, Some(""), Some("{}"), Some(r#"{"times":3}"#)] {
            assert_eq!(Memory::read(other), None);
        }
    }
}

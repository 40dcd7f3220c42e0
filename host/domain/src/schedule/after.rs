//! Decides when a run is due that follows the end of another. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chain::ChainState;
use super::{Cooldowns, PaceState};
use crate::run::{RunId, RunState};
use crate::time::Timestamp;

/// An event cannot have happened so much later than now. If its time says so, the clock was set back since, and the run
/// that follows it is due at once.
pub const SET_BACK: Duration = Duration::from_secs(5);

/// The state of the run whose end is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedRun {
    /// The run has not ended.
    Going,
    /// The run has ended.
    Over {
        /// The run that ended.
        run: RunId,
        /// The state that it ended in.
        state: RunState,
        /// Whether it was skipped, which is no failure.
        skipped: bool,
        /// The instant of its end.
        at: Timestamp,
    },
    /// The store no longer knows the run, because it ended so long ago that its history was deleted.
    Gone,
}

impl AwaitedRun {
    /// Returns whether nothing is known to have gone wrong: the run has succeeded, was skipped, or is forgotten.
    pub fn went_well(self) -> bool {
        match self {
            Self::Over { state, skipped, .. } => skipped || state == RunState::Succeeded,
            Self::Going | Self::Gone => true,
        }
    }
}

impl Cooldowns {
    /// Returns the instant at which the next run is due, or `None` while the awaited one is going.
    pub fn due(&self, after: AwaitedRun, now: Timestamp) -> Option<Timestamp> {
        match after {
            AwaitedRun::Going => None,
            AwaitedRun::Gone => Some(now),
            AwaitedRun::Over { at, .. } if at > now.plus(SET_BACK) => Some(now),
            AwaitedRun::Over { at, .. } => Some(at.plus(self.after(after.went_well()))),
        }
    }

    /// Returns the cooldown after a run that succeeded, or did not.
    pub fn after(&self, succeeded: bool) -> Duration {
        if succeeded { self.success } else { self.fail }
    }
}

/// Remembers the run after whose end the next one is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterState {
    /// The deduplication key that the run was made with.
    pub awaits: String,
    /// The end of that run, if it must be known for longer than the run's history is kept.
    pub ended: Option<AfterEnd>,
}

/// The end of a run that another one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AfterEnd {
    /// The run that ended.
    pub run: RunId,
    /// The state that it ended in.
    pub state: RunState,
    /// Whether it was skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skipped: bool,
    /// The instant of its end.
    pub at: Timestamp,
}

impl AfterState {
    /// Returns the remembered end of the run, or else `seen`, which is what the store knows of it.
    pub fn resolve(&self, seen: AwaitedRun) -> AwaitedRun {
        self.ended.map_or(seen, |AfterEnd { run, state, skipped, at }| AwaitedRun::Over { run, state, skipped, at })
    }

    /// Returns the same state with the end of the run.
    #[must_use]
    pub fn with(&self, end: AwaitedRun) -> Self {
        let ended = match end {
            AwaitedRun::Over { run, state, skipped, at } => Some(AfterEnd { run, state, skipped, at }),
            AwaitedRun::Going | AwaitedRun::Gone => self.ended,
        };
        Self { awaits: self.awaits.clone(), ended }
    }
}

/// The state of a schedule that depends on earlier runs, in the form that the store keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// The run after whose end the next one is due.
    After(AfterState),
    /// The state of a pace.
    Pace(PaceState),
    /// The position of a chain.
    Chain(ChainState),
}

impl Memory {
    /// Parses a stored state. Returns `None` if there is none, or if a version with another format wrote it.
    pub fn read(text: Option<&str>) -> Option<Self> {
        serde_json::from_str(text?).ok()
    }

    /// Returns the state as the store keeps it.
    pub fn write(&self) -> String {
        serde_json::to_string(self).expect("names, numbers and instants are JSON")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn the_next_run_is_due_after_the_cooldown_of_the_outcome() {
        let cooldowns = Cooldowns { success: Duration::from_secs(10), fail: Duration::from_secs(60) };
        let due = |state, at| cooldowns.due(AwaitedRun::Over { run: RunId(1), state, skipped: false, at }, NOW);

        assert_eq!(due(RunState::Succeeded, NOW), Some(NOW.plus(Duration::from_secs(10))));
        assert_eq!(due(RunState::Failed, NOW), Some(NOW.plus(Duration::from_secs(60))));
        assert_eq!(due(RunState::Cancelled, NOW), Some(NOW.plus(Duration::from_secs(60))));
        assert_eq!((cooldowns.due(AwaitedRun::Going, NOW), cooldowns.due(AwaitedRun::Gone, NOW)), (None, Some(NOW)));
    }

    #[test]
    fn an_end_in_the_future_is_not_waited_for() {
        let cooldowns = Cooldowns { success: Duration::from_secs(10), fail: Duration::from_secs(60) };
        let end = AwaitedRun::Over {
            run: RunId(1),
            state: RunState::Failed,
            skipped: false,
            at: NOW.plus(Duration::from_secs(86_400)),
        };
        assert_eq!(cooldowns.due(end, NOW), Some(NOW));
        // The clocks of hosts differ a little, so an end that is only so far ahead is a real one.
        let ahead =
            |by| AwaitedRun::Over { run: RunId(1), state: RunState::Succeeded, skipped: false, at: NOW.plus(by) };
        let [at_most, more] = [SET_BACK, SET_BACK + Duration::from_millis(1)].map(|by| cooldowns.due(ahead(by), NOW));
        assert_eq!((at_most, more), (Some(NOW.plus(SET_BACK + Duration::from_secs(10))), Some(NOW)));
    }

    #[test]
    fn states_round_trip_and_other_texts_are_refused() {
        let memory = Memory::After(AfterState { awaits: "after:7".into(), ended: None });
        assert_eq!(Memory::read(Some(&memory.write())), Some(memory));
        for other in [None, Some(""), Some("{}"), Some(r#"{"times":3}"#)] {
            assert_eq!(Memory::read(other), None);
        }
    }
}

//! Decides what is shown of a run that waits.

use crate::pause::PausedBy;
use crate::run::{Cause, RunId, RunState};
use crate::store::loss::{NEVER, why_suspected};
use crate::supervision::{Pause, Standing};
use crate::time::Timestamp;

/// The facts that a store has read about a run and its task.
#[derive(Clone, Debug)]
pub(in crate::store) struct Facts {
    pub(in crate::store) run: RunId,
    pub(in crate::store) state: RunState,
    pub(in crate::store) due_at: Timestamp,
    pub(in crate::store) run_at: Timestamp,
    pub(in crate::store) claimed_at: Option<Timestamp>,
    pub(in crate::store) cause: Cause,
    pub(in crate::store) attempt: u32,
    pub(in crate::store) forced: bool,
    pub(in crate::store) deaths: u32,
    pub(in crate::store) suspected_at: Option<Timestamp>,
    /// The narrowest pause that applies to the task.
    pub(in crate::store) pause: Option<(PausedBy, Pause)>,
    pub(in crate::store) standing: Standing,
}

impl Facts {
    /// Returns since when the run is held back on suspicion, if it still is.
    pub(in crate::store) fn suspected_at(&self) -> Option<Timestamp> {
        self.suspected_at.filter(|_| self.state == RunState::Waiting)
    }

    /// Returns why the run does not start at its instant, as far as a store knows.
    pub(in crate::store) fn why(&self) -> Option<String> {
        if self.suspected_at().is_some() {
            return Some(why_suspected(self.run, self.deaths));
        }
        // A run past limits waits for a place only.
        if self.state != RunState::Waiting || (self.forced && self.attempt == 0) {
            return None;
        }
        match &self.pause {
            Some((by, pause)) => Some(by.why(pause)),
            None => self.standing.why_held(self.run_at, self.cause, self.attempt),
        }
    }

    /// Returns the instant to show. A run that is or was held back has none; this is then the instant at which that
    /// began.
    pub(in crate::store) fn shown_run_at(&self) -> Timestamp {
        match self.run_at {
            NEVER => self.suspected_at().or(self.claimed_at).unwrap_or(self.due_at),
            at => at,
        }
    }
}

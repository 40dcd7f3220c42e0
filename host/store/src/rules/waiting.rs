//! Decides what is shown of a run that waits.

use crate::backfills::TURN;
use crate::loss::{NEVER, why_suspected};
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{Cause, RunId, RunState};
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::time::Timestamp;

/// The facts that a store has read about a run and its task.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) run: RunId,
    pub(crate) state: RunState,
    pub(crate) due_at: Timestamp,
    pub(crate) run_at: Timestamp,
    pub(crate) claimed_at: Option<Timestamp>,
    pub(crate) cause: Cause,
    pub(crate) attempt: u32,
    pub(crate) forced: bool,
    pub(crate) deaths: u32,
    pub(crate) suspected_at: Option<Timestamp>,
    /// The most runs of backfills at once, if it belongs to one.
    pub(crate) at_once: Option<u32>,
    /// The run of the task's backfills that is held back on suspicion, if it waits for its turn behind one.
    pub(crate) behind: Option<RunId>,
    /// The narrowest pause that applies to the task.
    pub(crate) pause: Option<(PausedBy, Pause)>,
    pub(crate) standing: Standing,
}

impl Facts {
    /// Returns since when the run is held back on suspicion, if it still is.
    pub(crate) fn suspected_at(&self) -> Option<Timestamp> {
        self.suspected_at.filter(|_| self.state == RunState::Waiting)
    }

    /// Returns why the run does not start at its instant, as far as a store knows.
    pub(crate) fn why(&self) -> Option<String> {
        if self.suspected_at().is_some() {
            return Some(why_suspected(self.run, self.deaths));
        }
        if let Some(at_once) = self.at_once.filter(|_| self.state == RunState::Waiting && self.run_at == TURN) {
            let turn = format!("waits for its turn in a backfill, of which at most {at_once} may be going at once");
            return Some(match self.behind {
                Some(run) => format!("{turn}, behind run {run}, which is held back"),
                None => turn,
            });
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
    /// began. A run that waits for its turn has none either; it could start at its due instant but for that.
    pub(crate) fn shown_run_at(&self) -> Timestamp {
        match self.run_at {
            NEVER => self.suspected_at().or(self.claimed_at).unwrap_or(self.due_at),
            TURN => self.due_at,
            at => at,
        }
    }
}

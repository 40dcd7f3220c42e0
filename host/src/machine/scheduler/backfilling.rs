//! Lets the runs of backfills take turns.
//!
//! Every host does so: the store gives out each turn once. A backfill is noticed within a second, and the end of one of
//! its runs at once.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

use sexton_domain::time::Timestamp;
use sexton_store::Store;

/// The interval of looks without a change of a run.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The shortest interval of looks that changes of runs cause.
const BETWEEN: Duration = Duration::from_millis(20);

/// The knowledge of this host about backfills.
#[derive(Debug, Default)]
pub(super) struct Backfilling {
    /// Whether runs waited for their turn at the last look.
    waiting: bool,
    /// Whether some run has changed since.
    hinted: bool,
    looked: Option<Instant>,
}

impl Backfilling {
    /// Returns whether a change of a run makes a difference.
    pub(super) fn depends_on_runs(&self) -> bool {
        self.waiting && !self.hinted
    }

    /// Records that some run changed.
    pub(super) fn hint(&mut self) {
        self.hinted = true;
    }

    /// Returns how long no look is due.
    fn rest(&self) -> Duration {
        let interval = if self.waiting && self.hinted { BETWEEN } else { LOOK_AGAIN };
        self.looked.map_or(Duration::ZERO, |looked| interval.saturating_sub(looked.elapsed()))
    }

    /// Lets runs of backfills start whose turn has come. Returns how long there will be none, unless a run ends.
    pub(super) async fn take_turns(&mut self, store: &dyn Store, now: Timestamp) -> Duration {
        let rest = self.rest();
        if rest > Duration::ZERO {
            return rest;
        }
        match store.take_turns(now).await {
            Ok(turns) => {
                if turns.started > 0 {
                    debug!(runs = turns.started, "Runs of backfills take their turn");
                }
                self.waiting = turns.waiting;
            }
            Err(error) => warn!(error = %error, "Cannot let runs of backfills take their turn, trying again"),
        }
        self.hinted = false;
        self.looked = Some(Instant::now());
        self.rest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_run_causes_a_look_only_while_runs_wait_for_their_turn() {
        let mut backfilling = Backfilling::default();
        assert_eq!((backfilling.rest(), backfilling.depends_on_runs()), (Duration::ZERO, false));

        backfilling.looked = Some(Instant::now());
        assert!(backfilling.rest() > BETWEEN && !backfilling.depends_on_runs());
        backfilling.waiting = true;
        assert!(backfilling.rest() > BETWEEN && backfilling.depends_on_runs());
        backfilling.hint();
        assert!(backfilling.rest() <= BETWEEN && !backfilling.depends_on_runs());
    }
}

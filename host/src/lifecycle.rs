//! What follows an attempt: the pure heart of the machine.
//!
//! Called with what happened and the task's policy, it says what becomes of the run. It decides; the store writes.

use std::time::Duration;

use crate::retry::RetryPolicy;
use crate::run::{Outcome, Output};
use crate::time::Timestamp;

/// What an attempt makes of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The run is over, with its output.
    Succeed(Output),
    /// The run is over.
    Fail,
    /// The run is over: it was ended from outside.
    Cancel,
    /// The run waits for its next attempt.
    Wait {
        /// When that is due.
        run_at: Timestamp,
        /// Whether the attempt counts as a failure.
        failed: bool,
    },
}

/// How long a deferred run may ask to be left alone; a guest's larger wish is cut to this.
pub const LONGEST_DEFERRAL: Duration = Duration::from_secs(366 * 24 * 3600);

/// The least a deferral lasts, so that a task that is "deferred for ever" does not spin through the store.
pub const SHORTEST_DEFERRAL: Duration = Duration::from_millis(100);

/// How an attempt ended, with what the guest handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned an output.
    Output(Output),
    /// It wishes to be run again after this.
    Deferred(Duration),
    /// Anything else.
    Other(Outcome),
}

/// What becomes of a run after an attempt that ended like `ending`, the `failures` before it not counted in.
///
/// `chance`, from 0 to 1, is what jitter draws from.
pub fn after(ending: Ending, failures: u32, policy: &RetryPolicy, chance: f64, now: Timestamp) -> Transition {
    match ending {
        Ending::Output(output) => Transition::Succeed(output),
        Ending::Deferred(delay) => {
            Transition::Wait { run_at: now.plus(delay.clamp(SHORTEST_DEFERRAL, LONGEST_DEFERRAL)), failed: false }
        }
        Ending::Other(Outcome::Killed) => Transition::Cancel,
        Ending::Other(Outcome::FailedPermanent | Outcome::Refused) => Transition::Fail,
        // The host is at fault, not the task: try again at once, and still bounded by its attempts.
        Ending::Other(Outcome::Lost) if failures + 1 < policy.attempts.max(2) => {
            Transition::Wait { run_at: now, failed: true }
        }
        Ending::Other(_) => match policy.delay_after(failures + 1, chance) {
            Some(delay) => Transition::Wait { run_at: now.plus(delay), failed: true },
            None => Transition::Fail,
        },
    }
}

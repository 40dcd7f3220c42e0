//! Decides what follows an attempt. This is the pure core of the machine.
//!
//! It gets the end of an attempt and the task's policy, and returns the transition of the run, which the store writes.

use std::time::Duration;

use crate::retry::RetryPolicy;
use crate::run::{Outcome, Output};
use crate::time::Timestamp;

/// The effect of an attempt on its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The run has ended, with its output.
    Succeed(Output),
    /// The run has ended.
    Fail,
    /// The run has ended, because it was ended from outside.
    Cancel,
    /// The run waits for its next attempt.
    Wait {
        /// The instant at which that is due.
        run_at: Timestamp,
        /// Whether the attempt counts as a failure.
        failed: bool,
    },
    /// The run waits until an operator releases it, because it is suspected of killing its host. The attempt counts as a
    /// failure.
    HoldBack,
}

/// The longest deferral. A guest's larger wish is cut to this.
pub const LONGEST_DEFERRAL: Duration = Duration::from_secs(366 * 24 * 3600);

/// The shortest deferral, so that a task that is "deferred for ever" does not spin through the store.
pub const SHORTEST_DEFERRAL: Duration = Duration::from_millis(100);

/// The end of an attempt, with what the guest returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned an output.
    Output(Output),
    /// It asks to be run again after this time.
    Deferred(Duration),
    /// The guest was not started, because another run has the task's lock, and the task says what that makes of the run.
    Skipped {
        /// Whether the run has succeeded. If not, it is cancelled.
        succeeds: bool,
    },
    /// Anything else.
    Other(Outcome),
}

impl Ending {
    /// Returns the outcome of the attempt, which is stored.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Output(_) => Outcome::Succeeded,
            Self::Deferred(_) => Outcome::Deferred,
            Self::Skipped { .. } => Outcome::Skipped,
            Self::Other(outcome) => *outcome,
        }
    }
}

/// Returns the transition of a run after an attempt that ended with `ending`, after `failures` earlier failures.
///
/// `chance`, from 0 to 1, is the random number for jitter.
pub fn after(ending: Ending, failures: u32, policy: &RetryPolicy, chance: f64, now: Timestamp) -> Transition {
    match ending {
        Ending::Output(output) => Transition::Succeed(output),
        Ending::Deferred(delay) => {
            Transition::Wait { run_at: now.plus(delay.clamp(SHORTEST_DEFERRAL, LONGEST_DEFERRAL)), failed: false }
        }
        Ending::Skipped { succeeds: true } => Transition::Succeed(Output::default()),
        Ending::Skipped { succeeds: false } | Ending::Other(Outcome::Killed | Outcome::Skipped) => Transition::Cancel,
        Ending::Other(Outcome::FailedPermanent | Outcome::Refused) => Transition::Fail,
        // The host is at fault, not the task: the run is tried again at once, still bounded by its attempts.
        Ending::Other(Outcome::Lost) if failures.saturating_add(1) < policy.attempts.max(2) => {
            Transition::Wait { run_at: now, failed: true }
        }
        Ending::Other(_) => match policy.delay_after(failures.saturating_add(1), chance) {
            Some(delay) => Transition::Wait { run_at: now.plus(delay), failed: true },
            None => Transition::Fail,
        },
    }
}

/// Returns the transition of a run whose host has died `deaths` times while it was under way, given the transition
/// `next` that it would have. A run that would be tried again is held back from the death `suspect_after` on. `None`
/// never holds a run back.
pub fn after_death(next: Transition, deaths: u32, suspect_after: Option<u32>) -> Transition {
    match next {
        Transition::Wait { .. } if suspect_after.is_some_and(|most| deaths >= most) => Transition::HoldBack,
        next => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    /// Three attempts, five seconds apart, without jitter.
    fn policy() -> RetryPolicy {
        RetryPolicy { delay: Duration::from_secs(5), factor: 1.0, jitter: 0.0, ..RetryPolicy::default() }
    }

    fn wait(after: Duration, failed: bool) -> Transition {
        Transition::Wait { run_at: NOW.plus(after), failed }
    }

    #[test]
    fn each_outcome_has_its_transition_after_the_first_attempt() {
        let again = wait(Duration::from_secs(5), true);
        let at_once = wait(Duration::ZERO, true);
        for outcome in Outcome::ALL {
            let expected = match outcome {
                Outcome::FailedTransient
                | Outcome::OutOfFuel
                | Outcome::TimedOut
                | Outcome::OutOfMemory
                | Outcome::Idle
                | Outcome::Trapped => again.clone(),
                Outcome::FailedPermanent | Outcome::Refused => Transition::Fail,
                Outcome::Killed | Outcome::Skipped => Transition::Cancel,
                Outcome::Lost => at_once.clone(),
                // These have endings of their own.
                Outcome::Succeeded | Outcome::Deferred => continue,
            };
            assert_eq!(after(Ending::Other(outcome), 0, &policy(), 0.5, NOW), expected, "{outcome}");
        }
    }

    #[test]
    fn a_run_whose_attempts_are_used_up_fails() {
        for outcome in [Outcome::FailedTransient, Outcome::TimedOut, Outcome::Lost] {
            assert_eq!(after(Ending::Other(outcome), 2, &policy(), 0.5, NOW), Transition::Fail, "{outcome}");
            assert_eq!(after(Ending::Other(outcome), u32::MAX, &policy(), 0.5, NOW), Transition::Fail, "{outcome}");
        }
    }

    #[test]
    fn a_run_that_its_host_lost_is_tried_again_even_if_the_task_has_no_retries() {
        let once = RetryPolicy { attempts: 1, ..policy() };
        assert_eq!(after(Ending::Other(Outcome::Lost), 0, &once, 0.5, NOW), wait(Duration::ZERO, true));
        assert_eq!(after(Ending::Other(Outcome::Lost), 1, &once, 0.5, NOW), Transition::Fail);
    }

    #[test]
    fn a_run_that_would_be_tried_again_is_held_back_once_its_host_has_died_often_enough() {
        let again = || wait(Duration::ZERO, true);
        assert_eq!(after_death(again(), 1, Some(2)), again());
        assert_eq!(after_death(again(), 2, Some(2)), Transition::HoldBack);
        assert_eq!(after_death(again(), 3, Some(2)), Transition::HoldBack, "it was released after the second death");
        assert_eq!(after_death(again(), 9, None), again());
        for over in [Transition::Fail, Transition::Cancel] {
            assert_eq!(after_death(over.clone(), 9, Some(2)), over);
        }
    }

    #[test]
    fn an_output_ends_the_run_however_often_it_failed() {
        let output = Output { content_type: None, body: b"done".to_vec() };
        assert_eq!(after(Ending::Output(output.clone()), 99, &policy(), 0.5, NOW), Transition::Succeed(output));
    }

    #[test]
    fn a_run_that_was_skipped_is_over_and_has_not_failed() {
        let skipped = |succeeds| after(Ending::Skipped { succeeds }, 0, &policy(), 0.5, NOW);
        assert_eq!([false, true].map(skipped), [Transition::Cancel, Transition::Succeed(Output::default())]);
        assert_eq!(Ending::Skipped { succeeds: true }.outcome(), Outcome::Skipped);
    }

    #[test]
    fn a_deferral_uses_up_no_attempt_and_is_neither_too_short_nor_too_long() {
        let deferred = |delay| after(Ending::Deferred(delay), 99, &policy(), 0.5, NOW);
        assert_eq!(deferred(Duration::from_secs(60)), wait(Duration::from_secs(60), false));
        assert_eq!(deferred(Duration::ZERO), wait(SHORTEST_DEFERRAL, false));
        assert_eq!(deferred(Duration::MAX), wait(LONGEST_DEFERRAL, false));
        assert_eq!(LONGEST_DEFERRAL, Duration::from_secs(31_622_400), "a leap year");
    }
}

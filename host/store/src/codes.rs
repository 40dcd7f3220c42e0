//! Defines the numbers that stand for words in the tables of every store.

use super::{LockKind, LockMode};
use sexton_domain::run::{Cause, Outcome, RunState};

/// Returns the place of a state in [`RunState::ALL`]: 0 waiting, 1 running, 2 succeeded, 3 failed, 4 cancelled.
pub(super) const fn state_code(state: RunState) -> i64 {
    match state {
        RunState::Waiting => 0,
        RunState::Running => 1,
        RunState::Succeeded => 2,
        RunState::Failed => 3,
        RunState::Cancelled => 4,
    }
}

/// The states as statements name them: `state = {WAITING}`.
pub(super) const WAITING: i64 = state_code(RunState::Waiting);
pub(super) const RUNNING: i64 = state_code(RunState::Running);
/// The first of the states that are over.
pub(super) const SUCCEEDED: i64 = state_code(RunState::Succeeded);
pub(super) const FAILED: i64 = state_code(RunState::Failed);
/// The last state.
pub(super) const CANCELLED: i64 = state_code(RunState::Cancelled);

/// The cause of runs that people ask for, as statements name it.
pub(super) const DEMAND: i64 = cause_code(Cause::Demand);
/// The cause of runs that tasks ask for.
pub(super) const TASK: i64 = cause_code(Cause::Task);

const _: () = assert!(
    WAITING == 0 && RUNNING == 1 && SUCCEEDED == 2 && TASK == 3 && SUCCEEDED_OUTCOME == 0,
    "conditions of indexes name these numbers (`migrations/`): a statement that names others would not find the index"
);

/// The number of the first word of every list, and those of the last cause and the last outcome.
pub(super) const FIRST: i64 = 0;
pub(super) const LAST_CAUSE: usize = CAUSES.len() - 1;
pub(super) const LAST_OUTCOME: usize = Outcome::ALL.len() - 1;

/// All causes, each at the index that is its number.
pub(super) const CAUSES: [Cause; 4] = [Cause::Schedule, Cause::Start, Cause::Demand, Cause::Task];

/// Returns the number of a cause.
pub(super) const fn cause_code(cause: Cause) -> i64 {
    match cause {
        Cause::Schedule => 0,
        Cause::Start => 1,
        Cause::Demand => 2,
        Cause::Task => 3,
    }
}

/// Returns the number of an outcome, its place in [`Outcome::ALL`].
pub(super) const fn outcome_code(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Succeeded => 0,
        Outcome::FailedTransient => 1,
        Outcome::FailedPermanent => 2,
        Outcome::Deferred => 3,
        Outcome::OutOfFuel => 4,
        Outcome::TimedOut => 5,
        Outcome::OutOfMemory => 6,
        Outcome::Trapped => 7,
        Outcome::Killed => 8,
        Outcome::Refused => 9,
        Outcome::Lost => 10,
        Outcome::Skipped => 11,
        Outcome::Idle => 12,
    }
}

/// The number of the outcome of attempts that succeeded.
pub(super) const SUCCEEDED_OUTCOME: i64 = outcome_code(Outcome::Succeeded);

/// The number of the outcome of runs that were skipped.
pub(super) const SKIPPED_OUTCOME: i64 = outcome_code(Outcome::Skipped);

/// All kinds of locks, each at the index that is its number.
pub(super) const KINDS: [LockKind; 2] = [LockKind::Named, LockKind::Refresh];

/// Returns the number of a lock's kind.
pub(super) const fn kind_code(kind: LockKind) -> i64 {
    match kind {
        LockKind::Named => 0,
        LockKind::Refresh => 1,
    }
}

/// All modes of locks, each at the index that is its number.
pub(super) const MODES: [LockMode; 2] = [LockMode::Exclusive, LockMode::Shared];

/// Returns the number of a lock's mode.
pub(super) const fn mode_code(mode: LockMode) -> i64 {
    match mode {
        LockMode::Exclusive => 0,
        LockMode::Shared => 1,
    }
}

/// Returns the word at index `code` of `words`, if it exists.
pub(super) fn word<T: Copy>(words: &[T], code: i64) -> Option<T> {
    usize::try_from(code).ok().and_then(|at| words.get(at).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_every_word_is_its_index() {
        let places = |count: usize| (0..count as i64).collect::<Vec<_>>();
        assert_eq!(RunState::ALL.map(state_code).to_vec(), places(RunState::ALL.len()));
        assert_eq!(Outcome::ALL.map(outcome_code).to_vec(), places(Outcome::ALL.len()));
        assert_eq!(CAUSES.map(cause_code).to_vec(), places(CAUSES.len()));
        assert_eq!(KINDS.map(kind_code).to_vec(), places(KINDS.len()));
        assert_eq!(MODES.map(mode_code).to_vec(), places(MODES.len()));
    }
}

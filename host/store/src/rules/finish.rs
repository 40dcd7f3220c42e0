//! Decides what the end of an attempt makes of its run.

use crate::loss::NEVER;
use sexton_domain::lengths;
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Outcome, Report, RunState};
use sexton_domain::time::Timestamp;

/// Returns the new state of a run. A run that was asked to end does not wait again, because the request may have come
/// after its host looked last.
pub(crate) fn state_after(transition: &Transition, end_was_asked: bool) -> RunState {
    match transition {
        Transition::Succeed(_) => RunState::Succeeded,
        Transition::Fail => RunState::Failed,
        Transition::Cancel => RunState::Cancelled,
        Transition::Wait { .. } | Transition::HoldBack if end_was_asked => RunState::Cancelled,
        Transition::Wait { .. } | Transition::HoldBack => RunState::Waiting,
    }
}

/// Returns when a run that waits again may start; for a run that is held back this is never.
pub(crate) fn starts_again_at(transition: &Transition) -> Option<Timestamp> {
    match transition {
        Transition::Wait { run_at, .. } => Some(*run_at),
        Transition::HoldBack => Some(NEVER),
        Transition::Succeed(_) | Transition::Fail | Transition::Cancel => None,
    }
}

/// Returns whether the attempt counts as a failure of the run.
pub(crate) fn is_failure(transition: &Transition) -> bool {
    matches!(transition, Transition::Fail | Transition::HoldBack | Transition::Wait { failed: true, .. })
}

/// Returns whether a run that is in `state` because of `outcome` may be the task's result. A run that was skipped has no
/// output, even if it counts as a success.
pub(crate) fn is_result(state: RunState, outcome: Option<Outcome>) -> bool {
    state == RunState::Succeeded && outcome != Some(Outcome::Skipped)
}

/// Returns the message of the run. A host that learned of a kill through the store does not know its reason, nor does a
/// host that found the run dead: in these cases the message is the reason that was `asked`.
pub(crate) fn message<'a>(report: &'a Report, asked: Option<&'a str>) -> Option<&'a str> {
    asked.filter(|_| report.outcome == Outcome::Killed).or(report.message.as_deref()).or(asked)
}

/// Returns the message of a run whose first attempt did not start in time.
pub(crate) fn started_too_late(start_by: Timestamp, run_at: Timestamp) -> String {
    let time = lengths::exact(start_by.since(run_at));
    format!("not started by {start_by}: its start-within of {time} was over")
}

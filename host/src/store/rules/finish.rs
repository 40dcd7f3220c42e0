//! What the end of an attempt makes of its run.

use crate::lengths;
use crate::lifecycle::Transition;
use crate::run::{Outcome, Report, RunId, RunState};
use crate::store::loss::NEVER;
use crate::time::Timestamp;

/// Returns the state that a run comes into. One that is to wait again does not if its end was asked for, because the request
/// may have come after its host looked last.
pub(in crate::store) fn state_after(transition: &Transition, end_was_asked: bool) -> RunState {
    match transition {
        Transition::Succeed(_) => RunState::Succeeded,
        Transition::Fail => RunState::Failed,
        Transition::Cancel => RunState::Cancelled,
        Transition::Wait { .. } | Transition::HoldBack if end_was_asked => RunState::Cancelled,
        Transition::Wait { .. } | Transition::HoldBack => RunState::Waiting,
    }
}

/// Returns when a run that waits again may start; a run that is held back has no such instant.
pub(in crate::store) fn starts_again_at(transition: &Transition) -> Option<Timestamp> {
    match transition {
        Transition::Wait { run_at, .. } => Some(*run_at),
        Transition::HoldBack => Some(NEVER),
        Transition::Succeed(_) | Transition::Fail | Transition::Cancel => None,
    }
}

/// Whether the attempt counts as a failure of the run.
pub(in crate::store) fn is_failure(transition: &Transition) -> bool {
    matches!(transition, Transition::Fail | Transition::HoldBack | Transition::Wait { failed: true, .. })
}

/// Returns what is said of the run. A host that was told of a kill by way of the store does not know its reason, and one that
/// found the run dead does not either: then the reason that was `asked` is told.
pub(in crate::store) fn message<'a>(report: &'a Report, asked: Option<&'a str>) -> Option<&'a str> {
    asked.filter(|_| report.outcome == Outcome::Killed).or(report.message.as_deref()).or(asked)
}

/// Returns what is said of a run whose first attempt did not start in time.
pub(in crate::store) fn started_too_late(start_by: Timestamp, run_at: Timestamp) -> String {
    let time = lengths::exact(start_by.since(run_at));
    format!("not started by {start_by}: its start-within of {time} was over")
}

/// Returns the reason of a run that ends because the run `by` takes its place.
pub(in crate::store) fn replaced_by(by: RunId) -> String {
    format!("replaced by run {by}")
}

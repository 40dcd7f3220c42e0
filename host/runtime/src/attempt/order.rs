//! An [`Order`] asks a runtime for one attempt, and an [`Ended`] holds the result.

use std::sync::Arc;

use sexton_domain::lifecycle::Ending;
use sexton_domain::run::{Claim, Outcome, Report};
use sexton_domain::task::Task;

use super::handle::RunHandle;

/// One attempt to be made.
#[derive(Clone, Debug)]
pub struct Order {
    /// The run, attempt and fence that the host has claimed.
    pub claim: Arc<Claim>,
    /// The task as it was when its run was claimed.
    pub task: Arc<Task>,
    /// Lets others watch and end the attempt.
    pub handle: Arc<RunHandle>,
}

/// An attempt that has ended. Nothing of its guest is left.
///
/// The ending and the report never disagree on the outcome: only [`Ended::new`] and [`Ended::killed`] write it.
#[derive(Clone, Debug)]
pub struct Ended {
    ending: Ending,
    report: Report,
    /// Whether the attempt was ended because its claim was lost: nothing may be written for it then.
    pub claim_lost: bool,
}

impl Ended {
    /// Creates the end of an attempt. The outcome in `report` is replaced by that of `ending`.
    #[must_use]
    pub fn new(ending: Ending, report: Report) -> Self {
        let report = Report { outcome: ending.outcome(), ..report };
        Self { ending, report, claim_lost: false }
    }

    /// Turns the end of an attempt that had to be ended into a kill, whatever its outcome was within its grace, because
    /// the request to end it is about the run. `why` is the reason of that request.
    #[must_use]
    pub fn killed(self, why: &str) -> Self {
        let was = self.report.outcome;
        if was == Outcome::Killed {
            return self;
        }
        let said = self.report.message.as_ref().map(|said| format!(": {said}")).unwrap_or_default();
        let report = Report { message: Some(format!("{why}; then {was}{said}")), ..self.report };
        Self { claim_lost: self.claim_lost, ..Self::new(Ending::Other(Outcome::Killed), report) }
    }

    /// Returns how the attempt ended, from which the run's next state follows.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.ending
    }

    /// Returns the record of the attempt that is stored.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Takes both apart.
    #[must_use]
    pub fn into_parts(self) -> (Ending, Report) {
        (self.ending, self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_domain::run::Output;

    fn ended(ending: Ending, message: Option<&str>) -> Ended {
        let report = Report { message: message.map(str::to_owned), ..Report::empty() };
        Ended::new(ending, report)
    }

    #[test]
    fn the_outcome_in_the_report_is_that_of_the_ending() {
        for (ending, outcome) in [
            (Ending::Output(Output::default()), Outcome::Succeeded),
            (Ending::Deferred(std::time::Duration::ZERO), Outcome::Deferred),
            (Ending::Other(Outcome::Trapped), Outcome::Trapped),
        ] {
            assert_eq!(ended(ending, None).report().outcome, outcome);
        }
    }

    #[test]
    fn a_run_that_had_to_be_ended_is_killed_and_its_message_says_what_it_did_within_its_grace() {
        let killed = ended(Ending::Other(Outcome::FailedTransient), Some("disk full")).killed("too much");
        assert_eq!(killed.ending(), &Ending::Other(Outcome::Killed));
        assert_eq!(killed.report().outcome, Outcome::Killed);
        assert_eq!(killed.report().message.as_deref(), Some("too much; then failed-transient: disk full"));

        let already = ended(Ending::Other(Outcome::Killed), Some("killed at once")).killed("too much");
        assert_eq!(already.report().message.as_deref(), Some("killed at once"));
    }
}

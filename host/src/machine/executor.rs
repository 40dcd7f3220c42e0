//! Executes one run: from its claim to the stored outcome.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::machine::alert;
use crate::machine::budget::Budgets;
use crate::machine::live::LiveRuns;
use crate::machine::summary::Summary;
use crate::plugins::Registry;
use sexton_domain::lengths;
use sexton_domain::lifecycle::{self, Ending, Transition};
use sexton_domain::run::{Claim, ClaimKey, Outcome, Report};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::Task;
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::attempt::{Ended, Order, RunHandle, Stop};
use sexton_runtime::imports::locks::take_for_task;
use sexton_runtime::runtime::Runtime;
use sexton_store::{Finish, Store, StoreError};
use sexton_system::harmless;

/// The wait before an outcome that the store refused is offered again: the first wait, which is doubled each time up to
/// the second value.
const FINISH_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The time for which a run rests whose plugin was removed between its claim and its start.
const PLUGIN_GONE: Duration = Duration::from_secs(1);

/// Executes runs, one in each call.
#[derive(Debug)]
pub struct Executor {
    /// Stores outcomes.
    pub store: Arc<dyn Store>,
    /// Runs the guests.
    pub runtime: Arc<Runtime>,
    /// Finds the component of a task.
    pub plugins: Arc<Registry>,
    /// Lists the attempt, so that it can be seen and ended while it is under way.
    pub live: Arc<LiveRuns>,
    /// Charges budgets with the fuel of attempts.
    pub budgets: Arc<Budgets>,
    /// Counts how attempts end.
    pub summary: Arc<Summary>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl Executor {
    /// Makes the attempt that was claimed, and stores how it ended.
    pub async fn execute(&self, claim: Claim) {
        let claim = Arc::new(claim);
        let Some(ready) = self.plugins.ready(&claim.task) else {
            return self.return_run(&claim).await;
        };
        let handle = Arc::new(RunHandle::new(claim.key, claim.task.clone(), ready.task.limits.log));
        // The attempt leaves the list in every case. A run that is no longer listed loses its lease and is tried again.
        let _listed = LiveGuard::new(&self.live, Arc::clone(&handle));

        let order = Order { claim: Arc::clone(&claim), task: Arc::clone(&ready.task), handle: Arc::clone(&handle) };
        let ended = match take_for_task(self.runtime.services(), &order).await {
            Ok(()) => self.runtime.run(&ready.prepared, order).await,
            Err(ended) => *ended,
        };
        self.budgets.settle(&claim, ended.report().accounts.fuel).await;
        if ended.claim_lost {
            warn!(run.id = %claim.key.run, task.name = %claim.task, "Lost the claim on a run of `{}`; its outcome is not written", claim.task);
        } else {
            let finish = self.conclude(&claim, &ready.task, &handle, ended);
            self.finish(&claim, finish).await;
        }
    }

    fn conclude(&self, claim: &Claim, task: &Task, handle: &RunHandle, ended: Ended) -> Finish {
        let now = self.clock.now();
        let ended = match handle.stop_reason() {
            Some(Stop::Killed(why)) => ended.killed(&why),
            _ => ended,
        };
        let (ending, report) = ended.into_parts();
        let transition = match handle.stop_reason() {
            // The task is not at fault. It goes on with the next host, and the attempt does not count against it.
            Some(Stop::Shutdown | Stop::Returned) if interrupted(handle, &ending) => {
                Transition::Wait { run_at: now, failed: false }
            }
            _ => lifecycle::after(ending, claim.failures, &task.retry, self.runtime.jitter_fraction(claim.key), now),
        };
        let late = late(claim, task, &report);
        self.summary.count(report.outcome, late);
        tell(claim, &report, &transition, late);
        let supervision = task.supervision;
        Finish::new(claim.key, transition, report, supervision)
    }

    /// Offers the outcome to the store until the store takes it, or until the claim is lost.
    async fn finish(&self, claim: &Claim, finish: Finish) {
        let finish = Arc::new(finish);
        let mut again = FINISH_AGAIN.0;
        loop {
            match self.store.finish(Arc::clone(&finish)).await {
                Ok(consequence) => return alert::tell(&claim.task, &consequence),
                Err(StoreError::ClaimLost(_)) => {
                    warn!(run.id = %claim.key.run, task.name = %claim.task, "Lost the claim on a run of `{}` before its outcome was written", claim.task);
                    return;
                }
                Err(error) => {
                    warn!(run.id = %claim.key.run, error = %error, "Cannot write an outcome, trying again in {again:?}");
                    tokio::time::sleep(again).await;
                    again = (again * 2).min(FINISH_AGAIN.1);
                }
            }
        }
    }

    /// Returns a run whose plugin was removed after the claim. It waits for the plugin to come back.
    async fn return_run(&self, claim: &Claim) {
        let now = self.clock.now();
        let message = "its plugin was removed before the run could start".to_owned();
        let report = report_without_guest(Outcome::Refused, claim.claimed_at, now, message);
        let transition = Transition::Wait { run_at: now.plus(PLUGIN_GONE), failed: false };
        let supervision = Supervision::default();
        self.finish(claim, Finish::new(claim.key, transition, report, supervision)).await;
    }
}

/// Returns whether the shutdown kept an attempt from its output: it was interrupted, or gave up after it was told to
/// stop.
fn interrupted(handle: &RunHandle, ending: &Ending) -> bool {
    match ending {
        Ending::Other(Outcome::FailedPermanent) => false,
        Ending::Other(outcome) => handle.stopped().is_some() || *outcome == Outcome::FailedTransient,
        Ending::Output(_) | Ending::Deferred(_) | Ending::Skipped { .. } => false,
    }
}

/// Lists an attempt among those under way until this is dropped.
struct LiveGuard<'a> {
    live: &'a LiveRuns,
    key: ClaimKey,
}

impl<'a> LiveGuard<'a> {
    fn new(live: &'a LiveRuns, handle: Arc<RunHandle>) -> Self {
        let key = handle.key;
        live.insert(handle);
        Self { live, key }
    }
}

impl Drop for LiveGuard<'_> {
    fn drop(&mut self) {
        self.live.remove(self.key);
    }
}

/// Creates the report of an attempt whose guest was never seen.
pub fn report_without_guest(outcome: Outcome, started_at: Timestamp, ended_at: Timestamp, message: String) -> Report {
    Report { outcome, started_at, ended_at, message: Some(message), ..Report::empty() }
}

/// Returns how late the attempt started. A wait for its task's lock makes no attempt late.
fn late(claim: &Claim, task: &Task, report: &Report) -> Duration {
    let started_at = if task.lock.is_some() { claim.claimed_at } else { report.started_at };
    started_at.since(claim.run_at)
}

/// The most characters of a message that are logged; the run has all of it.
const MESSAGE_IN_LOG: usize = 1000;

fn tell(claim: &Claim, report: &Report, transition: &Transition, late: Duration) {
    let (run, task, outcome, attempt) = (claim.key.run, &claim.task, report.outcome, claim.key.attempt);
    let took = rounded(report.ended_at.since(report.started_at));
    let late = rounded(late);
    let (again, state) = match transition {
        Transition::Wait { run_at, .. } => (format!("; again at {run_at}"), "waiting"),
        Transition::Succeed(_) => (String::new(), "succeeded"),
        Transition::Fail => (String::new(), "failed"),
        Transition::Cancel => (String::new(), "cancelled"),
        Transition::HoldBack => (String::new(), "waiting"),
    };
    match &report.message {
        Some(message) if outcome == Outcome::Skipped => {
            let message = harmless::logged(message, MESSAGE_IN_LOG);
            info!(run.id = %run, task.name = %task, run.attempt = attempt, run.state = state, outcome = %outcome, "Run {run} of `{task}` was {message}");
        }
        Some(message) if outcome != Outcome::Succeeded => {
            let message = harmless::logged(message, MESSAGE_IN_LOG);
            warn!(run.id = %run, task.name = %task, run.attempt = attempt, run.state = state, outcome = %outcome, "Run {run} of `{task}` {outcome} after {took}: {message}{again}");
        }
        // Thousands of runs succeed, so the summary counts them instead.
        _ if outcome == Outcome::Succeeded => {
            debug!(run.id = %run, task.name = %task, run.attempt = attempt, run.state = state, outcome = %outcome, "Run {run} of `{task}` {outcome} in {took}, started {late} late");
        }
        _ => {
            info!(run.id = %run, task.name = %task, run.attempt = attempt, run.state = state, outcome = %outcome, "Run {run} of `{task}` {outcome} in {took}, started {late} late{again}");
        }
    }
}

/// Formats a duration that was measured with a clock of milliseconds.
fn rounded(time: Duration) -> String {
    match u64::try_from(time.as_millis()) {
        Ok(0) => "less than 1ms".to_owned(),
        Ok(ms) => lengths::about(Duration::from_millis(ms)),
        Err(_) => format!("{time:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_below_the_clocks_resolution_is_not_shown_as_zero() {
        let said = [0, 400, 1_000, 61_500_000].map(|us| rounded(Duration::from_micros(us)));
        assert_eq!(said, ["less than 1ms", "less than 1ms", "1ms", "1m 1s"]);
    }
}

//! Provides what the unit tests of all rooms share: a clock that a test sets, and a task, a claim, a request for claims,
//! a handle, an order and a report that a test changes where it needs something else (`Task { zone, ..task("a") }`).
//!
//! It is compiled for tests only. The crate `sexton-testkit` starts processes for tests. Tests of the domain use neither,
//! because the domain is also built without the rest of the host (`tests/domain`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::attempt::{Order, RunHandle};
use crate::lifecycle::Transition;
use crate::plugins::manifest::blank;
use crate::run::{Cause, Claim, ClaimKey, Outcome, Report, RunId};
use crate::store::{ClaimRequest, Finish};
use crate::supervision::Supervision;
use crate::task::{Name, Overlap, Task, TaskKey};
use crate::time::{Clock, Timestamp};

/// A clock that shows the instant to which a test has set it. It starts at the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    /// Creates a clock that shows `now`.
    pub(crate) fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now.as_millis())))
    }

    /// Sets the clock, forward or back.
    pub(crate) fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Sets the clock forward.
    pub(crate) fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Returns a name that is known to be one.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns the key of a task of the default tenant.
pub(crate) fn task_key(task: &str) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: name(task) }
}

/// Returns a task of the default tenant that runs on demand, one at a time, in a plugin of its own, with the limits of
/// every task and no grants.
pub(crate) fn task(task: &str) -> Task {
    Task { overlap: Overlap::Skip, ..blank(name(task)) }
}

/// Returns the key of the first claim of a run.
pub(crate) fn first_claim(run: i64) -> ClaimKey {
    ClaimKey { run: RunId(run), attempt: 1, fence: 1 }
}

/// Returns the request of the host `one` at `now` for all due runs of `tasks`, each with the most that may be running at
/// once, with a lease of 30 s and no shares of tenants.
pub(crate) fn claim_request(tasks: impl IntoIterator<Item = (TaskKey, u32)>, now: Timestamp) -> ClaimRequest {
    ClaimRequest {
        host: "one".to_owned(),
        tasks: Arc::new(tasks.into_iter().collect()),
        policies: Arc::default(),
        limit: 1000,
        tenants: BTreeMap::new(),
        lease: Duration::from_secs(30),
        now,
    }
}

/// Returns the handle of an attempt that keeps no log.
pub(crate) fn handle(claim: ClaimKey, task: TaskKey) -> Arc<RunHandle> {
    Arc::new(RunHandle::new(claim, task, 0))
}

/// Returns the order to carry out a run of `task` that was due and claimed at `now`.
pub(crate) fn order(claim: ClaimKey, task: &Arc<Task>, now: Timestamp) -> Order {
    Order {
        claim: Arc::new(Claim {
            key: claim,
            task: task.key.clone(),
            due_at: now,
            run_at: now,
            cause: Cause::Demand,
            input: task.input.clone(),
            failures: 0,
            claimed_at: now,
        }),
        task: Arc::clone(task),
        handle: Arc::new(RunHandle::new(claim, task.key.clone(), task.limits.log)),
    }
}

/// Returns the report of an attempt that ended as it started, at `at`, and used and said nothing.
pub(crate) fn report(outcome: Outcome, at: Timestamp) -> Report {
    Report { outcome, started_at: at, ended_at: at, ..Report::empty() }
}

/// Returns what is written at the end of an attempt of a task that has the usual supervision.
pub(crate) fn finish(claim: ClaimKey, transition: Transition, report: Report) -> Finish {
    Finish { claim, transition, report, supervision: Supervision::default(), expired_by: None, death: None }
}

#[test]
fn a_clock_of_a_test_shows_what_it_is_set_to() {
    let clock = TestClock::at(Timestamp::from_millis(5000));

    clock.advance(Duration::from_secs(1));
    let later = clock.now();
    clock.set(Timestamp::from_millis(1));

    assert_eq!((later, clock.now()), (Timestamp::from_millis(6000), Timestamp::from_millis(1)));
}

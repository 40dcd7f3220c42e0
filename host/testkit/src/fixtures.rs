//! Provides what unit tests share: a clock that a test sets, and a task, a claim and a report that a test changes where
//! it needs something else (`Task { zone, ..task("a") }`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sexton_domain::run::{Cause, Claim, ClaimKey, Outcome, Report, RunId};
use sexton_domain::task::{Grants, Name, Overlap, Pattern, Task, TaskKey};
use sexton_domain::time::{Clock, Timestamp};

/// A clock that shows the instant to which a test has set it. It starts at the Unix epoch.
#[derive(Debug, Default)]
pub struct TestClock(AtomicI64);

impl TestClock {
    /// Creates a clock that shows `now`.
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now.as_millis())))
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Sets the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Returns a name that is known to be one.
///
/// # Panics
///
/// `text` is not a name.
pub fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns the key of a task of the default tenant.
pub fn task_key(task: &str) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: name(task) }
}

/// Returns a task of the default tenant that runs on demand, one at a time, in a plugin of its own, with the limits of
/// every task and no grants.
pub fn task(task: &str) -> Task {
    Task { overlap: Overlap::Skip, ..Task::on_demand(name(task)) }
}

/// Returns grants of the same patterns for locks, keys and tasks.
pub fn grants(patterns: &[&str]) -> Grants {
    let patterns: Vec<_> = patterns.iter().map(|text| Pattern((*text).to_owned())).collect();
    Grants { locks: patterns.clone(), cache: patterns.clone(), schedule: patterns, ..Grants::default() }
}

/// Returns a task of the plugin `plugin` with grants and two settings, of which many runs may be going at once.
pub fn granted_task(task: &str, grants: Grants) -> Task {
    let settings = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
    Task { plugin: name("plugin"), overlap: Overlap::Allow(1000), grants, settings, ..self::task(task) }
}

/// Returns the key of the first claim of a run.
pub fn first_claim(run: i64) -> ClaimKey {
    ClaimKey { run: RunId(run), attempt: 1, fence: 1 }
}

/// Returns the claim of a run of `task` that was asked for, due and claimed at `now`.
pub fn claim(key: ClaimKey, task: &Task, now: Timestamp) -> Claim {
    Claim {
        key,
        task: task.key.clone(),
        due_at: now,
        run_at: now,
        cause: Cause::Demand,
        input: task.input.clone(),
        failures: 0,
        claimed_at: now,
    }
}

/// Returns the report of an attempt that ended as it started, at `at`, and used and said nothing.
pub fn report(outcome: Outcome, at: Timestamp) -> Report {
    Report { outcome, started_at: at, ended_at: at, ..Report::empty() }
}

#[test]
fn a_clock_of_a_test_shows_what_it_is_set_to() {
    let clock = TestClock::at(Timestamp::from_millis(5000));

    clock.advance(Duration::from_secs(1));
    let later = clock.now();
    clock.set(Timestamp::from_millis(1));

    assert_eq!((later, clock.now()), (Timestamp::from_millis(6000), Timestamp::from_millis(1)));
}

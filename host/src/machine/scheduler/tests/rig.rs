//! Provides hosts that share a store, a clock that a test sets, and runs that take as long as a test says.

use crate::testkit;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;

use crate::machine::executor::report_without_guest;
use crate::machine::scheduler::Scheduler;
use crate::machine::scheduler::timetable::Timetable;
use crate::plugins::manifest::Manifest;
use crate::testkit::TestClock;
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Claim, ClaimKey, Outcome, Output, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::{Clock, Timestamp};
use sexton_store::sqlite::{Durability, SqliteOptions, SqliteStore};
use sexton_store::{ClaimRequest, RunFilter, RunInfo, Store, TaskState};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The most runs that are listed.
const ALL: usize = 100_000;

/// Returns an instant of the year 2027, in UTC: `05-03 12:00:00`.
pub(super) fn at(text: &str) -> Timestamp {
    DateTime::parse_from_rfc3339(&format!("2027-{}Z", text.replace(' ', "T"))).unwrap().to_utc().into()
}

/// A host's scheduler. Its knowledge is forgotten with it.
pub(super) struct Host {
    scheduler: Scheduler,
    timetable: Timetable,
}

impl Host {
    /// Looks at the clock, and fires all that is due.
    pub(super) async fn look(&mut self) {
        self.scheduler.fire_due(&mut self.timetable).await;
    }

    /// Replaces the manifest.
    pub(super) async fn sees(&mut self, manifest: &str) {
        self.scheduler.catalog.replace(tasks(manifest));
        self.learn().await;
    }

    /// Removes the task, and then adds it with this text, if there is one, as the change of a single plugin does.
    pub(super) async fn changes(&mut self, text: Option<&str>) {
        self.scheduler.catalog.update(&[key()].into(), text.map(tasks).unwrap_or_default());
        self.learn().await;
    }

    async fn learn(&mut self) {
        assert!(self.scheduler.learn(&mut self.timetable).await);
        self.look().await;
    }
}

/// Returns the task `t` of a manifest with the text `text` for it.
fn tasks(text: &str) -> BTreeMap<TaskKey, Arc<sexton_domain::task::Task>> {
    let manifest = format!("[tasks.t]\n{text}\n");
    let parsed = Manifest::parse("t.toml", &manifest).unwrap_or_else(|e| panic!("{e}"));
    let plugin = Name::new("t").unwrap();
    let tasks = parsed.tasks(&Name::default_tenant(), &plugin, Path::new("/"));
    tasks.into_iter().map(|task| (task.key.clone(), Arc::new(task))).collect()
}

/// A store, a clock, and runs under way.
pub(super) struct Rig {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<TestClock>,
    going: Vec<(ClaimKey, Timestamp)>,
    at_once: u32,
    _place: tempfile::TempDir,
}

impl Rig {
    pub(super) fn new(now: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let options = SqliteOptions { sync: Durability::Normal, ..SqliteOptions::default() };
        let store = SqliteStore::open(place.path().join("db"), &options).unwrap();
        let clock = TestClock::at(at(now));
        Self { store, clock, going: Vec::new(), at_once: 1, _place: place }
    }

    /// Sets how many runs may be under way at once.
    pub(super) fn with_at_once(self, at_once: u32) -> Self {
        Self { at_once, ..self }
    }

    /// Returns a host that starts now and has the task `t` with the text `text` in its manifest.
    pub(super) async fn host(&self, text: &str) -> Host {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock) as Arc<dyn Clock>);
        let scheduler = Scheduler {
            store,
            catalog: Arc::default(),
            live: Arc::default(),
            clock,
            pause: Arc::default(),
            started: Arc::default(),
        };
        let mut host = Host { scheduler, timetable: Timetable::default() };
        host.sees(text).await;
        host
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sets the clock and does nothing else: hosts are down, or the machine slept.
    pub(super) fn set(&self, to: Timestamp) {
        self.clock.set(to);
    }

    /// Lets the time pass until `to` with `host` up, which looks whenever it has to. Every run takes `takes`, and is
    /// claimed as soon as it can be.
    pub(super) async fn pass(&mut self, host: &mut Host, to: Timestamp, takes: Duration) {
        loop {
            host.look().await;
            self.work(takes).await;
            let look = host.timetable.next();
            let ends = self.going.iter().map(|(_, end)| *end).min();
            // A run that waits for its slot starts when another ends; a run that waits for its time starts then.
            let next = [look, ends].into_iter().flatten().min().filter(|next| *next <= to);
            let Some(next) = next else { break };
            self.set(next.max(self.now()));
        }
        self.set(to);
        host.look().await;
        self.work(takes).await;
    }

    /// Does the same up to the last millisecond before `to`. The clock shows `to` afterwards, and what is due then is
    /// not examined.
    pub(super) async fn pass_to_just_before(&mut self, host: &mut Host, to: Timestamp) {
        self.pass(host, to.minus(Duration::from_millis(1)), Duration::ZERO).await;
        self.set(to);
    }

    /// Ends the runs whose time has passed and those whose end was requested, and claims those that may start.
    pub(super) async fn work(&mut self, takes: Duration) {
        let now = self.now();
        let keys = self.going.iter().map(|(claim, _)| *claim).collect();
        let wanted_ended = self.store.extend(keys, now.plus(DAY)).await.unwrap().cancelled;
        for (claim, end) in std::mem::take(&mut self.going) {
            if wanted_ended.contains(&claim) {
                self.finish(claim, now, Outcome::Killed).await;
            } else if end <= now {
                self.finish(claim, end, Outcome::Succeeded).await;
            } else {
                self.going.push((claim, end));
            }
        }
        for claim in self.claim_up_to(self.at_once).await {
            self.going.push((claim.key, now.plus(takes)));
        }
    }

    async fn finish(&self, claim: ClaimKey, end: Timestamp, outcome: Outcome) {
        let transition = match outcome {
            Outcome::Killed => Transition::Cancel,
            _ => Transition::Succeed(Output::default()),
        };
        let report = report_without_guest(outcome, end, end, String::new());
        let finish = testkit::finish(claim, transition, report);
        self.store.finish(Arc::new(finish)).await.unwrap();
    }

    /// Claims what may start now, with up to `most` runs at once.
    pub(super) async fn claim_up_to(&self, most: u32) -> Vec<Claim> {
        let request = ClaimRequest { lease: DAY, ..testkit::claim_request([(key(), most)], self.now()) };
        self.store.claim(request).await.unwrap().claims
    }

    /// Returns all runs, oldest first.
    pub(super) async fn runs(&self) -> Vec<RunInfo> {
        let mut runs = self.store.runs(RunFilter { limit: ALL, ..RunFilter::default() }).await.unwrap();
        runs.reverse();
        runs
    }

    /// Returns when the runs were due, oldest first.
    pub(super) async fn due(&self) -> Vec<Timestamp> {
        self.runs().await.iter().map(|run| run.due_at).collect()
    }

    /// Returns how many runs are in `state`.
    pub(super) async fn count(&self, state: RunState) -> usize {
        self.runs().await.iter().filter(|run| run.state == state).count()
    }

    pub(super) async fn state(&self) -> TaskState {
        self.store.task_states().await.unwrap().remove(&key()).unwrap_or_default()
    }
}

pub(super) fn key() -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: Name::new("t").unwrap() }
}

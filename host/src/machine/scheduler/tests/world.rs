//! Provides a store, tasks and chains, and hosts that run only schedules that depend on earlier runs. The runs are made
//! up: how long they take, and how they end.

use sexton_store::claims::Claims as _;
use sexton_store::history::History as _;
use sexton_store::runs::Runs as _;
use sexton_store::tasks::Tasks as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::machine::scheduler::Scheduler;
use crate::machine::scheduler::reacting::Reacting;
use crate::plugins::manifest::Manifest;
pub(super) use crate::testkit::task_key as key;
use crate::testkit::{self, TestClock};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Cause, ClaimKey, Outcome, Output};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::catalog::Catalog;
use sexton_store::sqlite::{Durability, SqliteOptions, SqliteStore};
use sexton_store::{ClaimRequest, Finish, NewRun, RunFilter, RunInfo};

pub(super) const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// The course of an attempt.
#[derive(Clone, Copy)]
pub(super) enum Goes {
    /// It takes this long and succeeds.
    Well(Duration),
    /// It takes this long and fails for good.
    Badly(Duration),
    /// It takes the first duration and fails; it is tried again after the second.
    Again(Duration, Duration),
    /// It runs until its deadline, which is after this long.
    Hangs(Duration),
}

/// One store with its tasks, and a worker that finishes the runs. The test has the schedulers.
pub(super) struct World {
    pub(super) store: Arc<SqliteStore>,
    catalog: Arc<Catalog>,
    clock: Arc<TestClock>,
    working: Vec<(Timestamp, ClaimKey, Goes)>,
    claimed: usize,
    /// The most attempts under way at once.
    pub(super) most: usize,
    _place: tempfile::TempDir,
}

/// A scheduler with its memory while it is up.
pub(super) struct Host {
    scheduler: Scheduler,
    pub(super) reacting: Reacting,
}

impl World {
    pub(super) fn new(manifest: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let options = SqliteOptions { sync: Durability::Normal, ..SqliteOptions::default() };
        let world = Self {
            store: SqliteStore::open(place.path().join("db"), &options).unwrap(),
            catalog: Arc::default(),
            clock: TestClock::at(START),
            working: Vec::new(),
            claimed: 0,
            most: 0,
            _place: place,
        };
        world.load(manifest);
        world
    }

    /// Replaces the tasks and chains by those of this manifest, all of them new versions.
    pub(super) fn load(&self, manifest: &str) {
        let (tenant, plugin) = (Name::default_tenant(), Name::new("p").unwrap());
        let manifest = Manifest::parse("p.toml", manifest).unwrap();
        let chains = manifest.chains(&tenant, &plugin);
        self.catalog.change_chains(|known| {
            *known = chains.into_iter().map(|chain| (chain.key.clone(), Arc::new(chain))).collect();
        });
        let tasks = manifest.tasks(&tenant, &plugin, std::path::Path::new("/"));
        self.catalog.replace(tasks.into_iter().map(|task| (task.key.clone(), Arc::new(task))).collect());
    }

    pub(super) fn host(&self) -> Host {
        let scheduler = Scheduler {
            store: self.store.clone(),
            catalog: self.catalog.clone(),
            live: Arc::default(),
            clock: self.clock.clone(),
            pause: Arc::default(),
            started: Arc::default(),
        };
        Host { scheduler, reacting: Reacting::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn set_clock(&self, to: Timestamp) {
        self.clock.set(to);
    }

    /// Sets the clock back. Attempts under way last for as long as they would have.
    pub(super) fn set_back(&mut self, by: Duration) {
        self.set_clock(self.now().minus(by));
        self.working.iter_mut().for_each(|(end, ..)| *end = end.minus(by));
    }

    /// Lets the schedulers and the work go on for a while. `goes` decides the course of the nth attempt.
    pub(super) async fn pass(
        &mut self,
        length: Duration,
        hosts: &mut [Host],
        mut goes: impl FnMut(usize, &TaskKey) -> Goes,
    ) {
        let until = self.now().plus(length);
        loop {
            self.end_what_is_over().await;
            join_all(hosts.iter_mut().map(Host::look)).await;
            let next_run = self.begin(&mut goes).await;
            let ends = self.working.iter().map(|(end, ..)| *end).min();
            let looks = hosts.iter().filter_map(|host| host.reacting.next()).min();
            let next = [ends, looks, next_run].into_iter().flatten().min().unwrap_or(until).min(until);
            // Everything due at this instant is done before time advances.
            if next > self.now() || self.now() >= until {
                self.set_clock(next.max(self.now()));
                if next >= until {
                    return;
                }
            }
        }
    }

    /// Claims all that is due. Returns when the next run is due.
    async fn begin(&mut self, goes: &mut impl FnMut(usize, &TaskKey) -> Goes) -> Option<Timestamp> {
        let tasks = self.catalog.tasks();
        let tasks = tasks.values().map(|task| (task.key.clone(), task.overlap.max_running()));
        let request = ClaimRequest { limit: 100, lease: 400 * DAY, ..testkit::claim_request(tasks, self.now()) };
        let claimed = self.store.claim(request).await.unwrap();
        for claim in claimed.claims {
            let goes = goes(self.claimed, &claim.task);
            self.claimed += 1;
            let (Goes::Well(lasts) | Goes::Badly(lasts) | Goes::Again(lasts, _) | Goes::Hangs(lasts)) = goes;
            self.working.push((self.now().plus(lasts), claim.key, goes));
        }
        self.most = self.most.max(self.working.len());
        claimed.next_run_at
    }

    async fn end_what_is_over(&mut self) {
        let now = self.now();
        let (over, working) = std::mem::take(&mut self.working).into_iter().partition(|(end, ..)| *end <= now);
        self.working = working;
        for (end, claim, goes) in over {
            let (outcome, transition) = match goes {
                Goes::Well(_) => (Outcome::Succeeded, Transition::Succeed(Output::default())),
                Goes::Badly(_) => (Outcome::FailedPermanent, Transition::Fail),
                Goes::Again(_, delay) => {
                    (Outcome::FailedTransient, Transition::Wait { run_at: end.plus(delay), failed: true })
                }
                Goes::Hangs(_) => (Outcome::TimedOut, Transition::Fail),
            };
            self.finish(claim, outcome, transition, end).await;
        }
    }

    async fn finish(&self, claim: ClaimKey, outcome: Outcome, transition: Transition, at: Timestamp) {
        let supervision = Supervision { pause_after: None, brake: None };
        let finish = Finish { supervision, ..testkit::finish(claim, transition, testkit::report(outcome, at)) };
        self.store.finish(Arc::new(finish)).await.unwrap();
    }

    /// Requests a run of a task.
    pub(super) async fn ask_for(&self, task: &str) {
        let run = NewRun::of(key(task), self.now(), Cause::Demand);
        self.store.enqueue(vec![run], self.now()).await.unwrap();
    }

    /// Returns all runs that schedules made, oldest first.
    pub(super) async fn made(&self) -> Vec<RunInfo> {
        let mut runs = self.store.runs(RunFilter { limit: 1_000_000, ..RunFilter::default() }).await.unwrap();
        runs.retain(|run| run.cause == Cause::Schedule);
        runs.reverse();
        runs
    }

    pub(super) async fn set_paused(&self, name: &str, paused: bool) {
        self.store.set_paused(key(name), paused, self.now()).await.unwrap();
    }
}

impl Host {
    /// Looks at everything, as happens at least once a second.
    pub(super) async fn look(&mut self) {
        self.reacting.learn(&self.scheduler.catalog);
        self.reacting.look_at_all();
        self.scheduler.react(&mut self.reacting).await;
    }
}

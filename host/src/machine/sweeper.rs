//! Ends attempts whose host did not extend its claim, and prunes history beyond its retention.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, warn};

use crate::machine::alert;
use crate::machine::executor::report_without_guest;
use crate::machine::live::LiveRuns;
use sexton_domain::lifecycle::{self, Ending, Transition};
use sexton_domain::retry::RetryPolicy;
use sexton_domain::run::Outcome;
use sexton_domain::time::Clock;
use sexton_runtime::catalog::Catalog;
use sexton_store::events::EventRetention;
use sexton_store::{Expired, Finish, LossPolicy, Retention, Store, StoreError};
use sexton_system::supervisor::{rests, works};

/// The most expired claims that are handled at once.
const BATCH: usize = 500;

/// The interval at which runs that should have started by now are searched, if no host claims any.
const LATE_EVERY: Duration = Duration::from_secs(1);

/// The interval at which history is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// The time for which a host that stopped announcing itself stays listed: long enough for people to see that it is
/// gone.
const HOSTS_FOR: Duration = Duration::from_secs(24 * 3600);

/// The parts that the sweeper needs.
#[derive(Debug)]
pub struct Sweeper {
    /// Holds the runs.
    pub store: Arc<dyn Store>,
    /// The attempts under way on this host. Their leases are left to the heartbeat: a clock that was set forward, or a
    /// machine that slept, must not make this host end its own attempts.
    pub live: Arc<LiveRuns>,
    /// The tasks and their policies.
    pub catalog: Arc<Catalog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The interval at which expired claims are searched.
    pub every: Duration,
    /// A run is held back once its host has died this many times while it was under way; `None` never holds one back.
    pub suspect_after: Option<u32>,
    /// The history to keep.
    pub retention: watch::Receiver<Retention>,
    /// The events to keep.
    pub events: EventRetention,
}

impl Sweeper {
    /// Sweeps until `over` is set.
    pub async fn run(self, mut over: watch::Receiver<bool>) {
        let mut sweep = tokio::time::interval(self.every);
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        let mut late = tokio::time::interval(LATE_EVERY);
        for interval in [&mut sweep, &mut prune, &mut late] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            rests(Some(self.every));
            let done = tokio::select! {
                _ = sweep.tick() => self.end_expired().await,
                _ = late.tick() => self.cancel_late().await,
                _ = prune.tick() => self.prune().await,
                _ = over.changed() => return,
            };
            if let Err(error) = done {
                warn!(error = %error, "Cannot sweep, trying again");
            }
        }
    }

    /// Ends all attempts whose lease has expired.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn end_expired(&self) -> sexton_store::Result<()> {
        loop {
            works();
            let now = self.clock.now();
            let expired = self.store.expired(now, BATCH).await?;
            let all = expired.len() == BATCH;
            let mut ours = 0;
            for dead in expired {
                if self.live.get(dead.claim.run).is_some_and(|handle| handle.key == dead.claim) {
                    ours += 1;
                    continue;
                }
                let finish = Arc::new(self.finish_of_lost(&dead));
                match self.store.finish(Arc::clone(&finish)).await {
                    Ok(consequence) => {
                        alert::tell(&dead.task, &consequence);
                        if finish.transition == Transition::HoldBack {
                            alert::suspected(&dead.task, dead.claim.run, dead.deaths.saturating_add(1));
                        }
                    }
                    // The claim's host came back in time, or another sweeper was first.
                    Err(StoreError::ClaimLost(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            // Claims that were left alone would be found again.
            if !all || ours > 0 {
                return Ok(());
            }
        }
    }

    fn finish_of_lost(&self, dead: &Expired) -> Finish {
        let now = self.clock.now();
        let (run, task) = (dead.claim.run, &dead.task);
        warn!(run.id = %run, task.name = %task, "Run {run} of `{task}` was lost by host `{}`", dead.host);
        // The claim has stored the policy. If a host of an older version made the claim, it has not, and a host that
        // knows the task decides. A run whose policy no host knows is never given up.
        let known = || self.catalog.get(task).map(|task| LossPolicy::of(&task));
        let unknown = LossPolicy { attempts: u32::MAX, pause_after: None };
        let policy = dead.policy.or_else(known).unwrap_or(unknown);
        let retry = RetryPolicy { attempts: policy.attempts, ..RetryPolicy::default() };
        let outcome = if dead.cancel_requested { Outcome::Killed } else { Outcome::Lost };
        let message = match &dead.death {
            Some(_) => format!("host `{}` stopped without writing an outcome", dead.host),
            None => format!("host `{}` gave up the run without writing an outcome", dead.host),
        };
        let next = lifecycle::after(Ending::Other(outcome), dead.failures, &retry, rand::random(), now);
        let transition = match &dead.death {
            Some(_) => lifecycle::after_death(next, dead.deaths.saturating_add(1), self.suspect_after),
            None => next,
        };
        Finish {
            claim: dead.claim,
            transition,
            report: report_without_guest(outcome, dead.claimed_at, now, message),
            supervision: policy.supervision(),
            expired_by: Some(now),
            death: dead.death.clone(),
        }
    }

    async fn cancel_late(&self) -> sexton_store::Result<()> {
        works();
        self.store.cancel_late(self.clock.now()).await.map(drop)
    }

    async fn prune(&self) -> sexton_store::Result<()> {
        works();
        self.store.forget_hosts(self.clock.now().minus(HOSTS_FOR)).await?;
        while self.store.prune_events(self.events, self.clock.now()).await? > 0 {
            works();
        }
        loop {
            works();
            let retention = self.retention.borrow().clone();
            let gone = self.store.prune(retention, self.clock.now()).await?;
            if gone == 0 {
                return Ok(());
            }
            debug!(runs = gone, "Pruned history");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::plugins::manifest::Manifest;
    use crate::testkit::{self, TestClock, handle};
    use sexton_domain::run::{Cause, ClaimKey, RunState};
    use sexton_domain::task::{Name, TaskKey};
    use sexton_domain::time::Timestamp;
    use sexton_store::runs::Runs as _;
    use sexton_store::sqlite::{SqliteOptions, SqliteStore};
    use sexton_store::{ClaimRequest, NewRun};

    /// A sweeper an hour after [`START`], its store, and the task `long`, which allows one attempt and no failed run.
    struct Rig {
        sweeper: Sweeper,
        task: TaskKey,
        _place: tempfile::TempDir,
    }

    const START: Timestamp = Timestamp::from_millis(1_000_000);
    const LEASE: Duration = Duration::from_secs(15);

    impl Rig {
        async fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(place.path().join("db"), &SqliteOptions::default()).unwrap();
            let (tenant, plugin) = (Name::default_tenant(), Name::new("long").unwrap());
            let manifest = "[tasks.long]\npause-after = 1\nretry = { attempts = 1 }";
            let task = Manifest::parse("long.toml", manifest).unwrap().tasks(&tenant, &plugin, place.path()).remove(0);
            let key = task.key.clone();
            let run = NewRun::of(key.clone(), START, Cause::Demand);
            store.enqueue(vec![run], START).await.unwrap();
            let sweeper = Sweeper {
                store,
                live: Arc::default(),
                catalog: Arc::default(),
                clock: TestClock::at(START.plus(Duration::from_secs(3600))),
                every: LEASE,
                suspect_after: Some(2),
                retention: watch::channel(Retention { runs: 10, age: LEASE, bytes: 1 << 20 }).1,
                events: EventRetention { events: 0, age: LEASE },
            };
            sweeper.catalog.replace(BTreeMap::from([(key.clone(), Arc::new(task))]));
            Self { sweeper, task: key, _place: place }
        }

        /// Claims the run as a host that does not store the policy of its task.
        async fn claim(&self, now: Timestamp) -> ClaimKey {
            self.claim_with(&[], now).await
        }

        /// Claims the run as a host that knows its task's `policy`.
        async fn claim_with(&self, policy: &[LossPolicy], now: Timestamp) -> ClaimKey {
            let of_task = |value| (self.task.clone(), value);
            let policies = Arc::new(policy.iter().copied().map(of_task).collect());
            let request = testkit::claim_request([(self.task.clone(), 1)], now);
            let request = ClaimRequest { host: "here".to_owned(), policies, lease: LEASE, ..request };
            self.sweeper.store.claim(request).await.unwrap().claims.remove(0).key
        }

        /// Has the host die and start again, and sweeps its claims.
        async fn crash(&self) {
            self.sweeper.store.abandon("here").await.unwrap();
            self.sweeper.end_expired().await.unwrap();
        }

        async fn state(&self, claim: ClaimKey) -> RunState {
            self.sweeper.store.run(claim.run).await.unwrap().unwrap().state
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_forward_does_not_bury_what_is_under_way_here() {
        let rig = Rig::new().await;
        let claim = rig.claim(START).await;
        rig.sweeper.live.insert(handle(claim, rig.task.clone()));

        rig.sweeper.end_expired().await.unwrap();
        assert_eq!(rig.state(claim).await, RunState::Running);

        rig.sweeper.live.remove(claim);
        rig.sweeper.end_expired().await.unwrap();
        assert_eq!(rig.state(claim).await, RunState::Waiting);
    }

    #[tokio::test]
    async fn a_run_that_is_lost_for_good_counts_for_its_tasks_pause() {
        let rig = Rig::new().await;
        let paused = async || {
            let states = rig.sweeper.store.task_states().await.unwrap();
            states.get(&rig.task).and_then(|state| state.paused.clone()).map(|pause| pause.to_string())
        };

        let first = rig.claim(START).await;
        rig.sweeper.end_expired().await.unwrap();
        assert_eq!((rig.state(first).await, paused().await), (RunState::Waiting, None));
        let second = rig.claim(START.plus(Duration::from_secs(3600))).await;
        rig.sweeper.store.abandon("here").await.unwrap();
        rig.sweeper.end_expired().await.unwrap();

        assert_eq!(rig.state(second).await, RunState::Failed);
        assert_eq!(paused().await, Some(format!("paused: run {} failed (lost)", second.run)));
    }

    #[tokio::test]
    async fn a_lost_run_of_an_unknown_task_waits_for_a_host_that_knows_it() {
        let mut rig = Rig::new().await;
        rig.sweeper.suspect_after = None;
        let lost = rig.claim(START).await;
        rig.sweeper.catalog.replace(BTreeMap::new());

        // The default would be three attempts.
        for hours in 1..5 {
            rig.sweeper.store.abandon("here").await.unwrap();
            rig.sweeper.end_expired().await.unwrap();
            assert_eq!(rig.state(lost).await, RunState::Waiting);
            rig.claim(START.plus(Duration::from_secs(3600 * 24 * hours))).await;
        }
    }

    #[tokio::test]
    async fn a_lost_run_whose_task_is_not_known_here_fails_when_the_attempts_that_its_claim_stored_are_used_up() {
        let mut rig = Rig::new().await;
        rig.sweeper.suspect_after = None;
        rig.sweeper.catalog.replace(BTreeMap::new());
        let policy = LossPolicy { attempts: 3, pause_after: Some(1) };
        let mut states = Vec::new();

        for hours in 0..3 {
            let claim = rig.claim_with(&[policy], START.plus(Duration::from_secs(3600 * 24 * hours))).await;
            rig.crash().await;
            states.push(rig.state(claim).await);
        }

        assert_eq!(states, [RunState::Waiting, RunState::Waiting, RunState::Failed]);
        let stands = rig.sweeper.store.task_states().await.unwrap();
        assert!(stands[&rig.task].paused.is_some(), "the stored policy pauses the task");
    }

    #[tokio::test]
    async fn a_run_is_held_back_once_its_host_has_died_twice_while_it_was_under_way() {
        let rig = Rig::new().await;
        let policy = LossPolicy { attempts: 9, pause_after: None };
        let info = async |claim: ClaimKey| rig.sweeper.store.run(claim.run).await.unwrap().unwrap();

        let first = rig.claim_with(&[policy], START).await;
        rig.crash().await;
        assert_eq!((info(first).await.deaths, info(first).await.suspected_at), (1, None));
        let second = rig.claim_with(&[policy], START.plus(Duration::from_secs(3600))).await;
        rig.crash().await;

        let held = info(second).await;
        assert_eq!((held.state, held.deaths), (RunState::Waiting, 2));
        assert_eq!(held.suspected_at, Some(rig.sweeper.clock.now()));
        let why = held.why.unwrap();
        assert!(why.contains("suspected of killing its host") && why.contains("`sexton release 1`"), "{why}");
    }

    #[tokio::test]
    async fn a_run_that_its_host_gave_back_is_no_suspect() {
        let mut rig = Rig::new().await;
        rig.sweeper.suspect_after = Some(1);
        let policy = LossPolicy { attempts: 9, pause_after: None };
        let host = sexton_store::hosts::HostRecord {
            name: "here".into(),
            instance: 1,
            version: String::new(),
            address: String::new(),
            labels: Vec::new(),
            slots: 1,
            attempts: 0,
            plugins: 0,
            started_at: START,
        };
        let forever = Duration::from_secs(3600 * 24 * 365);
        crate::machine::membership::take_over(&*rig.sweeper.store, host, forever, START).await.unwrap();

        let claim = rig.claim_with(&[policy], START).await;
        rig.sweeper.end_expired().await.unwrap();

        let info = rig.sweeper.store.run(claim.run).await.unwrap().unwrap();
        assert_eq!((info.state, info.deaths, info.suspected_at), (RunState::Waiting, 0, None));
    }

    #[tokio::test]
    async fn an_unclaimed_run_is_cancelled_when_its_start_time_is_over() {
        let Rig { sweeper, task, _place } = Rig::new().await;
        let store = Arc::clone(&sweeper.store);
        let mut changes = store.changes();
        let late = NewRun { start_by: Some(START), ..NewRun::of(task, START, Cause::Schedule) };
        let run = store.enqueue(vec![late], START).await.unwrap()[0].run();
        let (over, stop) = watch::channel(false);

        let sweeping = tokio::spawn(sweeper.run(stop));
        let cancelled = async {
            while store.run(run).await.unwrap().unwrap().state != RunState::Cancelled {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), cancelled).await.expect("it is cancelled");

        over.send(true).unwrap();
        sweeping.await.unwrap();
    }
}

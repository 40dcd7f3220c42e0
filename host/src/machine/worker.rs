//! Claims due runs whenever a slot is free.
//!
//! The worker registers for hints before it queries the store, and polls as well: a lost hint costs time, but never a
//! run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use crate::machine::budget::Budgets;
use crate::machine::drain::{Duty, HostDuty};
use crate::machine::executor::Executor;
use crate::machine::host_pause::HostPause;
use sexton_domain::run::Claim;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Clock;
use sexton_runtime::catalog::{Catalog, Changed};
use sexton_store::{ClaimRequest, Claimed, LossPolicy, Store};
use sexton_system::supervisor::{Supervisor, caught, rests, works};

/// The shortest wait after the store refused a claim, so that a store in trouble is not asked in a tight loop.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// The parts that a worker needs.
#[derive(Debug)]
pub struct Worker {
    /// Holds the runs.
    pub store: Arc<dyn Store>,
    /// The tasks that can run here.
    pub catalog: Arc<Catalog>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Executes what was claimed.
    pub executor: Arc<Executor>,
    /// Decides which tasks are over their budget.
    pub budgets: Arc<Budgets>,
    /// The name of this host, as shown with its runs.
    pub host: String,
    /// The labels of this host. A task that requires others is left to hosts that have them.
    pub labels: Vec<Name>,
    /// The slots for runs under way. They outlive a worker that panics, and so do the runs.
    pub slots: Arc<Semaphore>,
    /// The number of slots.
    pub places: u32,
    /// The time for which a claim holds unless it is extended.
    pub lease: Duration,
    /// The longest wait before the next query.
    pub poll: watch::Receiver<Duration>,
    /// No run is claimed while this pause lasts.
    pub pause: Arc<HostPause>,
    /// Decides whether runs are claimed at all.
    pub duty: Arc<HostDuty>,
}

impl Worker {
    /// Claims and executes runs until `stopping` is set, then waits until those under way have ended.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let hint = self.store.runs_hint();
        let slots = Arc::clone(&self.slots);
        let mut catalog = self.catalog.changes();
        let mut tasks = Claimable::of(&self.catalog, &self.labels);
        let (mut pauses, mut duties) = (self.pause.changes(), self.duty.changes());

        while !*stopping.borrow() {
            works();
            if catalog.has_changed().unwrap_or(false) {
                catalog.mark_unchanged();
                tasks.follow(&self.catalog, &self.labels);
            }

            // Registered before the query, so that a hint that arrives between the query and the wait is not missed.
            let hinted = hint.notified();
            tokio::pin!(hinted);
            hinted.as_mut().enable();

            let claiming = self.duty.busy();
            let wait = if slots.available_permits() == 0 {
                None
            } else if pauses.borrow_and_update().since.is_some() || *duties.borrow_and_update() != Duty::Up {
                Some(Duration::MAX)
            } else {
                match self.claim(&mut tasks, slots.available_permits()).await {
                    Ok(claimed) if claimed.claims.is_empty() => Some(self.until(claimed.next_run_at)),
                    Ok(claimed) => {
                        for claim in claimed.claims {
                            tokio::spawn(self.attempt(claim, &slots));
                        }
                        continue;
                    }
                    Err(error) => {
                        warn!(error = %error, "Cannot claim runs, trying again");
                        Some(AFTER_ERROR)
                    }
                }
            };
            drop(claiming);

            // Slots become free and pauses end at any time.
            rests(wait.filter(|wait| *wait != Duration::MAX));
            tokio::select! {
                () = &mut hinted, if wait.is_some() => {}
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                Ok(slot) = slots.acquire(), if wait.is_none() => drop(slot),
                _ = catalog.changed() => tasks.follow(&self.catalog, &self.labels),
                () = self.budgets.freed(), if wait.is_some() => {}
                _ = pauses.changed() => {}
                _ = duties.changed() => {}
                told = stopping.changed() => if told.is_err() { break },
            }
        }
        debug!(free = slots.available_permits(), "Claiming no more runs");
        rests(None);
        // All slots are free again when the runs under way have ended.
        drop(slots.acquire_many(self.places).await);
    }

    /// Returns an attempt at a run that was claimed. It counts from now on, not only once it is polled.
    fn attempt(&self, claim: Claim, slots: &Arc<Semaphore>) -> impl Future<Output = ()> + Send + use<> {
        let slot = Arc::clone(slots)
            .try_acquire_owned()
            .expect("only this loop takes slots, and it asked for no more runs than there were");
        let (executor, busy) = (Arc::clone(&self.executor), self.duty.busy());
        let attempt = self.budgets.begin(&claim);
        async move {
            // A run's pipeline does not panic. If it does, the run's lease expires and the run is tried again.
            if let Err(panic) = caught(Box::pin(executor.execute(claim))).await {
                Supervisor::of_process().note("a run's pipeline", &panic);
            }
            drop((attempt, busy));
            drop(slot); // the last thing given back: see ARCHITECTURE.md, release order
        }
    }

    /// Claims up to `most` due runs and returns when the next one is due. The simulation calls this; the worker loop
    /// uses [`Worker::run`].
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn take(&self, most: usize) -> sexton_store::Result<Claimed> {
        self.claim(&mut Claimable::of(&self.catalog, &self.labels), most).await
    }

    /// Claims what budgets admit, and returns when the next run is due or the next budget has recovered.
    async fn claim(&self, tasks: &mut Claimable, free: usize) -> sexton_store::Result<Claimed> {
        if tasks.offered.is_empty() {
            return Ok(Claimed::default());
        }
        let claiming = self.budgets.claiming().await;
        let admission = self.budgets.admission();
        tasks.exclude(&admission.over);
        let claimed = self
            .store
            .claim(ClaimRequest {
                host: self.host.clone(),
                tasks: Arc::clone(&tasks.offered),
                policies: Arc::clone(&tasks.policies),
                limit: free.min(self.store.batch()),
                tenants: admission.shares,
                lease: self.lease,
                now: self.clock.now(),
            })
            .await?;
        drop(claiming);
        let next_run_at = claimed.next_run_at.into_iter().chain(admission.recovers_at).min();
        Ok(Claimed { next_run_at, ..claimed })
    }

    fn until(&self, next: Option<sexton_domain::time::Timestamp>) -> Duration {
        // The wait is at least a millisecond: a run that is due by now was held back by its task's limit, not by the
        // time.
        let poll = *self.poll.borrow();
        next.map_or(poll, |at| at.since(self.clock.now()).clamp(Duration::from_millis(1), poll))
    }
}

/// The tasks that may be claimed, with the number of runs that each may have at once. That is none for a task that is
/// left out, of which only forced runs are claimed.
struct Claimable {
    offered: Arc<BTreeMap<TaskKey, u32>>,
    /// The policies for the runs of these tasks if this host dies.
    policies: Arc<BTreeMap<TaskKey, LossPolicy>>,
    left_out: BTreeMap<TaskKey, u32>,
    /// The number of the change of the catalog up to which the tasks are known.
    seen: u64,
}

impl Claimable {
    /// Returns the tasks of which a host with these labels may run something.
    fn of(catalog: &Catalog, labels: &[Name]) -> Self {
        // The number is read before the tasks: a change in between is followed once more.
        let seen = catalog.changed_since(None).0;
        let tasks = catalog.tasks();
        let here = || tasks.iter().filter(|(_, task)| task.may_run_on(labels));
        let offered = here().map(|(key, task)| (key.clone(), task.overlap.max_running())).collect();
        let policies = here().map(|(key, task)| (key.clone(), LossPolicy::of(task))).collect();
        Self { offered: Arc::new(offered), policies: Arc::new(policies), left_out: BTreeMap::new(), seen }
    }

    /// Takes over the tasks that have changed. The cost depends on their number, except for a copy while a claim is
    /// under way.
    fn follow(&mut self, catalog: &Catalog, labels: &[Name]) {
        let (latest, changed) = catalog.changed_since(Some(self.seen));
        let Changed::These(changed) = changed else {
            *self = Self::of(catalog, labels);
            return;
        };
        self.seen = latest;
        if changed.is_empty() {
            return;
        }
        let (offered, policies) = (Arc::make_mut(&mut self.offered), Arc::make_mut(&mut self.policies));
        for key in changed {
            self.left_out.remove(&key);
            match catalog.get(&key).filter(|task| task.may_run_on(labels)) {
                Some(task) => {
                    offered.insert(key.clone(), task.overlap.max_running());
                    policies.insert(key, LossPolicy::of(&task));
                }
                None => {
                    offered.remove(&key);
                    policies.remove(&key);
                }
            }
        }
    }

    /// Leaves out the tasks in `over`, and no others. The cost depends on the number of changes, except for a copy
    /// while a claim is under way.
    fn exclude(&mut self, over: &BTreeSet<TaskKey>) {
        if self.left_out.keys().all(|task| over.contains(task))
            && !over.iter().any(|task| self.offered.get(task).is_some_and(|most| *most > 0))
        {
            return;
        }
        let offered = Arc::make_mut(&mut self.offered);
        offered.append(&mut self.left_out);
        self.left_out
            .extend(over.iter().filter_map(|task| Some((task.clone(), std::mem::take(offered.get_mut(task)?)))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{self, name, task_key as key};
    use sexton_domain::task::{Overlap, Task};

    #[test]
    fn only_what_may_run_on_a_host_with_these_labels_is_offered() {
        let catalog = Catalog::default();
        let table: [(&str, &[&str]); 3] = [("anywhere", &[]), ("gpu", &["gpu"]), ("both", &["gpu", "eu"])];
        let tasks = table.map(|(task, labels)| {
            let runs_on = labels.iter().map(|label| name(label)).collect();
            Arc::new(Task { runs_on, ..testkit::task(task) })
        });
        catalog.replace(tasks.into_iter().map(|task| (task.key.clone(), task)).collect());
        let offered = |labels: &[&str]| {
            let labels: Vec<Name> = labels.iter().map(|label| name(label)).collect();
            let claimable = Claimable::of(&catalog, &labels);
            claimable.offered.keys().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };

        assert_eq!(offered(&[]), "anywhere");
        assert_eq!(offered(&["eu", "other"]), "anywhere");
        assert_eq!(offered(&["gpu"]), "anywhere gpu");
        assert_eq!(offered(&["eu", "gpu"]), "anywhere both gpu");
    }

    #[test]
    fn the_tasks_on_offer_follow_the_catalog() {
        let catalog = Catalog::default();
        let put = |tasks: Vec<Task>| {
            let tasks = tasks.into_iter().map(|task| (task.key.clone(), Arc::new(task)));
            catalog.update(&BTreeSet::new(), tasks.collect());
        };
        put(["a", "b", "c"].map(testkit::task).to_vec());
        let mut tasks = Claimable::of(&catalog, &[]);
        tasks.exclude(&BTreeSet::from([key("a"), key("b")]));

        put(vec![Task { overlap: Overlap::Allow(7), ..testkit::task("a") }, testkit::task("d")]);
        put(vec![Task { runs_on: vec![name("gpu")], ..testkit::task("c") }]);
        catalog.update(&BTreeSet::from([key("b")]), BTreeMap::new());
        tasks.follow(&catalog, &[]);
        let followed = tasks.offered.clone();
        tasks.exclude(&BTreeSet::new());

        assert_eq!(*followed, BTreeMap::from([(key("a"), 7), (key("d"), 1)]));
        assert_eq!(tasks.offered, followed);
        assert_eq!(tasks.policies.keys().map(ToString::to_string).collect::<Vec<_>>(), ["a", "d"]);
        catalog.replace(BTreeMap::new());
        tasks.follow(&catalog, &[]);
        assert!(tasks.offered.is_empty() && tasks.policies.is_empty());
    }

    #[test]
    fn a_task_over_its_budget_is_left_out_until_it_recovers() {
        let all = BTreeMap::from([(key("a"), 1), (key("b"), 2), (key("c"), 3)]);
        let (offered, policies) = (Arc::new(all.clone()), Arc::default());
        let mut tasks = Claimable { offered, policies, left_out: BTreeMap::new(), seen: 0 };
        let mut offered = |over: &[&str]| {
            tasks.exclude(&over.iter().map(|text| key(text)).collect());
            tasks.offered.iter().map(|(key, most)| format!("{key} {most}")).collect::<Vec<_>>().join(", ")
        };

        assert_eq!(offered(&["b", "gone"]), "a 1, b 0, c 3");
        assert_eq!(offered(&["b", "gone"]), "a 1, b 0, c 3");
        assert_eq!(offered(&["c", "b"]), "a 1, b 0, c 0");
        assert_eq!(offered(&["c"]), "a 1, b 2, c 0");
        assert_eq!(offered(&[]), "a 1, b 2, c 3");
    }
}

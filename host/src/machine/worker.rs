//! Takes due runs whenever there is room for one.
//!
//! Listens before it looks, and looks anyway after a while: a hint that got lost costs time, never a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, warn};

use crate::catalog::Catalog;
use crate::machine::executor::Executor;
use crate::store::{ClaimRequest, Claimed, Store};
use crate::task::TaskKey;
use crate::time::Clock;

/// Most runs taken in one transaction. More would hold back others' writes, fewer would pay for the disk more often.
const BATCH: usize = 128;

/// The least to wait after the store refused a claim, so that a store in trouble is not asked in a tight loop.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What a worker needs.
#[derive(Debug)]
pub struct Worker {
    /// Where runs are.
    pub store: Arc<dyn Store>,
    /// The tasks that can be run here.
    pub catalog: Arc<Catalog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Does what was taken.
    pub executor: Arc<Executor>,
    /// This host, as shown with its runs.
    pub host: String,
    /// Runs at once.
    pub slots: u32,
    /// How long a claim holds unless it is extended.
    pub lease: Duration,
    /// How long to wait at most before looking again.
    pub poll: Duration,
}

/// A run's pipeline does not panic; if it does, the run's lease ends and it is tried again.
fn tell(done: Result<(), JoinError>) {
    if let Err(error) = done {
        error!(error = %error, "A run's pipeline broke");
    }
}

impl Worker {
    /// Take and do runs until `stopping` is set, then wait until those under way are over.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        let hint = self.store.runs_hint();
        let slots = Arc::new(Semaphore::new(self.slots as usize));
        let mut catalog = self.catalog.changes();
        let mut tasks = self.claimable();
        let mut under_way = JoinSet::new();

        while !*stopping.borrow() {
            while let Some(done) = under_way.try_join_next() {
                tell(done);
            }
            if catalog.has_changed().unwrap_or(false) {
                catalog.mark_unchanged();
                tasks = self.claimable();
            }

            // Registered before the look, so that what comes between the look and the wait is not missed.
            let hinted = hint.notified();
            tokio::pin!(hinted);
            hinted.as_mut().enable();

            let wait = if slots.available_permits() == 0 {
                None
            } else {
                match self.claim(&tasks, slots.available_permits()).await {
                    Ok(claimed) if claimed.claims.is_empty() => Some(self.until(claimed.next_run_at)),
                    Ok(claimed) => {
                        for claim in claimed.claims {
                            let slot = Arc::clone(&slots)
                                .try_acquire_owned()
                                .expect("only this loop takes slots, and it asked for no more runs than there were");
                            let executor = Arc::clone(&self.executor);
                            under_way.spawn(async move {
                                executor.execute(claim).await;
                                drop(slot); // the last thing given back: see DESIGN, release order
                            });
                        }
                        continue;
                    }
                    Err(error) => {
                        warn!(error = %error, "Cannot claim runs, trying again");
                        Some(AFTER_ERROR)
                    }
                }
            };

            tokio::select! {
                () = &mut hinted, if wait.is_some() => {}
                () = tokio::time::sleep(wait.unwrap_or(self.poll)), if wait.is_some() => {}
                Ok(slot) = slots.acquire(), if wait.is_none() => drop(slot),
                _ = catalog.changed() => tasks = self.claimable(),
                _ = stopping.changed() => {}
            }
        }
        debug!(runs = under_way.len(), "Claiming no more runs");
        while let Some(done) = under_way.join_next().await {
            tell(done);
        }
    }

    async fn claim(&self, tasks: &Arc<BTreeMap<TaskKey, u32>>, free: usize) -> crate::store::Result<Claimed> {
        if tasks.is_empty() {
            return Ok(Claimed::default());
        }
        self.store
            .claim(ClaimRequest {
                host: self.host.clone(),
                tasks: Arc::clone(tasks),
                limit: free.min(BATCH),
                lease: self.lease,
                now: self.clock.now(),
            })
            .await
    }

    fn claimable(&self) -> Arc<BTreeMap<TaskKey, u32>> {
        Arc::new(self.catalog.tasks().iter().map(|(key, task)| (key.clone(), task.overlap.max_running())).collect())
    }

    fn until(&self, next: Option<crate::time::Timestamp>) -> Duration {
        // At least a millisecond: an instant that is due by now was held back by its task's limit, not by the time.
        next.map_or(self.poll, |at| at.since(self.clock.now()).clamp(Duration::from_millis(1), self.poll))
    }
}

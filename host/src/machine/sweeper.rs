//! Buries the dead: attempts whose host did not extend its claim, and history that nobody wants to keep.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, warn};

use crate::catalog::Catalog;
use crate::lifecycle::{self, Ending};
use crate::machine::executor::{policy_without_task, report_without_guest};
use crate::run::Outcome;
use crate::store::{Expired, Finish, Retention, Store, StoreError};
use crate::time::Clock;

/// Expired claims looked at in one go.
const BATCH: usize = 500;

/// How often history is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// What the sweeper needs.
#[derive(Debug)]
pub struct Sweeper {
    /// Where runs are.
    pub store: Arc<dyn Store>,
    /// The tasks and their policies.
    pub catalog: Arc<Catalog>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How often to look for expired claims.
    pub every: Duration,
    /// What history to keep.
    pub retention: Retention,
}

impl Sweeper {
    /// Sweep until `over` is set.
    pub async fn run(self, mut over: watch::Receiver<bool>) {
        let mut sweep = tokio::time::interval(self.every);
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        for interval in [&mut sweep, &mut prune] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            let done = tokio::select! {
                _ = sweep.tick() => self.bury().await,
                _ = prune.tick() => self.prune().await,
                _ = over.changed() => return,
            };
            if let Err(error) = done {
                warn!(error = %error, "Cannot sweep, trying again");
            }
        }
    }

    /// End all attempts whose lease is over.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn bury(&self) -> crate::store::Result<()> {
        loop {
            let now = self.clock.now();
            let expired = self.store.expired(now, BATCH).await?;
            let all = expired.len() == BATCH;
            for dead in expired {
                match self.store.finish(self.obituary(&dead)).await {
                    // Its host came back in time, or another sweeper was first.
                    Ok(()) | Err(StoreError::ClaimLost(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if !all {
                return Ok(());
            }
        }
    }

    fn obituary(&self, dead: &Expired) -> Finish {
        let now = self.clock.now();
        let (run, task) = (dead.claim.run, &dead.task);
        warn!(run.id = %run, task.name = %task, "Run {run} of `{task}` was lost by host `{}`", dead.host);
        let policy = self.catalog.get(task).map_or_else(policy_without_task, |task| task.retry.clone());
        let outcome = if dead.cancel_requested { Outcome::Killed } else { Outcome::Lost };
        let message = format!("host `{}` stopped without writing an outcome", dead.host);
        Finish {
            claim: dead.claim,
            transition: lifecycle::after(Ending::Other(outcome), dead.failures, &policy, rand::random(), now),
            report: report_without_guest(outcome, dead.claimed_at, now, message),
            expired_by: Some(now),
        }
    }

    async fn prune(&self) -> crate::store::Result<()> {
        loop {
            let gone = self.store.prune(self.retention.clone(), self.clock.now()).await?;
            if gone == 0 {
                return Ok(());
            }
            debug!(runs = gone, "Pruned history");
        }
    }
}

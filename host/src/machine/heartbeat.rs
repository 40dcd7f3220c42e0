//! Extends this host's claims, and ends the attempts whose claims it could not extend.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, warn};

use crate::machine::live::LiveRuns;
use sexton_domain::time::Clock;
use sexton_runtime::attempt::Stop;
use sexton_store::Store;
use sexton_system::supervisor::{rests, works};

/// The parts that the heartbeat needs.
#[derive(Debug)]
pub struct Heartbeat {
    /// Holds the claims.
    pub store: Arc<dyn Store>,
    /// The attempts under way.
    pub live: Arc<LiveRuns>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// The time for which a claim holds unless it is extended.
    pub lease: Duration,
}

impl Heartbeat {
    /// Extends all claims three times a lease, until `over` is set.
    pub async fn run(self, mut over: watch::Receiver<bool>) {
        let mut beat = tokio::time::interval(self.lease / 3);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_good = Instant::now();
        loop {
            rests(Some(self.lease / 3));
            tokio::select! {
                _ = beat.tick() => {}
                _ = over.changed() => return,
            }
            works();
            let started = Instant::now();
            match self.beat().await {
                Ok(()) => last_good = started,
                Err(error) => {
                    warn!(error = %error, "Cannot extend claims");
                    // By this host's own clock the leases have ended. Other hosts may have taken the runs, so the
                    // attempts here must end.
                    if last_good.elapsed() >= self.lease {
                        for handle in self.live.all() {
                            if handle.started.elapsed() >= self.lease {
                                handle.stop(Stop::ClaimLost);
                            }
                        }
                    }
                }
            }
        }
    }

    async fn beat(&self) -> sexton_store::Result<()> {
        let claims: Vec<_> = self.live.all().iter().map(|handle| handle.key).collect();
        if claims.is_empty() {
            return Ok(());
        }
        debug!(claims = claims.len(), "Extending claims");
        let extended = self.store.extend(claims, self.clock.now().plus(self.lease)).await?;
        let lost = extended.lost.into_iter().map(|key| (key, Stop::ClaimLost));
        let cancelled =
            extended.cancelled.into_iter().map(|key| (key, Stop::Killed("cancelled by request".to_owned())));
        for (key, why) in lost.chain(cancelled) {
            if let Some(handle) = self.live.get(key.run).filter(|handle| handle.key == key) {
                handle.ask_to_end(why);
            }
        }
        Ok(())
    }
}

//! Keeps this host's clock with the store's, where the store has one: many hosts must agree on the time, or one would take the
//! others' runs for lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, warn};

use crate::clock::{StoreClock, SystemClock};
use crate::store::Store;
use crate::time::{Clock, Timestamp};

/// How often the store is asked. Clocks of machines drift apart by less than a millisecond in that time.
const EVERY: Duration = Duration::from_secs(10);

/// How far the system's clock may be from the store's before people are told, who see both.
const FAR: Duration = Duration::from_secs(1);

/// What the timekeeper needs.
#[derive(Debug)]
pub struct Timekeeper {
    /// Whose time it is.
    pub store: Arc<dyn Store>,
    /// What shows it here.
    pub clock: Arc<StoreClock>,
}

impl Timekeeper {
    /// Correct the clock now and then, until `over` is set.
    pub async fn run(self, mut over: watch::Receiver<bool>) {
        let mut told = self.tell_if_far();
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = over.changed() => return,
            }
            self.correct().await;
            told = told || self.tell_if_far();
        }
    }

    async fn correct(&self) {
        match self.clock.correct(&*self.store).await {
            Ok(by) if by.unsigned_abs() >= u64::try_from(FAR.as_millis()).unwrap_or(u64::MAX) => {
                warn!(by_ms = by, "The database's clock was set, or is another's now: the time has moved by {by} ms");
            }
            Ok(by) => debug!(by_ms = by, "Asked the store for the time"),
            // The clock goes on by itself; whoever needs the store for more says so.
            Err(error) => debug!(error = %error, "Cannot ask the store for the time"),
        }
    }

    /// Tell people once that this machine's clock is wrong, if it is. Returns whether that was told.
    fn tell_if_far(&self) -> bool {
        let off = off(SystemClock.now(), self.clock.now());
        if let Some((by, way)) = off {
            warn!(
                "The clock of this machine is {by:?} {way} the database's, by which all hosts of the store go: set it right, or what other programs say of times does not agree with what is said here"
            );
        }
        off.is_some()
    }
}

/// How far the system's clock is from the store's, and which way, if that is far.
fn off(system: Timestamp, store: Timestamp) -> Option<(Duration, &'static str)> {
    let (ahead, behind) = (system.since(store), store.since(system));
    match ahead.max(behind) {
        near if near <= FAR => None,
        by if ahead > behind => Some((by, "ahead of")),
        by => Some((by, "behind")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_of_a_clock_that_is_off_by_more_than_a_second_and_which_way() {
        let at = Timestamp::from_millis;
        assert_eq!(off(at(5_000), at(4_000)), None);
        assert_eq!(off(at(5_001), at(4_000)), Some((Duration::from_millis(1001), "ahead of")));
        assert_eq!(off(at(4_000), at(3_604_000)), Some((Duration::from_secs(3600), "behind")));
    }
}

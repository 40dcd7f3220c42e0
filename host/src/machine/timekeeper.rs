//! Keeps the host's clock in step with the store's, if the store has one: hosts must agree on the time, or one would
//! treat the others' runs as lost. Also repairs instants that a wrong clock has left in the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{debug, warn};

use crate::store_clock::StoreClock;
use sexton_domain::schedule::IMPLAUSIBLE;
use sexton_domain::time::{Clock, Timestamp};
use sexton_store::Store;
use sexton_store::repairs::Repaired;
use sexton_system::clock::{SETTLES, SystemClock};
use sexton_system::supervisor::{rests, works};

/// The interval at which the store is asked. The clocks of machines drift apart by less than a millisecond in that
/// time.
const EVERY: Duration = Duration::from_secs(10);

/// The interval at which the clock is examined, which finds out that it was set.
const LOOK: Duration = Duration::from_secs(1);

/// The difference between the system's clock and the store's above which people, who see both, are told.
const FAR: Duration = Duration::from_secs(1);

/// The parts that the timekeeper needs.
#[derive(Debug)]
pub struct Timekeeper {
    /// The store whose time counts, and whose instants are repaired.
    pub store: Arc<dyn Store>,
    /// The clock of this host.
    pub clock: Arc<dyn Clock>,
    /// The same clock, if it has to be kept in step with the store's.
    pub kept: Option<Arc<StoreClock>>,
    /// Whether the store had instants at the start that are [implausibly](IMPLAUSIBLE) far ahead.
    pub found_ahead: bool,
}

/// Decides whether the instants in the store have to be repaired.
#[derive(Debug)]
struct Watch {
    latest: Timestamp,
    /// Whether the clock was set back by more than is plausible.
    set_back: bool,
    /// The instant since which a repair is due. It waits until the clock has been stable for a while, because a clock that
    /// is wrong right after the start of a machine is set soon.
    ahead_since: Option<Instant>,
}

impl Timekeeper {
    /// Examines the clock, and corrects it now and then, until `over` is set.
    pub async fn run(self, mut over: watch::Receiver<bool>) {
        let mut told = self.warn_if_far_off();
        let mut corrected = Instant::now();
        let mut watch = Watch::new(self.clock.now(), self.found_ahead);
        loop {
            rests(Some(LOOK));
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = over.changed() => return,
            }
            works();
            if corrected.elapsed() >= EVERY {
                corrected = Instant::now();
                self.correct().await;
                told = told || self.warn_if_far_off();
            }
            if watch.needs_repair(self.clock.now(), self.clock.doubt().is_some()) && self.repair().await {
                watch.repaired();
            }
        }
    }

    async fn correct(&self) {
        let Some(clock) = &self.kept else { return };
        match clock.correct(&*self.store).await {
            Ok(by) if by.unsigned_abs() >= u64::try_from(FAR.as_millis()).unwrap_or(u64::MAX) => {
                warn!(
                    by_ms = by,
                    "The database's clock was set, or the database has moved to another machine: the time has moved by {by} ms"
                );
            }
            Ok(by) => debug!(by_ms = by, "Asked the store for the time"),
            // The clock goes on by itself. Every part that needs the store for more reports the error.
            Err(error) => debug!(error = %error, "Cannot ask the store for the time"),
        }
    }

    /// Brings back instants that a clock far ahead has written. Returns whether the store did it.
    async fn repair(&self) -> bool {
        let now = self.clock.now();
        match self.store.repair_instants(now).await {
            Ok(repaired) => {
                if repaired != Repaired::default() {
                    let Repaired { tasks, runs, schedules, entries } = repaired;
                    warn!(
                        tasks,
                        runs,
                        schedules,
                        entries,
                        "The store had instants that are far ahead of {now}, from a clock that was wrong: {tasks} task(s), {runs} run(s), {schedules} added schedule(s) and {entries} cache entries continue from now"
                    );
                }
                true
            }
            Err(error) => {
                warn!(error = %error, "Cannot repair the instants that a wrong clock has left in the store, trying again");
                false
            }
        }
    }

    /// Logs once that this machine's clock is wrong, if it is. Returns whether that was logged.
    fn warn_if_far_off(&self) -> bool {
        let Some(clock) = &self.kept else { return false };
        let off = off(SystemClock.now(), clock.now());
        if let Some((by, way)) = off {
            warn!(
                "The clock of this machine is {by:?} {way} the database's, which all hosts of the store follow: correct it, or the times of other programs will not agree with Sexton's"
            );
        }
        off.is_some()
    }
}

impl Watch {
    fn new(now: Timestamp, found_ahead: bool) -> Self {
        Self { latest: now, set_back: false, ahead_since: found_ahead.then(Instant::now) }
    }

    /// Returns whether the store must be repaired now. `doubted` is whether the clock may be wrong at the moment.
    fn needs_repair(&mut self, now: Timestamp, doubted: bool) -> bool {
        if self.latest.since(now) > IMPLAUSIBLE {
            // The old time was believed for a while before the clock was set back, and the clock was not set since.
            self.latest = now;
            self.set_back = true;
        }
        self.latest = self.latest.max(now);
        if doubted {
            self.ahead_since = self.ahead_since.map(|_| Instant::now());
        }
        self.set_back || self.ahead_since.is_some_and(|since| since.elapsed() >= SETTLES)
    }

    fn repaired(&mut self) {
        (self.set_back, self.ahead_since) = (false, None);
    }
}

/// Returns how far the system's clock is from the store's, and in which direction, if that is far.
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
    fn a_clock_off_by_more_than_a_second_is_reported_with_its_direction() {
        let at = Timestamp::from_millis;
        assert_eq!(off(at(5_000), at(4_000)), None);
        assert_eq!(off(at(5_001), at(4_000)), Some((Duration::from_millis(1001), "ahead of")));
        assert_eq!(off(at(4_000), at(3_604_000)), Some((Duration::from_secs(3600), "behind")));
    }

    #[test]
    fn the_store_is_mended_when_the_clock_was_set_back_by_more_than_is_plausible() {
        let at = |days: u64| Timestamp::from_millis(0).plus(Duration::from_secs(days * 86_400));
        let mut watch = Watch::new(at(3650), false);

        assert!(!watch.needs_repair(at(3651), false));
        assert!(!watch.needs_repair(at(3649), false), "by two days");
        assert!(watch.needs_repair(at(10), false));
        assert!(watch.needs_repair(at(10), false), "until it is");
        watch.repaired();
        assert!(!watch.needs_repair(at(10), false));
    }

    #[test]
    fn instants_ahead_at_the_start_are_repaired_once_the_clock_is_settled() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let mut watch = Watch::new(now, true);

        assert!(!watch.needs_repair(now, false));
        watch.ahead_since = Instant::now().checked_sub(SETTLES);
        assert!(!watch.needs_repair(now, true), "the clock was set again");
        watch.ahead_since = Instant::now().checked_sub(SETTLES);
        assert!(watch.needs_repair(now, false));
        watch.repaired();
        assert!(!watch.needs_repair(now, false));
    }
}

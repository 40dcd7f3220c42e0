//! Provides the clock of a store, which all hosts that share it follow.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use sexton_domain::time::{Clock, Timestamp};
use sexton_store::{Result, Store};
use sexton_system::clock::{Steady, from_micros, since_boot};

/// The number of times that the store is asked for the time; the answer with the shortest round trip counts. If one
/// direction took longer than the other, the clock is wrong by up to half of the round trip.
const SAMPLES: usize = 5;

/// The store's time on this host: the store's last answer, plus the time since then by a clock that is never set. So
/// the system's clock, whatever it shows or is set to, has no influence.
///
/// It goes back only when it is [corrected](StoreClock::correct), and no further than that.
#[derive(Debug)]
pub struct StoreClock {
    /// The microseconds by which the store's time is ahead of [`since_boot`].
    ahead: AtomicI64,
    /// Keeps it from following the store's clock through a large step that lasts only a moment.
    steady: Mutex<Steady>,
}

/// The measured difference of two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Measured {
    /// The microseconds by which the store's time is ahead of the other, if both directions took equally long.
    ahead: i64,
    /// The possible error of that: half of the round trip.
    give_or_take: i64,
}

impl StoreClock {
    /// Creates a clock that shows the time of `store`. Returns `None` if the store has no time of its own.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn of(store: &dyn Store) -> Result<Option<Self>> {
        let measured = measure(|| store.time(), since_boot).await?;
        Ok(measured.map(|measured| Self::ahead_by(measured.ahead)))
    }

    fn ahead_by(ahead: i64) -> Self {
        Self { ahead: AtomicI64::new(ahead), steady: Mutex::new(Steady::new(ahead)) }
    }

    /// Asks `store` again. Returns by how many milliseconds this clock was set: 0 while it shows a time that the store
    /// may have meant.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn correct(&self, store: &dyn Store) -> Result<i64> {
        let Some(measured) = measure(|| store.time(), since_boot).await? else { return Ok(0) };
        let before = self.ahead.load(Ordering::Relaxed);
        let mut steady = self.steady.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = steady.see(measured.corrected(before), since_boot()) {
            turn.tell("the database's clock");
        }
        let ahead = steady.ahead();
        self.ahead.store(ahead, Ordering::Relaxed);
        Ok((ahead - before) / 1000)
    }
}

impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        from_micros(since_boot().saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    fn doubt(&self) -> Option<String> {
        self.steady.lock().unwrap_or_else(PoisonError::into_inner).doubt("the database's clock")
    }
}

impl Measured {
    /// Returns how far a clock that was ahead by `before` is ahead: unchanged, if that may be right. So the clock does
    /// not move to and fro with each measurement.
    fn corrected(self, before: i64) -> i64 {
        let off = before.abs_diff(self.ahead);
        if off <= self.give_or_take.unsigned_abs() { before } else { self.ahead }
    }
}

/// Measures how far the time from `ask` is ahead of the clock `local`, which is in microseconds.
async fn measure<A: Future<Output = Result<Option<Timestamp>>>>(
    ask: impl Fn() -> A,
    local: impl Fn() -> i64,
) -> Result<Option<Measured>> {
    let mut best: Option<Measured> = None;
    for _ in 0..SAMPLES {
        let asked = local();
        let Some(time) = ask().await? else { return Ok(None) };
        let way = local().saturating_sub(asked);
        // Half a millisecond is added, because the store cuts the time to whole ones.
        let then = time.as_millis().saturating_mul(1000).saturating_add(500);
        let ahead = then.saturating_sub(asked).saturating_sub(way / 2);
        let measured = Measured { ahead, give_or_take: way / 2 + 500 };
        if best.is_none_or(|best| measured.give_or_take < best.give_or_take) {
            best = Some(measured);
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    /// Measures a store whose time is `ahead` of the local clock, with these durations of both directions, all in
    /// microseconds.
    async fn measured(ahead: i64, ways: [(i64, i64); SAMPLES]) -> Measured {
        let (local, asked) = (Cell::new(7_000_000), Cell::new(0_usize));
        let ask = || {
            let (there, back) = ways[asked.replace(asked.get() + 1)];
            let time = (local.get() + there + ahead).div_euclid(1000);
            local.set(local.get() + there + back);
            std::future::ready(Ok(Some(Timestamp::from_millis(time))))
        };
        measure(ask, || local.get()).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn the_answer_with_the_shortest_way_counts_and_it_was_given_in_the_middle() {
        for ahead in [-3_600_000_000, -1, 0, 5_000_000] {
            let even = measured(ahead, [(900, 900), (300, 300), (40_000, 40_000), (500, 500), (800, 800)]).await;
            assert_eq!(even.give_or_take, 800);
            assert!(even.ahead.abs_diff(ahead) <= 500, "{ahead}: {even:?}");

            let odd = measured(ahead, [(90_000, 0), (0, 2000), (2500, 0), (9000, 9000), (0, 90_000)]).await;
            assert!(odd.ahead.abs_diff(ahead) <= odd.give_or_take.unsigned_abs(), "{ahead}: {odd:?}");
            assert_eq!(odd.give_or_take, 1500);
        }
    }

    #[tokio::test]
    async fn a_store_without_a_clock_of_its_own_is_not_asked_twice() {
        let asked = Cell::new(0);

        let ask = || {
            asked.set(asked.get() + 1);
            std::future::ready(Ok(None))
        };

        assert_eq!(measure(ask, || 0).await.unwrap(), None);
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn a_clock_is_set_only_where_it_cannot_be_right() {
        let measured = Measured { ahead: 10_000, give_or_take: 600 };

        let corrected = [9_399, 9_400, 10_600, 10_601, -5_000_000].map(|before| measured.corrected(before));

        assert_eq!(corrected, [10_000, 9_400, 10_600, 10_000, 10_000]);
    }

    #[test]
    fn the_stores_clock_advances_between_two_measurements() {
        let clock = StoreClock::ahead_by(1_800_000_000_000_000 - since_boot());

        let first = clock.now();
        // The test is about time that passes.
        std::thread::sleep(Duration::from_millis(20));
        let passed = clock.now().since(first);

        assert!(first.as_millis() >= 1_800_000_000_000 && passed >= Duration::from_millis(19), "{first} {passed:?}");
    }
}

//! Tells a clock that was set from time that has passed, by a second clock that nobody sets, and waits a while before it
//! believes a clock that was set far off.
//!
//! A machine that was synchronized to a wrong server, or whose clock reads the year 2036 for a second, would otherwise write
//! instants of that time into the store: schedules would have dealt with ten years, claims would be over, and history would
//! be deleted by its age.

use std::time::Duration;

use tracing::{info, warn};

use crate::lengths;

/// A clock may be set by this much and be believed at once: more than zones and daylight saving differ by would be too
/// much for claims and schedules, less would make machines wait that were suspended in a way that this one cannot see.
const AT_ONCE: i64 = 3600 * 1_000_000;

/// A clock that was set by more is believed after it has stood for so long. Programs that set clocks right do so within
/// seconds; runs that are due wait for as long if it was right.
pub const SETTLES: Duration = Duration::from_secs(30);

/// By how much a clock is ahead of one that nobody sets, as far as it is believed. In microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steady {
    ahead: i64,
    doubted: Option<Doubted>,
}

/// What a clock says that is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Doubted {
    ahead: i64,
    since: i64,
}

/// What follows from a look at the clock that people should know. Each says by how many microseconds the clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It was set far off, and is not believed yet.
    Doubted(i64),
    /// It shows again what was believed all the time.
    RightAgain(i64),
    /// It has stood for long enough.
    Believed(i64),
}

impl Steady {
    pub(super) fn new(ahead: i64) -> Self {
        Self { ahead, doubted: None }
    }

    /// By how much the clock is ahead, as far as it is believed.
    pub(super) fn ahead(&self) -> i64 {
        self.ahead
    }

    /// Takes in that the clock is ahead by `ahead` now.
    pub(super) fn see(&mut self, ahead: i64, now: i64) -> Option<Turn> {
        let off = ahead.saturating_sub(self.ahead);
        if off.abs() <= AT_ONCE {
            let by = self.doubted.map(|doubted| doubted.ahead.saturating_sub(self.ahead));
            *self = Self::new(ahead);
            return by.map(Turn::RightAgain);
        }
        match self.doubted {
            Some(doubted) if ahead.saturating_sub(doubted.ahead).abs() <= AT_ONCE => {
                let stood = now.saturating_sub(doubted.since);
                if u128::from(stood.unsigned_abs()) < SETTLES.as_micros() {
                    return None;
                }
                *self = Self::new(ahead);
                Some(Turn::Believed(off))
            }
            _ => {
                self.doubted = Some(Doubted { ahead, since: now });
                Some(Turn::Doubted(off))
            }
        }
    }

    /// Why `clock` may be wrong, for people.
    pub(super) fn doubt(&self, clock: &str) -> Option<String> {
        let by = self.doubted?.ahead.saturating_sub(self.ahead);
        Some(format!(
            "{clock} was set {} a moment ago, and is not followed until it has stood for {SETTLES:?}",
            way(by)
        ))
    }
}

impl Turn {
    /// Writes it into the log.
    pub(super) fn tell(self, clock: &str) {
        match self {
            Self::Doubted(by) => warn!(
                by_ms = by / 1000,
                "{clock} was set {}: the host goes by the time of before, until the clock has stood for {SETTLES:?}",
                way(by)
            ),
            Self::RightAgain(by) => {
                info!(by_ms = by / 1000, "{clock} is right again: it was set {} for a moment", way(by))
            }
            Self::Believed(by) => {
                warn!(by_ms = by / 1000, "{clock} was set {}, and has stood since: the host goes by it now", way(by));
            }
        }
    }
}

/// By how much, and which way.
fn way(by: i64) -> String {
    // Whole minutes say enough of what is more than an hour.
    let length = Duration::from_secs(by.unsigned_abs() / 60_000_000 * 60);
    format!("{} {}", if by < 0 { "back by" } else { "forward by" }, lengths::about(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const YEARS: i64 = 10 * 365 * 86_400 * SECOND;

    #[test]
    fn a_clock_that_is_far_off_for_a_moment_is_not_followed() {
        for off in [YEARS, -YEARS, 2 * 3600 * SECOND] {
            let mut steady = Steady::new(7 * SECOND);

            assert_eq!(steady.see(7 * SECOND + off, 100 * SECOND), Some(Turn::Doubted(off)));
            assert_eq!(steady.see(7 * SECOND + off, 129 * SECOND), None);
            assert_eq!(steady.ahead(), 7 * SECOND);
            assert!(steady.doubt("the clock").is_some());
            assert_eq!(steady.see(8 * SECOND, 130 * SECOND), Some(Turn::RightAgain(off)));
            assert_eq!((steady.ahead(), steady.doubt("the clock")), (8 * SECOND, None));
        }
    }

    #[test]
    fn a_clock_that_was_set_far_off_and_stands_is_followed_and_one_that_wavers_is_not() {
        let mut steady = Steady::new(0);
        steady.see(YEARS, 100 * SECOND);

        assert_eq!(steady.see(YEARS + SECOND, 130 * SECOND), Some(Turn::Believed(YEARS + SECOND)));
        assert_eq!(steady.ahead(), YEARS + SECOND);

        let mut wavering = Steady::new(0);
        for (n, off) in [YEARS, 2 * YEARS, YEARS, 3 * YEARS].into_iter().enumerate() {
            let now = 20 * SECOND * i64::try_from(n).unwrap();
            assert!(matches!(wavering.see(off, now), Some(Turn::Doubted(_))), "{n}");
        }
        assert_eq!(wavering.ahead(), 0);
    }

    #[test]
    fn a_clock_that_is_set_by_a_little_is_followed_at_once() {
        let mut steady = Steady::new(0);

        for ahead in [SECOND, -SECOND, 3500 * SECOND, 3600 * SECOND] {
            assert_eq!(steady.see(ahead, 100 * SECOND), None);
            assert_eq!(steady.ahead(), ahead);
        }
    }
}

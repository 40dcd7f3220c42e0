//! Distinguishes a clock that was set from time that has passed, with a second clock that is never set, and waits a
//! while before it believes a clock that was set far off.
//!
//! A machine that was synchronized to a wrong server, or whose clock reads the year 2036 for a second, would otherwise
//! write instants of that time into the store: schedules would have dealt with ten years, claims would have expired,
//! and history would be deleted by its age.

use std::time::Duration;

use tracing::{info, warn};

use sexton_domain::lengths;

/// A clock that is set by up to this much is believed at once. More than the differences of zones and daylight saving
/// would be too much for claims and schedules. Less would make machines wait that were suspended in a way that the
/// second clock cannot see.
const AT_ONCE: i64 = 3600 * 1_000_000;

/// A clock that was set by more is believed after it has been stable for this long. Programs that set clocks right do so
/// within seconds; due runs wait for that time if the clock was right.
pub const SETTLES: Duration = Duration::from_secs(30);

/// The microseconds by which a clock is ahead of one that is never set, as far as it is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    ahead: i64,
    doubted: Option<Unconfirmed>,
}

/// The reading of a clock that is not believed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unconfirmed {
    ahead: i64,
    since: i64,
}

/// A result of a look at the clock that people should know. Each has the microseconds by which the clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockStep {
    /// The clock was set far off, and is not believed yet.
    Unconfirmed(i64),
    /// The clock shows again the time that was believed throughout.
    Reverted(i64),
    /// The clock has been stable for long enough.
    Accepted(i64),
}

impl Steady {
    pub fn new(ahead: i64) -> Self {
        Self { ahead, doubted: None }
    }

    /// Returns by how much the clock is ahead, as far as it is believed.
    pub fn ahead(&self) -> i64 {
        self.ahead
    }

    /// Records that the clock is ahead by `ahead` now.
    pub fn see(&mut self, ahead: i64, now: i64) -> Option<ClockStep> {
        let off = ahead.saturating_sub(self.ahead);
        if off.abs() <= AT_ONCE {
            let by = self.doubted.map(|doubted| doubted.ahead.saturating_sub(self.ahead));
            *self = Self::new(ahead);
            return by.map(ClockStep::Reverted);
        }
        match self.doubted {
            Some(doubted) if ahead.saturating_sub(doubted.ahead).abs() <= AT_ONCE => {
                let stood = now.saturating_sub(doubted.since);
                if u128::from(stood.unsigned_abs()) < SETTLES.as_micros() {
                    return None;
                }
                *self = Self::new(ahead);
                Some(ClockStep::Accepted(off))
            }
            _ => {
                self.doubted = Some(Unconfirmed { ahead, since: now });
                Some(ClockStep::Unconfirmed(off))
            }
        }
    }

    /// Returns the reason why `clock` may be wrong, for people.
    pub fn doubt(&self, clock: &str) -> Option<String> {
        let by = self.doubted?.ahead.saturating_sub(self.ahead);
        Some(format!(
            "{clock} was set {} a moment ago, and the host does not follow it until it has been steady for {SETTLES:?}",
            signed_amount(by)
        ))
    }
}

impl ClockStep {
    /// Logs the result.
    pub fn tell(self, clock: &str) {
        match self {
            Self::Unconfirmed(by) => warn!(
                by_ms = by / 1000,
                "{clock} was set {}: the host keeps the earlier time until the clock has been steady for {SETTLES:?}",
                signed_amount(by)
            ),
            Self::Reverted(by) => {
                info!(by_ms = by / 1000, "{clock} is right again: it was set {} for a moment", signed_amount(by))
            }
            Self::Accepted(by) => {
                warn!(
                    by_ms = by / 1000,
                    "{clock} was set {}and has been steady since: the host follows it now",
                    signed_amount(by)
                );
            }
        }
    }
}

/// Returns the amount and the direction.
fn signed_amount(by: i64) -> String {
    // Whole minutes are precise enough for more than an hour.
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

            assert_eq!(steady.see(7 * SECOND + off, 100 * SECOND), Some(ClockStep::Unconfirmed(off)));
            assert_eq!(steady.see(7 * SECOND + off, 129 * SECOND), None);
            assert_eq!(steady.ahead(), 7 * SECOND);
            assert!(steady.doubt("the clock").is_some());
            assert_eq!(steady.see(8 * SECOND, 130 * SECOND), Some(ClockStep::Reverted(off)));
            assert_eq!((steady.ahead(), steady.doubt("the clock")), (8 * SECOND, None));
        }
    }

    #[test]
    fn a_clock_that_was_set_far_off_is_followed_once_it_is_steady() {
        let mut steady = Steady::new(0);
        steady.see(YEARS, 100 * SECOND);

        assert_eq!(steady.see(YEARS + SECOND, 130 * SECOND), Some(ClockStep::Accepted(YEARS + SECOND)));
        assert_eq!(steady.ahead(), YEARS + SECOND);

        let mut wavering = Steady::new(0);
        for (n, off) in [YEARS, 2 * YEARS, YEARS, 3 * YEARS].into_iter().enumerate() {
            let now = 20 * SECOND * i64::try_from(n).unwrap();
            assert!(matches!(wavering.see(off, now), Some(ClockStep::Unconfirmed(_))), "{n}");
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

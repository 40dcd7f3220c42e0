//! When, and how often, a failed attempt is tried again.

use std::time::Duration;

/// How a task's failed attempts are tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 1 means no retries.
    pub attempts: u32,
    /// How long to wait after the first failure.
    pub delay: Duration,
    /// What the delay is multiplied with after each further failure; at least 1.
    pub factor: f64,
    /// The longest delay, whatever the factor makes of it.
    pub max_delay: Duration,
    /// How much of the delay is left to chance, 0 to 1: with 0.2 a delay of 10 s becomes one of 8 to 12 s.
    pub jitter: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            delay: Duration::from_secs(5),
            factor: 2.0,
            max_delay: Duration::from_secs(15 * 60),
            jitter: 0.2,
        }
    }
}

impl RetryPolicy {
    /// How long to wait after the `failures`th failure (from 1), or `None` when the attempts are used up.
    ///
    /// `chance` is a number from 0 to 1 that the caller draws.
    pub fn delay_after(&self, failures: u32, chance: f64) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max_delay.as_secs_f64();
        let plain = (self.delay.as_secs_f64() * self.factor.powi(exponent)).min(longest);
        let spread = plain * self.jitter * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        Some(Duration::from_secs_f64((plain + spread).clamp(0.0, longest)))
    }
}

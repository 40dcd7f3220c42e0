//! Decides when, and how often, a failed attempt is tried again.

use std::time::Duration;

/// The policy for failed attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The number of attempts, including the first; 1 means no retries.
    pub attempts: u32,
    /// The delay after the first failure.
    pub delay: Duration,
    /// The factor by which the delay grows after each further failure; at least 1.
    pub factor: f64,
    /// The longest delay, whatever the factor is.
    pub max_delay: Duration,
    /// The random part of the delay, 0 to 1: with 0.2 a delay of 10 s becomes one of 8 to 12 s.
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
    /// Returns the delay after the `failures`th failure (from 1), or `None` if no attempts are left.
    ///
    /// `chance` is a random number from 0 to 1 from the caller.
    pub fn delay_after(&self, failures: u32, chance: f64) -> Option<Duration> {
        if failures >= self.attempts {
            return None;
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max_delay.as_secs_f64();
        // No delay stays no delay, although zero times an infinite factor is not a number.
        let plain = if self.delay.is_zero() { 0.0 } else { self.delay.as_secs_f64() * self.factor.powi(exponent) };
        let plain = plain.min(longest);
        let spread = plain * self.jitter * (2.0 * chance.clamp(0.0, 1.0) - 1.0);
        // The value is not a number only if the policy or the chance is invalid. The longest delay applies then.
        Some(Duration::try_from_secs_f64((plain + spread).clamp(0.0, longest)).unwrap_or(self.max_delay))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(attempts: u32, delay: u64, factor: f64, max_delay: u64, jitter: f64) -> RetryPolicy {
        let [delay, max_delay] = [delay, max_delay].map(Duration::from_secs);
        RetryPolicy { attempts, delay, factor, max_delay, jitter }
    }

    fn delays(policy: &RetryPolicy, chance: f64) -> Vec<u64> {
        (1..).map_while(|failures| policy.delay_after(failures, chance)).map(|delay| delay.as_secs()).collect()
    }

    #[test]
    fn the_delay_grows_by_the_factor_up_to_the_longest_and_ends_with_the_attempts() {
        assert_eq!(delays(&policy(6, 5, 2.0, 30, 0.0), 0.5), [5, 10, 20, 30, 30]);
        assert_eq!(delays(&policy(4, 5, 1.0, 30, 0.0), 0.5), [5, 5, 5]);
        assert!(delays(&policy(1, 5, 2.0, 30, 0.0), 0.5).is_empty());
        assert!(delays(&policy(0, 5, 2.0, 30, 0.0), 0.5).is_empty());
    }

    #[test]
    fn unless_a_manifest_says_there_are_three_attempts_and_no_delay_is_over_a_quarter_of_an_hour() {
        assert_eq!(RetryPolicy::default(), policy(3, 5, 2.0, 900, 0.2));
    }

    #[test]
    fn jitter_spreads_the_delay_to_both_sides_but_never_beyond_the_longest() {
        let policy = policy(4, 10, 2.0, 20, 0.2);
        assert_eq!(delays(&policy, 0.0), [8, 16, 16]);
        assert_eq!(delays(&policy, 0.5), [10, 20, 20]);
        assert_eq!(delays(&policy, 1.0), [12, 20, 20]);
    }

    #[test]
    fn no_delay_stays_none_however_often_it_is_multiplied() {
        assert!(delays(&policy(1000, 0, 100.0, 900, 1.0), 1.0).iter().all(|delay| *delay == 0));
    }

    proptest! {
        #[test]
        fn no_policy_makes_a_delay_beyond_its_longest_or_a_panic(
            numbers in (any::<u32>(), any::<u64>(), any::<f64>(), any::<u64>(), any::<f64>()),
            failures in any::<u32>(),
            chance in any::<f64>(),
        ) {
            let (attempts, delay, factor, longest, jitter) = numbers;
            let policy = policy(attempts, delay, factor, longest, jitter);
            match policy.delay_after(failures, chance) {
                Some(delay) => prop_assert!(failures < attempts && delay.as_secs_f64() <= policy.max_delay.as_secs_f64()),
                None => prop_assert!(failures >= attempts),
            }
        }
    }
}

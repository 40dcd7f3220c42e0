//! Schedules further loads of plugins whose files have not changed, because the cause of the failure may have passed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The wait before the first retry. Each further wait is twice as long.
const FIRST: Duration = Duration::from_secs(5);

/// The longest wait. A machine that has no memory for a plugin is tried again now and then.
const LONGEST: Duration = Duration::from_secs(300);

/// The plugins that are loaded again, and when.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<String, Try>);

#[derive(Debug)]
struct Try {
    /// The instant of the next try; `None` while the plugin is being tried.
    at: Option<Instant>,
    failures: u32,
}

impl Retries {
    /// Records that `plugin` did not load for a reason that may pass. Returns how long it waits for its next try.
    pub(super) fn failed(&mut self, plugin: &str, now: Instant) -> Duration {
        let next = self.0.entry(plugin.to_owned()).or_insert(Try { at: None, failures: 0 });
        let wait = FIRST.saturating_mul(1 << next.failures.min(16)).min(LONGEST);
        next.failures += 1;
        next.at = Some(now + wait);
        wait
    }

    /// Has `plugin` loaded again with the first look after `at`.
    pub(super) fn schedule_retry(&mut self, plugin: &str, at: Instant) {
        self.0.entry(plugin.to_owned()).or_insert(Try { at: None, failures: 0 }).at = Some(at);
    }

    /// Records that `plugin` need not be loaded again.
    pub(super) fn forget(&mut self, plugin: &str) {
        self.0.remove(plugin);
    }

    /// Returns whether `plugin` is due for another try. If so, the try counts as begun.
    pub(super) fn is_due(&mut self, plugin: &str, now: Instant) -> bool {
        self.0.get_mut(plugin).and_then(|next| next.at.take_if(|at| *at <= now)).is_some()
    }

    /// Returns when the next try is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|next| next.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_try_waits_twice_as_long_as_the_one_before_up_to_five_minutes() {
        let (mut again, now) = (Retries::default(), Instant::now());

        let waits: Vec<u64> = (0..8).map(|_| again.failed("it", now).as_secs()).collect();

        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(!again.is_due("it", now + Duration::from_secs(299)));
        assert!(again.is_due("it", now + Duration::from_secs(300)));
        assert!(!again.is_due("it", now + Duration::from_secs(999)), "it is being tried");
        assert_eq!(again.next(), None);
        again.forget("it");
        assert_eq!(again.failed("it", now).as_secs(), 5);
        again.schedule_retry("it", now);
        assert!(again.is_due("it", now));
    }
}

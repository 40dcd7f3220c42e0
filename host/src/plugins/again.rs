//! Plugins that are loaded again although their files are as they were: what was wrong may have passed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long to wait before the first new try. Each further one waits twice as long.
const FIRST: Duration = Duration::from_secs(5);

/// The longest wait: a machine that has no memory for one plugin is asked again now and then.
const LONGEST: Duration = Duration::from_secs(300);

/// Which plugins are loaded again, and when.
#[derive(Debug, Default)]
pub(super) struct Again(BTreeMap<String, Try>);

#[derive(Debug)]
struct Try {
    /// `None` while it is being tried.
    at: Option<Instant>,
    failures: u32,
}

impl Again {
    /// Notes that `plugin` did not load for a reason that may pass. Returns how long it waits for its next try.
    pub(super) fn failed(&mut self, plugin: &str, now: Instant) -> Duration {
        let next = self.0.entry(plugin.to_owned()).or_insert(Try { at: None, failures: 0 });
        let wait = FIRST.saturating_mul(1 << next.failures.min(16)).min(LONGEST);
        next.failures += 1;
        next.at = Some(now + wait);
        wait
    }

    /// Has `plugin` loaded again with the first look after `at`.
    pub(super) fn soon(&mut self, plugin: &str, at: Instant) {
        self.0.entry(plugin.to_owned()).or_insert(Try { at: None, failures: 0 }).at = Some(at);
    }

    /// Notes that there is no need to load `plugin` again.
    pub(super) fn forget(&mut self, plugin: &str) {
        self.0.remove(plugin);
    }

    /// Whether `plugin` is to be loaded again now. It is being tried from then on.
    pub(super) fn is_due(&mut self, plugin: &str, now: Instant) -> bool {
        self.0.get_mut(plugin).and_then(|next| next.at.take_if(|at| *at <= now)).is_some()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|next| next.at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_try_waits_twice_as_long_as_the_one_before_up_to_five_minutes() {
        let (mut again, now) = (Again::default(), Instant::now());

        let waits: Vec<u64> = (0..8).map(|_| again.failed("it", now).as_secs()).collect();

        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert!(!again.is_due("it", now + Duration::from_secs(299)));
        assert!(again.is_due("it", now + Duration::from_secs(300)));
        assert!(!again.is_due("it", now + Duration::from_secs(999)), "it is being tried");
        assert_eq!(again.next(), None);
        again.forget("it");
        assert_eq!(again.failed("it", now).as_secs(), 5);
        again.soon("it", now);
        assert!(again.is_due("it", now));
    }
}

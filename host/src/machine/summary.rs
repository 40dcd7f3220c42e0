//! Logs once a minute how many attempts ended, and how. A line for each that succeeded would be thousands of lines.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::info;

use sexton_domain::lengths;
use sexton_domain::run::Outcome;
use sexton_system::supervisor::{rests, works};

/// The interval of the summary, if any attempt ended.
const EVERY: Duration = Duration::from_secs(60);

/// Counts of the attempts that ended since the last summary.
#[derive(Debug, Default)]
pub struct Summary(Mutex<Counts>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    outcomes: BTreeMap<&'static str, u64>,
    /// The longest delay between the instant at which an attempt should have started and its start.
    latest: Duration,
}

impl Summary {
    /// Counts an attempt that ended, and that started `late`.
    pub fn count(&self, outcome: Outcome, late: Duration) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.outcomes.entry(outcome.as_str()).or_default() += 1;
        counts.latest = counts.latest.max(late);
    }

    /// Logs the counts every minute until `over` is set, and then once more.
    pub async fn run(self: std::sync::Arc<Self>, mut over: watch::Receiver<bool>) {
        let mut since = Instant::now();
        loop {
            rests(Some(EVERY));
            let ended = tokio::time::timeout(EVERY, over.wait_for(|over| *over)).await.is_ok();
            works();
            self.say(since.elapsed());
            since = Instant::now();
            if ended {
                return;
            }
        }
    }

    fn say(&self, within: Duration) {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(words) = counts.words(within) {
            let attempts: u64 = counts.outcomes.values().sum();
            info!(attempts, "{words}");
        }
    }
}

impl Counts {
    fn words(&self, within: Duration) -> Option<String> {
        if self.outcomes.is_empty() {
            return None;
        }
        let attempts: u64 = self.outcomes.values().sum();
        let each: Vec<String> = self.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let noun = if attempts == 1 { "attempt" } else { "attempts" };
        let within = lengths::about(Duration::from_secs(within.as_secs().max(1)));
        let late = lengths::about(Duration::from_millis(self.latest.as_millis().try_into().ok()?));
        Some(format!("{attempts} {noun} ended in the last {within}: {}; started at most {late} late", each.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_one_line_and_absent_if_nothing_ended() {
        let summary = Summary::default();
        assert_eq!(summary.0.lock().unwrap().words(EVERY), None);

        for late in [3, 12, 7] {
            summary.count(Outcome::Succeeded, Duration::from_millis(late));
        }
        summary.count(Outcome::Trapped, Duration::ZERO);

        let words = summary.0.lock().unwrap().words(EVERY).unwrap();
        assert_eq!(words, "4 attempts ended in the last 1m: 3 succeeded, 1 trapped; started at most 12ms late");
        summary.say(EVERY);
        assert_eq!(*summary.0.lock().unwrap(), Counts::default(), "it is said once");
    }
}

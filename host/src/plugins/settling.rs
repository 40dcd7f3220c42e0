//! What is missing for a moment is no decision.
//!
//! Editors move a file away and write it anew, or empty it first; people replace a component by removing it. Whoever looked
//! in between would take a task with a schedule for one without, and begin its schedule anew when the file is
//! back. So a plugin keeps what it had until a file has been missing for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plugins::source::Files;

/// How long a file must be missing to count as taken away. Editors take milliseconds; a copy over a slow network takes longer,
/// and one who removes a plugin on purpose does not wait long for it to be gone.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// Which plugins lack a file, and since when.
#[derive(Debug)]
pub(super) struct Settling {
    after: Duration,
    since: BTreeMap<String, Instant>,
}

impl Settling {
    /// What is missing counts as taken away after this time.
    pub(super) fn after(after: Duration) -> Self {
        Self { after, since: BTreeMap::new() }
    }

    /// Whether `plugin`, which had the files `before`, may be in the middle of a change `now`.
    pub(super) fn holds(&mut self, plugin: &str, before: Files, now: Files, at: Instant) -> bool {
        if !before.lost_one_in(now) {
            self.since.remove(plugin);
            return false;
        }
        let since = *self.since.entry(plugin.to_owned()).or_insert(at);
        let holds = at.saturating_duration_since(since) < self.after;
        if !holds {
            self.since.remove(plugin);
        }
        holds
    }
}

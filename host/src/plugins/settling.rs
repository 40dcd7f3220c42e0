//! Waits before a missing file counts as removed.
//!
//! Editors move a file away and write it anew, or empty it first; people replace a component by removing it. A look in
//! between would take a task with a schedule for one without, and begin its schedule anew when the file is back. So a
//! plugin keeps its version until a file has been missing for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plugins::source::Files;

/// The time for which a file must be missing to count as removed. Editors take milliseconds and a copy over a slow
/// network takes longer, and an operator who removes a plugin on purpose does not wait long for it to be gone.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// The plugins that lack a file, and since when.
#[derive(Debug)]
pub(super) struct Settling {
    after: Duration,
    since: BTreeMap<String, Instant>,
}

impl Settling {
    /// Creates a tracker in which a missing file counts as removed after this time.
    pub(super) fn after(after: Duration) -> Self {
        Self { after, since: BTreeMap::new() }
    }

    /// Returns whether `plugin`, which had the files `before`, may be in the middle of a change `now`.
    pub(super) fn holds(&mut self, plugin: &str, before: Files, now: Files, at: Instant) -> bool {
        if !before.lost_file(now) {
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

//! Waits for runs to change without querying the store for each change of any run.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use sexton_store::Store;

/// The shortest time between two queries, because changes of other runs come by the thousand.
const LEAST: Duration = Duration::from_millis(20);

/// The longest time between two queries, because changes are only a hint, and another host's may come without one.
const MOST: Duration = Duration::from_secs(1);

/// Tells when to query the store again.
#[derive(Debug)]
pub(super) struct Changes {
    hint: watch::Receiver<u64>,
    looked: Instant,
}

impl Changes {
    /// Registers for changes. This must happen before the first query, so that no change falls between the two.
    pub(super) fn of(store: &dyn Store) -> Self {
        let mut hint = store.changes();
        hint.mark_unchanged();
        Self { hint, looked: Instant::now() }
    }

    /// Waits until another query is worth it, but not beyond `end`.
    pub(super) async fn next(&mut self, end: Instant) {
        let most = (self.looked + MOST).min(end);
        // An error means that the store is gone, and then only the clock is left.
        if !matches!(timeout_at(most, self.hint.changed()).await, Ok(Ok(()))) {
            sleep_until(most).await;
        }
        sleep_until((self.looked + LEAST).min(end)).await;
        self.hint.mark_unchanged();
        self.looked = Instant::now();
    }
}

//! Waiting for runs to change without asking the store for each change of any run.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::store::Store;

/// The least time between two looks at the store: changes of other runs come by the thousand.
const LEAST: Duration = Duration::from_millis(20);

/// The most: changes are a hint, and another host's may come without one.
const MOST: Duration = Duration::from_secs(1);

/// Says when to look at the store again.
#[derive(Debug)]
pub(super) struct Changes {
    hint: watch::Receiver<u64>,
    looked: Instant,
}

impl Changes {
    /// Begins to listen. To be made before the first look, so that nothing falls between the two.
    pub(super) fn of(store: &dyn Store) -> Self {
        let mut hint = store.changes();
        hint.mark_unchanged();
        Self { hint, looked: Instant::now() }
    }

    /// Wait until it is worth looking again, and no longer than until `end`.
    pub(super) async fn next(&mut self, end: Instant) {
        let most = (self.looked + MOST).min(end);
        // An error is a store that is gone: then only the clock is left.
        if !matches!(timeout_at(most, self.hint.changed()).await, Ok(Ok(()))) {
            sleep_until(most).await;
        }
        sleep_until((self.looked + LEAST).min(end)).await;
        self.hint.mark_unchanged();
        self.looked = Instant::now();
    }
}

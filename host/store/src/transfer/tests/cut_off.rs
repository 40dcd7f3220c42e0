//! A store that breaks off during a move.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::transfer::{Bound, Counters, Key, Kind, Page, Progress, Transfer};
use crate::{Result, StoreError};
use sexton_domain::time::Timestamp;

/// Passes calls to another store until it has taken a number of pages.
pub(crate) struct CutOff<'a> {
    store: &'a (dyn Transfer + Send + Sync),
    left: AtomicUsize,
    after_all: bool,
}

impl<'a> CutOff<'a> {
    /// Fails at the page after the first `takes`: before it is taken, or with `after_all` after it was taken, as if the
    /// answer got lost.
    pub(crate) fn after(takes: usize, after_all: bool, store: &'a (dyn Transfer + Send + Sync)) -> Self {
        Self { store, left: AtomicUsize::new(takes), after_all }
    }
}

#[async_trait]
impl Transfer for CutOff<'_> {
    async fn in_use_by(&self, now: Timestamp) -> Result<Vec<String>> {
        self.store.in_use_by(now).await
    }

    async fn is_empty(&self) -> Result<bool> {
        self.store.is_empty().await
    }

    async fn count(&self, kind: Kind) -> Result<u64> {
        self.store.count(kind).await
    }

    async fn page(&self, kind: Kind, after: Option<Key>, bound: Bound) -> Result<Page> {
        self.store.page(kind, after, bound).await
    }

    async fn counters(&self) -> Result<Counters> {
        self.store.counters().await
    }

    async fn moving(&self) -> Result<Option<Progress>> {
        self.store.moving().await
    }

    async fn begin_move(&self, source: &str, counters: Counters) -> Result<()> {
        self.store.begin_move(source, counters).await
    }

    async fn take(&self, page: Page) -> Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            return self.store.take(page).await;
        }
        if self.after_all {
            self.store.take(page).await?;
        }
        Err(StoreError::Other("as the test has it".into()))
    }

    async fn end_move(&self, counters: Counters) -> Result<()> {
        self.store.end_move(counters).await
    }
}

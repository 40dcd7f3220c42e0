//! A store that is out of service: for guests that need none.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use crate::run::{ClaimKey, Output, RunId, RunState};
use crate::store::*;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

#[derive(Debug, Default)]
pub(super) struct ClosedStore(Arc<Notify>, watch::Sender<u64>);

fn closed<T>() -> Result<T> {
    Err(StoreError::Unusable("this store is out of service".into()))
}

#[async_trait]
impl Store for ClosedStore {
    async fn enqueue(&self, _: Vec<NewRun>, _: Timestamp) -> Result<Vec<Enqueued>> {
        closed()
    }

    async fn fire(&self, _: TaskKey, _: Vec<NewRun>, _: Timestamp, _: Timestamp) -> Result<Vec<Enqueued>> {
        closed()
    }

    async fn claim(&self, _: ClaimRequest) -> Result<Claimed> {
        closed()
    }

    async fn extend(&self, _: Vec<ClaimKey>, _: Timestamp) -> Result<Extended> {
        closed()
    }

    async fn finish(&self, _: Finish) -> Result<()> {
        closed()
    }

    async fn expired(&self, _: Timestamp, _: usize) -> Result<Vec<Expired>> {
        closed()
    }

    async fn abandon(&self, _: &str) -> Result<u64> {
        closed()
    }

    async fn cancel(&self, _: RunId, _: &str, _: Timestamp) -> Result<Cancelled> {
        closed()
    }

    async fn prune(&self, _: Retention, _: Timestamp) -> Result<u64> {
        closed()
    }

    async fn acquire_lock(&self, _: LockName, _: LockMode, _: ClaimKey, _: Timestamp) -> Result<LockTaken> {
        closed()
    }

    async fn release_lock(&self, _: LockName, _: ClaimKey) -> Result<()> {
        closed()
    }

    async fn locks(&self, _: Name) -> Result<Vec<HeldLock>> {
        closed()
    }

    async fn cache_get(&self, _: CacheKey, _: Timestamp) -> Result<Option<Entry>> {
        closed()
    }

    async fn cache_write(&self, _: CacheWrite) -> Result<Written> {
        closed()
    }

    async fn cache_delete(&self, _: CacheKey, _: Option<ClaimKey>, _: Timestamp) -> Result<bool> {
        closed()
    }

    async fn cache_list(&self, _: CacheKey, _: Option<String>, _: usize, _: Timestamp) -> Result<Vec<EntryInfo>> {
        closed()
    }

    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>> {
        closed()
    }

    async fn set_paused(&self, _: TaskKey, _: bool, _: Timestamp) -> Result<()> {
        closed()
    }

    async fn runs(&self, _: RunFilter) -> Result<Vec<RunInfo>> {
        closed()
    }

    async fn run(&self, _: RunId) -> Result<Option<RunInfo>> {
        closed()
    }

    async fn input(&self, _: RunId) -> Result<Option<Vec<u8>>> {
        closed()
    }

    async fn output(&self, _: RunId) -> Result<Option<Output>> {
        closed()
    }

    async fn latest_success(&self, _: TaskKey) -> Result<Option<(RunId, Timestamp)>> {
        closed()
    }

    async fn attempts(&self, _: RunId) -> Result<Vec<AttemptInfo>> {
        closed()
    }

    async fn counts(&self) -> Result<BTreeMap<RunState, u64>> {
        closed()
    }

    fn runs_hint(&self) -> Arc<Notify> {
        Arc::clone(&self.0)
    }

    fn locks_hint(&self) -> Arc<Notify> {
        Arc::clone(&self.0)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.1.subscribe()
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }
}

//! The contract of a store, subject by subject: each method calls the file that does the work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use crate::added::{
    AddSchedule, Added, AddedSchedules, FireAdded, FireScheduleOutcome, LoadedSchedule, Reset, ScheduleFilter,
    ScheduleInfo, ScheduleKey,
};
use crate::cache::Cache;
use crate::claims::Claims;
use crate::history::History;
use crate::lists::{ListRuns, Lists, RunPage};
use crate::locks::Locks;
use crate::runs::Runs;
use crate::schedules::Schedules;
use crate::tasks::Tasks;
use crate::{
    AttemptInfo, AwaitedRunState, CacheKey, CacheRestore, CacheWrite, Cancelled, ClaimRequest, Claimed, EnqueueOutcome,
    Entry, EntryHistory, EntryInfo, Expired, Extended, Finish, Fire, FireOutcome, HeldLock, LatestRuns, LockMode,
    LockName, LockTaken, NewRun, Released, Result, Retention, RunInfo, RunKey, ScheduleStart, Store, StoreStats,
    TaskState, TriggerState, UpdateMemory, WriteOutcome,
};
use sexton_domain::pause::{PauseTarget, Pauses};
use sexton_domain::run::{ClaimKey, Output, RunId, RunState};
use sexton_domain::supervision::Consequence;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::{
    SqliteStore, added, cache, claims, finish, history, labels, lists, locks, loss, pauses, policies, prune, published,
    requests, rows, runs, schedules, versions,
};

/// The runs without tenants that get theirs in one command: about 10 ms of the writer's time.
const FOUND: usize = 1000;

/// The most such commands of one pruning, for which the sweeper's other work waits.
const TIMES: usize = 20;

#[async_trait]
impl Runs for SqliteStore {
    async fn enqueue(&self, new: Vec<NewRun>, now: Timestamp) -> Result<Vec<EnqueueOutcome>> {
        self.write(move |w| runs::enqueue(w, &new, now)).await
    }

    async fn cancel(&self, run: RunId, reason: &str, now: Timestamp) -> Result<Cancelled> {
        let reason = reason.to_owned();
        self.write(move |w| runs::cancel(w, run, &reason, now)).await
    }

    async fn cancel_late(&self, now: Timestamp) -> Result<u64> {
        self.write(move |w| policies::cancel_late(w, now)).await
    }

    async fn release_run(&self, run: RunId, now: Timestamp) -> Result<Released> {
        self.write(move |w| loss::release(w, run, now)).await
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64> {
        // The pieces are small, so that other commands come in between.
        let oldest = now.minus(retention.age);
        while self.write(move |w| Ok(added::prune(&w.conn, oldest, now)?)).await? > 0 {}
        while self.write(move |w| Ok(published::prune(&w.conn, now)?)).await? > 0 {}
        while self.write(move |w| Ok(requests::prune(&w.conn, now)?)).await? > 0 {}
        while self.write(move |w| Ok(cache::delete_expired(&w.conn, None, now, prune::PIECE as i64)?)).await? > 0 {}
        while self.write(move |w| Ok(versions::delete_expired(&w.conn, None, now, prune::PIECE as i64)?)).await? > 0 {}
        let after = self.leftovers.after();
        let left_over = self.leftovers.take(&self.read(move |conn| versions::page(conn, after)).await?);
        for piece in left_over.chunks(prune::PIECE).map(<[i64]>::to_vec) {
            self.write(move |w| Ok(versions::delete_leftovers(&w.conn, &piece)?)).await?;
        }
        for _ in 0..TIMES {
            if self.write(move |w| Ok(labels::find_tenants(&w.conn, FOUND)?)).await? == 0 {
                break;
            }
        }
        let after = self.unused_labels.after();
        let unused = self.unused_labels.take(&self.read(move |conn| labels::page(conn, after)).await?);
        if !unused.is_empty() {
            self.write(move |w| {
                let deleted = labels::delete_unused(&w.conn, &unused)?;
                w.ledger.forget_label_sets(&deleted);
                Ok(())
            })
            .await?;
        }
        let surplus = self.read(move |conn| prune::surplus(conn, &retention, now, prune::PIECE)).await?;
        if surplus.is_empty() {
            return Ok(0);
        }
        self.write(move |w| prune::delete(w, &surplus)).await
    }
}

#[async_trait]
impl Lists for SqliteStore {
    async fn list_runs(&self, list: ListRuns) -> Result<RunPage> {
        self.read(move |conn| lists::list(conn, &list)).await
    }
}

#[async_trait]
impl History for SqliteStore {
    async fn latest_runs(&self, tasks: Vec<TaskKey>) -> Result<BTreeMap<TaskKey, LatestRuns>> {
        self.read(move |conn| history::latest_runs(conn, &tasks)).await
    }

    async fn run(&self, run: RunId) -> Result<Option<RunInfo>> {
        self.read(move |conn| history::run(conn, run)).await
    }

    async fn input(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        self.read(move |conn| history::input(conn, run)).await
    }

    async fn output(&self, run: RunId) -> Result<Option<Output>> {
        self.read(move |conn| history::output(conn, run)).await
    }

    async fn latest_success(&self, task: TaskKey) -> Result<Option<(RunId, Timestamp)>> {
        self.read(move |conn| history::latest_success(conn, &task)).await
    }

    async fn attempts(&self, run: RunId) -> Result<Vec<AttemptInfo>> {
        self.read(move |conn| history::attempts(conn, run)).await
    }

    async fn count(&self, task: TaskKey, state: RunState) -> Result<u64> {
        self.read(move |conn| history::count(conn, &task, state)).await
    }

    async fn counts(&self) -> Result<BTreeMap<RunState, u64>> {
        self.read(history::counts).await
    }
}

#[async_trait]
impl Claims for SqliteStore {
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.write(move |w| claims::claim(w, &request)).await
    }

    async fn extend(&self, claims: Vec<ClaimKey>, until: Timestamp) -> Result<Extended> {
        self.write(move |w| claims::extend(w, &claims, until)).await
    }

    async fn finish(&self, finish: Arc<Finish>) -> Result<Consequence> {
        self.write(move |w| finish::finish(w, &finish)).await
    }

    async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Expired>> {
        self.read(move |conn| claims::expired(conn, now, limit)).await
    }

    async fn abandon(&self, host: &str) -> Result<u64> {
        let host = host.to_owned();
        self.write(move |w| Ok(claims::abandon(&w.conn, Some(&host))? as u64)).await
    }
}

#[async_trait]
impl Schedules for SqliteStore {
    async fn fire(&self, fire: Fire) -> Result<FireOutcome> {
        self.write(move |w| runs::fire(w, &fire)).await
    }

    async fn begin_schedules(&self, begun: Vec<ScheduleStart>) -> Result<()> {
        self.write(move |w| policies::begin_schedules(w, &begun)).await
    }

    async fn record_missed(&self, task: TaskKey, what: &str) -> Result<()> {
        let what = what.to_owned();
        self.write(move |w| policies::record_missed(w, &task, &what)).await
    }

    async fn watch(&self, tasks: Vec<TaskKey>, now: Timestamp) -> Result<BTreeMap<TaskKey, TriggerState>> {
        self.read(move |conn| schedules::watch(conn, tasks, now)).await
    }

    async fn run_states(&self, runs: Vec<RunKey>) -> Result<BTreeMap<RunKey, AwaitedRunState>> {
        self.read(move |conn| schedules::run_states(conn, runs)).await
    }

    async fn update_memory(&self, remember: UpdateMemory) -> Result<bool> {
        self.write(move |w| Ok(schedules::update_memory(w, &remember))).await
    }
}

#[async_trait]
impl Tasks for SqliteStore {
    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>> {
        self.read(history::task_states).await
    }

    async fn task_state(&self, task: TaskKey) -> Result<Option<TaskState>> {
        self.read(move |conn| history::task_state(conn, &task)).await
    }

    async fn task_states_of(&self, tasks: Vec<TaskKey>) -> Result<BTreeMap<TaskKey, TaskState>> {
        self.read(move |conn| history::task_states_of(conn, &tasks)).await
    }

    async fn pause(&self, target: PauseTarget, why: Option<String>, now: Timestamp) -> Result<()> {
        self.write(move |w| pauses::pause(w, &target, why.as_deref(), now)).await
    }

    async fn resume(&self, target: PauseTarget, now: Timestamp) -> Result<()> {
        self.write(move |w| pauses::resume(w, &target, now)).await
    }

    async fn pauses(&self) -> Result<Pauses> {
        self.read(rows::pauses).await
    }
}

#[async_trait]
impl Locks for SqliteStore {
    async fn acquire_lock(&self, lock: LockName, mode: LockMode, claim: ClaimKey, now: Timestamp) -> Result<LockTaken> {
        self.write(move |w| locks::acquire(w, &lock, mode, claim, now)).await
    }

    async fn release_lock(&self, lock: LockName, claim: ClaimKey) -> Result<()> {
        self.write(move |w| locks::release(w, &lock, claim)).await
    }

    async fn locks(&self, tenant: Name) -> Result<Vec<HeldLock>> {
        self.read(move |conn| locks::list(conn, &tenant)).await
    }
}

#[async_trait]
impl Cache for SqliteStore {
    async fn cache_get(&self, key: CacheKey, now: Timestamp) -> Result<Option<Entry>> {
        self.read(move |conn| cache::get(conn, &key, now)).await
    }

    async fn cache_write(&self, write: CacheWrite) -> Result<WriteOutcome> {
        self.write(move |w| cache::write(w, &write)).await
    }

    async fn cache_version(&self, key: CacheKey, version: u64, now: Timestamp) -> Result<Option<Entry>> {
        self.read(move |conn| versions::get(conn, &key, version, now)).await
    }

    async fn cache_history(&self, key: CacheKey, now: Timestamp) -> Result<Option<EntryHistory>> {
        self.read(move |conn| versions::history(conn, &key, now)).await
    }

    async fn cache_restore(&self, restore: CacheRestore) -> Result<WriteOutcome> {
        self.write(move |w| versions::restore(w, &restore)).await
    }

    async fn cache_delete(&self, key: CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Result<bool> {
        self.write(move |w| cache::delete(w, &key, claim, now)).await
    }

    async fn cache_usage(&self) -> Result<BTreeMap<Name, u64>> {
        self.read(cache::usage_of_all).await
    }

    async fn cache_list(
        &self,
        prefix: CacheKey,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<EntryInfo>> {
        self.read(move |conn| cache::list(conn, &prefix, after.as_deref(), limit, now)).await
    }
}

#[async_trait]
impl AddedSchedules for SqliteStore {
    async fn add_schedule(&self, new: AddSchedule) -> Result<Added> {
        self.write(move |w| added::add(w, &new)).await
    }

    async fn schedules(&self, filter: ScheduleFilter) -> Result<Vec<ScheduleInfo>> {
        self.read(move |conn| added::list(conn, &filter)).await
    }

    async fn schedule(&self, key: ScheduleKey) -> Result<Option<ScheduleInfo>> {
        self.read(move |conn| Ok(added::find(conn, &key)?.filter(|found| !found.deleted).map(|found| found.info))).await
    }

    async fn schedule_data(&self, key: ScheduleKey, most: usize) -> Result<Option<Vec<u8>>> {
        self.read(move |conn| added::data(conn, &key, most)).await
    }

    async fn delete_schedule(
        &self,
        key: ScheduleKey,
        version: Option<u64>,
        claim: Option<ClaimKey>,
        now: Timestamp,
    ) -> Result<ScheduleInfo> {
        self.write(move |w| added::delete(w, &key, version, claim, now)).await
    }

    async fn reset_schedule(&self, key: ScheduleKey, now: Timestamp) -> Result<Reset> {
        self.write(move |w| added::reset(w, &key, now)).await
    }

    async fn fire_schedules(&self, due: FireAdded) -> Result<Vec<FireScheduleOutcome>> {
        self.write(move |w| added::fire(w, &due)).await
    }

    async fn load_schedules(&self, since: u64, limit: usize) -> Result<Vec<LoadedSchedule>> {
        self.read(move |conn| added::load(conn, since, limit)).await
    }

    fn schedules_hint(&self) -> Arc<Notify> {
        self.board.hints.schedules.clone()
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn runs_hint(&self) -> Arc<Notify> {
        self.board.hints.runs.clone()
    }

    fn locks_hint(&self) -> Arc<Notify> {
        self.board.hints.locks.clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.board.hints.changes.subscribe()
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            commits: self.board.commits.load(Ordering::Relaxed),
            syncs: self.board.syncs.load(Ordering::Relaxed),
            writes: self.board.writes.load(Ordering::Relaxed),
        }
    }
}

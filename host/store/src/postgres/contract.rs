//! The contract of a store, subject by subject: each method calls the file that does the work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

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

use super::runs::Enqueue;
use super::tx_actions::act;
use super::{
    MOST, PostgresStore, added, cache, claims, extend, history, labels, lists, locks, loss, partitions, pauses,
    policies, prune, published, read, requests, runs, schedules, versions,
};

/// The most transactions of one pruning that give runs their tenants, for which the sweeper's other work waits.
const TIMES: usize = 20;

#[async_trait]
impl Runs for PostgresStore {
    async fn enqueue(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<EnqueueOutcome>> {
        self.enqueueing.ask(Enqueue::new(runs, now)).await
    }

    async fn cancel(&self, run: RunId, reason: &str, now: Timestamp) -> Result<Cancelled> {
        let reason = reason.to_owned();
        act!(self.acts, [reason], |tx| policies::cancel(tx, run, &reason, now))
    }

    async fn cancel_late(&self, now: Timestamp) -> Result<u64> {
        // Mostly no run is late, and then there is no transaction.
        match read!(self, |tx| policies::first_start_by(tx))? {
            Some(first) if first < now => act!(self.acts, [], |tx| policies::cancel_late(tx, now)),
            _ => Ok(0),
        }
    }

    async fn release_run(&self, run: RunId, now: Timestamp) -> Result<Released> {
        act!(self.acts, [], |tx| loss::release(tx, run, now))
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64> {
        let oldest = now.minus(retention.age);
        while act!(self.acts, [], |tx| added::prune(tx, oldest, now))? > 0 {}
        while act!(self.acts, [], |tx| published::prune(tx, now))? > 0 {}
        while act!(self.acts, [], |tx| requests::prune(tx, now))? > 0 {}
        while act!(self.acts, [], |tx| cache::delete_expired(tx, None, now, prune::PIECE))? > 0 {}
        while act!(self.acts, [], |tx| versions::delete_expired(tx, None, now, prune::PIECE))? > 0 {}
        let page = read!(self, |tx| versions::page(tx, self.shared.leftovers.after()))?;
        let left_over = Arc::new(self.shared.leftovers.take(&page));
        if !left_over.is_empty() {
            act!(self.acts, [left_over], |tx| versions::delete_leftovers(tx, &left_over))?;
        }
        while act!(self.acts, [], |tx| locks::forget(tx))? == locks::PIECE {}
        if read!(self, |tx| labels::are_without_tenant(tx))? {
            for _ in 0..TIMES {
                if act!(self.acts, [], |tx| labels::find_tenants(tx))? == 0 {
                    break;
                }
            }
        }
        let page = read!(self, |tx| labels::page(tx, self.shared.unused_labels.after(), now))?;
        let unused = Arc::new(self.shared.unused_labels.take(&page));
        if !unused.is_empty() {
            act!(self.acts, [unused], |tx| labels::delete_unused(tx, &unused, now))?;
        }
        let turn = partitions::rotate(self, oldest, now).await?;
        if turn.busy {
            return Ok(turn.gone);
        }
        let surplus = read!(self, |tx| prune::surplus(tx, &retention, now, prune::PIECE))?;
        if surplus.is_empty() {
            return Ok(turn.gone);
        }
        let surplus = Arc::new(surplus);
        Ok(turn.gone + act!(self.acts, [surplus], |tx| prune::delete(tx, &surplus))?)
    }
}

#[async_trait]
impl Lists for PostgresStore {
    async fn list_runs(&self, list: ListRuns) -> Result<RunPage> {
        read!(self, |tx| lists::list(tx, &list))
    }
}

#[async_trait]
impl History for PostgresStore {
    async fn latest_runs(&self, tasks: Vec<TaskKey>) -> Result<BTreeMap<TaskKey, LatestRuns>> {
        read!(self, |tx| history::latest_runs(tx, &tasks))
    }

    async fn run(&self, run: RunId) -> Result<Option<RunInfo>> {
        read!(self, |tx| history::run(tx, run))
    }

    async fn input(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        read!(self, |tx| history::input(tx, run))
    }

    async fn output(&self, run: RunId) -> Result<Option<Output>> {
        read!(self, |tx| history::output(tx, run))
    }

    async fn latest_success(&self, task: TaskKey) -> Result<Option<(RunId, Timestamp)>> {
        read!(self, |tx| history::latest_success(tx, &task))
    }

    async fn attempts(&self, run: RunId) -> Result<Vec<AttemptInfo>> {
        read!(self, |tx| history::attempts(tx, run))
    }

    async fn count(&self, task: TaskKey, state: RunState) -> Result<u64> {
        read!(self, |tx| history::count(tx, &task, state))
    }

    async fn counts(&self) -> Result<BTreeMap<RunState, u64>> {
        read!(self, |tx| history::counts(tx))
    }
}

#[async_trait]
impl Claims for PostgresStore {
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        let ready = read!(self, |tx| claims::look(tx, &request))?;
        match ready {
            claims::Ready::Nothing(next_run_at) => Ok(Claimed { claims: Vec::new(), next_run_at }),
            claims::Ready::Something(found) => self.claiming.ask((request, found)).await,
        }
    }

    async fn extend(&self, claims: Vec<ClaimKey>, until: Timestamp) -> Result<Extended> {
        let claims = Arc::new(claims);
        act!(self.holding, [claims], |tx| extend::extend(tx, &claims, until))
    }

    async fn finish(&self, finish: Arc<Finish>) -> Result<Consequence> {
        self.finishing.ask(finish).await
    }

    async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<Expired>> {
        read!(self, |tx| extend::expired(tx, now, limit))
    }

    async fn abandon(&self, host: &str) -> Result<u64> {
        let host = host.to_owned();
        act!(self.holding, [host], |tx| extend::abandon(tx, &host))
    }
}

#[async_trait]
impl Schedules for PostgresStore {
    async fn fire(&self, fire: Fire) -> Result<FireOutcome> {
        let fire = Arc::new(fire);
        act!(self.acts, self.row_of(&fire.task), [fire], |tx| runs::fire(tx, &fire))
    }

    async fn begin_schedules(&self, begun: Vec<ScheduleStart>) -> Result<()> {
        let begun = Arc::new(begun);
        act!(self.acts, [begun], |tx| policies::begin_schedules(tx, &begun))
    }

    async fn record_missed(&self, task: TaskKey, what: &str) -> Result<()> {
        let what = what.to_owned();
        act!(self.acts, self.row_of(&task), [task, what], |tx| policies::record_missed(tx, &task, &what))
    }

    async fn watch(&self, tasks: Vec<TaskKey>, now: Timestamp) -> Result<BTreeMap<TaskKey, TriggerState>> {
        read!(self, |tx| schedules::watch(tx, &tasks, now))
    }

    async fn run_states(&self, runs: Vec<RunKey>) -> Result<BTreeMap<RunKey, AwaitedRunState>> {
        read!(self, |tx| schedules::run_states(tx, &runs))
    }

    async fn update_memory(&self, remember: UpdateMemory) -> Result<bool> {
        let remember = Arc::new(remember);
        act!(self.acts, self.row_of(&remember.task), [remember], |tx| schedules::update_memory(tx, &remember))
    }
}

#[async_trait]
impl Tasks for PostgresStore {
    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>> {
        read!(self, |tx| history::task_states(tx))
    }

    async fn task_state(&self, task: TaskKey) -> Result<Option<TaskState>> {
        read!(self, |tx| history::task_state(tx, &task))
    }

    async fn task_states_of(&self, tasks: Vec<TaskKey>) -> Result<BTreeMap<TaskKey, TaskState>> {
        read!(self, |tx| history::task_states_of(tx, &tasks))
    }

    async fn pause(&self, target: PauseTarget, why: Option<String>, now: Timestamp) -> Result<()> {
        act!(self.acts, self.rows_of(&target), [target, why], |tx| pauses::pause(tx, &target, why.as_deref(), now))
    }

    async fn resume(&self, target: PauseTarget, now: Timestamp) -> Result<()> {
        act!(self.acts, self.rows_of(&target), [target], |tx| pauses::resume(tx, &target, now))
    }

    async fn pauses(&self) -> Result<Pauses> {
        read!(self, |tx| pauses::pauses(tx))
    }
}

#[async_trait]
impl Locks for PostgresStore {
    async fn acquire_lock(&self, lock: LockName, mode: LockMode, claim: ClaimKey, now: Timestamp) -> Result<LockTaken> {
        act!(self.guests, Some((&lock).into()), [lock], |tx| locks::acquire(tx, &lock, mode, claim, now))
    }

    async fn wait_for_lock(
        &self,
        lock: LockName,
        mode: LockMode,
        claim: ClaimKey,
        now: Timestamp,
    ) -> Result<LockTaken> {
        act!(self.guests, Some((&lock).into()), [lock], |tx| locks::wait(tx, &lock, mode, claim, now))
    }

    async fn leave_lock_queue(&self, lock: LockName, claim: ClaimKey) -> Result<()> {
        act!(self.guests, [lock], |tx| locks::leave(tx, &lock, claim))
    }

    async fn release_lock(&self, lock: LockName, claim: ClaimKey) -> Result<()> {
        act!(self.guests, [lock], |tx| locks::release(tx, &lock, claim))
    }

    async fn locks(&self, tenant: Name) -> Result<Vec<HeldLock>> {
        read!(self, |tx| locks::list(tx, &tenant))
    }
}

#[async_trait]
impl Cache for PostgresStore {
    async fn cache_get(&self, key: CacheKey, now: Timestamp) -> Result<Option<Entry>> {
        read!(self, |tx| cache::get(tx, &key, now))
    }

    async fn cache_write(&self, write: CacheWrite) -> Result<WriteOutcome> {
        let write = Arc::new(write);
        let locks = locks::LockedRow::Cache(write.key.tenant.clone());
        act!(self.guests, Some(locks), [write], |tx| cache::write(tx, &write))
    }

    async fn cache_version(&self, key: CacheKey, version: u64, now: Timestamp) -> Result<Option<Entry>> {
        read!(self, |tx| versions::get(tx, &key, version, now))
    }

    async fn cache_history(&self, key: CacheKey, now: Timestamp) -> Result<Option<EntryHistory>> {
        read!(self, |tx| versions::history(tx, &key, now))
    }

    async fn cache_restore(&self, restore: CacheRestore) -> Result<WriteOutcome> {
        let restore = Arc::new(restore);
        let locks = locks::LockedRow::Cache(restore.key.tenant.clone());
        act!(self.guests, Some(locks), [restore], |tx| versions::restore(tx, &restore))
    }

    async fn cache_delete(&self, key: CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Result<bool> {
        let locks = locks::LockedRow::Cache(key.tenant.clone());
        act!(self.guests, Some(locks), [key], |tx| cache::delete(tx, &key, claim, now))
    }

    async fn cache_usage(&self) -> Result<BTreeMap<Name, u64>> {
        read!(self, |tx| cache::usage_of_all(tx))
    }

    async fn cache_list(
        &self,
        prefix: CacheKey,
        after: Option<String>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<EntryInfo>> {
        read!(self, |tx| cache::list(tx, &prefix, after.as_deref(), limit, now))
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn runs_hint(&self) -> Arc<Notify> {
        self.shared.hints.runs.clone()
    }

    fn locks_hint(&self) -> Arc<Notify> {
        self.shared.hints.locks.clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.hints.changes.subscribe()
    }

    fn stats(&self) -> StoreStats {
        let commits = self.shared.commits.load(Ordering::Relaxed);
        // The disk is the database's affair: as far as is known here, each commit waits for it once.
        StoreStats { commits, syncs: commits, writes: self.shared.writes.load(Ordering::Relaxed) }
    }

    fn batch(&self) -> usize {
        MOST
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        read!(self, |tx| history::time(tx)).map(Some)
    }
}

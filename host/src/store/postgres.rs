//! The store in a PostgreSQL database, for many hosts.
//!
//! Nothing but the database is between the hosts. What must not happen at once on two of them is kept apart by row locks
//! (of a task's row, of a lock's name, of a tenant's cache), taken in short transactions; what may is not held up: sums
//! are kept in shards (`tally`), history lies apart from what is under way (`partitions`).
//!
//! Writes go through lanes (`lane`), which commit in groups and try again what a broken connection or another host has
//! spoilt; reads take a connection of the pool. No statement needs more than a transaction's worth of session state, and none
//! needs what engines that speak PostgreSQL's language lack: no advisory locks, no functions or triggers of its own.
//! `LISTEN` and `NOTIFY` (`listen`) carry hints only.

mod added;
mod backlog;
mod cache;
mod claims;
mod connect;
mod errors;
mod extend;
mod finish;
mod hosts;
mod lane;
mod listen;
mod locks;
mod loss;
mod making;
mod over;
mod partitions;
mod pauses;
mod policies;
mod prune;
mod published;
mod queries;
mod repairs;
mod rows;
mod schema;
mod tally;
mod tasks;
#[cfg(test)]
mod tests;
mod transfer;
mod tx;
mod watching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use deadpool_postgres::Pool;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, watch};

pub use connect::{DatabaseUrl, PostgresOptions};

use self::claims::Claiming;
use self::errors::{Remedy, Step};
use self::finish::Finishing;
use self::lane::{Lane, Work};
use self::listen::Listener;
use self::making::{Enqueue, Enqueueing};
use self::partitions::Turned;
use self::tasks::TaskIds;
use self::tx::Tx;
use super::hints::{Hints, Told};
use super::{
    AttemptInfo, Begun, CacheKey, CacheWrite, Cancelled, ClaimRequest, Claimed, Enqueued, Entry, EntryInfo, Expired,
    Extended, Finish, Fire, Fired, HeldLock, LatestRuns, LockMode, LockName, LockTaken, NewRun, Released, Remember,
    Result, Retention, RunFilter, RunInfo, RunKey, Stands, Store, StoreError, StoreStats, TaskState, Watched, Written,
};
use crate::pause::{Pauses, Whom};
use crate::run::{ClaimKey, Output, RunId, RunState};
use crate::supervision::Consequence;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// Hosts that count apart in `tally`; a further one shares with another, and the two wait for each other at times.
const HOST_SHARDS: i64 = 16;

/// Lanes of a host that count apart.
const LANE_SHARDS: i16 = 8;

/// Pieces of work in one transaction. More hold back those behind them, fewer pay for the disk more often.
const MOST: usize = 512;

/// What all connections have in common.
#[derive(Debug)]
struct Shared {
    pool: Pool,
    tasks: TaskIds,
    turned: Turned,
    hints: Hints,
    /// Tells the other hosts.
    listener: Listener,
    commits: AtomicU64,
    writes: AtomicU64,
}

impl Shared {
    /// A transaction is committed: count it, and tell those that are to be told.
    fn committed(&self, tx: &Tx) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.tell(tx.told);
    }

    fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    fn tell(&self, told: Told) {
        self.hints.tell(told);
        self.listener.tell(told);
    }
}

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// Runs that are made, many at once.
    enqueueing: Lane<Enqueueing>,
    claiming: Lane<Claiming>,
    finishing: Lane<Finishing>,
    /// All else that changes runs, tasks or schedules.
    acts: Lane<Acts>,
    /// Locks and the cache: what guests wait for.
    guests: Lane<Acts>,
    /// What must not wait behind anything: claims are held on to.
    holding: Lane<Acts>,
}

/// A function of the transaction.
type OfTx = Box<dyn for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Step<Done>> + Send + Sync>;

/// A piece of work that is a function of the transaction.
struct Act {
    /// What it locks of what many want. The acts of one transaction do so in everybody's order, so that nobody waits in a circle.
    locks: Option<locks::Mutex>,
    work: OfTx,
}

/// What came of an [`Act`]; who asked knows what it is.
type Done = Box<dyn std::any::Any + Send>;

/// Does [`Act`]s, in the order of what they lock, and in the order they were asked for where that is the same.
#[derive(Debug)]
struct Acts;

#[async_trait]
impl Work for Acts {
    type Item = Act;
    type Answer = Done;

    async fn run(&self, tx: &mut Tx, items: &[&Act]) -> Step<Vec<Result<Done>>> {
        let mut order: Vec<usize> = (0..items.len()).collect();
        order.sort_by_key(|place| &items[*place].locks);
        let mut answers: Vec<Option<Result<Done>>> = items.iter().map(|_| None).collect();
        for place in order {
            answers[place] = Some(match (items[place].work)(&mut *tx).await {
                Ok(done) => Ok(done),
                Err(errors::Failure::Refused(error)) => Err(error),
                Err(failure) => return Err(failure),
            });
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

impl Lane<Acts> {
    /// Have `work` done, and wait until it is committed.
    async fn act<T, F>(&self, locks: Option<locks::Mutex>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'a> Fn(&'a mut Tx) -> BoxFuture<'a, Step<T>> + Send + Sync + 'static,
    {
        let work: OfTx = Box::new(move |tx| {
            let doing = work(tx);
            Box::pin(async move { Ok(Box::new(doing.await?) as Done) })
        });
        let done = self.ask(Act { locks, work }).await?;
        Ok(*done.downcast::<T>().expect("an act's answer is what the act returns"))
    }
}

/// Have `$body`, a piece of work with the transaction `$tx`, done by a lane. What it takes from around it is named first:
/// it may be done more than once. Before that, what it locks of what many want.
macro_rules! act {
    ($lane:expr, [$($own:ident),*], |$tx:ident| $body:expr) => {
        act!($lane, None, [$($own),*], |$tx| $body)
    };
    ($lane:expr, $locks:expr, [$($own:ident),*], |$tx:ident| $body:expr) => {
        $lane
            .act($locks, move |$tx: &mut Tx| {
                $(let $own = $own.clone();)*
                Box::pin(async move { $body.await })
            })
            .await
    };
}
use act;

/// Read with a connection of the pool, once more if that turns out to be broken.
macro_rules! read {
    ($store:expr, |$tx:ident| $query:expr) => {{
        let mut again = true;
        loop {
            let answer = async {
                let mut tx = Tx::take(&$store.shared, 0, false).await?;
                tx.reading();
                let $tx = &tx;
                let answer = $query.await;
                if !matches!(&answer, Err(failure) if failure.remedy() == Remedy::Reconnect) {
                    tx.read();
                }
                answer
            };
            match tokio::time::timeout(READ_PATIENCE, answer).await {
                Ok(Ok(answer)) => break Ok(answer),
                Ok(Err(failure)) if again && failure.remedy() != Remedy::None => again = false,
                Ok(Err(failure)) => break Err(failure.explain()),
                Err(_) => break Err(StoreError::Other(format!("the database has not answered within {READ_PATIENCE:?}"))),
            }
        }
    }};
}
use read;

/// How long a question to the database may take.
const READ_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

impl PostgresStore {
    /// Open the store that `options` name, making its schema if it is not there.
    ///
    /// Claims that are found in it may be other hosts', and are left alone: see [`Store::abandon`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unusable`] if the URL, the user, the database or the schema is not right, or the schema is too new, or has
    /// only a part of what was to be moved into it; [`StoreError::Other`] if the database cannot be reached. Each a line that
    /// says what to do.
    pub async fn open(options: &PostgresOptions) -> Result<Arc<Self>> {
        let store = Self::start(options).await?;
        transfer::refuse_half_moved(&store, options).await?;
        Ok(store)
    }

    /// What [`PostgresStore::open`] does before it looks at what is there.
    async fn start(options: &PostgresOptions) -> Result<Arc<Self>> {
        let connector = connect::Connector::new(options)?;
        let mut first = connector.connect().await?;
        schema::migrate(&mut first, &options.schema).await?;
        partitions::prepare(&first).await?;
        let opened: i64 =
            first.query_one("SELECT nextval('opened')", &[]).await.map_err(|e| errors::translate(&e))?.get(0);
        drop(first);
        let pool = connector.pool()?;
        let shared = Arc::new_cyclic(|shared: &std::sync::Weak<Shared>| Shared {
            pool,
            tasks: TaskIds::default(),
            turned: Turned::default(),
            hints: Hints::default(),
            listener: Listener::start(connector, &options.schema, opened, shared.clone()),
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        });
        let first = i16::try_from(opened.rem_euclid(HOST_SHARDS)).unwrap_or(0) * LANE_SHARDS;
        Ok(Arc::new(Self {
            enqueueing: Lane::start(&shared, Enqueueing, &[first], MOST),
            claiming: Lane::start(&shared, Claiming::default(), &[first + 1], 1),
            finishing: Lane::start(&shared, Finishing::default(), &[first + 2], MOST),
            acts: Lane::start(&shared, Acts, &[first + 4], 64),
            guests: Lane::start(&shared, Acts, &[first + 5, first + 6], 64),
            holding: Lane::start(&shared, Acts, &[first + 7], 8),
            shared,
        }))
    }

    /// That an act locks the row of a task. Of one that was not met yet it is not known which that is: once in its life
    /// somebody may have to begin anew for it.
    fn row_of(&self, task: &TaskKey) -> Option<locks::Mutex> {
        self.shared.tasks.get(task).map(locks::Mutex::Task)
    }

    /// The same of a pause.
    fn rows_of(&self, whom: &Whom) -> Option<locks::Mutex> {
        match whom {
            Whom::Task(task) => self.row_of(task),
            Whom::Tenant(_) | Whom::All => None,
        }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn enqueue(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<Enqueued>> {
        self.enqueueing.ask(Enqueue::new(runs, now)).await
    }

    async fn fire(&self, fire: Fire) -> Result<Fired> {
        let fire = Arc::new(fire);
        act!(self.acts, self.row_of(&fire.task), [fire], |tx| making::fire(tx, &fire))
    }

    async fn begin_schedules(&self, begun: Vec<Begun>) -> Result<()> {
        let begun = Arc::new(begun);
        act!(self.acts, [begun], |tx| policies::begin_schedules(tx, &begun))
    }

    async fn leave_out(&self, task: TaskKey, what: &str) -> Result<()> {
        let what = what.to_owned();
        act!(self.acts, self.row_of(&task), [task, what], |tx| policies::leave_out(tx, &task, &what))
    }

    async fn cancel_late(&self, now: Timestamp) -> Result<u64> {
        // Mostly there is nothing, which costs no transaction.
        match read!(self, |tx| policies::first_start_by(tx))? {
            Some(first) if first < now => act!(self.acts, [], |tx| policies::cancel_late(tx, now)),
            _ => Ok(0),
        }
    }

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

    async fn cancel(&self, run: RunId, reason: &str, now: Timestamp) -> Result<Cancelled> {
        let reason = reason.to_owned();
        act!(self.acts, [reason], |tx| policies::cancel(tx, run, &reason, now))
    }

    async fn release_run(&self, run: RunId, now: Timestamp) -> Result<Released> {
        act!(self.acts, [], |tx| loss::release(tx, run, now))
    }

    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64> {
        let oldest = now.minus(retention.age);
        while act!(self.acts, [], |tx| added::prune(tx, oldest, now))? > 0 {}
        while act!(self.acts, [], |tx| published::prune(tx, now))? > 0 {}
        while act!(self.acts, [], |tx| cache::delete_expired(tx, None, now, prune::PIECE))? > 0 {}
        while act!(self.acts, [], |tx| locks::forget(tx))? == locks::PIECE {}
        let turn = partitions::turn(self, oldest, now).await?;
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

    async fn cache_get(&self, key: CacheKey, now: Timestamp) -> Result<Option<Entry>> {
        read!(self, |tx| cache::get(tx, &key, now))
    }

    async fn cache_write(&self, write: CacheWrite) -> Result<Written> {
        let write = Arc::new(write);
        let locks = locks::Mutex::Cache(write.key.tenant.clone());
        act!(self.guests, Some(locks), [write], |tx| cache::write(tx, &write))
    }

    async fn cache_delete(&self, key: CacheKey, claim: Option<ClaimKey>, now: Timestamp) -> Result<bool> {
        let locks = locks::Mutex::Cache(key.tenant.clone());
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

    async fn task_states(&self) -> Result<BTreeMap<TaskKey, TaskState>> {
        read!(self, |tx| queries::task_states(tx))
    }

    async fn watch(&self, tasks: Vec<TaskKey>, now: Timestamp) -> Result<BTreeMap<TaskKey, Watched>> {
        read!(self, |tx| watching::watch(tx, &tasks, now))
    }

    async fn stands(&self, runs: Vec<RunKey>) -> Result<BTreeMap<RunKey, Stands>> {
        read!(self, |tx| watching::stands(tx, &runs))
    }

    async fn remember(&self, remember: Remember) -> Result<bool> {
        let remember = Arc::new(remember);
        act!(self.acts, self.row_of(&remember.task), [remember], |tx| watching::remember(tx, &remember))
    }

    async fn pause(&self, whom: Whom, why: Option<String>, now: Timestamp) -> Result<()> {
        act!(self.acts, self.rows_of(&whom), [whom, why], |tx| pauses::pause(tx, &whom, why.as_deref(), now))
    }

    async fn resume(&self, whom: Whom, now: Timestamp) -> Result<()> {
        act!(self.acts, self.rows_of(&whom), [whom], |tx| pauses::resume(tx, &whom, now))
    }

    async fn pauses(&self) -> Result<Pauses> {
        read!(self, |tx| pauses::pauses(tx))
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunInfo>> {
        read!(self, |tx| queries::runs(tx, &filter))
    }

    async fn latest_runs(&self, tenant: Name, task: Option<Name>) -> Result<BTreeMap<Name, LatestRuns>> {
        read!(self, |tx| queries::latest_runs(tx, &tenant, task.as_ref()))
    }

    async fn run(&self, run: RunId) -> Result<Option<RunInfo>> {
        read!(self, |tx| queries::run(tx, run))
    }

    async fn input(&self, run: RunId) -> Result<Option<Vec<u8>>> {
        read!(self, |tx| queries::input(tx, run))
    }

    async fn output(&self, run: RunId) -> Result<Option<Output>> {
        read!(self, |tx| queries::output(tx, run))
    }

    async fn latest_success(&self, task: TaskKey) -> Result<Option<(RunId, Timestamp)>> {
        read!(self, |tx| queries::latest_success(tx, &task))
    }

    async fn attempts(&self, run: RunId) -> Result<Vec<AttemptInfo>> {
        read!(self, |tx| queries::attempts(tx, run))
    }

    async fn counts(&self) -> Result<BTreeMap<RunState, u64>> {
        read!(self, |tx| queries::counts(tx))
    }

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
        // Where the disk is, is the database's affair: each commit waits for it once, as far as is known here.
        StoreStats { commits, syncs: commits, writes: self.shared.writes.load(Ordering::Relaxed) }
    }

    fn batch(&self) -> usize {
        MOST
    }

    async fn time(&self) -> Result<Option<Timestamp>> {
        read!(self, |tx| queries::time(tx)).map(Some)
    }
}

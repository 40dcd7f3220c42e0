//! Helpers for the tests of several imports: a store, a clock that stands still, and claimed runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tempfile::TempDir;
use wasmtime::component::ResourceTable;

use crate::attempt::{AllMemory, Ledger, Order, Refusals, RunEnd, RunHandle};
use crate::imports::Services;
use crate::imports::locks::LockWaits;
use crate::testkit::{self, TestClock, claim_request, first_claim, handle, task_key};
pub(crate) use crate::testkit::{granted_task as task, grants};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Cause, Claim, Outcome, RunId};
use sexton_domain::task::{Grants, Limits, Name};
use sexton_domain::tenant::Tenants;
use sexton_domain::time::{Clock, Timestamp};
use sexton_store::added::ScheduleInfo;
use sexton_store::sqlite::{Durability, SqliteOptions, SqliteStore};
use sexton_store::{ClaimRequest, LockKind, LockName, NewRun};

use super::{
    CallError, Caller, ImportsCtx, ImportsCtxView, ImportsView, RunRefused, RunRequest, RunRequests, ScheduleRefused,
    ScheduleRequest, ScheduleRequests,
};

/// The time after which a test fails if an expected event has not happened.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// The bytes that the cache of a test's tenant may have.
pub(crate) const QUOTA: u64 = 4 << 20;

/// Creates the end of a run that has `left` to go.
pub(crate) fn until(left: Duration) -> RunEnd {
    RunEnd::new(handle(first_claim(1), task_key("caller")), Instant::now() + left)
}

/// Creates the account of an attempt with the usual memory of tasks.
pub(crate) fn ledger() -> Arc<Ledger> {
    Ledger::new(Limits::default().memory, &Arc::new(AllMemory::of(u64::MAX)))
}

/// Creates the record of refusals for the attempt that `until` ends.
pub(crate) fn refusals(until: &RunEnd) -> Refusals {
    let clock = Arc::new(TestClock::default());
    Refusals::new(Arc::new(task("caller", Grants::default())), Arc::clone(until.handle()), clock)
}

/// Returns the result of `work`, which must be done within the bound.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, work).await.expect("this should have happened by now")
}

/// Waits until `holds` returns true, for conditions without a notification. Other tasks run between the checks.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    soon(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Keeps the requests for runs and schedules, and answers each with the next refusal of a test. A run gets a new id, and
/// each schedule is added. None is ever listed.
#[derive(Debug, Default)]
pub(crate) struct RecordedRequests {
    pub(crate) asked: Mutex<Vec<(RunId, RunRequest)>>,
    pub(crate) refusals: Mutex<VecDeque<RunRefused>>,
    pub(crate) schedules: Mutex<Vec<ScheduleRequest>>,
    pub(crate) refused_schedules: Mutex<VecDeque<ScheduleRefused>>,
}

impl RecordedRequests {
    /// Returns the next refusal of a request about schedules.
    fn next_of_schedules(&self) -> Result<bool, ScheduleRefused> {
        self.refused_schedules.lock().unwrap().pop_front().map_or(Ok(true), Err)
    }
}

#[async_trait]
impl ScheduleRequests for RecordedRequests {
    async fn request_schedule(&self, _: &Caller, asked: ScheduleRequest) -> Result<bool, ScheduleRefused> {
        self.schedules.lock().unwrap().push(asked);
        self.next_of_schedules()
    }

    async fn requested_schedules(&self, _: &Caller) -> Result<Vec<ScheduleInfo>, ScheduleRefused> {
        self.next_of_schedules().map(|_| Vec::new())
    }

    async fn delete_requested(&self, _: &Caller, _: &str) -> Result<bool, ScheduleRefused> {
        self.next_of_schedules()
    }
}

#[async_trait]
impl RunRequests for RecordedRequests {
    async fn request_run(&self, by: &Caller, asked: RunRequest) -> Result<RunId, RunRefused> {
        let mut all = self.asked.lock().unwrap();
        all.push((by.claim.run, asked));
        self.refusals.lock().unwrap().pop_front().map_or(Ok(RunId(100 + all.len() as i64)), Err)
    }
}

/// The parts of a host that its guests share.
pub(crate) struct World {
    pub(crate) services: Arc<Services>,
    pub(crate) requests: Arc<RecordedRequests>,
    pub(crate) clock: Arc<TestClock>,
    _directory: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // These tests do not cut the power, so commits need not reach the disk.
        let options = SqliteOptions { sync: Durability::Normal, ..SqliteOptions::default() };
        let store = SqliteStore::open(directory.path().join("store.db"), &options).unwrap();
        let clock = TestClock::at(Timestamp::from_millis(1_800_000_000_000));
        let requests = Arc::<RecordedRequests>::default();
        let services = Services {
            store,
            clock: clock.clone(),
            run_requests: requests.clone(),
            schedule_requests: requests.clone(),
            tenants: Arc::new(Tenants::only_default(QUOTA)),
            lock_waits: Arc::new(LockWaits::default()),
            virtual_time: None,
        };
        Self { services: Arc::new(services), requests, clock, _directory: directory }
    }

    /// Creates a guest in a new run of a task that may use all names, with much time left.
    pub(crate) async fn guest(&self) -> Guest {
        self.guest_of("caller", grants(&["*"])).await
    }

    pub(crate) async fn guest_of(&self, name: &str, grants: Grants) -> Guest {
        let claim = self.claim(name).await;
        self.guest_in(claim, grants, BOUND * 6)
    }

    /// Creates a guest in a claimed run.
    pub(crate) fn guest_in(&self, claim: Claim, grants: Grants, left: Duration) -> Guest {
        let handle = Arc::new(RunHandle::new(claim.key, claim.task.clone(), 64 << 10));
        let task = Arc::new(task(claim.task.task.as_str(), grants));
        let order = Order { claim: Arc::new(claim), task, handle };
        let ctx = ImportsCtx::new(Arc::clone(&self.services), &order, Instant::now() + left, ledger());
        Guest { ctx, table: ResourceTable::new(), order, services: Arc::clone(&self.services) }
    }

    /// Makes a new run of a task and claims it.
    pub(crate) async fn claim(&self, name: &str) -> Claim {
        let now = self.clock.now();
        let run = NewRun::of(task_key(name), now, Cause::Demand);
        self.services.store.enqueue(vec![run], now).await.unwrap();
        self.claim_next(name).await.expect("it was just enqueued")
    }

    /// Claims the waiting run of a task.
    pub(crate) async fn claim_next(&self, name: &str) -> Option<Claim> {
        let lease = Duration::from_secs(3600);
        let request = ClaimRequest { limit: 1, lease, ..claim_request([(task_key(name), 1000)], self.clock.now()) };
        self.services.store.claim(request).await.unwrap().claims.pop()
    }
}

/// Separates the errors that a guest gets from traps.
pub(crate) trait SplitTrap<T, E> {
    /// Returns the trap as the outer error and the guest's result within.
    fn split_trap(self) -> wasmtime::Result<Result<T, E>>;
}

impl<T, E> SplitTrap<T, E> for Result<T, CallError<E>> {
    fn split_trap(self) -> wasmtime::Result<Result<T, E>> {
        match self {
            Ok(value) => Ok(Ok(value)),
            Err(error) => error.into_guest().map(Err),
        }
    }
}

/// The guest's end of the imports.
pub(crate) struct Guest {
    pub(crate) ctx: ImportsCtx,
    pub(crate) table: ResourceTable,
    pub(crate) order: Order,
    services: Arc<Services>,
}

impl ImportsView for Guest {
    fn imports(&mut self) -> ImportsCtxView<'_> {
        ImportsCtxView { ctx: &mut self.ctx, table: &mut self.table }
    }
}

impl Guest {
    /// Finishes the guest's run, which the guest does not notice yet.
    pub(crate) async fn finish(&self, transition: Transition) {
        let now = self.services.clock.now();
        let report = testkit::report(Outcome::FailedTransient, now);
        let finish = testkit::finish(self.order.claim.key, transition, report);
        self.services.store.finish(Arc::new(finish)).await.unwrap();
    }
}

pub(crate) fn named(name: &str) -> LockName {
    LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: name.to_owned() }
}

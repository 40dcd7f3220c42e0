//! Bounds what tasks and tenants may use of this host: fuel a minute, and for a tenant also runs at once.
//!
//! A budget of fuel is a bucket that holds one minute's worth and fills evenly. Attempts are charged with the fuel that
//! they really use: while they run, as far as that can be seen, and with the rest at their end, however they end. A
//! task or tenant that is over its budget owes fuel, and none of its runs is claimed until the debt is paid. An attempt
//! under way is not ended for it. So a budget is exceeded at most once, by at most the fuel that the concurrent runs of
//! its task or tenant may use each (`limits.fuel`), and that is paid back.
//!
//! Budgets belong to one host and are forgotten when it stops: it starts with full buckets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::machine::live::LiveRuns;
use sexton_domain::run::{Claim, ClaimKey, HeldBack};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::tenant::Tenants;
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::catalog::Catalog;
use sexton_store::TenantShare;
use sexton_system::supervisor::{rests, works};

/// The interval at which attempts under way are examined. A longer one lets budgets be exceeded by more; each look
/// costs a moment.
const LOOK: Duration = Duration::from_millis(100);

/// Holds what tasks and tenants have used, and what they have under way.
#[derive(Debug)]
pub struct Budgets {
    catalog: Arc<Catalog>,
    tenants: Arc<Tenants>,
    clock: Arc<dyn Clock>,
    books: Mutex<UsageState>,
    /// Locked while a claim is admitted and made.
    claiming: tokio::sync::Mutex<()>,
    /// Notified when a tenant that had as many runs as it may has one less.
    freed: Notify,
    /// The number of attempts under way that are charged to a budget.
    charged: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct UsageState {
    tasks: HashMap<TaskKey, Bucket>,
    tenants: HashMap<Name, Bucket>,
    /// The number of attempts under way, by tenant.
    running: HashMap<Name, u32>,
    /// The attempts under way that are charged to a budget, and the fuel charged so far.
    attempts: HashMap<ClaimKey, (TaskKey, u64)>,
}

/// An attempt counts as under way until this is dropped.
#[derive(Debug)]
pub struct AttemptGuard {
    budgets: Arc<Budgets>,
    key: ClaimKey,
    tenant: Name,
}

/// The tasks and tenants that may not start runs, or only a limited number.
#[derive(Debug, Default)]
pub struct Admission {
    /// The tasks that are over their budget.
    pub over: BTreeSet<TaskKey>,
    /// The runs that tenants have under way and may still start. Empty if no tenant has a bound or a neighbour.
    pub shares: BTreeMap<Name, TenantShare>,
    /// The instant at which the first of those over their budget will have recovered.
    pub recovers_at: Option<Timestamp>,
}

/// The use of a host by a tenant, as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantUse {
    /// The number of attempts under way on this host.
    pub running: u32,
    /// The fuel that is left of the tenant's budget; a negative amount is owed. `None` without a budget.
    pub fuel_left: Option<i64>,
    /// The reason why none of the tenant's runs start.
    pub held_back: Option<HeldBack>,
}

impl Budgets {
    /// Creates full budgets for the tasks of `catalog` and for `tenants`.
    pub fn new(catalog: Arc<Catalog>, tenants: Arc<Tenants>, clock: Arc<dyn Clock>) -> Self {
        let charged = watch::Sender::new(0);
        Self {
            catalog,
            tenants,
            clock,
            books: Mutex::default(),
            claiming: Default::default(),
            freed: Notify::new(),
            charged,
        }
    }

    /// Begins an attempt. It is under way until the returned value is dropped.
    pub fn begin(self: &Arc<Self>, claim: &Claim) -> AttemptGuard {
        let (key, task) = (claim.key, &claim.task);
        let mut books = self.usage_state();
        *books.running.entry(task.tenant.clone()).or_default() += 1;
        if self.task_rate(task).is_some() || self.tenant_rate(&task.tenant).is_some() {
            books.attempts.insert(key, (task.clone(), 0));
            self.charged.send_replace(books.attempts.len());
        }
        AttemptGuard { budgets: Arc::clone(self), key, tenant: task.tenant.clone() }
    }

    /// Records that the attempt has used `fuel` from its start to now, and charges the part that was not charged yet.
    pub fn used(&self, key: ClaimKey, fuel: u64) {
        let now = self.clock.now();
        let mut books = self.usage_state();
        let UsageState { tasks, tenants, attempts, .. } = &mut *books;
        let Some((task, charged)) = attempts.get_mut(&key) else { return };
        let more = fuel.saturating_sub(*charged);
        *charged += more;
        if let Some(rate) = self.task_rate(task) {
            tasks.entry(task.clone()).or_insert_with(|| Bucket::full(rate, now)).take(more, rate, now);
        }
        if let Some(rate) = self.tenant_rate(&task.tenant) {
            tenants.entry(task.tenant.clone()).or_insert_with(|| Bucket::full(rate, now)).take(more, rate, now);
        }
    }

    /// Charges an attempt that is over with the rest of its `fuel`. If its task is over its budget then, this waits for
    /// the claim that was perhaps admitted before. So that claim cannot give the place of the attempt to another run: the
    /// attempt gives it back in the store only after this.
    pub async fn settle(&self, claim: &Claim, fuel: u64) {
        self.used(claim.key, fuel);
        if self.is_over(&claim.task) {
            drop(self.claiming.lock().await);
        }
    }

    /// Returns a guard to be held from asking for [`Budgets::admission`] until the claim is over.
    pub async fn claiming(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.claiming.lock().await
    }

    fn is_over(&self, task: &TaskKey) -> bool {
        let now = self.clock.now();
        let mut books = self.usage_state();
        let bucket = books.tasks.get_mut(task);
        bucket.is_some_and(|bucket| self.task_rate(task).is_some_and(|rate| bucket.recovers_at(rate, now).is_some()))
    }

    /// Returns which tasks and tenants may start how many runs.
    pub fn admission(&self) -> Admission {
        let now = self.clock.now();
        let mut admission = Admission::default();
        let mut books = self.usage_state();
        let UsageState { tasks, tenants, running, .. } = &mut *books;
        // A bucket that is full again need not be kept.
        tasks.retain(|task, bucket| {
            let Some(rate) = self.task_rate(task) else { return false };
            if let Some(at) = bucket.recovers_at(rate, now) {
                admission.over.insert(task.clone());
                admission.recovers_at = Some(admission.recovers_at.map_or(at, |earlier| earlier.min(at)));
            }
            !bucket.is_full(rate)
        });
        for (name, limits) in &*self.tenants.all() {
            let running = running.get(name).copied().unwrap_or(0);
            let mut room = limits.runs.map_or(u32::MAX, |most| most.saturating_sub(running));
            let recovers_at = limits
                .fuel_per_minute
                .and_then(|rate| tenants.get_mut(name).and_then(|bucket| bucket.recovers_at(rate, now)));
            if let Some(at) = recovers_at {
                room = 0;
                admission.recovers_at = Some(admission.recovers_at.map_or(at, |earlier| earlier.min(at)));
            }
            admission.shares.insert(name.clone(), TenantShare { running, room });
        }
        // A tenant that is alone and has no bound needs no share.
        if admission.shares.len() == 1 && admission.shares.values().all(|share| share.room == u32::MAX) {
            admission.shares.clear();
        }
        admission
    }

    /// Completes when a tenant that had no room may have some. Only the worker waits for this.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Returns why runs of `task` that are due do not start.
    pub fn held_back(&self, task: &TaskKey) -> Option<HeldBack> {
        let now = self.clock.now();
        let mut books = self.usage_state();
        let own =
            self.task_rate(task).and_then(|rate| Some((rate, books.tasks.get_mut(task)?.recovers_at(rate, now)?)));
        match own {
            Some((rate, at)) => Some(over("over its budget", rate, at)),
            None => self.tenant_held_back(&mut books, &task.tenant, now),
        }
    }

    /// Returns what `tenant` has under way, and has left.
    pub fn tenant_use(&self, tenant: &Name) -> TenantUse {
        let now = self.clock.now();
        let mut books = self.usage_state();
        let fuel_left = self.tenant_rate(tenant).map(|rate| {
            let full = Bucket::full(rate, now);
            books.tenants.get_mut(tenant).unwrap_or(&mut full.clone()).left(rate, now)
        });
        TenantUse {
            running: books.running.get(tenant).copied().unwrap_or(0),
            fuel_left,
            held_back: self.tenant_held_back(&mut books, tenant, now),
        }
    }

    fn tenant_held_back(&self, books: &mut UsageState, tenant: &Name, now: Timestamp) -> Option<HeldBack> {
        let limits = self.tenants.get(tenant)?;
        if let Some(rate) = limits.fuel_per_minute
            && let Some(at) = books.tenants.get_mut(tenant).and_then(|bucket| bucket.recovers_at(rate, now))
        {
            return Some(over(&format!("tenant `{tenant}` is over its budget"), rate, at));
        }
        let running = books.running.get(tenant).copied().unwrap_or(0);
        let most = limits.runs.filter(|most| running >= *most)?;
        let reason =
            format!("tenant `{tenant}` has {running} of at most {most} concurrent runs under way on this host");
        Some(HeldBack { reason, until: None })
    }

    /// Charges attempts while they run, until `over` is set.
    pub async fn watch(self: Arc<Self>, live: Arc<LiveRuns>, mut over: watch::Receiver<bool>) {
        let mut charged = self.charged.subscribe();
        loop {
            rests(None);
            tokio::select! {
                // Sleeps while no attempt is charged to a budget.
                some = charged.wait_for(|attempts| *attempts > 0) => drop(some),
                _ = over.changed() => return,
            }
            works();
            let attempts: Vec<ClaimKey> = self.usage_state().attempts.keys().copied().collect();
            for key in attempts {
                if let Some(handle) = live.get(key.run).filter(|handle| handle.key == key) {
                    self.used(key, handle.usage.snapshot().fuel);
                }
            }
            rests(Some(LOOK));
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = over.changed() => return,
            }
        }
    }

    fn task_rate(&self, task: &TaskKey) -> Option<u64> {
        self.catalog.get(task)?.budget.fuel_per_minute
    }

    fn tenant_rate(&self, tenant: &Name) -> Option<u64> {
        self.tenants.get(tenant)?.fuel_per_minute
    }

    fn usage_state(&self) -> MutexGuard<'_, UsageState> {
        // If a thread panicked while it held the guard, the books are still consistent, because every change is one
        // number.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn over(who: &str, rate: u64, until: Timestamp) -> HeldBack {
    HeldBack { reason: format!("{who} of {rate} fuel a minute"), until: Some(until) }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        let mut books = self.budgets.usage_state();
        if let Some(running) = books.running.get_mut(&self.tenant) {
            let most = self.budgets.tenants.get(&self.tenant).and_then(|limits| limits.runs);
            if most.is_some_and(|most| *running >= most) {
                self.budgets.freed.notify_one();
            }
            *running -= 1;
            if *running == 0 {
                books.running.remove(&self.tenant);
            }
        }
        if books.attempts.remove(&self.key).is_some() {
            self.budgets.charged.send_replace(books.attempts.len());
        }
    }
}

/// A bucket of fuel that fills evenly, up to a minute's worth. The rate, in fuel a minute, is an argument of each
/// method, because it may change.
#[derive(Clone, Debug)]
struct Bucket {
    /// The content in parts of a unit of fuel; a negative content is owed.
    level: i128,
    at: Timestamp,
}

/// The number of milliseconds in a minute. With a rate of N a minute, a millisecond adds N parts, so nothing is
/// rounded.
const PARTS: i128 = 60_000;

impl Bucket {
    fn full(rate: u64, at: Timestamp) -> Self {
        Self { level: i128::from(rate) * PARTS, at }
    }

    /// Adds the fuel of the time up to `now`. A clock that was set back adds nothing and takes nothing away.
    fn fill(&mut self, rate: u64, now: Timestamp) {
        let passed = i128::try_from(now.since(self.at).as_millis()).unwrap_or(i128::from(u64::MAX));
        self.level = (self.level + passed * i128::from(rate)).min(i128::from(rate) * PARTS);
        self.at = now;
    }

    fn take(&mut self, fuel: u64, rate: u64, now: Timestamp) {
        self.fill(rate, now);
        self.level -= i128::from(fuel) * PARTS;
    }

    /// Returns when the bucket will have fuel; `None` if it has some.
    fn recovers_at(&mut self, rate: u64, now: Timestamp) -> Option<Timestamp> {
        self.fill(rate, now);
        let missing = 1 - self.level;
        let rate = i128::from(rate.max(1));
        (missing > 0).then(|| {
            let ms = u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX);
            now.plus(Duration::from_millis(ms))
        })
    }

    /// Returns whole units of fuel; a negative number is owed.
    fn left(&mut self, rate: u64, now: Timestamp) -> i64 {
        self.fill(rate, now);
        let whole = self.level.div_euclid(PARTS);
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }

    fn is_full(&self, rate: u64) -> bool {
        self.level >= i128::from(rate) * PARTS
    }
}

#[cfg(test)]
mod tests;

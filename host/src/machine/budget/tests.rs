//! Tests budgets with a clock that is moved by hand.

use crate::plugins::manifest::Manifest;
use crate::testkit::{TestClock, first_claim as claim, handle, name};
use sexton_domain::run::Cause;
use sexton_domain::tenant::TenantLimits;

use super::*;

struct Rig {
    budgets: Arc<Budgets>,
    catalog: Arc<Catalog>,
    clock: Arc<TestClock>,
}

fn key(tenant: &str, task: &str) -> TaskKey {
    TaskKey { tenant: name(tenant), task: name(task) }
}

impl Rig {
    /// Creates the tasks `thrifty` (1000 fuel a minute) and `free` of the tenants `acme` (2 runs at once, 6000 fuel a
    /// minute) and `default`.
    fn new() -> Self {
        let manifest = "[tasks.thrifty]\n[tasks.thrifty.budget]\nfuel-per-minute = 1000\n[tasks.free]\n";
        let rig = Self::with(manifest, &[("acme", Some(2), Some(6000))]);
        assert_eq!(
            rig.catalog.get(&key("acme", "thrifty")).unwrap().limits.fuel,
            1000,
            "no more than a minute's worth"
        );
        rig
    }

    fn with(manifest: &str, tenants: &[(&str, Option<u32>, Option<u64>)]) -> Self {
        let catalog = Arc::new(Catalog::default());
        let manifest = Manifest::parse("plugin.toml", manifest).unwrap();
        catalog.change(|tasks| {
            for tenant in ["acme", "default"] {
                for task in manifest.tasks(&name(tenant), &name("plugin"), std::path::Path::new("/")) {
                    tasks.insert(task.key.clone(), Arc::new(task));
                }
            }
        });
        let limits = tenants.iter().map(|(tenant, runs, fuel_per_minute)| {
            (
                name(tenant),
                TenantLimits {
                    runs: *runs,
                    fuel_per_minute: *fuel_per_minute,
                    cache: 1,
                    tasks: 1,
                    backlog: Default::default(),
                },
            )
        });
        let tenants = Arc::new(Tenants::new(1, limits.collect()));
        let clock = TestClock::at(Timestamp::from_millis(1_000_000));
        Self { budgets: Arc::new(Budgets::new(Arc::clone(&catalog), tenants, clock.clone())), catalog, clock }
    }

    fn pass(&self, ms: i64) {
        self.clock.set(Timestamp::from_millis(self.clock.now().as_millis() + ms));
    }

    fn begin(&self, run: i64, tenant: &str, task: &str) -> AttemptGuard {
        self.budgets.begin(&self.claim(run, tenant, task))
    }

    fn claim(&self, run: i64, tenant: &str, task: &str) -> Claim {
        Claim {
            key: claim(run),
            task: key(tenant, task),
            due_at: self.clock.now(),
            cause: Cause::Demand,
            input: Vec::new(),
            failures: 0,
            claimed_at: self.clock.now(),
            run_at: self.clock.now(),
        }
    }

    /// Runs an attempt that uses `fuel`.
    fn attempt(&self, tenant: &str, task: &str, fuel: u64) {
        let attempt = self.begin(1, tenant, task);
        self.budgets.used(claim(1), fuel);
        drop(attempt);
    }

    /// Returns until when the task is held back, in milliseconds from now.
    fn held_back_for(&self, tenant: &str, task: &str) -> Option<i64> {
        let until = self.budgets.held_back(&key(tenant, task))?.until?;
        Some(until.as_millis() - self.clock.now().as_millis())
    }
}

#[tokio::test]
async fn an_attempt_that_used_up_its_budget_keeps_its_place_until_an_earlier_claim_is_over() {
    let rig = Rig::new();
    let (first, second) = (rig.claim(1, "default", "thrifty"), rig.claim(2, "default", "thrifty"));
    let _underway = [rig.budgets.begin(&first), rig.budgets.begin(&second)];

    let claiming = rig.budgets.claiming().await;
    assert!(rig.budgets.admission().over.is_empty());
    // It stays within the budget, so another run may have its place.
    rig.budgets.settle(&first, 999).await;
    let mut settled = std::pin::pin!(rig.budgets.settle(&second, 2));
    assert!(futures_util::poll!(&mut settled).is_pending(), "the claim does not know yet that the budget is used up");
    drop(claiming);
    settled.await;

    let _claiming = rig.budgets.claiming().await;
    assert_eq!(rig.budgets.admission().over, BTreeSet::from([key("default", "thrifty")]));
}

#[test]
fn a_task_over_its_fuel_budget_waits_with_the_reason_until_it_recovers() {
    let rig = Rig::new();
    rig.attempt("default", "thrifty", 999);
    assert_eq!(rig.held_back_for("default", "thrifty"), None);

    rig.attempt("default", "thrifty", 1000);

    let said = rig.budgets.held_back(&key("default", "thrifty")).unwrap();
    assert_eq!(said.reason, "over its budget of 1000 fuel a minute");
    assert_eq!(said.until, Some(Timestamp::from_millis(1_000_000 + 59_941)), "999 are owed, 1000 come in a minute");
    let admission = rig.budgets.admission();
    assert_eq!(admission.over, BTreeSet::from([key("default", "thrifty")]));
    assert_eq!(admission.recovers_at, said.until);
    assert_eq!(rig.held_back_for("default", "free"), None);

    rig.pass(59_940);
    assert_eq!(rig.held_back_for("default", "thrifty"), Some(1));
    rig.pass(1);
    assert_eq!(rig.held_back_for("default", "thrifty"), None);
    assert!(rig.budgets.admission().over.is_empty());
}

#[test]
fn no_more_than_a_minutes_worth_is_saved_up() {
    let rig = Rig::new();
    rig.attempt("default", "thrifty", 500);
    rig.pass(3_600_000);

    rig.attempt("default", "thrifty", 1500);

    assert_eq!(rig.held_back_for("default", "thrifty"), Some(30_001));
}

#[test]
fn fuel_of_a_tenants_tasks_counts_for_the_tenant_and_holds_back_only_its_tasks() {
    let rig = Rig::new();
    rig.attempt("acme", "free", 7000);

    assert_eq!(rig.held_back_for("acme", "thrifty"), Some(10_001));
    let said = rig.budgets.held_back(&key("acme", "thrifty")).unwrap();
    assert_eq!(said.reason, "tenant `acme` is over its budget of 6000 fuel a minute");
    let admission = rig.budgets.admission();
    assert_eq!(admission.shares[&name("acme")], TenantShare { running: 0, room: 0 });
    assert_eq!(admission.shares[&name("default")].room, u32::MAX);
    assert_eq!(admission.recovers_at, said.until);
    assert_eq!(rig.budgets.held_back(&key("default", "thrifty")), None);
    assert_eq!(rig.budgets.tenant_use(&name("acme")).fuel_left, Some(-1000));

    rig.pass(60_000);
    assert_eq!(rig.budgets.tenant_use(&name("acme")).fuel_left, Some(5000));
    assert_eq!(rig.budgets.admission().shares[&name("acme")], TenantShare { running: 0, room: 2 });
}

#[test]
fn an_attempt_is_charged_while_it_runs_and_never_twice() {
    let rig = Rig::new();
    let attempt = rig.begin(1, "acme", "free");

    rig.budgets.used(claim(1), 4000);
    rig.budgets.used(claim(1), 6000);
    assert_eq!(rig.held_back_for("acme", "free"), Some(1), "it is still under way");
    // The first report is late: its caller had looked earlier.
    rig.budgets.used(claim(1), 5000);
    rig.budgets.used(claim(1), 6100);
    drop(attempt);
    rig.budgets.used(claim(1), 9999);

    assert_eq!(rig.budgets.tenant_use(&name("acme")).fuel_left, Some(-100));
}

#[test]
fn a_clock_that_was_set_back_gives_nothing_and_takes_nothing() {
    let rig = Rig::new();
    rig.attempt("default", "thrifty", 1500);
    rig.pass(-500_000);

    assert_eq!(rig.held_back_for("default", "thrifty"), Some(30_001));
}

#[test]
fn a_changed_budget_counts_from_now_on() {
    let rig = Rig::new();
    rig.attempt("default", "thrifty", 2000);
    assert_eq!(rig.held_back_for("default", "thrifty"), Some(60_001));

    rig.catalog.change(|tasks| {
        let task = tasks.get_mut(&key("default", "thrifty")).unwrap();
        Arc::make_mut(task).budget.fuel_per_minute = Some(60_000);
    });
    assert_eq!(rig.held_back_for("default", "thrifty"), Some(1001));

    rig.catalog.change(|tasks| drop(tasks.remove(&key("default", "thrifty"))));
    assert!(rig.budgets.admission().over.is_empty());
    assert!(rig.budgets.usage_state().tasks.is_empty(), "of a task that is gone nothing is kept");
}

#[tokio::test]
async fn a_tenant_has_room_for_its_runs_and_the_worker_learns_of_new_room() {
    let rig = Rig::new();
    let first = rig.begin(1, "acme", "free");
    assert_eq!(rig.budgets.admission().shares[&name("acme")], TenantShare { running: 1, room: 1 });

    let second = rig.begin(2, "acme", "thrifty");
    let said = rig.budgets.held_back(&key("acme", "free")).unwrap();
    assert_eq!(said.reason, "tenant `acme` has 2 of at most 2 concurrent runs under way on this host");
    assert_eq!((said.until, rig.budgets.admission().shares[&name("acme")].room), (None, 0));
    assert_eq!(rig.budgets.held_back(&key("default", "free")), None);

    drop(first);
    tokio::time::timeout(Duration::from_secs(10), rig.budgets.freed()).await.unwrap();
    assert_eq!(rig.budgets.admission().shares[&name("acme")].room, 1);
    drop(second);
    assert!(rig.budgets.usage_state().running.is_empty() && rig.budgets.usage_state().attempts.is_empty());
}

#[test]
fn a_host_without_budgets_tracks_no_usage_by_tenant() {
    let rig = Rig::with("[tasks.free]\n", &[]);
    let attempt = rig.begin(1, "default", "free");
    rig.budgets.used(claim(1), u64::MAX);

    let admission = rig.budgets.admission();
    assert!(admission.over.is_empty() && admission.shares.is_empty() && admission.recovers_at.is_none());
    drop(attempt);
    assert!(rig.budgets.usage_state().tenants.is_empty());
}

#[test]
fn numbers_beyond_all_measure_do_no_harm() {
    let rig = Rig::with("[tasks.free]\n", &[("acme", None, Some(1_000_000_000_000_000_000))]);
    for _ in 0..100 {
        rig.attempt("acme", "free", u64::MAX);
    }
    assert!(rig.budgets.tenant_use(&name("acme")).fuel_left < Some(i64::MIN / 2));
    assert!(rig.held_back_for("acme", "free").unwrap() > 60_000);

    let slow = Rig::with("[tasks.free]\n", &[("acme", None, Some(1))]);
    slow.attempt("acme", "free", u64::MAX);
    assert!(slow.held_back_for("acme", "free").unwrap() > 0);
    slow.pass(i64::MAX / 2);
    assert!(slow.budgets.tenant_use(&name("acme")).fuel_left.unwrap() <= 1);
}

#[tokio::test]
async fn fuel_of_an_attempt_under_way_is_charged() {
    let rig = Rig::new();
    let live = Arc::new(LiveRuns::default());
    let (over, is_over) = watch::channel(false);
    let watching = tokio::spawn(Arc::clone(&rig.budgets).watch(Arc::clone(&live), is_over));
    let _attempt = rig.begin(1, "acme", "free");
    let handle = handle(claim(1), key("acme", "free"));
    live.insert(Arc::clone(&handle));

    handle.usage.fuel_used(6500);

    let seen = async {
        while rig.held_back_for("acme", "free") != Some(5001) {
            tokio::time::sleep(Duration::from_millis(5)).await; // nothing tells of a look
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap();
    over.send_replace(true);
    watching.await.unwrap();
}

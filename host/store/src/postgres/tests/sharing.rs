//! Tests of two hosts on one database.

use crate::CacheKey;
use crate::EnqueueOutcome;
use crate::LockMode;
use crate::LockTaken;
use crate::added::{AddSchedule, AddedSchedules as _, GuestSchedule, ScheduleKey};
use crate::cache::Cache as _;
use crate::claims::Claims as _;
use crate::codes::RUNNING;
use crate::history::History as _;
use crate::locks::Locks as _;
use crate::runs::Runs as _;
use crate::{CacheWrite, ClaimRequest, NewRun, Store as _, WriteOutcome};
use sexton_domain::run::ClaimKey;
use sexton_domain::run::RunState;
use sexton_domain::schedule::routes::Target;
use sexton_domain::task::Name;
use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::Admit;

/// Waits until a store listens to other hosts: it then tells its own callers to look.
async fn hears(store: &PostgresStore) {
    let mut changes = store.changes();
    drop(soon(changes.wait_for(|count| *count > 0)).await.unwrap());
}

/// Asks both hosts for the same at the same time, twenty times each. Returns the answers.
async fn both<T, F>(pair: &[Arc<PostgresStore>; 2], ask: impl Fn(Arc<PostgresStore>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let asked: Vec<_> = (0..40).map(|n| tokio::spawn(ask(pair[n % 2].clone()))).collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    answers
}

/// Claims runs until there are none, at most three of each task at once.
async fn take_all(store: Arc<PostgresStore>, host: &'static str, texts: Vec<String>) -> Vec<Claim> {
    let tasks: Vec<_> = texts.iter().map(|text| (task(text), 3)).collect();
    let request = testkit::claim_request(tasks, NOW);
    let request = ClaimRequest { host: host.into(), limit: 7, lease: LEASE, ..request };
    let mut claims = Vec::new();
    loop {
        let claimed = store.claim(request.clone()).await.unwrap();
        // A task that the other host has locked may have more: then `next_run_at` says when to look again.
        if claimed.claims.is_empty() && claimed.next_run_at.is_none() {
            return claims;
        }
        claims.extend(claimed.claims);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_that_claim_at_once_never_take_the_same_run_nor_exceed_the_limit() {
    let database = Database::new().await;
    let [one, two] = database.pair().await;
    let texts: Vec<String> = (0..20).map(|n| format!("task-{n}")).collect();
    enqueue(&one, texts.iter().flat_map(|text| vec![new(text); 5]).collect()).await;

    let taking = [(one, "one"), (two, "two")].map(|(store, host)| tokio::spawn(take_all(store, host, texts.clone())));
    let mut claims = Vec::new();
    for taken in taking {
        claims.extend(taken.await.unwrap());
    }

    assert_eq!(claims.iter().map(|claim| claim.key.run).collect::<BTreeSet<_>>().len(), claims.len());
    assert_eq!(claims.iter().map(|claim| claim.key.fence).collect::<BTreeSet<_>>().len(), claims.len());
    let mut of_task: HashMap<TaskKey, usize> = HashMap::new();
    for claim in claims {
        *of_task.entry(claim.task).or_default() += 1;
    }
    assert_eq!(of_task.into_values().collect::<Vec<_>>(), [3; 20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_one_host_makes_wakes_the_other() {
    let database = Database::new().await;
    let [one, two] = database.pair().await;
    hears(&two).await;
    let hint = two.runs_hint();
    let told = hint.notified();
    assert!(claimed(&two, "a", NOW).await.is_empty());

    let run = enqueue(&one, vec![new("a")]).await[0];

    soon(told).await;
    assert_eq!(claimed(&two, "a", NOW).await[0].key.run, run);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_freed_and_runs_changed_on_one_host_wake_the_other() {
    let database = Database::new().await;
    let [one, two] = database.pair().await;
    let [holder, waits, ..] = four(&one).await;
    one.acquire_lock(lock("x"), LockMode::Exclusive, holder, NOW).await.unwrap();
    hears(&two).await;
    let hint = two.locks_hint();

    let told = hint.notified();
    assert_eq!(
        two.wait_for_lock(lock("x"), LockMode::Shared, waits, NOW).await.unwrap(),
        LockTaken::HeldBy(holder.run)
    );
    one.release_lock(lock("x"), holder).await.unwrap();
    soon(told).await;
    // A hint is also sent when a run leaves the queue: a run behind it may go on.
    let told = hint.notified();
    one.leave_lock_queue(lock("x"), waits).await.unwrap();
    soon(told).await;

    let mut changes = two.changes();
    changes.mark_unchanged();
    one.cancel(holder.run, "no", NOW).await.unwrap();
    soon(changes.changed()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_use_one_key_at_once_make_one_run() {
    let database = Database::new().await;
    let pair = database.pair().await;

    let made =
        both(&pair, |store| async move { store.enqueue(vec![keyed("a", "noon")], NOW).await.unwrap().remove(0) }).await;

    assert_eq!(made.iter().filter(|made| matches!(made, EnqueueOutcome::New(_))).count(), 1, "{made:?}");
    assert_eq!(made.iter().map(EnqueueOutcome::run).collect::<BTreeSet<_>>().len(), 1, "{made:?}");
    assert_eq!(pair[0].counts().await.unwrap()[&RunState::Waiting], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overlap_policy_holds_over_all_hosts() {
    let database = Database::new().await;
    let pair = database.pair().await;

    let made = both(&pair, |store| async move {
        let run = NewRun { admit: Admit::Below(2), ..new("a") };
        store.enqueue(vec![run], NOW).await.unwrap().remove(0)
    });
    let made = made.await;

    assert_eq!(made.iter().filter(|made| matches!(made, EnqueueOutcome::New(_))).count(), 2, "{made:?}");
    let counts = pair[1].counts().await.unwrap();
    assert_eq!((counts[&RunState::Waiting], counts[&RunState::Cancelled]), (2, 38));
}

/// Returns a write of ten bytes to a tenant's entry `k`, if it is absent.
fn absent(tenant: &str, claim: ClaimKey) -> CacheWrite {
    CacheWrite {
        key: CacheKey { tenant: Name::new(tenant).unwrap(), key: "k".into() },
        value: vec![7; 10],
        expires_at: None,
        claim: Some(claim),
        only: WriteIf::Absent,
        keep: None,
        quota: 1 << 20,
        budget: None,
        now: NOW,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contended_locks_and_entries_do_not_deadlock() {
    let database = Database::new().await;
    let pair = database.pair().await;
    let [claim, ..] = four(&pair[0]).await;

    // The requests are in no good order: the order of locking must not depend on that.
    let wins = both(&pair, move |store| async move {
        let locks = ["z", "x", "y"].map(|text| store.acquire_lock(lock(text), LockMode::Shared, claim, NOW));
        let (one, two) = (store.cache_write(absent("b", claim)), store.cache_write(absent("a", claim)));
        let (one, taken, two) = tokio::join!(one, futures_util::future::join_all(locks), two);
        assert!(taken.iter().all(|taken| matches!(taken, Ok(LockTaken::Yes { .. }))), "{taken:?}");
        [one, two].into_iter().filter(|written| matches!(written, Ok(WriteOutcome::Yes(_)))).count()
    });

    assert_eq!(wins.await.into_iter().sum::<usize>(), 2);
    let used = "SELECT tenant, bytes FROM cache_usage ORDER BY tenant";
    assert_eq!(database.psql(used), "a|11\nb|11");
    assert_eq!(database.psql("SELECT bytes FROM cache_usage_of_tasks"), "22");
}

#[tokio::test]
async fn all_hosts_share_the_queue_for_a_lock() {
    let database = Database::new().await;
    let [one, two] = database.pair().await;
    let [holder, first, second, late] = four(&one).await;
    let x = || lock("x");
    one.acquire_lock(x(), LockMode::Exclusive, holder, NOW).await.unwrap();

    for (store, claim) in [(&two, first), (&one, second), (&two, first)] {
        let waits = store.wait_for_lock(x(), LockMode::Exclusive, claim, NOW).await.unwrap();
        assert_eq!(waits, LockTaken::HeldBy(holder.run));
    }
    one.release_lock(x(), holder).await.unwrap();

    // The lock is free, but only for the first run, however often others ask.
    for claim in [late, second] {
        let early = one.acquire_lock(x(), LockMode::Shared, claim, NOW).await.unwrap();
        assert_eq!(early, LockTaken::HeldBy(first.run));
    }
    let behind = one.wait_for_lock(x(), LockMode::Exclusive, second, NOW).await.unwrap();
    assert_eq!(behind, LockTaken::HeldBy(first.run));
    let taken = two.wait_for_lock(x(), LockMode::Exclusive, first, NOW).await.unwrap();
    assert!(matches!(taken, LockTaken::Yes { .. }), "{taken:?}");
    two.release_lock(x(), first).await.unwrap();
    assert_eq!(two.acquire_lock(x(), LockMode::Exclusive, late, NOW).await.unwrap(), LockTaken::HeldBy(second.run));
    let taken = one.acquire_lock(x(), LockMode::Exclusive, second, NOW).await.unwrap();
    assert!(matches!(taken, LockTaken::Yes { .. }), "{taken:?}");
    assert_eq!(database.psql("SELECT count(*) FROM lock_waits"), "0");
}

/// Queues for the lock `x`.
async fn ask(store: &PostgresStore, mode: LockMode, claim: ClaimKey) -> LockTaken {
    store.wait_for_lock(lock("x"), mode, claim, NOW).await.unwrap()
}

#[tokio::test]
async fn shared_waiters_take_a_lock_together_unless_an_exclusive_one_is_between() {
    let database = Database::new().await;
    let [one, two] = database.pair().await;
    let [holder, shares, alone, late] = four(&one).await;
    one.acquire_lock(lock("x"), LockMode::Exclusive, holder, NOW).await.unwrap();
    ask(&two, LockMode::Shared, shares).await;
    ask(&one, LockMode::Exclusive, alone).await;
    ask(&two, LockMode::Shared, late).await;

    one.release_lock(lock("x"), holder).await.unwrap();

    assert_eq!(ask(&two, LockMode::Shared, late).await, LockTaken::HeldBy(alone.run));
    assert!(matches!(ask(&two, LockMode::Shared, shares).await, LockTaken::Yes { .. }));
    assert_eq!(ask(&one, LockMode::Exclusive, alone).await, LockTaken::HeldBy(shares.run));
    one.leave_lock_queue(lock("x"), alone).await.unwrap();
    assert!(matches!(ask(&two, LockMode::Shared, late).await, LockTaken::Yes { .. }));
}

#[tokio::test]
async fn a_waiting_run_of_a_dead_host_keeps_no_other_out() {
    let database = Database::new().await;
    let [one, two] = database.pair().await;
    let [holder, gone, other, _] = four(&one).await;
    one.acquire_lock(lock("x"), LockMode::Exclusive, holder, NOW).await.unwrap();
    two.wait_for_lock(lock("x"), LockMode::Exclusive, gone, NOW).await.unwrap();
    one.release_lock(lock("x"), holder).await.unwrap();
    let later = NOW.plus(LEASE).plus(Duration::from_secs(1));
    one.extend(vec![other], later.plus(LEASE)).await.unwrap();

    let before = one.acquire_lock(lock("x"), LockMode::Exclusive, other, NOW.plus(LEASE)).await.unwrap();
    let after = one.acquire_lock(lock("x"), LockMode::Exclusive, other, later).await.unwrap();

    assert_eq!(before, LockTaken::HeldBy(gone.run));
    assert!(matches!(after, LockTaken::Yes { .. }), "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_taken_while_its_attempt_ends_for_a_retry_does_not_outlive_it() {
    let database = Arc::new(Database::new().await);
    let store = database.open("one").await;
    let [holder, ..] = four(&store).await;
    store.acquire_lock(lock("x"), LockMode::Exclusive, holder, NOW).await.unwrap();

    // The statements of a transaction that takes a lock, which is slow between its look at the claim and the lock.
    let taking = format!(
        "BEGIN; SELECT task FROM runs_live WHERE id = {run} FOR KEY SHARE; \
         CREATE TEMP TABLE held ON COMMIT DROP AS SELECT * FROM locks WHERE run = {run}; SELECT pg_sleep(2); \
         INSERT INTO locks (tenant, kind, name, run, claim, mode, since_at, fence) \
         SELECT tenant, kind, 'y', run, claim, mode, since_at, fence + 1 FROM held; COMMIT",
        run = holder.run.0
    );
    let slow = tokio::task::spawn_blocking({
        let database = database.clone();
        move || database.psql(&taking)
    });
    let sleeps = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%''y''%'";
    soon(async {
        while database.psql(sleeps).trim() != "1" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    let again = Transition::Wait { run_at: NOW, failed: true };
    store.finish(finish(holder, Outcome::FailedTransient, again, NOW).into()).await.unwrap();
    slow.await.unwrap();

    assert_eq!(database.psql("SELECT count(*) FROM locks").trim(), "0");
}

/// Waits until the database answers a query with 1.
async fn comes_true(database: &Database, query: &str) {
    soon(async {
        while database.psql(query).trim() != "1" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_claim_ends_while_it_waits_to_change_schedules_changes_none() {
    let database = Arc::new(Database::new().await);
    let [one, two] = database.pair().await;
    let [adds, deletes, ..] = four(&one).await;
    let key = |text: &str| ScheduleKey { tenant: Name::default_tenant(), key: Name::new(text).unwrap() };
    let add = |text: &str, claim: Option<ClaimKey>| AddSchedule {
        key: key(text),
        target: Target::Task(Name::new("a").unwrap()),
        definition: r#"{"every_ms":60000}"#.into(),
        data: None,
        cursor: NOW,
        replace: false,
        version: None,
        guest: claim.map(|claim| GuestSchedule {
            task: Name::new("a").unwrap(),
            claim,
            most: 9,
            bytes: 9,
            run_created_at: None,
        }),
        now: NOW,
    };
    one.add_schedule(add("kept", None)).await.unwrap();
    // A transaction that draws a version, and goes on until both attempts have ended.
    let drawing = format!(
        "BEGIN; UPDATE counters SET schedules = schedules + 1; DO $$ BEGIN \
         WHILE EXISTS (SELECT FROM runs_live WHERE id IN ({}, {}) AND state = {RUNNING}) \
         LOOP PERFORM pg_sleep(0.02); END LOOP; END $$; COMMIT",
        adds.run.0, deletes.run.0
    );
    let slow = tokio::task::spawn_blocking({
        let database = database.clone();
        move || database.psql(&drawing)
    });
    let schema = &database.schema;
    let holds = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%IN ({}, {})%' AND wait_event = 'PgSleep'",
        adds.run.0, deletes.run.0
    );
    comes_true(&database, &holds).await;

    let adding = tokio::spawn({
        let (two, new) = (two.clone(), add("late", Some(adds)));
        async move { two.add_schedule(new).await }
    });
    let deleting = tokio::spawn({
        let (one, key) = (one.clone(), key("kept"));
        async move { one.delete_schedule(key, None, Some(deletes), NOW).await }
    });
    let waits = format!(
        "SELECT (count(DISTINCT l.pid) = 2)::int FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
         JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE c.oid = '{schema}.counters'::regclass AND a.wait_event_type = 'Lock'"
    );
    comes_true(&database, &waits).await;
    for claim in [adds, deletes] {
        one.finish(success(claim, NOW).into()).await.unwrap();
    }
    slow.await.unwrap();

    for (answer, claim) in [(adding.await.unwrap().map(drop), adds), (deleting.await.unwrap().map(drop), deletes)] {
        assert!(matches!(&answer, Err(crate::StoreError::ClaimLost(lost)) if *lost == claim), "{answer:?}");
    }
    assert_eq!(database.psql("SELECT key, deleted FROM schedules").trim(), "kept|f");
}

//! Runs the conformance tests on this store, and tests what happens when hosts share a database.

mod events;
mod history;
mod lists;
mod migrating;
mod moving;
mod sharing;

use crate::CacheWrite;
use crate::Cancelled;
use crate::ClaimRequest;
use crate::EnqueueOutcome;
use crate::Finish;
use crate::LockMode;
use crate::LockName;
use crate::Retention;
use crate::cache::Cache as _;
use crate::claims::Claims as _;
use crate::history::History as _;
use crate::locks::Locks as _;
use crate::postgres::tx_actions::act;
use crate::runs::Runs as _;
use crate::schedules::Schedules as _;
use crate::tasks::Tasks as _;
use crate::{CacheKey, LockTaken, NewRun};
use sexton_domain::run::ClaimKey;
use sexton_domain::run::Output;
use sexton_domain::run::RunId;
use sexton_domain::run::RunState;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use std::time::Duration;

use sexton_testkit::postgres as cluster;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::*;
use crate::conformance::{self, promises};
use crate::testkit;
use crate::{LockKind, WriteIf};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Cause, Claim, Outcome};

/// Most databases in use at once: each may have thirty connections, and the server takes two hundred.
static ROOM: Semaphore = Semaphore::const_new(6);

/// A schema of its own, as if no other test used the server.
struct Database {
    schema: String,
    _room: SemaphorePermit<'static>,
}

impl Database {
    async fn new() -> Self {
        let room = ROOM.acquire().await.unwrap();
        Self { schema: cluster::fresh_schema(), _room: room }
    }

    async fn try_open(&self, host: &str) -> Result<Arc<PostgresStore>> {
        let url = DatabaseUrl::new(&cluster::shared().url()).unwrap();
        PostgresStore::open(&PostgresOptions { url, schema: self.schema.clone(), ca: None, host: host.into() }).await
    }

    async fn open(&self, host: &str) -> Arc<PostgresStore> {
        self.try_open(host).await.unwrap()
    }

    /// Opens the database for two hosts.
    async fn pair(&self) -> [Arc<PostgresStore>; 2] {
        [self.open("one").await, self.open("two").await]
    }

    fn psql(&self, sql: &str) -> String {
        cluster::shared().psql_in(&self.schema, sql)
    }
}

macro_rules! on_postgres {
    ($($room:ident { $($promise:ident)* })*) => {
        mod keeps {
            $(mod $room {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let database = super::super::Database::new().await;
                    let store = database.open("one").await;
                    super::super::conformance::$room::$promise(store).await;
                })*
            })*
        }
    };
}
promises!(on_postgres);

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(12))]
    #[test]
    fn all_steps_of_hosts_have_the_same_result_as_in_a_model_in_memory(steps in conformance::model::steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let database = Database::new().await;
            conformance::model::live(database.open("one").await, steps).await
        })?;
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

const LEASE: Duration = Duration::from_secs(30);

fn task(text: &str) -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: Name::new(text).unwrap() }
}

fn new(text: &str) -> NewRun {
    NewRun::of(task(text), NOW, Cause::Demand)
}

fn keyed(text: &str, key: &str) -> NewRun {
    NewRun { dedup: Some(key.into()), ..new(text) }
}

async fn enqueue(store: &PostgresStore, runs: Vec<NewRun>) -> Vec<RunId> {
    store.enqueue(runs, NOW).await.unwrap().iter().map(EnqueueOutcome::run).collect()
}

/// Claims up to nine runs of the task `text`.
async fn claimed(store: &PostgresStore, text: &str, now: Timestamp) -> Vec<Claim> {
    let request = ClaimRequest { limit: 9, lease: LEASE, ..testkit::claim_request([(task(text), 99)], now) };
    store.claim(request).await.unwrap().claims
}

/// Makes four runs, and claims them.
async fn four(store: &PostgresStore) -> [ClaimKey; 4] {
    enqueue(store, vec![new("a"); 4]).await;
    let keys: Vec<ClaimKey> = claimed(store, "a", NOW).await.iter().map(|claim| claim.key).collect();
    keys.try_into().unwrap()
}

fn finish(claim: ClaimKey, outcome: Outcome, transition: Transition, at: Timestamp) -> Finish {
    testkit::finish(claim, transition, testkit::report(outcome, at))
}

fn success(claim: ClaimKey, at: Timestamp) -> Finish {
    let output = Output { content_type: None, body: b"made".to_vec() };
    finish(claim, Outcome::Succeeded, Transition::Succeed(output), at)
}

fn lock(text: &str) -> LockName {
    LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: text.into() }
}

/// Awaits something that comes soon or never.
async fn soon<T>(told: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("it did not come")
}

#[tokio::test]
async fn a_newer_schema_that_serves_this_program_is_opened_and_another_is_refused() {
    let database = Database::new().await;
    drop(database.open("one").await);

    database.psql(&format!("UPDATE meta SET version = 99, serves = {}", schema::VERSION));
    drop(database.open("one").await);
    let kept = database.psql("SELECT version, serves FROM meta");
    database.psql("UPDATE meta SET serves = 99");
    let refused = database.try_open("one").await;

    assert_eq!(kept, format!("99|{}", schema::VERSION));
    let Err(StoreError::Unusable(line)) = refused else { panic!("{refused:?}") };
    assert!(line.contains("has version 99") && line.contains("use the newer sexton"), "{line}");
    assert!(!line.contains('\n'), "{line}");
}

#[tokio::test]
async fn many_hosts_may_make_the_schema_at_once() {
    let database = Database::new().await;

    let opened = futures_util::future::join_all((0..4).map(|_| database.open("one"))).await;

    let run = enqueue(&opened[0], vec![new("a")]).await[0];
    assert!(opened[3].run(run).await.unwrap().is_some());
}

#[tokio::test]
async fn a_host_opens_the_store_while_another_creates_a_days_table() {
    let database = Database::new().await;
    let first = database.open("one").await;
    let days = "SELECT max(relname) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname ~ '^runs_[0-9]+$'";
    let table = database.psql(days).trim().to_owned();

    // A table that is being created has its type first.
    database.psql(&format!("DROP TABLE {table}; CREATE TYPE {table} AS ENUM ()"));

    let second = database.open("two").await;
    let run = enqueue(&first, vec![new("a")]).await[0];
    assert!(second.run(run).await.unwrap().is_some());
}

#[tokio::test]
async fn a_nul_is_kept_in_names_and_values_and_replaced_in_texts() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let odd = NewRun { note: Some("a\0note".into()), ..keyed("a", "a\0key") };
    let run = enqueue(&store, vec![odd.clone()]).await[0];
    let claim = claimed(&store, "a", NOW).await[0].key;
    let key = CacheKey { tenant: Name::default_tenant(), key: "a\0key".into() };
    let write = CacheWrite {
        key: key.clone(),
        value: b"\0".to_vec(),
        expires_at: None,
        claim: Some(claim),
        only: WriteIf::Always,
        keep: None,
        quota: 99,
        budget: None,
        now: NOW,
    };

    store.acquire_lock(lock("a\0lock"), LockMode::Exclusive, claim, NOW).await.unwrap();
    let held = store.locks(Name::default_tenant()).await.unwrap();
    store.cache_write(write).await.unwrap();
    let entries = store.cache_list(CacheKey { key: "a\0".into(), ..key.clone() }, None, 9, NOW).await.unwrap();
    let output = Output { content_type: Some("a\0type".into()), body: b"\0".to_vec() };
    let mut end = finish(claim, Outcome::Succeeded, Transition::Succeed(output), NOW);
    end.report.message = Some("a\0message".into());
    end.report.backtrace = Some("a\0backtrace".into());
    end.report.log.text = "a\0log".into();
    store.finish(end.into()).await.unwrap();
    store.pause(PauseTarget::Task(task("a")), Some("a\0reason".into()), NOW).await.unwrap();
    store.record_missed(task("a"), "left\0out").await.unwrap();

    assert_eq!((held[0].lock.name.as_str(), entries[0].key.as_str()), ("a\0lock", "a\0key"));
    assert_eq!(store.cache_get(key, NOW).await.unwrap().unwrap().value, b"\0");
    let info = store.run(run).await.unwrap().unwrap();
    assert_eq!((info.message.as_deref(), info.note.as_deref()), (Some("a\u{fffd}message"), Some("a\u{fffd}note")));
    assert_eq!(store.output(run).await.unwrap().unwrap().body, b"\0");
    let attempt = store.attempts(run).await.unwrap().remove(0);
    assert_eq!(attempt.report.log.text, "a\u{fffd}log");
    assert_eq!(store.task_states().await.unwrap()[&task("a")].left_out.as_deref(), Some("left\u{fffd}out"));
    // Only the original key finds the run.
    let (known, other) = ((task("a"), "a\0key".to_owned()), (task("a"), "a key".to_owned()));
    assert_eq!(store.run_states(vec![known.clone(), other]).await.unwrap().into_keys().collect::<Vec<_>>(), [known]);
    assert_eq!(store.enqueue(vec![odd], NOW).await.unwrap(), [EnqueueOutcome::Existing(run)]);
    let waiting = enqueue(&store, vec![new("a")]).await[0];
    assert_eq!(store.cancel(waiting, "no\0more", NOW).await.unwrap(), Cancelled::Done);
}

#[tokio::test]
async fn work_that_fails_does_not_fail_the_rest_of_its_batch() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let run = enqueue(&store, vec![new("a")]).await[0];

    let bad = async { act!(store.acts, [], |tx| tx.execute("INSERT INTO nowhere VALUES (1)", &[])) };
    let (before, bad, after) = tokio::join!(store.record_missed(task("a"), "one"), bad, store.cancel(run, "no", NOW));

    before.unwrap();
    assert!(matches!(&bad, Err(StoreError::Other(why)) if why.contains("nowhere")), "{bad:?}");
    assert_eq!(after.unwrap(), Cancelled::Done);
    assert_eq!(store.counts().await.unwrap()[&RunState::Cancelled], 1);
}

#[tokio::test]
async fn a_lock_name_that_no_run_holds_or_waits_for_is_deleted() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let [one, two, ..] = four(&store).await;
    for text in ["held", "waited for", "idle"] {
        store.acquire_lock(lock(text), LockMode::Exclusive, one, NOW).await.unwrap();
    }
    store.wait_for_lock(lock("waited for"), LockMode::Exclusive, two, NOW).await.unwrap();
    for text in ["waited for", "idle"] {
        store.release_lock(lock(text), one).await.unwrap();
    }

    let all = Retention { runs: u64::MAX, age: Duration::MAX, bytes: u64::MAX };
    store.prune(all, NOW).await.unwrap();

    let names = database.psql("SELECT convert_from(name, 'UTF8') FROM lock_names ORDER BY name");
    assert_eq!(names, "held\nwaited for");
    let again = store.acquire_lock(lock("idle"), LockMode::Exclusive, two, NOW).await.unwrap();
    assert!(matches!(again, LockTaken::Yes { .. }), "{again:?}");
}

// This test notices a statement that goes through all live runs, whatever made the planner do so. The statistics with
// which it once chose an index of a task's runs for that (see `archive.rs`) could not be made by hand.
#[tokio::test]
async fn many_waiting_runs_are_still_found_by_number_after_planning_without_any() {
    let database = Database::new().await;
    let store = database.open("one").await;
    database.psql("VACUUM (ANALYZE)");
    let round = async || {
        let claims: Vec<ClaimKey> = claimed(&store, "a", NOW).await.iter().map(|claim| claim.key).collect();
        store.extend(claims.clone(), NOW.plus(LEASE)).await.unwrap();
        let ends = claims.iter().map(|claim| store.finish(Arc::new(success(*claim, NOW))));
        futures_util::future::try_join_all(ends).await.unwrap();
        claims.len()
    };
    for _ in 0..20 {
        enqueue(&store, vec![new("a"); 3]).await;
        assert_eq!(round().await, 3);
    }
    enqueue(&store, vec![new("a"); 3000]).await;

    for _ in 0..20 {
        assert_eq!(round().await, 9);
    }

    // A connection reports its counts when it is closed.
    drop(store);
    let counted = async {
        loop {
            let sums = "SELECT sum(idx_scan), sum(idx_tup_read) FROM pg_stat_user_indexes \
                        WHERE schemaname = current_schema() AND relname = 'runs_live'";
            let (scans, read) = database.psql(sums).split_once('|').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            if scans.parse::<u64>().unwrap() >= 3 * (20 * 3 + 20 * 9) {
                break read.parse::<u64>().unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let read = soon(counted).await;
    assert!(read < 20_000, "{read} entries of indexes were read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extending_claims_and_ending_runs_do_not_deadlock() {
    // The server counts deadlocks by database, so this test has one of its own.
    cluster::shared().psql("CREATE DATABASE circles");
    let url = cluster::shared().url();
    let url = DatabaseUrl::new(&format!("{}/circles", url.rsplit_once('/').unwrap().0)).unwrap();
    let options = PostgresOptions { url, schema: "sexton".into(), ca: None, host: "one".into() };
    let store = PostgresStore::open(&options).await.unwrap();

    for _ in 0..60 {
        enqueue(&store, vec![new("a"); 9]).await;
        let mut claims: Vec<ClaimKey> = claimed(&store, "a", NOW).await.iter().map(|claim| claim.key).collect();
        let ends: Vec<_> = claims.iter().map(|claim| Arc::new(success(*claim, NOW))).collect();
        claims.reverse();
        let (extending, ending) = (store.clone(), store.clone());
        let extending = tokio::spawn(async move { extending.extend(claims, NOW.plus(LEASE)).await });
        futures_util::future::try_join_all(ends.into_iter().map(|end| ending.finish(end))).await.unwrap();
        extending.await.unwrap().unwrap();
    }

    drop(store);
    let deadlocks = async {
        while cluster::shared().psql("SELECT numbackends FROM pg_stat_database WHERE datname = 'circles'") != "0" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster::shared().psql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'circles'")
    };
    assert_eq!(soon(deadlocks).await, "0");
}

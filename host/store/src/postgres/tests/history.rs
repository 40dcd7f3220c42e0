//! Tests of history by the day, and of the sums.

use const_format::formatcp;

use crate::backfills::Backfills as _;
use crate::claims::Claims as _;
use crate::codes::{CANCELLED, FAILED, RUNNING, SUCCEEDED, WAITING};
use crate::history::History as _;
use crate::postgres::views::page_of_window;
use crate::runs::Runs as _;
use crate::views::Views as _;
use crate::{EnqueueOutcome, NewRun, Retention, Store as _};
use sexton_domain::run::{ClaimKey, RunId, RunState};
use sexton_domain::time::Timestamp;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Makes a run of the task `a` with `key` that ended at `at`, as a success or not.
async fn ended(store: &PostgresStore, key: &str, succeeds: bool, at: Timestamp) -> RunId {
    let run = NewRun { input: b"in".to_vec(), ..keyed("a", key) };
    let run = enqueue(store, vec![run]).await[0];
    // The run is due then, whatever `at` is.
    let claim = claimed(store, "a", NOW.max(at)).await.into_iter().find(|claim| claim.key.run == run).unwrap().key;
    let mut end = match succeeds {
        true => success(claim, at),
        false => finish(claim, Outcome::FailedPermanent, Transition::Fail, at),
    };
    end.report.log.text = "line".into();
    store.finish(end.into()).await.unwrap();
    run
}

/// Returns the sums as they are kept, and as counting gives them.
fn sums(database: &Database) -> [String; 2] {
    [
        "SELECT sum(waiting), sum(running), sum(succeeded), sum(failed), sum(cancelled), sum(bytes) FROM tally",
        formatcp!(
            "SELECT count(*) FILTER (WHERE state = {WAITING}), count(*) FILTER (WHERE state = {RUNNING}), \
             count(*) FILTER (WHERE state = {SUCCEEDED}), count(*) FILTER (WHERE state = {FAILED}), \
             count(*) FILTER (WHERE state = {CANCELLED}), \
             coalesce(sum(bytes) FILTER (WHERE state > {RUNNING}), 0) FROM runs"
        ),
    ]
    .map(|sql| database.psql(sql))
}

async fn prune(store: &PostgresStore, retention: &Retention, now: Timestamp) -> u64 {
    let mut gone = 0;
    for _ in 0..100 {
        match store.prune(retention.clone(), now).await.unwrap() {
            0 => return gone,
            some => gone += some,
        }
    }
    panic!("pruning does not end");
}

#[tokio::test]
async fn a_day_that_is_too_old_is_dropped_except_for_rows_that_must_stay() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let now = store.time().await.unwrap().unwrap();
    let early = ended(&store, "early", true, now).await;
    let good = ended(&store, "good", true, now).await;
    let bad = ended(&store, "bad", false, now).await;
    let waits = enqueue(&store, vec![new("a")]).await[0];
    let runs = format!("runs_{}", now.to_utc().format("%Y%m%d"));
    let there = |table: &str| database.psql(&format!("SELECT to_regclass('{table}') IS NOT NULL"));
    assert_eq!(database.psql(&format!("SELECT count(*) FROM {runs}")), "3", "they lie in their day's table");

    let retention = Retention { runs: u64::MAX, age: DAY, bytes: u64::MAX };
    assert_eq!(prune(&store, &retention, now.plus(DAY / 2)).await, 0);
    let gone = prune(&store, &retention, now.plus(DAY * 10)).await;

    assert_eq!((gone, there(&runs)), (2, "f".to_owned()));
    assert_eq!(there(&format!("runs_{}", now.plus(DAY * 11).to_utc().format("%Y%m%d"))), "t", "a coming day's is made");
    for lost in [early, bad] {
        assert!(store.run(lost).await.unwrap().is_none());
        assert!(store.attempts(lost).await.unwrap().is_empty());
    }
    let info = store.run(good).await.unwrap().unwrap();
    assert_eq!((info.state, info.ended_at), (RunState::Succeeded, Some(now)));
    assert_eq!(store.latest_success(task("a")).await.unwrap(), Some((good, now)));
    assert_eq!(store.output(good).await.unwrap().unwrap().body, b"made");
    assert_eq!(store.attempts(good).await.unwrap()[0].report.log.text, "line");
    assert!(store.run(waits).await.unwrap().is_some());
    let [kept, counted] = sums(&database);
    assert_eq!(kept, counted);
    // A key is taken for as long as its run is kept.
    let again = store.enqueue(vec![keyed("a", "good"), keyed("a", "bad")], NOW).await.unwrap();
    assert!(matches!(again[..], [EnqueueOutcome::Existing(run), EnqueueOutcome::New(_)] if run == good), "{again:?}");
}

#[tokio::test]
async fn two_hosts_that_drop_a_day_at_once_drop_it_once() {
    let database = Database::new().await;
    let [one, two] = database.pair().await;
    let now = one.time().await.unwrap().unwrap();
    for key in ["a", "b", "c"] {
        ended(&one, key, false, now).await;
    }

    let retention = Retention { runs: u64::MAX, age: DAY, bytes: u64::MAX };
    let later = now.plus(DAY * 10);
    let (by_one, by_two) = tokio::join!(prune(&one, &retention, later), prune(&two, &retention, later));

    assert_eq!(by_one + by_two, 3);
    let [kept, counted] = sums(&database);
    assert_eq!((kept.as_str(), kept.as_str()), ("0|0|0|0|0|0", counted.as_str()));
}

#[tokio::test]
async fn a_run_over_on_a_day_without_a_table_is_still_pruned() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let now = store.time().await.unwrap().unwrap();
    let long_ago = now.minus(DAY * 30);
    let old = ended(&store, "old", false, long_ago).await;
    assert_eq!(database.psql("SELECT count(*) FROM runs_over"), "1");

    let retention = Retention { runs: u64::MAX, age: DAY * 7, bytes: u64::MAX };
    assert_eq!(prune(&store, &retention, now).await, 1);

    assert!(store.run(old).await.unwrap().is_none());
}

#[tokio::test]
async fn attempts_are_in_the_partition_of_their_run_however_it_ended() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let now = store.time().await.unwrap().unwrap();
    enqueue(&store, vec![new("a"); 2]).await;
    let now_or_due = NOW.max(now);
    let wait = || Transition::Wait { run_at: now_or_due, failed: true };
    for claim in claimed(&store, "a", now_or_due).await {
        store.finish(finish(claim.key, Outcome::FailedTransient, wait(), now).into()).await.unwrap();
    }
    let live = || database.psql("SELECT count(*) FROM attempts_live");
    assert_eq!(live(), "2");

    let mut again: Vec<ClaimKey> = claimed(&store, "a", now_or_due).await.iter().map(|claim| claim.key).collect();
    let last = again.pop().unwrap();
    store.finish(success(last, now).into()).await.unwrap();
    let other = again.pop().unwrap();
    store.finish(finish(other, Outcome::FailedTransient, wait(), now).into()).await.unwrap();
    store.cancel(other.run, "no", now).await.unwrap();

    assert_eq!(live(), "0");
    assert_eq!(store.attempts(last.run).await.unwrap().len(), 2);
    assert_eq!(store.attempts(other.run).await.unwrap().len(), 2);
}

#[tokio::test]
async fn sums_equal_what_counting_gives() {
    let database = Database::new().await;
    let pair = database.pair().await;
    for n in 0..40 {
        let store = &pair[n % 2];
        let run = enqueue(store, vec![NewRun { input: vec![7; n], ..new("a") }]).await[0];
        match n % 5 {
            0 => drop(store.cancel(run, "no", NOW).await.unwrap()),
            1 => drop(store.finish(success(claimed(store, "a", NOW).await[0].key, NOW).into()).await.unwrap()),
            2 => drop(claimed(store, "a", NOW).await),
            _ => {}
        }
    }

    let retention = Retention { runs: 9, age: Duration::MAX, bytes: u64::MAX };
    assert!(prune(&pair[0], &retention, NOW).await > 0);

    let [kept, counted] = sums(&database);
    assert_eq!(kept, counted);
    assert!(!kept.contains('-'), "{kept}");
}

#[tokio::test]
async fn a_window_reads_no_more_than_a_page_of_the_runs_before_it() {
    let database = Database::new().await;
    let store = database.open("one").await;
    for _ in 0..6 {
        store.enqueue(vec![new("a"); 500], NOW).await.unwrap();
    }
    let since = NOW.plus(Duration::from_secs(60));
    let made: Vec<_> = store.enqueue(vec![new("a"); 3], since).await.unwrap().iter().map(EnqueueOutcome::run).collect();
    database.psql("ANALYZE runs_live");

    let window = store.window(task("a"), since, 10_000).await.unwrap();
    let all = store.window(task("a"), NOW, 10_000).await.unwrap();
    let cut = store.window(task("a"), NOW, 3000).await.unwrap();
    let page = page_of_window(&task("a"), since, i64::MAX);
    let plan = database.psql(&format!("EXPLAIN (ANALYZE, TIMING OFF, COSTS OFF) {page}"));

    assert_eq!(window.runs.iter().rev().map(|run| run.run).collect::<Vec<_>>(), made);
    assert_eq!((window.cut, all.runs.len(), all.cut, cut.runs.len(), cut.cut), (false, 3003, false, 3000, true));
    assert!(plan.contains("runs_live_task_expr_idx"), "{plan}");
    assert!(!plan.contains("Removed by Filter"), "{plan}");
    let read = plan.split("rows=").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(read.max().is_some_and(|rows| rows <= 1000), "{plan}");
}

#[tokio::test]
async fn cancelling_the_backfill_of_an_unknown_task_leaves_no_row() {
    let database = Database::new().await;
    let store = database.open("one").await;

    assert_eq!(store.cancel_backfill(task("unknown"), "a mistake", NOW).await.unwrap(), 0);

    assert_eq!(database.psql("SELECT count(*) FROM tasks").trim(), "0");
}

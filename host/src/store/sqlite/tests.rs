//! Runs the conformance tests on this store, and tests what can happen only to a file.

mod batches;
mod crashes;
mod files;

use crate::run::ClaimKey;
use crate::run::Output;
use crate::run::RunId;
use crate::run::RunState;
use crate::store::CacheWrite;
use crate::store::Cancelled;
use crate::store::ClaimRequest;
use crate::store::Finish;
use crate::store::LockName;
use crate::store::Retention;
use crate::store::RunFilter;
use crate::store::cache::Cache as _;
use crate::store::claims::Claims as _;
use crate::store::codes::{FAILED, RUNNING, WAITING};
use crate::store::history::History as _;
use crate::store::locks::Locks as _;
use crate::store::runs::Runs as _;
use crate::store::schedules::Schedules as _;
use crate::store::tasks::Tasks as _;
use crate::store::{CacheKey, LockMode, NewRun, Store as _};
use crate::task::Name;
use crate::task::TaskKey;
use crate::time::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use const_format::formatcp;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::run::{Cause, Outcome};
use crate::store::conformance::{self, promises};
use crate::store::{Fire, LockKind, WriteIf};
use crate::supervision::Supervision;
use crate::testkit;

/// Opens a store in a directory of its own, which is removed with the second value.
fn open() -> (Arc<SqliteStore>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open_at(&directory.path().join("store.db")), directory)
}

fn open_at(path: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(path, &SqliteOptions::default()).unwrap()
}

macro_rules! on_sqlite {
    ($($room:ident { $($promise:ident)* })*) => {
        mod keeps {
            $(mod $room {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let (store, _directory) = super::super::open();
                    super::super::conformance::$room::$promise(store).await;
                })*
            })*
        }
    };
}
promises!(on_sqlite);

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    #[test]
    fn all_steps_of_hosts_have_the_same_result_as_in_a_model_in_memory(steps in conformance::model::steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (store, _directory) = open();
        runtime.block_on(conformance::model::live(store, steps))?;
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn task() -> TaskKey {
    TaskKey { tenant: Name::default_tenant(), task: Name::new("a").unwrap() }
}

fn new(input: Vec<u8>) -> NewRun {
    NewRun { input, ..NewRun::of(task(), NOW, Cause::Demand) }
}

async fn enqueue(store: &SqliteStore, input: Vec<u8>) -> Result<RunId> {
    Ok(store.enqueue(vec![new(input)], NOW).await?[0].run())
}

async fn claim(store: &SqliteStore) -> ClaimKey {
    let request = ClaimRequest { limit: 1, ..testkit::claim_request([(task(), 1000)], NOW) };
    store.claim(request).await.unwrap().claims[0].key
}

fn finish(claim: ClaimKey) -> Finish {
    let transition = crate::lifecycle::Transition::Succeed(Output { content_type: None, body: b"made".to_vec() });
    testkit::finish(claim, transition, testkit::report(Outcome::Succeeded, NOW))
}

#[tokio::test]
async fn sums_equal_what_counting_gives() {
    let (store, _directory) = open();
    for n in 0..40 {
        let run = enqueue(&store, vec![7; n]).await.unwrap();
        match n % 4 {
            0 => drop(store.cancel(run, "no", NOW).await.unwrap()),
            1 => drop(store.finish(finish(claim(&store).await).into()).await.unwrap()),
            2 => drop(claim(&store).await),
            _ => {}
        }
    }
    let retention = Retention { runs: 9, age: std::time::Duration::MAX, bytes: u64::MAX };
    store.prune(retention, NOW).await.unwrap();

    let (kept, counted) = store
        .read(|conn| {
            let row = |sql| conn.query_row(sql, [], |r| Ok([r.get(0)?, r.get(1)?, r.get(2)?, r.get::<_, i64>(3)?]));
            let kept = row("SELECT waiting, running, succeeded + failed + cancelled, bytes FROM tasks")?;
            let counted = row(formatcp!(
                "SELECT sum(state = {WAITING}), sum(state = {RUNNING}), sum(state > {RUNNING}), \
                 sum(iif(state > {RUNNING}, bytes, 0)) FROM runs"
            ))?;
            let bytes = conn.query_row(
                formatcp!(
                    "SELECT coalesce((SELECT sum(length(body) + 16) FROM inputs JOIN runs ON id = run \
                     WHERE state > {RUNNING}), 0) + coalesce((SELECT sum(length(body) + 16) FROM outputs), 0)"
                ),
                [],
                |r| r.get::<_, i64>(0),
            )?;
            assert_eq!(counted[3], bytes);
            Ok((kept, counted))
        })
        .await
        .unwrap();

    assert_eq!(kept, counted);
    assert!(kept.iter().all(|count| *count > 0), "{kept:?}");
}

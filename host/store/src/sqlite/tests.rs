//! Runs the conformance tests on this store, and tests what can happen only to a file.

mod batches;
mod crashes;
mod files;
mod lists;

use crate::CacheWrite;
use crate::Cancelled;
use crate::ClaimRequest;
use crate::Finish;
use crate::LockName;
use crate::Retention;
use crate::RunFilter;
use crate::cache::Cache as _;
use crate::claims::Claims as _;
use crate::codes::{FAILED, RUNNING, WAITING};
use crate::history::History as _;
use crate::locks::Locks as _;
use crate::runs::Runs as _;
use crate::schedules::Schedules as _;
use crate::tasks::Tasks as _;
use crate::{CacheKey, LockMode, NewRun, Store as _};
use sexton_domain::run::ClaimKey;
use sexton_domain::run::Output;
use sexton_domain::run::RunId;
use sexton_domain::run::RunState;
use sexton_domain::task::Name;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use const_format::formatcp;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, promises};
use crate::testkit;
use crate::{Fire, LockKind, WriteIf};
use sexton_domain::run::{Cause, Outcome};
use sexton_domain::supervision::Supervision;

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
    let transition =
        sexton_domain::lifecycle::Transition::Succeed(Output { content_type: None, body: b"made".to_vec() });
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

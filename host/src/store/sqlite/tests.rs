//! Runs the conformance tests on this store, and tests what can happen only to a file.

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
use std::collections::BTreeMap;
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
    let tasks = Arc::new([(task(), 1000)].into());
    let lease = std::time::Duration::from_secs(30);
    store
        .claim(ClaimRequest {
            host: "one".into(),
            tasks,
            limit: 1,
            policies: Arc::default(),
            tenants: BTreeMap::new(),
            lease,
            now: NOW,
        })
        .await
        .unwrap()
        .claims[0]
        .key
}

fn finish(claim: ClaimKey) -> Finish {
    let transition = crate::lifecycle::Transition::Succeed(Output { content_type: None, body: b"made".to_vec() });
    testkit::finish(claim, transition, testkit::report(Outcome::Succeeded, NOW))
}

/// Returns the line with which opening `path` fails.
fn refusal(path: &Path) -> String {
    let line = match SqliteStore::open(path, &SqliteOptions::default()) {
        Err(StoreError::Unusable(line)) => line,
        other => panic!("{other:?}"),
    };
    assert!(!line.contains('\n') && line.contains(path.to_str().unwrap()), "{line}");
    line
}

/// Copies the file and its WAL as they are at this moment, as a crash would leave them.
fn crash_image(path: &Path, to: &Path) {
    for ending in ["", "-wal"] {
        let file = |path: &Path| format!("{}{ending}", path.display());
        std::fs::copy(file(path), file(to)).unwrap();
    }
}

#[tokio::test]
async fn answered_writes_survive_a_crash() {
    let (store, directory) = open();
    let over = enqueue(&store, b"in".to_vec()).await.unwrap();
    let claimed = claim(&store).await;
    store.finish(finish(claimed).into()).await.unwrap();
    let running = enqueue(&store, vec![]).await.unwrap();
    let held = claim(&store).await;
    let lock = LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: "x".into() };
    store.acquire_lock(lock, LockMode::Exclusive, held, NOW).await.unwrap();
    let key = CacheKey { tenant: Name::default_tenant(), key: "k".into() };
    let write = CacheWrite {
        key: key.clone(),
        value: b"v".to_vec(),
        expires_at: None,
        claim: None,
        only: WriteIf::Always,
        quota: 99,
        budget: None,
        now: NOW,
    };
    store.cache_write(write).await.unwrap();
    store.fire(Fire { task: task(), runs: vec![], cursor: NOW, expect: None, memory: None, now: NOW }).await.unwrap();

    let image = directory.path().join("image.db");
    crash_image(&directory.path().join("store.db"), &image);
    let after = open_at(&image);

    assert_eq!(after.output(over).await.unwrap().unwrap().body, b"made");
    assert_eq!(after.input(over).await.unwrap().unwrap(), b"in");
    assert_eq!(after.attempts(over).await.unwrap().len(), 1);
    assert_eq!(after.counts().await.unwrap(), store.counts().await.unwrap());
    assert_eq!(after.cache_get(key, NOW).await.unwrap().unwrap().value, b"v");
    assert_eq!(after.task_states().await.unwrap()[&task()].cursor, Some(NOW));
    assert_eq!(after.locks(Name::default_tenant()).await.unwrap().len(), 1);
    // The claim is of an earlier life: it is found at once, its attempt is ended, and its lock is free.
    let expired = after.expired(NOW, 9).await.unwrap();
    assert_eq!(expired.iter().map(|e| e.claim).collect::<Vec<_>>(), [held]);
    after.finish(Finish { expired_by: Some(NOW), ..finish(held) }.into()).await.unwrap();
    assert!(after.locks(Name::default_tenant()).await.unwrap().is_empty());
    let next = enqueue(&after, vec![]).await.unwrap();
    assert!(next > running && claim(&after).await.fence > held.fence);
}

#[tokio::test]
async fn the_standing_of_a_task_survives_a_crash() {
    let (store, directory) = open();
    let supervision = Supervision { pause_after: Some(3), ..Supervision::default() };
    for _ in 0..3 {
        enqueue(&store, vec![]).await.unwrap();
        let mut end = finish(claim(&store).await);
        end.transition = crate::lifecycle::Transition::Fail;
        end.report.outcome = Outcome::Trapped;
        store.finish(Finish { supervision, ..end }.into()).await.unwrap();
    }
    let image = directory.path().join("image.db");

    crash_image(&directory.path().join("store.db"), &image);

    let after = open_at(&image);
    let state = after.task_states().await.unwrap().remove(&task()).unwrap();
    assert!(state.paused.as_ref().is_some_and(|pause| pause.why.is_some() && pause.since == Some(NOW)), "{state:?}");
    let held_until = Some(NOW.plus(std::time::Duration::from_secs(1)));
    assert_eq!(state.standing, crate::supervision::Standing { failures: 3, crashes: 3, held_until });
    // The writer acts on this state, and does not only show it.
    enqueue(&after, vec![]).await.unwrap();
    let tasks = Arc::new([(task(), 9)].into());
    let lease = std::time::Duration::from_secs(30);
    let request = ClaimRequest {
        host: "one".into(),
        tasks,
        limit: 9,
        policies: Arc::default(),
        tenants: BTreeMap::new(),
        lease,
        now: NOW,
    };
    assert!(after.claim(request).await.unwrap().claims.is_empty());
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_commit_leaves_the_one_before() {
    let (store, directory) = open();
    let first = enqueue(&store, vec![1; 10_000]).await.unwrap();
    let whole = std::fs::metadata(directory.path().join("store.db-wal")).unwrap().len();
    let second = enqueue(&store, vec![2; 10_000]).await.unwrap();
    let image = directory.path().join("image.db");

    crash_image(&directory.path().join("store.db"), &image);
    let wal = std::fs::OpenOptions::new().write(true).open(directory.path().join("image.db-wal")).unwrap();
    wal.set_len(whole + 5000).unwrap();

    let after = open_at(&image);
    assert_eq!(after.input(first).await.unwrap(), Some(vec![1; 10_000]));
    assert_eq!(after.input(second).await.unwrap(), None);
    assert_eq!(after.counts().await.unwrap()[&RunState::Waiting], 1);
    assert_eq!(enqueue(&after, vec![]).await.unwrap(), second);
}

#[tokio::test]
async fn a_store_that_was_closed_is_one_file_and_opens_again() {
    let (store, directory) = open();
    let path = directory.path().join("store.db");
    let run = enqueue(&store, b"in".to_vec()).await.unwrap();

    drop(store);

    assert!(!directory.path().join("store.db-wal").exists());
    assert_eq!(open_at(&path).input(run).await.unwrap().unwrap(), b"in");
}

#[tokio::test]
async fn the_wal_begins_anew_however_much_is_written() {
    let (store, directory) = open();

    for _ in 0..100 {
        store.enqueue(vec![new(vec![7; 1 << 20])], NOW).await.unwrap();
        let run = store.runs(RunFilter { limit: 1, ..RunFilter::default() }).await.unwrap()[0].id;
        store.cancel(run, "enough", NOW).await.unwrap();
    }

    let wal = std::fs::metadata(directory.path().join("store.db-wal")).unwrap().len();
    assert!(wal < 80 << 20, "{wal} bytes");
}

#[test]
fn a_second_host_is_told_which_process_has_the_file() {
    let (store, directory) = open();
    let path = directory.path().join("store.db");

    let line = refusal(&path);

    assert!(line.contains(&format!("in use by the process with id {}: stop", std::process::id())), "{line}");
    drop(store);
    open_at(&path);
}

#[test]
fn a_file_of_a_newer_schema_is_refused_and_left_alone() {
    let (store, directory) = open();
    let path = directory.path().join("store.db");
    drop(store);
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(&path).unwrap();

    let line = refusal(&path);

    assert!(line.contains("has schema 99") && line.contains(&format!("up to {}", schema::VERSION)), "{line}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (text, other) = (directory.path().join("text.db"), directory.path().join("other.db"));
    std::fs::write(&text, "not a database, and long enough to have a header of its own, as it were: ".repeat(9))
        .unwrap();
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = [std::fs::read(&text).unwrap(), std::fs::read(&other).unwrap()];

    assert!(refusal(&text).contains("is not a SQLite database: move it away"));
    assert!(refusal(&other).contains("not a store of sexton's"));

    assert_eq!([std::fs::read(&text).unwrap(), std::fs::read(&other).unwrap()], before);
}

#[tokio::test]
async fn a_damaged_file_is_refused_when_it_is_opened() {
    let (store, directory) = open();
    let path = directory.path().join("store.db");
    for _ in 0..50 {
        enqueue(&store, vec![7; 2000]).await.unwrap();
    }
    drop(store);
    let good = std::fs::read(&path).unwrap();

    let mut overwritten = good.clone();
    overwritten[4096..].chunks_mut(4096).for_each(|page| page[..100].fill(0xa5));
    for bad in [&overwritten[..], &good[..good.len() / 2]] {
        std::fs::write(&path, bad).unwrap();
        let line = refusal(&path);
        assert!(line.contains("is damaged") && line.contains("restore it from a backup"), "{line}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_refused_when_it_is_opened() {
    let (store, directory) = open();
    let path = directory.path().join("store.db");
    drop(store);
    // Root may write read-only files, unless this thread gives that up.
    without_root(|| {
        set_mode(&path, 0o444);
        assert!(refusal(&path).contains("is read-only: let this user write the file and its directory"));
        set_mode(&path, 0o644);
        std::fs::remove_file(directory.path().join("store.db.lock")).unwrap();
        set_mode(directory.path(), 0o555);
        assert!(refusal(&path).contains("is read-only"));
        set_mode(directory.path(), 0o755);
    });
    assert!(refusal(&directory.path().join("none/store.db")).contains("its directory does not exist"));
    open_at(&path);
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Does `work` without root's right to write anything, which each thread can give up for itself.
fn without_root(work: impl FnOnce() + Send) {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::DAC_OVERRIDE);
            set_capabilities(None, sets).unwrap();
            work();
        });
        thread.join().unwrap();
    });
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_hinders_nothing_once_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let options = SqliteOptions { max_bytes: Some(1 << 20), ..SqliteOptions::default() };
    let store = SqliteStore::open(&path, &options).unwrap();
    let claimed = {
        enqueue(&store, vec![]).await.unwrap();
        claim(&store).await
    };
    let mut runs = Vec::new();
    let full = loop {
        match enqueue(&store, vec![7; 50_000]).await {
            Ok(run) => runs.push(run),
            Err(full) => break full,
        }
        assert!(runs.len() < 100, "the disk does not get full");
    };

    let counts = store.counts().await.unwrap();
    let again = enqueue(&store, vec![7; 50_000]).await;

    assert!(matches!(&full, StoreError::DiskFull(file) if file == path.to_str().unwrap()), "{full:?}");
    assert!(matches!(again, Err(StoreError::DiskFull(_))), "{again:?}");
    assert_eq!(counts[&RunState::Waiting], runs.len() as u64);
    assert_eq!(store.counts().await.unwrap(), counts);
    assert_eq!(store.input(runs[0]).await.unwrap(), Some(vec![7; 50_000]));
    // A write that needs no room is still done, and one that makes room is enough to go on.
    store.finish(finish(claimed).into()).await.unwrap();
    for run in &runs[..2] {
        assert_eq!(store.cancel(*run, "make room", NOW).await.unwrap(), Cancelled::Done);
    }
    let retention = Retention { runs: 0, age: std::time::Duration::ZERO, bytes: 0 };
    assert_eq!(store.prune(retention, NOW).await.unwrap(), 2);
    enqueue(&store, vec![7; 50_000]).await.unwrap();
    drop(store);
    assert_eq!(open_at(&path).counts().await.unwrap()[&RunState::Waiting], runs.len() as u64 - 1);
}

/// Keeps the writer busy until the returned sender is dropped or used, so that all commands sent by then are one batch.
async fn busy(store: &SqliteStore) -> std::sync::mpsc::Sender<()> {
    let (release, wait) = channel();
    let (begun, started) = tokio::sync::oneshot::channel();
    let (wait, begun) = (std::sync::Mutex::new(wait), std::sync::Mutex::new(Some(begun)));
    let (command, _answer) = command(move |_| {
        if let Some(begun) = begun.lock().unwrap().take() {
            begun.send(()).unwrap();
        }
        // An error means that the sender is gone, which also ends the wait.
        let _ = wait.lock().unwrap().recv();
        Ok(())
    });
    store.commands.as_ref().unwrap().send(command).unwrap();
    started.await.unwrap();
    release
}

#[tokio::test]
async fn commands_that_have_gathered_are_one_commit() {
    let (store, _directory) = open();
    let before = store.stats();
    let release = busy(&store).await;

    // Each is in the writer's queue once it has been polled.
    let mut asked: Vec<_> = (0..20).map(|_| Box::pin(enqueue(&store, vec![]))).collect();
    for ask in &mut asked {
        assert!(futures_util::poll!(ask.as_mut()).is_pending());
    }
    drop(release);
    for ask in asked {
        ask.await.unwrap();
    }

    // The busy command has used the first batch's time: that is one commit, and the rest are one or two.
    let commits = store.stats().commits - before.commits;
    assert!((1..=3).contains(&commits), "{commits}");
    assert_eq!(store.stats().syncs - before.syncs, commits);
    assert_eq!(store.counts().await.unwrap()[&RunState::Waiting], 20);
}

#[tokio::test]
async fn a_command_that_cannot_succeed_hurts_only_itself() {
    let (store, _directory) = open();
    let release = busy(&store).await;
    let mut good = Box::pin(enqueue(&store, vec![]));
    let mut sql = Box::pin(store.write(|w| {
        w.conn.execute(formatcp!("UPDATE runs SET state = {FAILED}"), [])?;
        Ok(w.conn.execute("INSERT INTO nowhere VALUES (1)", [])?)
    }));
    let mut panic = Box::pin(store.write(|w| -> Step<()> {
        w.conn.execute("DELETE FROM runs", [])?;
        panic!("as the test has it")
    }));
    let mut better = Box::pin(enqueue(&store, vec![]));
    assert!(futures_util::poll!(good.as_mut()).is_pending());
    assert!(futures_util::poll!(sql.as_mut()).is_pending());
    assert!(futures_util::poll!(panic.as_mut()).is_pending());
    assert!(futures_util::poll!(better.as_mut()).is_pending());

    drop(release);

    let (good, sql, panic, better) = (good.await, sql.await, panic.await, better.await);
    assert!(good.unwrap() < better.unwrap());
    assert!(matches!(&sql, Err(StoreError::Other(why)) if why.contains("nowhere")), "{sql:?}");
    assert!(matches!(panic, Err(StoreError::Other(_))), "{panic:?}");
    assert_eq!(store.counts().await.unwrap()[&RunState::Waiting], 2);
    let claimed = claim(&store).await;
    store.finish(finish(claimed).into()).await.unwrap();
}

#[tokio::test]
async fn a_claim_that_finds_no_run_costs_no_wait_for_the_disk() {
    let (store, _directory) = open();
    enqueue(&store, vec![]).await.unwrap();
    let before = store.stats();

    let tasks = Arc::new(BTreeMap::new());
    let lease = std::time::Duration::from_secs(30);
    store
        .claim(ClaimRequest {
            host: "one".into(),
            tasks,
            limit: 1,
            policies: Arc::default(),
            tenants: BTreeMap::new(),
            lease,
            now: NOW,
        })
        .await
        .unwrap();

    let after = store.stats();
    assert_eq!((after.commits, after.syncs, after.writes), (before.commits, before.syncs, before.writes + 1));
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

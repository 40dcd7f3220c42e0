//! Tests the database file and its log: closing, refusing and a full disk.

use super::*;
use crate::backfills::Backfills as _;

/// Returns the line with which opening `path` fails.
fn refusal(path: &Path) -> String {
    let line = match SqliteStore::open(path, &SqliteOptions::default()) {
        Err(StoreError::Unusable(line)) => line,
        other => panic!("{other:?}"),
    };
    assert!(!line.contains('\n') && line.contains(path.to_str().unwrap()), "{line}");
    line
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
async fn the_wal_stays_bounded_however_much_is_written() {
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
fn a_second_host_learns_which_process_uses_the_file() {
    let (store, directory) = open();
    let path = directory.path().join("store.db");

    let line = refusal(&path);

    assert!(line.contains(&format!("in use by the process with id {}: stop", std::process::id())), "{line}");
    drop(store);
    open_at(&path);
}

#[test]
fn a_file_of_a_newer_schema_is_refused_and_not_changed() {
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
fn a_file_that_is_not_a_store_is_refused_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (text, other) = (directory.path().join("text.db"), directory.path().join("other.db"));
    std::fs::write(&text, "not a database, and long enough to have a header of its own, as it were: ".repeat(9))
        .unwrap();
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    let before = [std::fs::read(&text).unwrap(), std::fs::read(&other).unwrap()];

    assert!(refusal(&text).contains("is not a SQLite database: move it away"));
    assert!(refusal(&other).contains("not a Sexton store"));

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
async fn a_full_disk_changes_nothing_and_writes_succeed_again_once_there_is_room() {
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

#[tokio::test]
async fn cancelling_the_backfill_of_an_unknown_task_leaves_no_row() {
    let (store, directory) = open();

    let unknown = TaskKey { task: Name::new("unknown").unwrap(), ..task() };
    assert_eq!(store.cancel_backfill(unknown, "a mistake", NOW).await.unwrap(), 0);
    let run = store.enqueue(vec![NewRun::of(task(), NOW, Cause::Demand)], NOW).await.unwrap();
    assert_eq!(run.len(), 1);
    drop(store);

    let conn = Connection::open(directory.path().join("store.db")).unwrap();
    let names: String = conn.query_row("SELECT group_concat(name) FROM tasks", [], |row| row.get(0)).unwrap();
    assert_eq!(names, task().task.as_str());
}

//! Tests of stores that are copied and put back by several means: of the messages, and of what is lost.

use crate::cache::Cache as _;
use crate::history::History as _;
use crate::runs::Runs as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::*;
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::{CacheKey, CacheWrite, NewRun, WriteIf, WriteOutcome};
use sexton_domain::run::{Cause, RunId};
use sexton_domain::task::{Name, TaskKey};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn open(path: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(path, &SqliteOptions::default()).unwrap()
}

fn refusal(path: &Path) -> String {
    match SqliteStore::open(path, &SqliteOptions::default()) {
        Err(StoreError::Unusable(line)) => line,
        other => panic!("{other:?}"),
    }
}

async fn make(store: &SqliteStore, runs: usize) -> RunId {
    let task = TaskKey { tenant: Name::default_tenant(), task: Name::new("a").unwrap() };
    let run = NewRun { input: vec![7; 1000], ..NewRun::of(task, NOW, Cause::Demand) };
    store.enqueue(vec![run; runs], NOW).await.unwrap().last().unwrap().run()
}

/// Makes runs until the log has begun anew. Returns the last of them.
async fn fill_log(store: &SqliteStore, path: &Path) -> RunId {
    let reader = fit::with_log(path).unwrap();
    let epoch = || epoch::find(&reader).unwrap().identity.epoch;
    let before = epoch();
    loop {
        let run = make(store, 2000).await;
        if epoch() >= before + 2 {
            return run;
        }
    }
}

/// Writes an entry once more. Returns its version.
async fn write(store: &SqliteStore) -> u64 {
    let key = CacheKey { tenant: Name::default_tenant(), key: "k".into() };
    let write = CacheWrite {
        key,
        value: b"v".to_vec(),
        expires_at: None,
        only: WriteIf::Always,
        claim: None,
        keep: None,
        quota: 1 << 20,
        budget: None,
        now: NOW,
    };
    match store.cache_write(write).await.unwrap() {
        WriteOutcome::Yes(version) => version,
        other => panic!("{other:?}"),
    }
}

/// Copies the files of a killed host: log, database and lock file. In this order, changes that are carried over in
/// between are in one of the first two.
fn crash(path: &Path, to: &Path) {
    for ending in ["-wal", "", ".lock"] {
        fs::copy(beside(path, ending), beside(to, ending)).unwrap();
    }
}

#[tokio::test]
async fn a_copy_put_over_the_database_of_a_crashed_host_is_refused_and_restored_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("live.db"));
    make(&store, 10).await;
    // The store is copied by each means.
    backup(&at("live.db"), &at("own.db"), NOW).unwrap();
    let shell = Connection::open(at("live.db")).unwrap();
    shell.execute("VACUUM INTO ?1", [at("vacuumed.db").to_str().unwrap()]).unwrap();
    drop(shell);
    fill_log(&store, &at("live.db")).await; // earlier copies are of another log
    let last = make(&store, 10).await;
    let fence = write(&store).await;
    crash(&at("live.db"), &at("crashed.db"));

    for copy in ["own.db", "vacuumed.db"] {
        crash(&at("crashed.db"), &at("store.db"));
        fs::copy(at(copy), at("store.db")).unwrap();
        let before = [fs::read(at("store.db")).unwrap(), fs::read(at("store.db-wal")).unwrap()];

        let line = refusal(&at("store.db"));

        assert!(line.contains("sexton restore") && !line.contains('\n'), "{line}");
        assert_eq!([fs::read(at("store.db")).unwrap(), fs::read(at("store.db-wal")).unwrap()], before, "{copy}");
        let restored = restore(&at("store.db"), &at("store.db"), NOW).unwrap();
        assert_eq!(restored.aside.len(), 1, "the log");
        assert_eq!(fs::read(&restored.aside[0]).unwrap(), before[1]);
        fs::remove_file(&restored.aside[0]).unwrap();
        let again = open(&at("store.db"));
        assert_eq!(again.counts().await.unwrap().values().sum::<u64>(), 10, "{copy}");
        assert!(make(&again, 1).await > last && write(&again).await > fence, "numbers went back: {copy}");
        drop(again);
        open(&at("store.db"));
    }
}

#[tokio::test]
async fn a_file_that_was_copied_while_no_host_was_up_is_refused_over_a_later_log() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    drop(open(&at("store.db")));
    fs::copy(at("store.db"), at("copy.db")).unwrap();
    let store = open(&at("store.db"));
    make(&store, 10).await;
    crash(&at("store.db"), &at("crashed.db"));

    fs::copy(at("copy.db"), at("crashed.db")).unwrap();

    assert!(refusal(&at("crashed.db")).contains("is a copy that was put in the place"));
}

#[tokio::test]
async fn a_host_that_was_killed_at_any_moment_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("store.db"));

    for round in 0..60 {
        make(&store, 500).await; // a checkpoint every 30 rounds or so
        crash(&at("store.db"), &at("crashed.db"));
        let found = open(&at("crashed.db")).counts().await.unwrap().values().sum::<u64>();
        assert_eq!(found, (round + 1) * 500);
    }
}

#[tokio::test]
async fn an_older_copy_put_in_place_by_hand_without_a_log_gives_out_no_number_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    drop(open(&at("store.db")));
    fs::copy(at("store.db"), at("copy.db")).unwrap();
    let store = open(&at("store.db"));
    let (last, fence) = (make(&store, 10).await, write(&store).await);
    drop(store);

    fs::copy(at("copy.db"), at("store.db")).unwrap();

    let store = open(&at("store.db"));
    assert!(make(&store, 1).await > last && write(&store).await > fence);
}

#[tokio::test]
async fn restoring_keeps_the_old_files_and_continues_with_the_next_number() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("store.db"));
    make(&store, 3).await;
    backup(&at("store.db"), &at("copy.db"), NOW).unwrap();
    let last = make(&store, 4).await;
    let in_use = restore(&at("copy.db"), &at("store.db"), NOW).unwrap_err().to_string();
    drop(store);

    let restored = restore(&at("copy.db"), &at("store.db"), NOW).unwrap();

    assert!(in_use.contains("in use by the process with id"), "{in_use}");
    let store = open(&at("store.db"));
    assert_eq!(store.counts().await.unwrap().values().sum::<u64>(), 3);
    assert_eq!(make(&store, 1).await.0, last.0 + 1, "the number after the last one that was given out");
    let aside = open(&restored.aside[0]);
    assert_eq!(aside.counts().await.unwrap().values().sum::<u64>(), 7);
    // The copy is unchanged, and may be used again.
    drop(store);
    restore(&at("copy.db"), &at("store.db"), NOW.plus(std::time::Duration::from_secs(1))).unwrap();
}

#[tokio::test]
async fn a_backup_is_private_to_its_owner_and_replaces_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("store.db"));
    make(&store, 3).await;

    backup(&at("store.db"), &at("copy.db"), NOW).unwrap();

    let again = backup(&at("store.db"), &at("copy.db"), NOW).unwrap_err().to_string();
    assert!(again.contains("is there already"), "{again}");
    assert_eq!(fs::metadata(at("copy.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".part")), "{left:?}");
    assert!(backup(&at("none.db"), &at("other.db"), NOW).unwrap_err().to_string().contains("there is no store"));
}

#[tokio::test]
async fn a_damaged_file_or_one_that_is_no_store_is_not_restored_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let store = open(&at("store.db"));
    make(&store, 100).await;
    backup(&at("store.db"), &at("bad.db"), NOW).unwrap();
    drop(store);
    let before = fs::read(at("store.db")).unwrap();
    let mut bytes = fs::read(at("bad.db")).unwrap();
    bytes[4096..].chunks_mut(4096).for_each(|page| page[..100].fill(0xa5));
    fs::write(at("bad.db"), bytes).unwrap();
    fs::write(at("text.db"), "no database. ".repeat(100)).unwrap();
    Connection::open(at("other.db")).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();

    for (file, said) in
        [("bad.db", "damaged"), ("text.db", "not a SQLite database"), ("other.db", "not a Sexton store")]
    {
        let line = restore(&at(file), &at("store.db"), NOW).unwrap_err().to_string();
        assert!(line.contains(said) && line.contains(file), "{line}");
    }

    assert_eq!(fs::read(at("store.db")).unwrap(), before);
}

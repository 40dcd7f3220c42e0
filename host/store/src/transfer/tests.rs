//! Tests moves between two SQLite files. PostgreSQL's tests move into that store and back, with the same helpers.

pub(crate) mod cut_off;
pub(crate) mod left_over;
pub(crate) mod lived_in;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::published::Plugins as _;
use crate::sqlite::{SqliteOptions, SqliteStore};
use crate::{Store, StoreError};
use cut_off::CutOff;
use lived_in::{NOW, goes_on, live, shows};
use sexton_domain::pause::PauseTarget;
use sexton_domain::supervision::Pause;

/// Plans a move in small pages, so that there are many.
pub(crate) fn plan() -> Plan {
    Plan { from: "the first".into(), force: false, page: Bound { records: 7, bytes: 64 << 10 }, now: NOW }
}

pub(crate) async fn moves(source: &dyn Transfer, destination: &dyn Transfer) -> Moved {
    let moved = move_all(source, destination, &plan(), &mut |_| {}).await.unwrap();
    assert!(moved.differing().is_empty(), "{moved:?}");
    moved
}

fn open(path: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(path, &SqliteOptions::default()).unwrap()
}

/// A store and the directory that holds its file.
pub(crate) struct File {
    pub(crate) store: Arc<SqliteStore>,
    path: PathBuf,
    _directory: TempDir,
}

/// Opens a store with nothing in it.
pub(crate) fn empty() -> File {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    File { store: SqliteStore::open_to_move(&path).unwrap(), path, _directory: directory }
}

/// Opens a store that was in use for a while.
pub(crate) async fn lived() -> File {
    let file = empty();
    live(&*file.store).await;
    file
}

#[tokio::test]
async fn a_move_brings_all_contents_to_the_other_store() {
    let (source, destination) = (lived().await, empty());

    let moved = moves(&*source.store, &*destination.store).await;

    assert!(!moved.went_on);
    assert!(moved.compared.iter().all(|compared| compared.source.records > 0), "nothing of a kind: {moved:?}");
    assert_eq!(moved.under_way(), 1);
    let expected = shows(&*source.store).await;
    assert_eq!(shows(&*destination.store).await, expected);
    assert_eq!(destination.store.counters().await.unwrap(), source.store.counters().await.unwrap());
    drop(destination.store);
    assert_eq!(shows(&*open(&destination.path)).await, expected);
}

#[tokio::test]
async fn a_moved_store_continues_where_the_other_stopped() {
    let (source, destination) = (lived().await, empty());

    moves(&*source.store, &*destination.store).await;

    goes_on(&*destination.store).await;
}

#[tokio::test]
async fn an_interrupted_move_continues_and_counts_nothing_twice() {
    let source = lived().await;
    let expected = shows(&*source.store).await;
    for takes in [0, 1, 2, 5, 13, 20] {
        for after_all in [false, true] {
            let destination = empty();
            let breaks = CutOff::after(takes, after_all, &*destination.store);

            let error = move_all(&*source.store, &breaks, &plan(), &mut |_| {}).await.unwrap_err();
            assert!(matches!(&error, MoveError::Store(End::Destination, StoreError::Other(_))), "{error:?}");
            let moved = moves(&*source.store, &*destination.store).await;

            assert!(moved.went_on);
            assert_eq!(shows(&*destination.store).await, expected, "{takes} {after_all}");
        }
    }
}

#[tokio::test]
async fn a_record_that_is_taken_again_changes_nothing() {
    let (source, destination) = (lived().await, empty());
    moves(&*source.store, &*destination.store).await;
    let expected = shows(&*destination.store).await;

    take_all_again(&*source.store, &*destination.store).await;

    assert_eq!(shows(&*destination.store).await, expected);
}

#[tokio::test]
async fn a_file_keeps_a_pause_of_its_own() {
    keeps_its_own_pause(&*empty().store).await;
}

#[tokio::test]
async fn versions_that_are_left_over_in_a_file_go_with_their_key_or_are_pruned() {
    left_over::go_with_their_key(&*empty().store).await;
    left_over::are_pruned_and_no_others_are(&*empty().store).await;
}

/// Takes in a pause for a store that has one already.
pub(crate) async fn keeps_its_own_pause<S: Store + Transfer>(store: &S) {
    let pause = |seconds: i64, why: &str| Pause {
        since: Some(Timestamp::from_millis(NOW.as_millis() + seconds * 1000)),
        why: Some(why.into()),
    };
    let all = async || store.pauses().await.unwrap().all;
    store.pause(PauseTarget::All, Some("its own".into()), NOW).await.unwrap();
    store.begin_move("the first", store.counters().await.unwrap()).await.unwrap();

    store.take(Page::Pauses(vec![PauseRecord { tenant: None, pause: pause(9, "moved") }])).await.unwrap();

    assert_eq!(all().await, Some(pause(0, "its own")));
    // A store that believed that it had taken the other pause would find nothing to change.
    store.pause(PauseTarget::All, Some("moved".into()), NOW).await.unwrap();
    assert_eq!(all().await, Some(pause(0, "moved")));
}

#[tokio::test]
async fn plugins_that_a_file_takes_in_wake_waiters() {
    let files = (lived().await, empty());
    let (source, destination) = (&*files.0.store, &*files.1.store);
    destination.begin_move("the first", source.counters().await.unwrap()).await.unwrap();
    let whole = Bound { records: 1000, bytes: 64 << 20 };
    for kind in Kind::ALL.into_iter().take_while(|kind| *kind != Kind::Plugins) {
        destination.take(source.page(kind, None, whole).await.unwrap()).await.unwrap();
    }
    let hint = destination.plugins_hint();

    let told = hint.notified();
    destination.take(source.page(Kind::Plugins, None, whole).await.unwrap()).await.unwrap();

    tokio::time::timeout(Duration::from_secs(10), told).await.expect("the hint did not come");
}

/// Takes in all records again, like a move whose progress was not written down.
pub(crate) async fn take_all_again(source: &dyn Transfer, destination: &dyn Transfer) {
    let counters = source.counters().await.unwrap();
    destination.begin_move("again", counters).await.unwrap();
    for kind in Kind::ALL {
        let mut after = None;
        loop {
            let page = source.page(kind, after, plan().page).await.unwrap();
            let Some(last) = page.last() else { break };
            destination.take(page).await.unwrap();
            after = Some(last);
        }
    }
    destination.end_move(counters).await.unwrap();
}

#[tokio::test]
async fn pages_are_in_key_order_and_within_their_bound() {
    let source = lived().await;
    let Bound { records, bytes } = plan().page;
    for kind in Kind::ALL {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = source.store.page(kind, after.clone(), plan().page).await.unwrap();
            let Some(last) = page.last() else { break };
            assert_eq!(page.kind(), kind);
            assert!(page.len() <= records && after.as_ref() < Some(&last), "{kind}");
            if let Page::Runs(runs) = &page {
                let all_but_the_last: usize = runs[..runs.len() - 1].iter().map(Record::bytes).sum();
                assert!(all_but_the_last < bytes, "{all_but_the_last}");
            }
            count += page.len() as u64;
            after = Some(last);
        }
        assert_eq!(count, source.store.count(kind).await.unwrap(), "{kind}");
    }
}

#[tokio::test]
async fn a_difference_is_found_and_keeps_hosts_out() {
    let (source, destination) = (lived().await, empty());
    let path = destination.path;
    let tampers = Connection::open(&path).unwrap();
    let mut when_runs_are_compared = |told: MoveEvent| {
        if matches!(told, MoveEvent::Begins { work: Work::Comparing, kind: Kind::Runs, .. }) {
            tampers.execute("UPDATE runs SET failures = failures + 1 WHERE id = 1", []).unwrap();
        }
    };

    let moved = move_all(&*source.store, &*destination.store, &plan(), &mut when_runs_are_compared).await.unwrap();

    assert_eq!(moved.differing(), [Kind::Runs]);
    drop((destination.store, tampers));
    let Err(StoreError::Unusable(line)) = SqliteStore::open(&path, &SqliteOptions::default()) else {
        panic!("a host may use what was not moved well");
    };
    assert!(line.contains("has only a part of `the first`") && !line.contains('\n'), "{line}");
    assert!(SqliteStore::open_to_move(&path).unwrap().moving().await.unwrap().is_some());
}

#[tokio::test]
async fn a_move_that_would_mix_contents_is_refused() {
    let files = (lived().await, empty(), lived().await, empty());
    let (source, destination, other, third) = (&*files.0.store, &*files.1.store, &*files.2.store, &*files.3.store);
    let breaks = CutOff::after(3, true, destination);
    move_all(source, &breaks, &plan(), &mut |_| {}).await.unwrap_err();

    let into_what_is_full = move_all(source, other, &plan(), &mut |_| {}).await;
    let another = Plan { from: "another".into(), ..plan() };
    let from_another = move_all(other, destination, &another, &mut |_| {}).await;
    let from_a_part = move_all(destination, third, &plan(), &mut |_| {}).await;

    assert!(matches!(into_what_is_full, Err(MoveError::NotEmpty)), "{into_what_is_full:?}");
    assert!(matches!(&from_another, Err(MoveError::Another(first)) if first == "the first"), "{from_another:?}");
    assert!(matches!(&from_a_part, Err(MoveError::Unfinished(first)) if first == "the first"), "{from_a_part:?}");
    assert!(third.is_empty().await.unwrap());
    let page = source.page(Kind::Runs, None, plan().page).await.unwrap();
    assert!(matches!(third.take(page).await, Err(StoreError::Other(_))));
}

#[tokio::test]
async fn the_watcher_of_a_move_hears_of_every_record() {
    let (source, destination) = (lived().await, empty());
    let (mut all, mut done) = (0, 0);

    move_all(&*source.store, &*destination.store, &plan(), &mut |told| match told {
        MoveEvent::Begins { records, .. } => all += records,
        MoveEvent::Did(records) => done += records,
        MoveEvent::Done => {}
    })
    .await
    .unwrap();

    assert_eq!(all, done);
    assert!(done > 100, "{done}");
}

#[test]
fn a_nul_counts_as_its_replacement() {
    let page = |why: &str| {
        let pause = sexton_domain::supervision::Pause { since: None, why: Some(why.into()) };
        Page::Pauses(vec![PauseRecord { tenant: None, pause }])
    };
    let sum = |page: Page| {
        let mut summing = Summing::default();
        summing.add(page);
        summing.sum()
    };

    assert_eq!(sum(page("a\0b")), sum(page("a\u{fffd}b")));
    assert_ne!(sum(page("a\0b")), sum(page("ab")));
    assert_eq!(sum(page("a")).digest.len(), 64);
}

#[test]
fn keys_round_trip() {
    for key in [
        Key::Numbers(5, 0),
        Key::Numbers(i64::MIN, i64::MAX),
        Key::Names("a".into(), "1".into()),
        Key::Names(String::new(), "\0\u{fffd}".into()),
        Key::Part("abc".into(), 3),
    ] {
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&text).unwrap(), key, "{text}");
    }
}

#[test]
fn progress_of_an_unknown_kind_is_an_error() {
    let row = |kind: &str, reached: Option<&str>| (kind.to_owned(), "a".to_owned(), reached.map(str::to_owned));

    let known = Progress::of_rows([row("runs", Some("[17,0]")), row("tasks", None)]).unwrap().unwrap();
    let unknown = Progress::of_rows([row("dreams", None)]);

    assert_eq!(known.reached, BTreeMap::from([(Kind::Runs, Key::Numbers(17, 0))]));
    assert!(matches!(&unknown, Err(StoreError::Unusable(line)) if line.contains("dreams")), "{unknown:?}");
    assert!(Progress::of_rows([]).unwrap().is_none());
}

//! Tests of moves from a SQLite file into a database, and back.

use crate::Store as _;
use crate::hosts::{Announcement, HostRecord, Hosts};
use crate::transfer::tests::cut_off::CutOff;
use crate::transfer::tests::lived_in::{goes_on, live, shows};
use crate::transfer::tests::{empty, keeps_its_own_pause, left_over, lived, moves, plan, take_all_again};
use crate::transfer::{End, MoveError, Plan, Transfer, move_all, without_nul};

use super::*;

impl Database {
    pub(super) fn options(&self) -> PostgresOptions {
        let url = DatabaseUrl::new(&cluster::shared().url()).unwrap();
        PostgresOptions { url, schema: self.schema.clone(), ca: None, host: "migrate".into() }
    }

    async fn end(&self, end: End) -> Arc<PostgresStore> {
        PostgresStore::open_to_move(&self.options(), end).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_unchanged_after_a_move_into_a_database_and_back() {
    let (first, database, last) = (lived().await, Database::new().await, empty());
    let middle = database.end(End::Destination).await;

    let there = moves(&*first.store, &*middle).await;
    let back = moves(&*middle, &*last.store).await;

    assert!(there.compared.iter().all(|compared| compared.source.records > 0), "nothing of a kind: {there:?}");
    assert_eq!((there.under_way(), back.under_way()), (1, 1));
    let sums = |moved: &crate::transfer::Moved| {
        moved.compared.iter().map(|compared| compared.source.clone()).collect::<Vec<_>>()
    };
    assert_eq!(sums(&there), sums(&back));
    let expected = shows(&*first.store).await;
    assert_eq!(shows(&*middle).await, expected);
    assert_eq!(shows(&*last.store).await, expected);
    goes_on(&*last.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_continues_on_the_database_that_its_file_was_moved_to() {
    let (first, database) = (lived().await, Database::new().await);

    moves(&*first.store, &*database.end(End::Destination).await).await;

    goes_on(&*database.open("one").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_records_of_a_database_are_moved_into_a_file() {
    let (database, last) = (Database::new().await, empty());
    let first = database.open("one").await;
    live(&*first).await;

    moves(&*database.end(End::Source).await, &*last.store).await;

    assert_eq!(shows(&*last.store).await, shows(&*first).await);
    goes_on(&*last.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_move_into_a_database_continues_and_counts_nothing_twice() {
    let first = lived().await;
    let expected = shows(&*first.store).await;
    for (takes, after_all) in [(0, false), (1, true), (5, true), (13, false), (20, true)] {
        let database = Database::new().await;
        let destination = database.end(End::Destination).await;
        let breaks = CutOff::after(takes, after_all, &*destination);

        move_all(&*first.store, &breaks, &plan(), &mut |_| {}).await.unwrap_err();
        let refused = database.try_open("one").await;
        let moved = moves(&*first.store, &*destination).await;

        let Err(StoreError::Unusable(line)) = refused else { panic!("{refused:?}") };
        assert!(line.contains("has only a part of `the first`") && !line.contains('\n'), "{line}");
        assert!(moved.went_on);
        assert_eq!(shows(&*database.open("one").await).await, expected, "{takes} {after_all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_database_takes_again_changes_nothing() {
    let (first, database) = (lived().await, Database::new().await);
    let destination = database.end(End::Destination).await;
    moves(&*first.store, &*destination).await;
    let expected = shows(&*destination).await;

    take_all_again(&*first.store, &*destination).await;

    assert_eq!(shows(&*destination).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_are_left_over_in_a_database_go_with_their_key_or_are_pruned() {
    left_over::go_with_their_key(&*Database::new().await.end(End::Destination).await).await;
    left_over::are_pruned_and_no_others_are(&*Database::new().await.end(End::Destination).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_keeps_a_pause_of_its_own() {
    keeps_its_own_pause(&*Database::new().await.end(End::Destination).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_a_host_uses_is_left_alone_unless_the_move_is_forced() {
    let (first, database) = (lived().await, Database::new().await);
    let store = database.end(End::Destination).await;
    let now = store.time().await.unwrap().unwrap();
    let host = HostRecord {
        name: "bells".into(),
        instance: 1,
        version: "1".into(),
        address: "127.0.0.1:1".into(),
        labels: Vec::new(),
        slots: 1,
        attempts: 0,
        plugins: 0,
        started_at: now,
    };
    let announce = |alive_for| {
        let announcement = Announcement { host: host.clone(), takes_over: true, alive_until: now.plus(alive_for), now };
        store.announce(announcement)
    };

    announce(Duration::from_secs(3600)).await.unwrap();
    let refused = move_all(&*first.store, &*store, &plan(), &mut |_| {}).await;
    announce(Duration::ZERO).await.unwrap();
    let of_one_that_is_gone = store.in_use_by(now).await.unwrap();
    announce(Duration::from_secs(3600)).await.unwrap();
    let forced = move_all(&*first.store, &*store, &Plan { force: true, ..plan() }, &mut |_| {}).await;

    assert!(
        matches!(&refused, Err(MoveError::InUse(End::Destination, hosts)) if hosts == "host `bells`"),
        "{refused:?}"
    );
    assert!(of_one_that_is_gone.is_empty());
    assert!(forced.unwrap().differing().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_schema_is_not_created_as_the_source_of_a_move() {
    let database = Database::new().await;

    let refused = PostgresStore::open_to_move(&database.options(), End::Source).await;

    let Err(StoreError::Unusable(line)) = refused else { panic!("{refused:?}") };
    assert!(line.contains(&database.schema) && line.contains("has no Sexton store"), "{line}");
    let made = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{}'", database.schema);
    assert_eq!(cluster::shared().psql(&made), "0");
}

#[test]
fn moved_text_equals_written_text() {
    for text in ["", "plain", "\0", "a\0b\0", "\u{fffd}"] {
        let mut moved = text.to_owned();
        without_nul(&mut moved);
        assert_eq!(moved, rows::text(text));
    }
}

//! Migrations of older databases, and the numbers that a database refuses.

use tokio_postgres::Client;

use super::*;
use crate::Store as _;
use crate::codes::{CAUSES, KINDS, MODES};
use crate::postgres::connect::Connector;
use crate::postgres::schema::{UPGRADES, create, migrate, upgrade};
use sexton_domain::run::{Outcome, RunState};

impl Database {
    /// Returns a connection to the schema as the program of `version` left it.
    async fn of_version(&self, version: u16) -> Client {
        let mut client = Connector::new(&self.options()).unwrap().connect().await.unwrap();
        let older: Vec<_> = UPGRADES.into_iter().filter(|upgrade| upgrade.migration.number <= version).collect();
        create(&client, &self.schema).await.unwrap();
        while upgrade(&mut client, &self.schema, &older).await.unwrap() {}
        client
    }

    /// Checks that each number beside those of `count` words is refused in a column of `table`, which has a row.
    fn refuses(&self, table: &str, column: &str, count: usize) {
        assert_ne!(self.psql(&format!("SELECT count(*) FROM {table}")), "0", "{table} has no row to be changed");
        for number in ["-1".to_owned(), count.to_string()] {
            let sql = format!("UPDATE {table} SET {column} = {number}");
            let refused = cluster::shared().try_psql_in(&self.schema, &sql).unwrap_err();
            assert!(refused.contains("numbers_known"), "{sql}: {refused}");
        }
    }
}

/// The statements with which a program of schema 15 makes the partitions of a day.
const DAY_OF_AN_OLDER_PROGRAM: &str = "CREATE TABLE runs_20200101 (LIKE runs); \
     ALTER TABLE runs ATTACH PARTITION runs_20200101 FOR VALUES FROM (1577836800000) TO (1577923200000); \
     CREATE TABLE attempts_20200101 (LIKE attempts); \
     ALTER TABLE attempts ATTACH PARTITION attempts_20200101 FOR VALUES FROM (1577836800000) TO (1577923200000)";

#[tokio::test]
async fn a_database_of_an_older_schema_keeps_its_rows_and_refuses_numbers_that_are_no_words() {
    for version in [8, 11, 15, 16, 17, 18] {
        let database = Database::new().await;
        let mut client = database.of_version(version).await;
        let run = "INSERT INTO runs (id, over_at, task, state, cause, outcome, due_at, run_at, created_at) \
                   SELECT i, CASE WHEN i % 5 < 2 THEN 9223372036854775807 ELSE 0 END, 1, i % 5, i % 4, \
                   nullif(i % 12, 11), 0, 0, 0 FROM generate_series(0, 59) i";
        client.batch_execute(run).await.unwrap();

        migrate(&mut client, &database.schema).await.unwrap();

        assert_eq!(database.psql("SELECT count(*), sum(state), sum(cause), sum(outcome) FROM runs"), "60|120|90|275");
        for table in ["runs_live", "runs_over"] {
            database.refuses(table, "state", RunState::ALL.len());
            database.refuses(table, "cause", CAUSES.len());
            database.refuses(table, "outcome", Outcome::ALL.len());
        }
        let unread = "SELECT count(*) FROM pg_constraint WHERE conname = 'numbers_known' AND NOT convalidated \
                      AND connamespace = current_schema()::regnamespace";
        assert_eq!(database.psql(unread), "0", "{version}");
    }
}

#[tokio::test]
async fn an_older_program_makes_its_days_beside_this_one() {
    let database = Database::new().await;
    let store = database.open("one").await;

    database.psql(DAY_OF_AN_OLDER_PROGRAM);

    enqueue(&store, vec![new("a")]).await;
    let claim = claimed(&store, "a", NOW).await[0].key;
    store.finish(success(claim, Timestamp::from_millis(1_577_836_800_001)).into()).await.unwrap();
    assert_eq!(database.psql("SELECT count(*) FROM runs_20200101"), "1");
}

/// The statements with which a program of schema 17 makes the tables of today.
fn today_of_an_older_program(day: &str) -> String {
    let last = 10; // lost
    format!(
        "ALTER TABLE runs_{day} DROP CONSTRAINT numbers_known, ADD CONSTRAINT numbers_known CHECK \
         (outcome <= {last}); \
         ALTER TABLE attempts_{day} DROP CONSTRAINT numbers_known, ADD CONSTRAINT numbers_known CHECK \
         (outcome <= {last})"
    )
}

#[tokio::test]
async fn a_run_is_skipped_on_a_day_whose_tables_an_older_program_made() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let now = store.time().await.unwrap().unwrap();
    database.psql(&today_of_an_older_program(&now.to_utc().format("%Y%m%d").to_string()));
    drop(store);

    let store = database.open("one").await;

    enqueue(&store, vec![new("a")]).await;
    let claim = claimed(&store, "a", NOW).await[0].key;
    store.finish(finish(claim, Outcome::Skipped, Transition::Cancel, now).into()).await.unwrap();
    assert_eq!(database.psql("SELECT outcome FROM runs UNION ALL SELECT outcome FROM attempts"), "11\n11");
}

#[tokio::test]
async fn a_database_refuses_numbers_that_stand_for_no_word() {
    let database = Database::new().await;
    let store = database.open("one").await;
    let now = store.time().await.unwrap().unwrap();
    let [holder, waits, over, _] = four(&store).await;
    store.acquire_lock(lock("x"), LockMode::Exclusive, holder, NOW).await.unwrap();
    store.wait_for_lock(lock("x"), LockMode::Shared, waits, NOW).await.unwrap();
    store.finish(success(over, now).into()).await.unwrap();
    let day = now.to_utc().format("%Y%m%d");

    for table in ["runs_live".to_owned(), format!("runs_{day}")] {
        database.refuses(&table, "state", RunState::ALL.len());
        database.refuses(&table, "cause", CAUSES.len());
        database.refuses(&table, "outcome", Outcome::ALL.len());
    }
    database.refuses(&format!("attempts_{day}"), "outcome", Outcome::ALL.len());
    for table in ["locks", "lock_names", "lock_waits"] {
        database.refuses(table, "kind", KINDS.len());
    }
    for table in ["locks", "lock_waits"] {
        database.refuses(table, "mode", MODES.len());
    }
}

#[tokio::test]
async fn the_tables_of_a_day_have_the_constraints_of_the_live_ones() {
    let database = Database::new().await;
    drop(database.open("one").await);

    for table in ["runs", "attempts"] {
        let sql = format!(
            "SELECT count(*) > 2, count(DISTINCT replace(pg_get_constraintdef(oid), ' NOT VALID', '')) \
             FROM pg_constraint WHERE conname = 'numbers_known' AND connamespace = current_schema()::regnamespace \
             AND conrelid::regclass::text LIKE '{table}\\_%'"
        );
        assert_eq!(database.psql(&sql), "t|1", "{table}");
    }
}

//! The tables, and the migrations of older files to them (`migrations/`).
//!
//! A file's `user_version` is the number of the last migration that was done on it. PostgreSQL's migrations have the
//! same numbers (`store/postgres/schema.rs`), so a number may be left out here.
//!
//! Instants are milliseconds since the Unix epoch, in columns that end in `_at` or `_until`. The numbers that stand for
//! words (`state`, `cause`, ...) are in `store/codes.rs`.

use rusqlite::Connection;

use crate::migrations::{Migration, migration};

/// Marks the file as this program's, among all SQLite databases: "SXTN".
pub(super) const APPLICATION_ID: i32 = 0x5358_544e;

/// All migrations, in their order.
const MIGRATIONS: [Migration; 25] = [
    migration!("0001_first.sql"),
    migration!("0002_supervision.sql"),
    migration!("0003_cache_by_task.sql"),
    migration!("0004_schedules.sql"),
    migration!("0005_pauses.sql"),
    migration!("0006_policies.sql"),
    migration!("0007_added_schedules.sql"),
    migration!("0008_pace.sql"),
    migration!("0009_hosts.sql"),
    migration!("0010_transfer.sql"),
    migration!("0011_published.sql"),
    migration!("0012_begun.sql"),
    migration!("0013_identity.sql"),
    migration!("0014_backlog.sql"),
    migration!("0015_losses.sql"),
    migration!("0016_known_numbers.sql"),
    // PostgreSQL's 17 and 19 read rows that 16 and 18 read here.
    migration!("0018_skipped.sql"),
    migration!("0020_views.sql"),
    migration!("0021_kept_versions.sql"),
    migration!("0022_types_of_schedules.sql"),
    migration!("0023_tenants_and_labels.sql"),
    migration!("0024_runs_of_tenants.sql"),
    migration!("0025_lists.sql"),
    migration!("0026_events.sql"),
    migration!("0027_requests.sql"),
];

/// The schema's number that this program works on.
pub(super) const VERSION: usize = MIGRATIONS[MIGRATIONS.len() - 1].number as usize;

/// The first schema whose files say which store they are (`0013_identity.sql`).
pub(super) const IDENTITY_SINCE: usize = 13;

/// Migrates a file from schema `from` to [`VERSION`]. Each migration is a transaction, so that one that is cut short by
/// a crash or a full disk has not happened.
pub(super) fn migrate(conn: &mut Connection, from: usize) -> rusqlite::Result<()> {
    for migration in MIGRATIONS.iter().filter(|migration| usize::from(migration.number) > from) {
        tracing::debug!(file = migration.name, "Migrating the store's file");
        let tx = conn.transaction()?;
        tx.execute_batch(migration.text)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", migration.number)?;
        tx.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::super::rows::to_sql;
    use super::*;
    use crate::codes::{CAUSES, KINDS, MODES, cause_code, kind_code, mode_code, outcome_code, state_code};
    use crate::migrations::tests::are_all_listed;
    use sexton_domain::run::{Outcome, RunState};
    use sexton_domain::supervision::{Pause, Standing};

    /// A file of the schema `version`, as the program of that time left it.
    fn file_of(version: u16) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        for migration in MIGRATIONS.iter().filter(|migration| migration.number <= version) {
            conn.execute_batch(migration.text).unwrap();
        }
        conn
    }

    #[test]
    fn every_file_of_a_migration_is_listed_once_and_in_order() {
        are_all_listed("sqlite", &MIGRATIONS);
    }

    #[test]
    fn a_file_of_the_first_schema_keeps_its_tasks() {
        let mut conn = file_of(1);
        let tasks = "INSERT INTO tasks VALUES (1, 'default', 'a', 7, 1, 2, 0, 0, 0, 0, 0, NULL, NULL), \
                     (2, 'default', 'b', NULL, 0, 0, 0, 0, 5, 0, 0, NULL, NULL)";
        conn.execute_batch(tasks).unwrap();

        migrate(&mut conn, 1).unwrap();

        let ledger = Ledger::load(&conn).unwrap();
        let found: Vec<_> = ledger.tasks().map(|(_, row)| (row.paused.clone(), row.standing, row.runs)).collect();
        let fresh = Standing::default();
        assert_eq!(found, [(Some(Pause::default()), fresh, [2, 0, 0, 0, 0]), (None, fresh, [0, 0, 0, 5, 0])]);
    }

    #[test]
    fn entries_of_an_older_file_belong_to_no_task() {
        let mut conn = file_of(1);
        conn.execute_batch("INSERT INTO entries VALUES ('default', 'k', 1, 0, NULL, x'00')").unwrap();

        migrate(&mut conn, 1).unwrap();

        let writer = conn.query_row("SELECT writer FROM entries", [], |row| row.get::<_, Option<i64>>(0)).unwrap();
        let counted =
            conn.query_row("SELECT count(*) FROM cache_usage_of_tasks", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((writer, counted), (None, 0));
    }

    /// Writes runs of every state and cause, and of every outcome that programs of schema `version` know, and locks of
    /// every kind and mode. Returns the number of runs.
    fn fill(conn: &Connection, version: u16) -> i64 {
        let known = if version < 18 { 11 } else { Outcome::ALL.len() };
        let run = "INSERT INTO runs (id, task, state, cause, attempt, failures, bytes, due_at, run_at, \
                   created_at, outcome) VALUES (?1, 1, ?2, ?3, 1, 0, 0, 0, 0, 0, ?4)";
        let attempt = "INSERT INTO attempts (run, attempt, outcome, started_at, ended_at, fuel, peak_memory, guest_us, \
                       host_us, host_calls, host) VALUES (?1, 1, ?2, 0, 0, 0, 0, 0, 0, 0, '')";
        let states = RunState::ALL.map(state_code).into_iter().cycle();
        let causes = CAUSES.map(cause_code).into_iter().cycle();
        let outcomes = [None].into_iter().chain(Outcome::ALL.map(outcome_code).map(Some)).take(known + 1);
        for (id, ((outcome, state), cause)) in outcomes.zip(states).zip(causes).enumerate() {
            conn.execute(run, (to_sql(id), state, cause, outcome)).unwrap();
            if let Some(outcome) = outcome {
                conn.execute(attempt, (to_sql(id), outcome)).unwrap();
            }
        }
        for kind in KINDS.map(kind_code) {
            for mode in MODES.map(mode_code) {
                let sql = "INSERT INTO locks VALUES ('default', ?1, 'x', ?2, 1, ?2, 1, 0)";
                conn.execute(sql, (kind, mode)).unwrap();
            }
        }
        to_sql(known + 1)
    }

    #[test]
    fn a_file_of_any_older_schema_keeps_every_word_and_refuses_unknown_codes() {
        for version in 1..MIGRATIONS[MIGRATIONS.len() - 1].number {
            let mut conn = file_of(version);
            let filled = fill(&conn, version);

            migrate(&mut conn, version.into()).unwrap();

            let kept = conn.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(kept, filled, "{version}");
            refuses_other_numbers(&conn);
        }
    }

    #[test]
    fn a_new_file_accepts_every_word_and_refuses_unknown_codes() {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, 0).unwrap();

        fill(&conn, 18);

        refuses_other_numbers(&conn);
    }

    fn refuses_other_numbers(conn: &Connection) {
        for (table, column, count) in [
            ("runs", "state", RunState::ALL.len()),
            ("runs", "cause", CAUSES.len()),
            ("runs", "outcome", Outcome::ALL.len()),
            ("attempts", "outcome", Outcome::ALL.len()),
            ("locks", "kind", KINDS.len()),
            ("locks", "mode", MODES.len()),
        ] {
            for number in [-1, to_sql(count)] {
                let refused = conn.execute(&format!("UPDATE {table} SET {column} = ?1"), [number]).unwrap_err();
                assert!(
                    refused.to_string().contains(&format!("{column}_known")),
                    "{table}.{column} = {number}: {refused}"
                );
            }
        }
    }
}

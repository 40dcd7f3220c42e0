//! The tables, and the migrations of older databases to them (`migrations/`).
//!
//! Migrations have the numbers that they have for SQLite (`store/sqlite/schema.rs`): the first here does what the first
//! eight do there. Each is a transaction, and says which older programs can work on its result, so that hosts of two
//! versions can share a database for a while.
//!
//! Names that guests choose (locks, cache keys) are bytes: PostgreSQL's texts cannot hold every string.
//!
//! Instants are milliseconds since the Unix epoch, in columns that end in `_at` or `_until`. The numbers that stand for
//! words (`state`, `cause`, ...) are in `store/codes.rs`.

use const_format::formatcp;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::errors::translate;
use crate::codes::{CANCELLED, FIRST, LAST_CAUSE, LAST_OUTCOME, WAITING};
use crate::migrations::{Migration, migration};
use crate::{Result, StoreError};

/// A migration, and the oldest schema whose programs can still work on its result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upgrade {
    pub(super) migration: Migration,
    serves: i32,
}

/// All migrations, in their order.
pub(super) const UPGRADES: [Upgrade; 19] = [
    Upgrade { migration: migration!("0008_first.sql"), serves: 8 },
    Upgrade { migration: migration!("0009_hosts.sql"), serves: 8 },
    Upgrade { migration: migration!("0010_transfer.sql"), serves: 8 },
    Upgrade { migration: migration!("0011_published.sql"), serves: 8 },
    Upgrade { migration: migration!("0012_begun.sql"), serves: 8 },
    // Migration 13 of SQLite is about files.
    Upgrade { migration: migration!("0014_backlog.sql"), serves: 8 },
    Upgrade { migration: migration!("0015_losses.sql"), serves: 8 },
    Upgrade { migration: migration!("0016_known_numbers.sql"), serves: 8 },
    // SQLite has no 17: its 16 reads the rows at once.
    Upgrade { migration: migration!("0017_known_numbers_of_rows.sql"), serves: 8 },
    Upgrade { migration: migration!("0018_skipped.sql"), serves: 18 },
    // SQLite has no 19: its 18 reads the rows at once.
    Upgrade { migration: migration!("0019_skipped_of_rows.sql"), serves: 18 },
    Upgrade { migration: migration!("0020_views.sql"), serves: 18 },
    Upgrade { migration: migration!("0021_kept_versions.sql"), serves: 18 },
    Upgrade { migration: migration!("0022_types_of_schedules.sql"), serves: 18 },
    Upgrade { migration: migration!("0023_tenants_and_labels.sql"), serves: 18 },
    Upgrade { migration: migration!("0024_runs_of_tenants.sql"), serves: 18 },
    Upgrade { migration: migration!("0025_lists.sql"), serves: 18 },
    Upgrade { migration: migration!("0026_events.sql"), serves: 18 },
    Upgrade { migration: migration!("0027_requests.sql"), serves: 18 },
];

/// The schema's version that this program works on.
pub(super) const VERSION: i32 = UPGRADES[UPGRADES.len() - 1].migration.number as i32;

/// The value of `runs.over_at` and `attempts.over_at` while the run is not over: later than any instant, so that these
/// rows are a partition of their own.
pub(super) const NOT_OVER: i64 = i64::MAX;

/// The condition of `numbers_known` on runs, as `0018_skipped.sql` has it: for the tables of days.
pub(super) const RUN_NUMBERS: &str = formatcp!(
    "state BETWEEN {WAITING} AND {CANCELLED} AND cause BETWEEN {FIRST} AND {LAST_CAUSE} \
     AND outcome BETWEEN {FIRST} AND {LAST_OUTCOME}"
);

/// The same on attempts.
pub(super) const ATTEMPT_NUMBERS: &str = formatcp!("outcome BETWEEN {FIRST} AND {LAST_OUTCOME}");

/// Migrates the schema `name` of the database to [`VERSION`], and creates it if it does not exist.
///
/// Several hosts may do so at once: the row with the version is locked.
///
/// # Errors
///
/// [`StoreError::Unusable`] if the schema is newer than this program, and does not serve it.
pub(super) async fn migrate(client: &mut Client, name: &str) -> Result<()> {
    create(client, name).await?;
    while upgrade(client, name, &UPGRADES).await? {}
    Ok(())
}

/// Creates the schema with the table that has its version.
pub(super) async fn create(client: &Client, name: &str) -> Result<()> {
    let quoted = format!("\"{name}\"");
    // Of two hosts that create these at once, the second finds them, or an error says that the first was quicker.
    for make in [
        format!("CREATE SCHEMA IF NOT EXISTS {quoted}"),
        "CREATE TABLE IF NOT EXISTS meta (id int PRIMARY KEY CHECK (id = 1), version int NOT NULL, serves int NOT NULL)"
            .to_owned(),
        "INSERT INTO meta VALUES (1, 0, 0) ON CONFLICT DO NOTHING".to_owned(),
    ] {
        match client.batch_execute(&make).await {
            Err(e) if e.code().is_some_and(quicker) => {}
            Err(e) if e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) && make.starts_with("CREATE SCHEMA") => {
                // Another user, who is allowed to, may have created it.
                tracing::debug!(error = %e, "Cannot make the schema");
            }
            done => done.map_err(|e| translate(&e))?,
        }
    }
    Ok(())
}

/// Does the first of `upgrades` that the schema has not gone through, in a transaction of its own. Returns whether
/// there was one.
pub(super) async fn upgrade(client: &mut Client, name: &str, upgrades: &[Upgrade]) -> Result<bool> {
    let tx = client.transaction().await.map_err(|e| translate(&e))?;
    let row = tx.query_one("SELECT version, serves FROM meta FOR UPDATE", &[]).await.map_err(|e| translate(&e))?;
    let (version, serves): (i32, i32) = (row.get(0), row.get(1));
    if version > VERSION && serves > VERSION {
        return Err(StoreError::Unusable(format!(
            "schema `{name}` of the database has version {version}, and this sexton knows versions up to {VERSION}: use the \
             newer sexton that made it"
        )));
    }
    let Some(next) = upgrades.iter().find(|upgrade| i32::from(upgrade.migration.number) > version) else {
        return Ok(false);
    };
    tracing::debug!(file = next.migration.name, "Migrating the database");
    let text = next.migration.text.replace("NOT_OVER", &NOT_OVER.to_string());
    tx.batch_execute(&text).await.map_err(|e| translate(&e))?;
    tx.execute("UPDATE meta SET version = $1, serves = $2", &[&i32::from(next.migration.number), &next.serves])
        .await
        .map_err(|e| translate(&e))?;
    tx.commit().await.map_err(|e| translate(&e))?;
    Ok(true)
}

/// Returns whether an error says that another host has just created the same.
fn quicker(code: &SqlState) -> bool {
    [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT]
        .contains(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations::tests::are_all_listed;

    #[test]
    fn every_file_of_a_migration_is_listed_once_and_in_order() {
        are_all_listed("postgres", &UPGRADES.map(|upgrade| upgrade.migration));
    }
}

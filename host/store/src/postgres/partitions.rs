//! Keeps a partition of runs and one of attempts for each day (UTC) on which runs were over, so that old history is
//! deleted by dropping two tables, whatever is in them.
//!
//! A day's partitions are made before it begins. If that was not done, or not possible (rows of that day exist already,
//! or this user may not make tables), its rows lie in the default partition, which is as good, except that they are
//! deleted row by row (`prune`). So nothing here has to succeed: a failure is tried again later.
//!
//! Tables are attached and detached, not made as partitions: attaching one holds up only transactions that use the
//! default partition. Detaching and dropping hold up all for a moment, and wait for it no longer than `lock_timeout`.
//!
//! On an engine without partitions, `runs` and `attempts` would be plain tables, without `runs_live` and the like,
//! whose partial indexes would say `over_at = ...` themselves; this module would do nothing, and runs that are too old
//! would be deleted row by row, like surplus ones.

use std::collections::BTreeSet;
use std::time::Duration;

use const_format::formatcp;
use tokio_postgres::Client;
use tokio_postgres::error::{Error, SqlState};
use tracing::{debug, info, warn};

use crate::Result;
use sexton_domain::time::Timestamp;

use super::counter_changes::{CounterChanges, LATEST_SUCCESS};
use super::day::Day;
use super::errors::{Failure, Remedy, Step, translate};
use super::history::TIME;
use super::planner::READS_ALL_ROWS;
use super::rows::{maybe_instant, state};
use super::schema::{ATTEMPT_NUMBERS, RUN_NUMBERS};
use super::tx::Tx;
use super::{PostgresStore, read};
use crate::codes::LAST_OUTCOME;
use crate::rules::runs::DUE;

const HOUR: i64 = 3600 * 1000;

/// Most days that have partitions. A statement that does not know the day of a run locks the tables and indexes of all
/// days, and a server has room for some thousand locks unless configured otherwise. Rows of further days lie in the
/// default partition.
const MOST: usize = 100;

/// Shard for the counts of a dropped day. No lane has it: a waiting lane might hold what the drop waits for.
const SHARD: i16 = -1;

/// Time that dropping a day may take: its keys are deleted one by one, some hundred thousand a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// The result of looking after partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartitionRotation {
    /// Runs that were dropped with their days.
    pub(super) gone: u64,
    /// Other transactions use a day that must go: deleting its runs one by one would only be in their way.
    pub(super) busy: bool,
}

/// Selects the attached tables.
const TABLES: &str = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid \
     WHERE i.inhparent = 'runs'::regclass";

fn days<'a>(tables: impl IntoIterator<Item = &'a tokio_postgres::Row>) -> BTreeSet<Day> {
    let name = |row: &'a tokio_postgres::Row| row.get::<_, &str>(0).strip_prefix("runs_");
    tables.into_iter().filter_map(name).filter_map(Day::named).collect()
}

/// Returns the SQL that makes a day's partitions, both or none: several statements in one batch are one transaction.
fn make_sql(day: Day) -> Option<String> {
    let (name, from, to) = (day.name()?, day.0, day.end());
    Some(format!(
        "CREATE TABLE runs_{name} (LIKE runs, CONSTRAINT numbers_known CHECK ({RUN_NUMBERS})); \
         ALTER TABLE runs ATTACH PARTITION runs_{name} FOR VALUES FROM ({from}) TO ({to}); \
         CREATE TABLE attempts_{name} (LIKE attempts, CONSTRAINT numbers_known CHECK ({ATTEMPT_NUMBERS})); \
         ALTER TABLE attempts ATTACH PARTITION attempts_{name} FOR VALUES FROM ({from}) TO ({to})"
    ))
}

/// Selects the tables of days that refuse outcomes which this program knows, because an older program made them.
const NARROW: &str = formatcp!(
    "SELECT c.relname::text FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid \
     WHERE n.conname = 'numbers_known' AND n.connamespace = current_schema()::regnamespace \
     AND c.relname ~ '^(runs|attempts)_[0-9]+$' \
     AND pg_get_constraintdef(n.oid) NOT LIKE '%outcome <= {LAST_OUTCOME})%'"
);

/// Returns the SQL that lets a table of [`NARROW`] have all outcomes. Its rows need no reading: the older constraint let
/// fewer numbers in.
fn widen_sql(table: &str) -> String {
    let numbers = if table.starts_with("runs_") { RUN_NUMBERS } else { ATTEMPT_NUMBERS };
    format!(
        "ALTER TABLE {table} DROP CONSTRAINT numbers_known, \
         ADD CONSTRAINT numbers_known CHECK ({numbers}) NOT VALID"
    )
}

/// The reason for which a day's partitions could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotMade {
    /// Another host has made them.
    Made,
    /// Rows of that day are in the default partition.
    Late,
    /// This user may not make tables.
    Forbidden,
    /// Other transactions were in the way.
    Busy,
    /// Anything else, which is reported.
    Unknown,
}

impl NotMade {
    fn because(error: &Error) -> Self {
        const REASONS: [(SqlState, NotMade); 8] = [
            (SqlState::DUPLICATE_TABLE, NotMade::Made),
            // The type of a table that is being created: chance decides which of its two names is in the way first.
            (SqlState::DUPLICATE_OBJECT, NotMade::Made),
            (SqlState::UNIQUE_VIOLATION, NotMade::Made),
            (SqlState::INVALID_OBJECT_DEFINITION, NotMade::Made),
            (SqlState::CHECK_VIOLATION, NotMade::Late),
            (SqlState::INSUFFICIENT_PRIVILEGE, NotMade::Forbidden),
            (SqlState::LOCK_NOT_AVAILABLE, NotMade::Busy),
            (SqlState::T_R_DEADLOCK_DETECTED, NotMade::Busy),
        ];
        REASONS.iter().find(|(code, _)| error.code() == Some(code)).map_or(Self::Unknown, |(_, reason)| *reason)
    }
}

/// Makes the partitions of today and of the days after it, by the database's clock.
///
/// # Errors
///
/// The database fails for a reason other than those that the module tolerates.
pub(super) async fn prepare(client: &Client) -> Result<()> {
    let failed = |error: Error| translate(&error);
    let now = Timestamp::from_millis(client.query_one(TIME, &[]).await.map_err(failed)?.get(0));
    let there = days(&client.query(TABLES, &[]).await.map_err(failed)?);
    let narrow = client.query(NARROW, &[]).await.map_err(failed)?;
    let widen = narrow.iter().map(|row| widen_sql(row.get(0)));
    let make = Day::coming(now).filter(|day| there.len() < MOST && !there.contains(day)).filter_map(make_sql);
    for sql in widen.chain(make) {
        if let Err(error) = client.batch_execute(&sql).await {
            match NotMade::because(&error) {
                NotMade::Unknown => return Err(translate(&error)),
                why => debug!(?why, %error, "A day has no partitions of its own, or narrow ones"),
            }
        }
    }
    Ok(())
}

/// Makes the partitions of the coming days, and drops those of days that were over before `oldest`. Once that is done,
/// further calls in the same hour cost nothing.
///
/// # Errors
///
/// The database does not answer at all.
pub(super) async fn rotate(store: &PostgresStore, oldest: Timestamp, now: Timestamp) -> Result<PartitionRotation> {
    let this = (now.as_millis().div_euclid(HOUR), Day::of(oldest));
    if store.shared.turned.last() == Some(this) {
        return Ok(PartitionRotation::default());
    }
    let there = read!(store, |tx| tables(tx))?;
    let mut whole = widen(store).await?;
    if there.len() < MOST {
        for day in Day::coming(now).filter(|day| !there.contains(day)) {
            whole &= make(store, day).await;
        }
    }
    let mut turn = PartitionRotation::default();
    for day in there.into_iter().take_while(|day| day.end() <= oldest.as_millis()) {
        match drop_day(store, day).await {
            Ok(runs) => turn.gone += runs,
            // Another host has dropped it since the look.
            Err(Failure::Sql(error)) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {}
            Err(failure) => {
                turn.busy |= failure.remedy() == Remedy::Again;
                whole = false;
                debug!(?failure, turn.busy, "Cannot drop a day's partitions now");
                break;
            }
        }
    }
    if whole {
        store.shared.turned.set(this);
    }
    Ok(turn)
}

async fn tables(tx: &Tx) -> Step<BTreeSet<Day>> {
    Ok(days(&tx.query(TABLES, &[]).await?))
}

/// Lets the tables of days have all outcomes. Returns whether all do.
async fn widen(store: &PostgresStore) -> Result<bool> {
    let narrow: Vec<String> = read!(store, |tx| narrow(tx))?;
    let mut whole = true;
    for table in narrow {
        if let Err(failure) = alone(store, &widen_sql(&table)).await {
            debug!(?failure, table, "Cannot let a day's table have all outcomes now");
            whole = false;
        }
    }
    Ok(whole)
}

async fn narrow(tx: &Tx) -> Step<Vec<String>> {
    Ok(tx.query(NARROW, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// Makes the partitions of a day. Returns whether nothing is left to do about it for now.
async fn make(store: &PostgresStore, day: Day) -> bool {
    let Some(sql) = make_sql(day) else { return true };
    match alone(store, &sql).await {
        Ok(()) => true,
        Err(Failure::Sql(error)) => match NotMade::because(&error) {
            NotMade::Busy => false,
            NotMade::Unknown => {
                warn!(%error, "Cannot make a day's partitions, trying again in an hour");
                true
            }
            why => {
                debug!(?why, %error, "A day has no partitions of its own");
                true
            }
        },
        Err(failure) => {
            debug!(?failure, "Cannot make a day's partitions now");
            false
        }
    }
}

/// Runs statements that are a transaction of their own.
async fn alone(store: &PostgresStore, sql: &str) -> Step<()> {
    let mut tx = Tx::take(&store.shared, SHARD, false).await?;
    tx.reading();
    let done = tx.batch(sql).await;
    if !matches!(&done, Err(failure) if failure.remedy() == Remedy::Reconnect) {
        tx.read();
    }
    done
}

/// Drops the partitions of a day, in one transaction. Returns how many runs went.
async fn drop_day(store: &PostgresStore, day: Day) -> Step<u64> {
    let Some(name) = day.name() else { return Ok(0) };
    let dropping = async {
        let mut tx = Tx::take(&store.shared, SHARD, false).await?;
        tx.begin();
        match clear(&mut tx, &name).await {
            Ok(gone) => {
                tx.commit().await?;
                store.shared.committed(tx.hints);
                info!(day = %name, runs = gone, "Dropped the history of a day");
                Ok(gone)
            }
            Err(failure) => {
                if failure.remedy() != Remedy::Reconnect {
                    tx.roll_back().await?;
                }
                Err(failure)
            }
        }
    };
    let late = |_| Failure::NoConnection(format!("no answer within {PATIENCE:?}"));
    tokio::time::timeout(PATIENCE, dropping).await.map_err(late)?
}

/// Subtracts a day's runs from the sums, deletes their keys, moves the rows that stay to the default partition, and
/// drops the day's tables. Steps that hold up other transactions come last.
async fn clear(tx: &mut Tx, day: &str) -> Step<u64> {
    // From here on no other transaction changes the tables, but all can read. Another host that drops the same day
    // fails at once.
    tx.batch(&format!("LOCK TABLE runs_{day}, attempts_{day} IN SHARE ROW EXCLUSIVE MODE NOWAIT; {READS_ALL_ROWS}"))
        .await?;
    let mut tally = CounterChanges::default();
    let mut gone = 0;
    let counted = format!(
        "SELECT task, state, count(*), coalesce(sum(bytes), 0)::bigint, max(due_at) FILTER (WHERE dedup LIKE '{DUE}%') \
         FROM runs_{day} GROUP BY task, state"
    );
    for row in tx.query(&counted, &[]).await? {
        let (task, count, bytes): (i64, i64, i64) = (row.get(0), row.get(2), row.get(3));
        let count = usize::try_from(count).unwrap_or_default();
        let change = tally.of(task);
        change.leave(state(&row, 1)?, count);
        change.bytes -= bytes;
        if let Some(due_at) = maybe_instant(&row, 4) {
            change.forgot(due_at);
        }
        gone += count as u64;
    }
    let latest = format!(
        "SELECT d.id, d.task, d.state, d.bytes FROM (SELECT {LATEST_SUCCESS} AS run FROM tally GROUP BY task) y \
         JOIN runs_{day} d ON d.id = y.run"
    );
    let mut stay: Vec<i64> = Vec::new();
    for row in tx.query(&latest, &[]).await? {
        let change = tally.of(row.get(1));
        change.enter(state(&row, 2)?, 1);
        change.bytes += row.get::<_, i64>(3);
        stay.push(row.get(0));
        gone -= 1;
    }
    let keys = format!(
        "DELETE FROM run_keys k USING runs_{day} d \
         WHERE d.dedup IS NOT NULL AND k.task = d.task AND k.key = d.dedup AND k.run = d.id"
    );
    tx.execute(&keys, &[]).await?;
    if !stay.is_empty() {
        let keys = format!(
            "INSERT INTO run_keys (task, key, run) SELECT task, dedup, id FROM runs_{day} \
             WHERE id = ANY($1) AND dedup IS NOT NULL"
        );
        tx.execute(&keys, &[&stay]).await?;
    }
    tally.write(tx).await?;
    tx.hints.changes |= gone > 0;
    let detach =
        format!("ALTER TABLE runs DETACH PARTITION runs_{day}; ALTER TABLE attempts DETACH PARTITION attempts_{day}");
    tx.batch(&detach).await?;
    if !stay.is_empty() {
        for (table, run) in [("runs", "id"), ("attempts", "run")] {
            let back = format!("INSERT INTO {table} SELECT * FROM {table}_{day} WHERE {run} = ANY($1)");
            tx.execute(&back, &[&stay]).await?;
        }
    }
    tx.batch(&format!("DROP TABLE runs_{day}, attempts_{day}")).await?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_named_after_its_date_and_found_by_that_name() {
        let at = |ms| Day::of(Timestamp::from_millis(ms));

        assert_eq!(at(1_800_000_000_000).name().as_deref(), Some("20270115"));
        assert_eq!(at(-1).name().as_deref(), Some("19691231"));
        assert_eq!(Day::named("20270115"), Some(at(1_800_000_000_000)));
        assert_eq!(["live", "over", "2027011", "20270230", "+2027011"].map(Day::named), [None; 5]);
        assert_eq!([at(i64::MIN).name(), at(i64::MAX).name()], [None, None]);
    }

    #[test]
    fn partitions_of_three_days_are_made_at_a_time() {
        let days: Vec<_> = Day::coming(Timestamp::from_millis(1_800_000_000_000)).filter_map(Day::name).collect();
        assert_eq!(days, ["20270115", "20270116", "20270117"]);
    }
}

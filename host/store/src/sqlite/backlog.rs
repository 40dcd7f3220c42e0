//! Counts the runs that wait because tasks asked for them, and their bytes.

use async_trait::async_trait;
use const_format::formatcp;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::backfills;
use super::rows::number;
use crate::Result;
use crate::backlog::{Backlog, SUMMED, Waiting, bytes_of};
use crate::codes::{TASK, WAITING};
use sexton_domain::task::TaskKey;

#[async_trait]
impl Backlog for SqliteStore {
    async fn waiting(&self, task: TaskKey) -> Result<Waiting> {
        self.read(move |conn| waiting(conn, &task)).await
    }
}

/// Sums from the index alone, which has no other runs.
const OF_TASK: &str = formatcp!(
    "SELECT coalesce(sum(bytes), 0), count(*) FROM (SELECT bytes FROM runs INDEXED BY runs_asked_for \
     WHERE state = {WAITING} AND cause = {TASK} AND task = ?1 LIMIT ?2)"
);

/// Selects runs that tasks asked for and that wait, by their index.
const ASKED_FOR: &str =
    formatcp!("FROM runs r INDEXED BY runs_asked_for WHERE r.state = {WAITING} AND r.cause = {TASK}");

/// Sums likewise over a tenant's tasks. It steps from task to task by index, so that tasks without such runs cost
/// nothing.
const OF_TENANT: &str = formatcp!(
    "WITH RECURSIVE found AS (SELECT min(r.task) AS task {ASKED_FOR} \
     UNION ALL SELECT (SELECT min(r.task) {ASKED_FOR} AND r.task > found.task) FROM found WHERE task IS NOT NULL) \
     SELECT coalesce(sum(bytes), 0), count(*) FROM (SELECT r.bytes FROM found CROSS JOIN tasks t ON t.id = found.task \
     CROSS JOIN runs r INDEXED BY runs_asked_for ON r.state = {WAITING} AND r.cause = {TASK} AND r.task = t.id \
     WHERE t.tenant = ?1 LIMIT ?2)"
);

fn waiting(conn: &Connection, task: &TaskKey) -> rusqlite::Result<Waiting> {
    let tenant = task.tenant.as_str();
    let row = conn
        .prepare_cached("SELECT id, waiting FROM tasks WHERE tenant = ?1 AND name = ?2")?
        .query_row(params![tenant, task.task.as_str()], |row| Ok((row.get::<_, i64>(0)?, number(row, 1)?)))
        .optional()?;
    let sum = |row: &rusqlite::Row<'_>| Ok(bytes_of(row.get(0)?, row.get(1)?));
    let (runs, bytes) = match row {
        Some((id, runs)) => (
            runs.saturating_sub(backfills::waiting(conn, id)?),
            conn.prepare_cached(OF_TASK)?.query_row(params![id, SUMMED], sum)?,
        ),
        None => (0, 0),
    };
    let tenant_bytes = conn.prepare_cached(OF_TENANT)?.query_row(params![tenant, SUMMED], sum)?;
    Ok(Waiting { runs, bytes, tenant_bytes })
}

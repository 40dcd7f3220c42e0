//! Counts the runs that wait because tasks asked for them, and their bytes.

use async_trait::async_trait;
use const_format::formatcp;

use crate::Result;
use crate::backlog::{Backlog, SUMMED, Waiting, bytes_of};
use crate::codes::{TASK, WAITING};
use sexton_domain::task::TaskKey;

use super::backfills;
use super::errors::Step;
use super::tx::Tx;
use super::{PostgresStore, read};

#[async_trait]
impl Backlog for PostgresStore {
    async fn waiting(&self, task: TaskKey) -> Result<Waiting> {
        read!(self, |tx| waiting(tx, &task))
    }
}

/// Sums from the index alone, which has no other runs.
const OF_TASK: &str = formatcp!(
    "SELECT coalesce(sum(bytes), 0)::bigint, count(*) FROM \
     (SELECT bytes FROM runs_live WHERE state = {WAITING} AND cause = {TASK} AND task = $1 LIMIT $2) r"
);

/// Sums likewise over a tenant's tasks. It steps from task to task by index, so that tasks without such runs cost
/// nothing.
const OF_TENANT: &str = formatcp!(
    "WITH RECURSIVE found AS ( \
     (SELECT task FROM runs_live WHERE state = {WAITING} AND cause = {TASK} ORDER BY task LIMIT 1) \
     UNION ALL \
     SELECT next.task FROM found CROSS JOIN LATERAL \
     (SELECT r.task FROM runs_live r WHERE r.state = {WAITING} AND r.cause = {TASK} AND r.task > found.task \
     ORDER BY r.task LIMIT 1) next) \
     SELECT coalesce(sum(bytes), 0)::bigint, count(*) FROM (SELECT r.bytes FROM found f \
     JOIN tasks t ON t.id = ANY (ARRAY[f.task]) JOIN runs_live r ON r.state = {WAITING} AND r.cause = {TASK} \
     AND r.task = t.id WHERE t.tenant = $1 LIMIT $2) r"
);

async fn waiting(tx: &Tx, task: &TaskKey) -> Step<Waiting> {
    let (tenant, name) = (task.tenant.as_str(), task.task.as_str());
    let row = tx
        .query_opt(
            "SELECT t.id, coalesce((SELECT sum(waiting) FROM tally y WHERE y.task = t.id), 0)::bigint \
             FROM tasks t WHERE t.tenant = $1 AND t.name = $2",
            &[&tenant, &name],
        )
        .await?;
    let (mut runs, mut bytes) = (0, 0);
    if let Some(row) = row {
        let in_turn = backfills::waiting(tx, row.get(0)).await?;
        runs = row.get::<_, i64>(1).unsigned_abs().saturating_sub(in_turn);
        let sum = tx.query_one(OF_TASK, &[&row.get::<_, i64>(0), &SUMMED]).await?;
        bytes = bytes_of(sum.get(0), sum.get(1));
    }
    let sum = tx.query_one(OF_TENANT, &[&tenant, &SUMMED]).await?;
    Ok(Waiting { runs, bytes, tenant_bytes: bytes_of(sum.get(0), sum.get(1)) })
}

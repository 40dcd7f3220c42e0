//! The rows of `tasks`, and their numbers, which never change and are kept in memory.

use std::collections::BTreeSet;

use tokio_postgres::Row;

use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::rows::{maybe_instant, number, text};
use super::tx::Tx;

/// Returns the numbers of `tasks`, in their order. A task without a row gets an empty one, by a transaction of its own,
/// because a number that is kept in memory must not be rolled back.
pub(super) async fn intern(tx: &Tx, tasks: &[TaskKey]) -> Step<Vec<i64>> {
    let new: BTreeSet<&TaskKey> = {
        let known = tx.shared.tasks.known();
        tasks.iter().filter(|task| !known.contains_key(*task)).collect()
    };
    if !new.is_empty() {
        let tenants: Vec<&str> = new.iter().map(|task| task.tenant.as_str()).collect();
        let names: Vec<&str> = new.iter().map(|task| task.task.as_str()).collect();
        let mut own = Tx::take(&tx.shared, 0, false).await?;
        own.reading();
        own.execute(
            "INSERT INTO tasks (tenant, name) SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
            &[&tenants, &names],
        )
        .await?;
        let rows = own
            .query(
                "SELECT t.id FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n(tenant, name, place) \
                 JOIN tasks t ON t.tenant = n.tenant AND t.name = n.name ORDER BY n.place",
                &[&tenants, &names],
            )
            .await?;
        own.read();
        let mut known = tx.shared.tasks.known();
        known.extend(new.into_iter().cloned().zip(rows.iter().map(|row| row.get::<_, i64>(0))));
    }
    let known = tx.shared.tasks.known();
    Ok(tasks.iter().map(|task| known[task]).collect())
}

/// Returns the number of one task.
pub(super) async fn intern_one(tx: &Tx, task: &TaskKey) -> Step<i64> {
    Ok(intern(tx, std::slice::from_ref(task)).await?[0])
}

/// Returns the number of a task, if there is a row for it.
pub(super) async fn find(tx: &Tx, task: &TaskKey) -> Step<Option<i64>> {
    let sql = "SELECT id FROM tasks WHERE tenant = $1 AND name = $2";
    let row = tx.query_opt(sql, &[&task.tenant.as_str(), &task.task.as_str()]).await?;
    Ok(row.map(|row| row.get(0)))
}

/// Columns that [`pause`] and [`standing`] read of a task `t`, in their order.
pub(super) const STANDING_COLUMNS: &str = "t.paused, t.paused_at, t.paused_why, t.failures, t.crashes, t.held_until";

/// Returns the pause of a task, if it is paused, from a row with [`STANDING_COLUMNS`] from `column` on.
pub(super) fn pause(row: &Row, column: usize) -> Option<Pause> {
    row.get::<_, bool>(column).then(|| Pause { since: maybe_instant(row, column + 1), why: row.get(column + 2) })
}

/// Returns the standing of a task, from the same columns.
pub(super) fn standing(row: &Row, column: usize) -> Standing {
    Standing {
        failures: row.get::<_, i32>(column + 3).unsigned_abs(),
        crashes: row.get::<_, i32>(column + 4).unsigned_abs(),
        held_until: maybe_instant(row, column + 5),
    }
}

/// A task's row, locked until the transaction ends: no other one claims or admits its runs, or changes the row.
#[derive(Clone, Debug)]
pub(super) struct TaskRow {
    pub(super) id: i64,
    pub(super) cursor: Option<Timestamp>,
    pub(super) fired: u64,
    pub(super) memory: Option<String>,
    pub(super) schedule: Option<String>,
    pub(super) left_out: Option<String>,
    pub(super) paused: Option<Pause>,
    pub(super) standing: Standing,
    /// Whether its tenant is paused, or all are.
    pub(super) paused_with_others: bool,
}

impl TaskRow {
    /// Returns whether none of its runs starts.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some() || self.paused_with_others
    }
}

/// Locks the rows of `tasks`, in the order of their numbers, as all transactions do, so that they never deadlock.
pub(super) async fn lock(tx: &Tx, tasks: &[i64]) -> Step<Vec<TaskRow>> {
    let rows = tx
        .query(
            &format!(
                "SELECT t.id, t.cursor_at, t.fired, t.memory, t.schedule, t.left_out, {STANDING_COLUMNS}, \
                 EXISTS (SELECT 1 FROM pauses p WHERE p.tenant IN ('', t.tenant)) \
                 FROM tasks t WHERE t.id = ANY($1) ORDER BY t.id FOR UPDATE OF t"
            ),
            &[&tasks],
        )
        .await?;
    Ok(rows.iter().map(task_row).collect())
}

/// Locks the row of one task.
pub(super) async fn lock_one(tx: &Tx, task: &TaskKey) -> Step<TaskRow> {
    let id = intern_one(tx, task).await?;
    Ok(lock(tx, &[id]).await?.remove(0))
}

fn task_row(row: &Row) -> TaskRow {
    TaskRow {
        id: row.get(0),
        cursor: maybe_instant(row, 1),
        fired: number(row, 2),
        memory: row.get(3),
        schedule: row.get(4),
        left_out: row.get(5),
        paused: pause(row, 6),
        standing: standing(row, 6),
        paused_with_others: row.get(12),
    }
}

/// Writes the row of a task that is locked.
pub(super) async fn write(tx: &Tx, row: &TaskRow) -> Step<()> {
    let (paused, standing) = (row.paused.as_ref(), row.standing);
    let said = |said: &Option<String>| said.as_deref().map(|said| text(said).into_owned());
    tx.execute(
        "UPDATE tasks SET cursor_at = $2, fired = $3, memory = $4, schedule = $5, left_out = $6, paused = $7, \
         paused_at = $8, paused_why = $9, failures = $10, crashes = $11, held_until = $12 WHERE id = $1",
        &[
            &row.id,
            &row.cursor.map(Timestamp::as_millis),
            &i64::try_from(row.fired).unwrap_or(i64::MAX),
            &said(&row.memory),
            &said(&row.schedule),
            &said(&row.left_out),
            &paused.is_some(),
            &paused.and_then(|pause| pause.since).map(Timestamp::as_millis),
            &paused.and_then(|pause| said(&pause.why)),
            &i32::try_from(standing.failures).unwrap_or(i32::MAX),
            &i32::try_from(standing.crashes).unwrap_or(i32::MAX),
            &standing.held_until.map(Timestamp::as_millis),
        ],
    )
    .await?;
    Ok(())
}

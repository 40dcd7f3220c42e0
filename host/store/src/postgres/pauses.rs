//! Pauses and resumes. A task's own pause is in its row; that of a tenant or of all is in `pauses`, where the empty
//! tenant, which is no tenant's name, stands for all.

use super::added;
use super::errors::Step;
use super::repairs;
use super::rows::{maybe_instant, name, text};
use super::tasks;
use super::tx::Tx;
use crate::events::EventKind;
use crate::repairs::BroughtBack;
use crate::rules::events::NewEvent;
use crate::rules::pausing as rules;
use sexton_domain::pause::{PauseTarget, Pauses};
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

/// The tenant that stands for all.
const ALL: &str = "";

/// See [`crate::Store::pause`]. A claim in progress while a tenant or all are paused counts as an earlier one.
pub(super) async fn pause(tx: &mut Tx, target: &PauseTarget, why: Option<&str>, now: Timestamp) -> Step<()> {
    let why = why.map(text);
    let tenant = match target {
        PauseTarget::Task(task) => {
            let mut row = tasks::lock_one(tx, task).await?;
            if let Some(pause) = Pause::over(row.paused.as_ref(), why.as_deref(), now) {
                row.paused = Some(pause);
                tasks::write(tx, &row).await?;
                tx.events.tell(NewEvent::of_pause(EventKind::TaskPaused, now, target));
                tx.hints.changes = true;
            }
            return Ok(());
        }
        PauseTarget::Tenant(tenant) => tenant.as_str(),
        PauseTarget::All => ALL,
    };
    // The same rule as `Pause::over`.
    let changed = tx
        .execute(
            "INSERT INTO pauses AS before (tenant, since_at, why) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant) DO UPDATE SET why = excluded.why \
             WHERE excluded.why IS NOT NULL AND excluded.why IS DISTINCT FROM before.why",
            &[&tenant, &now.as_millis(), &why],
        )
        .await?;
    if changed > 0 {
        tx.events.tell(NewEvent::of_pause(EventKind::TaskPaused, now, target));
        tx.hints.changes = true;
    }
    Ok(())
}

/// See [`crate::Store::resume`].
pub(super) async fn resume(tx: &mut Tx, target: &PauseTarget, now: Timestamp) -> Step<()> {
    let was_ahead = match target {
        PauseTarget::Task(task) => resume_task(tx, task, now).await?,
        PauseTarget::Tenant(tenant) => resume_many(tx, target, Some(tenant.as_str()), now).await?,
        PauseTarget::All => resume_many(tx, target, None, now).await?,
    };
    if added::reset_all_of(tx, target, now).await? || was_ahead {
        repairs::bring_back(tx, BroughtBack::Of(target), now).await?;
    }
    Ok(())
}

/// Returns whether a task was ahead of the clock.
async fn resume_many(tx: &mut Tx, target: &PauseTarget, tenant: Option<&str>, now: Timestamp) -> Step<bool> {
    let is_ahead = "SELECT EXISTS (SELECT FROM tasks WHERE ($1::text IS NULL OR tenant = $1) AND cursor_at > $2)";
    let was_ahead: bool = tx.query_one(is_ahead, &[&tenant, &now.as_millis()]).await?.get(0);
    let gone = tx.execute("DELETE FROM pauses WHERE tenant = $1", &[&tenant.unwrap_or(ALL)]).await?;
    let was_paused = gone > 0;
    if was_paused {
        tx.events.tell(NewEvent::of_pause(EventKind::TaskResumed, now, target));
    }
    // The same rule as `rules::is_brought`. The rows are locked in the order of all transactions, which an UPDATE does
    // not keep to.
    let moved = tx
        .execute(
            "WITH late AS (SELECT id FROM tasks WHERE ($1::text IS NULL OR tenant = $1) AND cursor_at <> $2 \
             AND ($3 OR cursor_at > $2) ORDER BY id FOR UPDATE) \
             UPDATE tasks t SET cursor_at = $2 FROM late WHERE t.id = late.id",
            &[&tenant, &now.as_millis(), &was_paused],
        )
        .await?;
    tx.hints.runs |= was_paused || moved > 0;
    tx.hints.changes |= was_paused || moved > 0;
    Ok(was_ahead)
}

/// Returns whether the task was ahead of the clock.
async fn resume_task(tx: &mut Tx, task: &TaskKey, now: Timestamp) -> Step<bool> {
    let mut row = tasks::lock_one(tx, task).await?;
    let stands = rules::Paused {
        cursor: row.cursor,
        is_paused: row.paused.is_some(),
        standing: &row.standing,
        has_left_out: row.left_out.is_some(),
    };
    let was_ahead = row.cursor.is_some_and(|cursor| cursor > now);
    let Some(cursor) = rules::resume(stands, now) else { return Ok(false) };
    row.cursor = cursor;
    row.paused = None;
    row.standing = Standing::default();
    row.left_out = None;
    tasks::write(tx, &row).await?;
    tx.events.tell(NewEvent::of_task(EventKind::TaskResumed, now, task));
    tx.hints.runs = true;
    tx.hints.changes = true;
    Ok(was_ahead)
}

/// See [`crate::Store::pauses`].
pub(super) async fn pauses(tx: &Tx) -> Step<Pauses> {
    let mut pauses = Pauses::default();
    for row in tx.query("SELECT tenant, since_at, why FROM pauses", &[]).await? {
        let pause = Pause { since: maybe_instant(&row, 1), why: row.get(2) };
        if row.get::<_, &str>(0) == ALL {
            pauses.all = Some(pause);
        } else {
            pauses.tenants.insert(name(&row, 0)?, pause);
        }
    }
    Ok(pauses)
}

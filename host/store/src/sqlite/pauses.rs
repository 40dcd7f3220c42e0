//! Pauses and resumes. A task's own pause is in its row; that of a tenant or of all is in `pauses`, where the empty
//! tenant, which is no tenant's name, stands for all.

use rusqlite::params;

use crate::events::EventKind;
use crate::repairs::BroughtBack;
use crate::rules::events::NewEvent;
use crate::rules::pausing as rules;
use sexton_domain::pause::PauseTarget;
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::added;
use super::errors::Step;
use super::repairs;
use super::rows::ALL;
use super::writer::Writing;

/// See [`crate::Store::pause`].
pub(super) fn pause(w: &mut Writing, target: &PauseTarget, why: Option<&str>, now: Timestamp) -> Step<()> {
    match target {
        PauseTarget::Task(task) => {
            let id = w.ledger.intern(task);
            let Some(pause) = Pause::over(w.ledger.row(id).paused.as_ref(), why, now) else { return Ok(()) };
            w.ledger.change(id).paused = Some(pause);
        }
        PauseTarget::Tenant(_) | PauseTarget::All => {
            let tenant = tenant(target);
            let pauses = &w.ledger.pauses;
            let before = tenant.map_or(pauses.all.as_ref(), |tenant| pauses.tenants.get(tenant));
            let Some(pause) = Pause::over(before, why, now) else { return Ok(()) };
            w.conn
                .prepare_cached("INSERT OR REPLACE INTO pauses (tenant, since_at, why) VALUES (?1, ?2, ?3)")?
                .execute(params![
                    tenant.map_or(ALL, |tenant| tenant.as_str()),
                    pause.since.map(Timestamp::as_millis),
                    pause.why
                ])?;
            match tenant {
                Some(tenant) => drop(w.ledger.pauses.tenants.insert(tenant.clone(), pause)),
                None => w.ledger.pauses.all = Some(pause),
            }
        }
    }
    w.events.tell(NewEvent::of_pause(EventKind::TaskPaused, now, target));
    w.hints.changes = true;
    Ok(())
}

/// See [`crate::Store::resume`].
pub(super) fn resume(w: &mut Writing, target: &PauseTarget, now: Timestamp) -> Step<()> {
    let was_ahead = match target {
        PauseTarget::Task(task) => resume_task(w, task, now),
        PauseTarget::Tenant(_) | PauseTarget::All => resume_many(w, target, now)?,
    };
    if added::reset_all_of(w, target, now)? || was_ahead {
        repairs::bring_back(w, BroughtBack::Of(target), now)?;
    }
    Ok(())
}

/// Returns whether a task was ahead of the clock.
fn resume_many(w: &mut Writing, target: &PauseTarget, now: Timestamp) -> Step<bool> {
    let tenant = tenant(target);
    let was_ahead = w.ledger.is_ahead(tenant, now);
    let gone = w
        .conn
        .prepare_cached("DELETE FROM pauses WHERE tenant = ?1")?
        .execute([tenant.map_or(ALL, |tenant| tenant.as_str())])?;
    match tenant {
        Some(tenant) => drop(w.ledger.pauses.tenants.remove(tenant)),
        None => w.ledger.pauses.all = None,
    }
    let was_paused = gone > 0;
    if was_paused {
        w.events.tell(NewEvent::of_pause(EventKind::TaskResumed, now, target));
    }
    let moved = w.ledger.move_cursors(tenant, now, |cursor| rules::is_brought(cursor, was_paused, now));
    w.hints.runs |= was_paused || moved;
    w.hints.changes |= was_paused || moved;
    Ok(was_ahead)
}

fn tenant(target: &PauseTarget) -> Option<&Name> {
    match target {
        PauseTarget::Tenant(tenant) => Some(tenant),
        PauseTarget::All | PauseTarget::Task(_) => None,
    }
}

/// Returns whether the task was ahead of the clock.
fn resume_task(w: &mut Writing, task: &TaskKey, now: Timestamp) -> bool {
    let id = w.ledger.intern(task);
    let row = w.ledger.row(id);
    let stands = rules::Paused {
        cursor: row.cursor,
        is_paused: row.paused.is_some(),
        standing: &row.standing,
        has_left_out: row.left_out.is_some(),
    };
    let was_ahead = row.cursor.is_some_and(|cursor| cursor > now);
    let Some(cursor) = rules::resume(stands, now) else { return false };
    let row = w.ledger.change(id);
    row.cursor = cursor;
    row.paused = None;
    row.standing = Standing::default();
    row.left_out = None;
    w.events.tell(NewEvent::of_task(EventKind::TaskResumed, now, task));
    w.hints.runs = true;
    w.hints.changes = true;
    was_ahead
}

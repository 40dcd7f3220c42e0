//! Decides what resuming a task changes, and what a schedule that pauses its task does.

use crate::UpdateMemory;
use sexton_domain::supervision::{Pause, Standing};
use sexton_domain::time::Timestamp;

/// The state of a task that is resumed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paused<'a> {
    pub(crate) cursor: Option<Timestamp>,
    pub(crate) is_paused: bool,
    pub(crate) standing: &'a Standing,
    pub(crate) has_left_out: bool,
}

/// Returns the task's cursor from `now` on; `None` if resuming it changes nothing. Otherwise its failures, and what it
/// left out, are cleared as well.
pub(crate) fn resume(task: Paused<'_>, now: Timestamp) -> Option<Option<Timestamp>> {
    // A task that has no cursor yet gets one when its pause ends.
    let is_brought = task.cursor.map_or(task.is_paused, |cursor| is_brought(cursor, task.is_paused, now));
    if !task.is_paused && *task.standing == Standing::default() && !task.has_left_out && !is_brought {
        return None;
    }
    Some(if is_brought { Some(now) } else { task.cursor })
}

/// Returns whether resuming moves a `cursor` to `now`: instants during a pause are left out, and a cursor is ahead if
/// the clock was set back.
pub(crate) fn is_brought(cursor: Timestamp, is_paused: bool, now: Timestamp) -> bool {
    is_paused || cursor > now
}

/// Moves the cursor of a task up to the instant of `remember`, and pauses the task if `remember` says so and it is not paused
/// already. Returns whether it was paused by this.
pub(crate) fn update_memory(
    remember: &UpdateMemory,
    cursor: &mut Option<Timestamp>,
    paused: &mut Option<Pause>,
) -> bool {
    *cursor = (*cursor).max(Some(remember.now));
    let Some(why) = remember.pause.as_ref().filter(|_| paused.is_none()) else { return false };
    *paused = Some(Pause { since: Some(remember.now), why: Some(why.clone()) });
    true
}

//! Decides about an added schedule: whether it is written, and what its due instants call for.

use std::time::Duration;

use crate::added::{
    AddSchedule, DueSchedule, GuestSchedule, GuestSchedules, ScheduleError, ScheduleInfo, ScheduleProgress,
};
use sexton_domain::time::Timestamp;

/// The time for which the row of a deleted schedule stays. A host that looks less often learns of the deletion when it
/// fires the schedule.
pub(crate) const DELETED_FOR: Duration = Duration::from_secs(3600);

/// The rows of schedules that tasks have added, deleted ones included, for each schedule that they may have. Rows of
/// deleted schedules stay for a while, so without this bound tasks that add and delete would let the store grow.
const ROWS: u64 = 5;

/// A schedule as found by a store.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// The number of the schedule's row.
    pub(crate) id: i64,
    pub(crate) info: ScheduleInfo,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) deleted: bool,
}

/// The decision about a schedule that is added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The same schedule exists, so nothing is done.
    Keep(ScheduleInfo),
    /// The schedule is written, perhaps in place of another.
    Write { replaces: bool },
}

/// Decides about `new` by what was `found` under its key, and by `others`, the schedules with other keys that tasks have
/// added to the tenant.
///
/// In `doubt` an earlier try of this call may have written the schedule, and its result counts as the same.
pub(crate) fn add(
    new: &AddSchedule,
    found: Option<Stored>,
    others: GuestSchedules,
    doubt: bool,
) -> Result<Decision, ScheduleError> {
    let has_row = found.is_some();
    let Some(Stored { info, data, .. }) = found.filter(|found| !found.deleted) else {
        return match new.version {
            Some(_) => Err(ScheduleError::NotFound(new.key.key.clone())),
            None => room(new, others, has_row).map(|()| Decision::Write { replaces: false }),
        };
    };
    let same = info.target == new.target && info.definition == new.definition && data == new.data;
    if doubt && same && info.created_at == new.now {
        return Ok(Decision::Keep(info));
    }
    expect(&info, new.version)?;
    // A task changes what tasks have added, and nothing that a person has.
    if new.guest.is_some() && info.added_by.is_none() && !(same && info.finished_at.is_none()) {
        return Err(ScheduleError::AlreadyExists(new.key.key.clone()));
    }
    match info.finished_at {
        Some(_) if same && new.guest.as_ref().is_some_and(|guest| repeats(guest, &info, new.replace)) => {
            Ok(Decision::Keep(info))
        }
        Some(at) if !new.replace => Err(ScheduleError::AlreadyFinished { key: new.key.key.clone(), at }),
        None if same => Ok(Decision::Keep(info)),
        None if !new.replace => Err(ScheduleError::AlreadyExists(new.key.key.clone())),
        // The schedule appeared after the guest's grant was checked, so it may be of a task that is not granted.
        _ if new.guest.is_some() && new.version.is_none() => {
            Err(ScheduleError::Preempted { key: new.key.key.clone(), version: info.version })
        }
        _ => room(new, others, true).map(|()| Decision::Write { replaces: true }),
    }
}

/// Returns whether a guest that adds a finished schedule once more repeats what was done. Without `replace` it always
/// does; with it, if its run added the schedule.
fn repeats(guest: &GuestSchedule, found: &ScheduleInfo, replace: bool) -> bool {
    let of_this_run = found.added_by.as_ref() == Some(&guest.task)
        && guest.run_created_at.is_some_and(|created_at| found.created_at >= created_at);
    !replace || of_this_run
}

/// Refuses a schedule of a guest if there is no room for it beside `others`. One whose key `has_row` takes no further
/// row.
fn room(new: &AddSchedule, others: GuestSchedules, has_row: bool) -> Result<(), ScheduleError> {
    let Some(guest) = &new.guest else { return Ok(()) };
    let GuestSchedules { schedules, deleted, bytes } = others;
    let more_bytes = new.data.as_ref().map_or(0, |data| data.len() as u64);
    if schedules >= guest.most || bytes.saturating_add(more_bytes) > guest.bytes {
        return Err(ScheduleError::Full { schedules, bytes, most: guest.most, most_bytes: guest.bytes });
    }
    if !has_row && schedules.saturating_add(deleted) >= guest.most.saturating_mul(ROWS) {
        return Err(ScheduleError::DeletedTooMany { deleted });
    }
    Ok(())
}

/// Refuses a schedule that has changed since its caller read it.
pub(crate) fn expect(found: &ScheduleInfo, version: Option<u64>) -> Result<(), ScheduleError> {
    match version {
        Some(version) if version != found.version => {
            Err(ScheduleError::Preempted { key: found.key.key.clone(), version: found.version })
        }
        _ => Ok(()),
    }
}

/// Decides whether a schedule that is reset at `now` is moved to that instant. In `doubt` an earlier try may have moved
/// it.
pub(crate) fn reset(found: &ScheduleInfo, now: Timestamp, doubt: bool) -> Result<Move, ScheduleError> {
    match found.finished_at {
        Some(at) => Err(ScheduleError::AlreadyFinished { key: found.key.key.clone(), at }),
        None if found.cursor > now => Ok(Move::Due),
        None if doubt && found.cursor == now => Ok(Move::Done),
        None => Ok(Move::None),
    }
}

/// The decision about a schedule that is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// The schedule must be moved.
    Due,
    /// An earlier try of the same request moved the schedule.
    Done,
    /// The schedule is not ahead of the clock.
    None,
}

/// The decision about a due instant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Firing {
    /// Another host was first, or the schedule was changed, so nothing is done.
    Stale,
    /// The cursor moves, and no run is made; `skipped` if the reason is that the previous run is not over.
    Move { skipped: bool },
    /// A run that is due at this instant is made.
    Make(Timestamp),
}

/// Decides about a due instant of a schedule with this `version` and `progress`; `paused` says whether its task is
/// paused, `busy` whether a run of its key is not over.
pub(crate) fn fire(due: &DueSchedule, version: u64, progress: ScheduleProgress, paused: bool, busy: bool) -> Firing {
    if version != due.version || progress.cursor != due.expect {
        return Firing::Stale;
    }
    match due.due_at.filter(|_| !paused) {
        None => Firing::Move { skipped: false },
        Some(_) if busy => Firing::Move { skipped: true },
        Some(due_at) => Firing::Make(due_at),
    }
}

/// Returns whether nothing more is due for a schedule that has made `fired` runs, one of them just now if `made`.
pub(crate) fn is_finished(due: &DueSchedule, made: bool, fired: u64) -> bool {
    due.last || (made && due.times.is_some_and(|times| fired >= u64::from(times)))
}

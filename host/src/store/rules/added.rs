//! What becomes of an added schedule: when it is written, and what its due instants come to.

use std::time::Duration;

use crate::store::added::{AddSchedule, DueSchedule, ScheduleError, ScheduleInfo, ScheduleProgress};
use crate::time::Timestamp;

/// How long the row of a deleted schedule stays. A host that has not looked for that long finds out when it fires it.
pub(in crate::store) const DELETED_FOR: Duration = Duration::from_secs(3600);

/// A schedule as a store has found it.
#[derive(Clone, Debug)]
pub(in crate::store) struct Stored {
    /// The number of its row.
    pub(in crate::store) id: i64,
    pub(in crate::store) info: ScheduleInfo,
    pub(in crate::store) data: Option<Vec<u8>>,
    pub(in crate::store) deleted: bool,
}

/// What is done about a schedule that is added.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Decision {
    /// Nothing: it is there, exactly so.
    Keep(ScheduleInfo),
    /// It is written; whether in the place of another.
    Write { replaces: bool },
}

/// Decides about `new` by what was `found` under its key.
///
/// In `doubt` it may have been written already, and what was written by then is no other.
pub(in crate::store) fn add(new: &AddSchedule, found: Option<Stored>, doubt: bool) -> Result<Decision, ScheduleError> {
    let Some(Stored { info, data, .. }) = found.filter(|found| !found.deleted) else {
        return match new.version {
            Some(_) => Err(ScheduleError::NotFound(new.key.key.clone())),
            None => Ok(Decision::Write { replaces: false }),
        };
    };
    let same = info.task == new.task && info.definition == new.definition && data == new.data;
    if doubt && same && info.created_at == new.now {
        return Ok(Decision::Keep(info));
    }
    expect(&info, new.version)?;
    match info.finished_at {
        Some(at) if !new.replace => Err(ScheduleError::AlreadyFinished { key: new.key.key.clone(), at }),
        None if same => Ok(Decision::Keep(info)),
        None if !new.replace => Err(ScheduleError::AlreadyExists(new.key.key.clone())),
        _ => Ok(Decision::Write { replaces: true }),
    }
}

/// Refuses a schedule that is another than its caller has looked at.
pub(in crate::store) fn expect(found: &ScheduleInfo, version: Option<u64>) -> Result<(), ScheduleError> {
    match version {
        Some(version) if version != found.version => {
            Err(ScheduleError::Preempted { key: found.key.key.clone(), version: found.version })
        }
        _ => Ok(()),
    }
}

/// Decides whether a schedule that is reset at `now` is moved to that instant. In `doubt` it may have been moved already.
pub(in crate::store) fn reset(found: &ScheduleInfo, now: Timestamp, doubt: bool) -> Result<Move, ScheduleError> {
    match found.finished_at {
        Some(at) => Err(ScheduleError::AlreadyFinished { key: found.key.key.clone(), at }),
        None if found.cursor > now => Ok(Move::Due),
        None if doubt && found.cursor == now => Ok(Move::Done),
        None => Ok(Move::None),
    }
}

/// Whether a schedule that is reset is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Move {
    /// It is to be moved.
    Due,
    /// It was moved by an earlier try of the same request.
    Done,
    /// It is not ahead of the clock.
    None,
}

/// What a due instant calls for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Firing {
    /// Nothing: another host was first, or the schedule was changed.
    Stale,
    /// The cursor moves, and no run is made; `skipped` because the run before is not over.
    Move { skipped: bool },
    /// A run is made, due then.
    Make(Timestamp),
}

/// Decides about a due instant of a schedule that has this `version` and `progress`; `paused` tells whether nothing of its
/// task starts, `busy` whether a run of its key is not over.
pub(in crate::store) fn fire(
    due: &DueSchedule,
    version: u64,
    progress: ScheduleProgress,
    paused: bool,
    busy: bool,
) -> Firing {
    if version != due.version || progress.cursor != due.expect {
        return Firing::Stale;
    }
    match due.due_at.filter(|_| !paused) {
        None => Firing::Move { skipped: false },
        Some(_) if busy => Firing::Move { skipped: true },
        Some(due_at) => Firing::Make(due_at),
    }
}

/// Whether nothing of a schedule is due any more that has made `fired` runs, one of them just now if `made`.
pub(in crate::store) fn is_finished(due: &DueSchedule, made: bool, fired: u64) -> bool {
    due.last || (made && due.times.is_some_and(|times| fired >= u64::from(times)))
}

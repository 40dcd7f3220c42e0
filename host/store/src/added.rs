//! Defines the part of the contract for schedules that are added while hosts run: up to a million of them, each a row.
//!
//! An added schedule is not a task. It makes runs of a task that a manifest defines, one at a time for each key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use sexton_domain::labels::Labels;
use sexton_domain::run::{ClaimKey, RunId};
use sexton_domain::schedule::routes::Target;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::Result;

/// The reason why an added schedule was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A schedule with that key exists and differs.
    #[error("there is another schedule `{0}`")]
    AlreadyExists(Name),
    /// The schedule with that key has finished: it has made all its runs.
    #[error("schedule `{key}` has finished at {at}")]
    AlreadyFinished {
        key: Name,
        /// When the schedule finished.
        at: Timestamp,
    },
    /// No schedule has that key.
    #[error("there is no schedule `{0}`")]
    NotFound(Name),
    /// The schedule has changed since the caller read it.
    #[error("schedule `{key}` was changed by another request: it has version {version} now")]
    Preempted {
        key: Name,
        /// The schedule's current version.
        version: u64,
    },
    /// Tasks have added as many schedules to the tenant as they may.
    #[error(
        "tasks have added {schedules} schedules with {bytes} bytes of data, and may add {most} with {most_bytes} bytes"
    )]
    Full {
        /// The number of schedules that there are.
        schedules: u64,
        /// The bytes of their data.
        bytes: u64,
        /// The most schedules.
        most: u64,
        /// The most bytes.
        most_bytes: u64,
    },
    /// Tasks have added and deleted so many schedules of the tenant that no further one is kept for now.
    #[error(
        "tasks have deleted {deleted} schedules within the last hour, and may add no further one under another key \
         until an hour after those were deleted"
    )]
    DeletedTooMany {
        /// The number of deleted schedules whose rows are kept.
        deleted: u64,
    },
}

/// Names an added schedule by its owner and its key, which is unique among the owner's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleKey {
    pub tenant: Name,
    pub key: Name,
}

/// A schedule to be added.
#[derive(Clone, Debug)]
pub struct AddSchedule {
    pub key: ScheduleKey,
    /// The task whose runs it makes, or its type.
    pub target: Target,
    /// The text of the schedule's [`Definition`](sexton_domain::schedule::Definition).
    pub definition: String,
    /// The input of its runs; `None` gives them the task's own.
    pub data: Option<Vec<u8>>,
    /// Instants up to and including this one are not due.
    pub cursor: Timestamp,
    /// Whether it replaces a schedule that has the key. The replacement starts afresh.
    pub replace: bool,
    /// If set, the schedule is only written over a schedule of this version.
    pub version: Option<u64>,
    /// The guest that adds it; `None` for a person.
    pub guest: Option<GuestSchedule>,
    pub now: Timestamp,
}

/// A guest that adds a schedule, and the most that guests may have added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestSchedule {
    /// The task whose run adds the schedule.
    pub task: Name,
    /// The claim of that run. A stale claim changes nothing.
    pub claim: ClaimKey,
    /// The most schedules of the tenant that tasks may have added.
    pub most: u64,
    /// The most bytes that the data of these schedules may have together.
    pub bytes: u64,
    /// When that run was made, if the caller knows it. A schedule that it has added, and that has finished, is not begun
    /// anew by a further attempt at it.
    pub run_created_at: Option<Timestamp>,
}

/// The schedules of a tenant that tasks have added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuestSchedules {
    /// Their number.
    pub schedules: u64,
    /// The number of deleted ones whose rows are still kept.
    pub deleted: u64,
    /// The bytes of their data.
    pub bytes: u64,
}

/// The result of an [`AddSchedule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// The schedule was added.
    New(ScheduleInfo),
    /// The same schedule existed already; nothing was changed.
    Existing(ScheduleInfo),
    /// The schedule has replaced another.
    Replaced(ScheduleInfo),
}

/// The result of resetting a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The schedule was ahead of the clock and continues from now, with a new version.
    Moved(ScheduleInfo),
    /// The schedule was not ahead, and nothing was changed.
    Unchanged(ScheduleInfo),
}

/// An added schedule as users see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleInfo {
    pub key: ScheduleKey,
    /// The task whose runs it makes, or its type.
    pub target: Target,
    /// The task that added it; `None` if a person did.
    pub added_by: Option<Name>,
    /// The version, which grows with every change by a user.
    pub version: u64,
    /// The text of the schedule's [`Definition`](sexton_domain::schedule::Definition).
    pub definition: String,
    /// The size of the schedule's data in bytes; `None` if it has none.
    pub data_bytes: Option<u64>,
    /// When the schedule was added or replaced.
    pub created_at: Timestamp,
    /// The last instant that was handled.
    pub cursor: Timestamp,
    /// The number of runs that the schedule has made.
    pub fired: u64,
    /// The number of instants that were skipped because the schedule's earlier run had not finished.
    pub skipped: u64,
    /// The time since which nothing more will be due.
    pub finished_at: Option<Timestamp>,
}

/// Selects added schedules to list, by key.
#[derive(Clone, Debug)]
pub struct ScheduleFilter {
    pub tenant: Name,
    /// Selects only schedules that name this task.
    pub task: Option<Name>,
    /// Selects only schedules that tasks have added.
    pub by_tasks: bool,
    /// Selects only schedules after this key, for the next page.
    pub after: Option<Name>,
    pub limit: usize,
}

/// The facts that a scheduler needs about an added schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSchedule {
    /// The schedule's number in the store.
    pub id: i64,
    /// The version, which grows with every change by a user.
    pub version: u64,
    /// Its tenant.
    pub tenant: Name,
    /// The task whose runs it makes, or its type.
    pub target: Target,
    /// The text of the schedule's [`Definition`](sexton_domain::schedule::Definition).
    pub definition: String,
    pub progress: ScheduleProgress,
    /// Whether the schedule was deleted, so that the scheduler must forget it.
    pub deleted: bool,
}

/// The progress of an added schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleProgress {
    /// The last instant that was handled.
    pub cursor: Timestamp,
    /// The number of runs that the schedule has made.
    pub fired: u64,
}

impl ScheduleProgress {
    /// Returns the progress from which the schedule continues at `now`: the cursor is `now` if a wrong clock has left
    /// it far ahead. The store is [repaired](super::repairs::Repairs::repair_instants) separately, and reports the
    /// stored progress when the schedule is fired.
    #[must_use]
    pub fn plausible(self, now: Timestamp) -> Self {
        Self { cursor: sexton_domain::schedule::plausible(Some(self.cursor), now).unwrap_or(now), ..self }
    }
}

/// Many due instants that one transaction handles.
#[derive(Clone, Debug)]
pub struct FireAdded {
    /// The tasks, which each element of `due` names by index.
    pub tasks: Vec<RunDefaults>,
    pub due: Vec<DueSchedule>,
    pub now: Timestamp,
}

/// The values that a task gives its runs.
#[derive(Clone, Debug)]
pub struct RunDefaults {
    pub key: TaskKey,
    /// The input of a run whose schedule has no data.
    pub input: Vec<u8>,
    /// The time after its earliest start in which a run may still start.
    pub start_within: Option<Duration>,
    /// The labels of the task.
    pub labels: Labels,
}

/// A due instant of an added schedule.
#[derive(Clone, Copy, Debug)]
pub struct DueSchedule {
    /// The schedule's number in the store.
    pub id: i64,
    /// The expected version; a schedule with another version is left alone.
    pub version: u64,
    /// The expected cursor. If the store has another, a different host was first, and nothing is done.
    pub expect: Timestamp,
    /// The index of the schedule's task in [`FireAdded::tasks`].
    pub task: usize,
    /// The instant to make a run for; `None` makes no run.
    pub due_at: Option<Timestamp>,
    /// The time from that instant to the earliest start of the run.
    pub delay: Duration,
    /// The number of earlier instants that are left out.
    pub left_out: u64,
    /// Whether more instants than that are left out, too many to count.
    pub uncounted: bool,
    /// The cursor after this firing.
    pub cursor: Timestamp,
    /// The most runs that the schedule makes.
    pub times: Option<u32>,
    /// Whether nothing more will be due.
    pub last: bool,
}

impl DueSchedule {
    /// Returns the note for the run that the schedule with this key makes.
    pub(super) fn note(&self, key: &Name) -> String {
        let more = if self.uncounted { "more than " } else { "" };
        match self.left_out {
            0 => format!("added schedule `{key}`"),
            n => format!("added schedule `{key}`; {more}{n} instant(s) before it left out"),
        }
    }
}

/// The result of a [`DueSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FireScheduleOutcome {
    /// The instant was handled.
    Done {
        /// The run, if one was made: not if an earlier one has not finished or the task is paused.
        run: Option<RunId>,
        /// The number of runs that the schedule has made in total.
        fired: u64,
        /// Whether nothing more will be due.
        finished: bool,
    },
    /// Another host was first, or the schedule was changed; nothing was done. Holds the current version and progress, or
    /// `None` if the schedule was deleted or has finished.
    Stale(Option<(u64, ScheduleProgress)>),
}

/// Keeps added schedules. The promises of [`Store`](super::Store) apply here, too.
#[async_trait]
pub trait AddedSchedules {
    /// Adds a schedule. Adding the same one again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`] if the key is taken, has finished, or (with [`AddSchedule::version`]) has changed or does not
    /// exist. A guest replaces only the version that it names, because its grant was checked for that.
    async fn add_schedule(&self, add: AddSchedule) -> Result<Added>;

    /// Returns added schedules, by key.
    async fn schedules(&self, filter: ScheduleFilter) -> Result<Vec<ScheduleInfo>>;

    /// Returns one added schedule.
    async fn schedule(&self, key: ScheduleKey) -> Result<Option<ScheduleInfo>>;

    /// Returns the first bytes of a schedule's data, at most `most` of them; `None` if it has none.
    async fn schedule_data(&self, key: ScheduleKey, most: usize) -> Result<Option<Vec<u8>>>;

    /// Deletes an added schedule and returns its last state. A run that it has made continues. With `claim` a run
    /// deletes it, and a stale one changes nothing.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::NotFound`]; [`ScheduleError::Preempted`] if the schedule's version is not `version`.
    async fn delete_schedule(
        &self,
        key: ScheduleKey,
        version: Option<u64>,
        claim: Option<ClaimKey>,
        now: Timestamp,
    ) -> Result<ScheduleInfo>;

    /// Lets an added schedule continue from `now` if its cursor is later, because the clock was set back. A schedule
    /// whose cursor is not later is left as it is, so that nothing that is due is lost.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::NotFound`]; [`ScheduleError::AlreadyFinished`].
    async fn reset_schedule(&self, key: ScheduleKey, now: Timestamp) -> Result<Reset>;

    /// Makes the runs that are due, moves the cursors, counts, and finishes schedules that have nothing more to come.
    /// The results are in the order of [`FireAdded::due`].
    ///
    /// Each key has one run at a time, even if its schedule was deleted and added again: while that run is not over, no
    /// other is made. For a paused task only the cursors move.
    async fn fire_schedules(&self, fire: FireAdded) -> Result<Vec<FireScheduleOutcome>>;

    /// Returns unfinished and recently deleted schedules whose version is greater than `since`, by version.
    async fn load_schedules(&self, since: u64, limit: usize) -> Result<Vec<LoadedSchedule>>;

    /// Returns the hint that a schedule was added, replaced or deleted; it works like
    /// [`Store::runs_hint`](super::Store::runs_hint).
    fn schedules_hint(&self) -> Arc<Notify>;
}

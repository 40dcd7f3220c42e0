//! The part of the contract that is about schedules which are added while hosts run: a million of them, each a row.
//!
//! An added schedule is no task. It makes runs of a task that a manifest defines, one at a time for each key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::run::RunId;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

use super::Result;

/// Why nothing was done to an added schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// There is one with that key, and it says something else.
    #[error("there is another schedule `{0}`")]
    AlreadyExists(Name),
    /// There was one with that key, and all that it called for was done.
    #[error("schedule `{key}` has finished at {at}")]
    AlreadyFinished {
        /// Which.
        key: Name,
        /// Since when.
        at: Timestamp,
    },
    /// There is none with that key.
    #[error("there is no schedule `{0}`")]
    NotFound(Name),
    /// It was changed since it was looked at.
    #[error("schedule `{key}` was changed meanwhile: it has version {version}")]
    Preempted {
        /// Which.
        key: Name,
        /// What it has now.
        version: u64,
    },
}

/// Which added schedule: its owner and its key, which is unique among the owner's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleKey {
    /// Whose.
    pub tenant: Name,
    /// Its key.
    pub key: Name,
}

/// A schedule to be added.
#[derive(Clone, Debug)]
pub struct AddSchedule {
    /// Whose, and under which key.
    pub key: ScheduleKey,
    /// The task whose runs it makes.
    pub task: Name,
    /// The text of its [`Definition`](crate::schedule::Definition).
    pub definition: String,
    /// What its runs are given; `None`: what the task's own are.
    pub data: Option<Vec<u8>>,
    /// Nothing up to this instant is due.
    pub cursor: Timestamp,
    /// Whether it takes the place of one that has the key, which begins anew then.
    pub replace: bool,
    /// If set, it is only written over a schedule of this version.
    pub version: Option<u64>,
    /// The time it is.
    pub now: Timestamp,
}

/// What became of an [`AddSchedule`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    New(ScheduleInfo),
    /// It was there, exactly so; nothing was changed.
    Existing(ScheduleInfo),
    /// It has taken the place of another.
    Replaced(ScheduleInfo),
}

/// What became of a schedule that was to go on from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It was ahead of the clock and goes on from now, with a new version.
    Moved(ScheduleInfo),
    /// It was not ahead, and nothing was changed.
    Unchanged(ScheduleInfo),
}

/// An added schedule as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduleInfo {
    /// Whose, and under which key.
    pub key: ScheduleKey,
    /// The task whose runs it makes.
    pub task: Name,
    /// Greater after every change by people.
    pub version: u64,
    /// The text of its [`Definition`](crate::schedule::Definition).
    pub definition: String,
    /// Bytes of its data; `None` if it has none.
    pub data_bytes: Option<u64>,
    /// When it was added (or replaced).
    pub created_at: Timestamp,
    /// The last instant that was dealt with.
    pub cursor: Timestamp,
    /// Runs that it made.
    pub fired: u64,
    /// Instants for which it made none, as its earlier run was not over.
    pub skipped: u64,
    /// Since when nothing will be due any more.
    pub finished_at: Option<Timestamp>,
}

/// Which added schedules to list, by key.
#[derive(Clone, Debug)]
pub struct ScheduleFilter {
    /// Whose.
    pub tenant: Name,
    /// Only of this task.
    pub task: Option<Name>,
    /// Only those after this key (for the next page).
    pub after: Option<Name>,
    /// At most this many.
    pub limit: usize,
}

/// What a scheduler has to know of an added schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedSchedule {
    /// Its number in the store.
    pub id: i64,
    /// Greater after every change by people.
    pub version: u64,
    /// The task whose runs it makes.
    pub task: TaskKey,
    /// The text of its [`Definition`](crate::schedule::Definition).
    pub definition: String,
    /// How far it has come.
    pub progress: ScheduleProgress,
    /// It is no more: forget it.
    pub deleted: bool,
}

/// How far an added schedule has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleProgress {
    /// The last instant that was dealt with.
    pub cursor: Timestamp,
    /// Runs that it made.
    pub fired: u64,
}

impl ScheduleProgress {
    /// It as a schedule goes on from it at `now`: from there, if a clock that was wrong has left it far ahead. The store is
    /// [mended](super::repairs::Repairs::repair_instants) apart from that, and says how far it has come when it is fired.
    #[must_use]
    pub fn plausible(self, now: Timestamp) -> Self {
        Self { cursor: crate::schedule::plausible(Some(self.cursor), now).unwrap_or(now), ..self }
    }
}

/// Many due instants, to be dealt with in one transaction.
#[derive(Clone, Debug)]
pub struct FireAdded {
    /// The tasks that `due` names by place.
    pub tasks: Vec<FiredTask>,
    /// The schedules.
    pub due: Vec<DueSchedule>,
    /// The time it is.
    pub now: Timestamp,
}

/// What a task gives its runs.
#[derive(Clone, Debug)]
pub struct FiredTask {
    /// Which.
    pub key: TaskKey,
    /// What a run is given if its schedule has no data.
    pub input: Vec<u8>,
    /// How long after it could a run still starts.
    pub start_within: Option<Duration>,
}

/// A due instant of an added schedule.
#[derive(Clone, Copy, Debug)]
pub struct DueSchedule {
    /// Which.
    pub id: i64,
    /// If it has another by now, nothing is done.
    pub version: u64,
    /// What it is taken to have dealt with. If that is not so, somebody else was first, and nothing is done.
    pub expect: Timestamp,
    /// The place of its task in [`FireAdded::tasks`].
    pub task: usize,
    /// The instant to make a run for; `None`: nothing is to be made.
    pub due_at: Option<Timestamp>,
    /// How long after that the run starts.
    pub delay: Duration,
    /// How many instants before that are left out.
    pub left_out: u64,
    /// Whether there are more than that: too many to count.
    pub uncounted: bool,
    /// What is dealt with then.
    pub cursor: Timestamp,
    /// How many runs it makes at most.
    pub times: Option<u32>,
    /// Nothing will be due any more.
    pub last: bool,
}

impl DueSchedule {
    /// What is said of the run that the schedule with this key makes.
    pub(super) fn note(&self, key: &Name) -> String {
        let more = if self.uncounted { "more than " } else { "" };
        match self.left_out {
            0 => format!("added schedule `{key}`"),
            n => format!("added schedule `{key}`; {more}{n} instant(s) before it left out"),
        }
    }
}

/// What became of a [`DueSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FiredSchedule {
    /// It is dealt with.
    Done {
        /// The run, if one was made: none where an earlier one is not over, or the task is paused.
        run: Option<RunId>,
        /// Runs that it has made in all.
        fired: u64,
        /// Nothing will be due any more.
        finished: bool,
    },
    /// Somebody else was first, and this is what is so now: its version, and how far it has come. `None`: it is no more.
    Stale(Option<(u64, ScheduleProgress)>),
}

/// Where added schedules are kept. What [`Store`](super::Store) promises goes for this part of it, too.
#[async_trait]
pub trait AddedSchedules {
    /// Add a schedule. The same one once more changes nothing.
    ///
    /// # Errors
    ///
    /// [`ScheduleError`]: of a key that is taken, has finished, or (with [`AddSchedule::version`]) has changed or is not there.
    async fn add_schedule(&self, add: AddSchedule) -> Result<Added>;

    /// Added schedules, by key.
    async fn schedules(&self, filter: ScheduleFilter) -> Result<Vec<ScheduleInfo>>;

    /// One added schedule.
    async fn schedule(&self, key: ScheduleKey) -> Result<Option<ScheduleInfo>>;

    /// Delete an added schedule; what it was. A run that it has made goes on.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::NotFound`]; [`ScheduleError::Preempted`] where it has another version than `version`.
    async fn delete_schedule(&self, key: ScheduleKey, version: Option<u64>, now: Timestamp) -> Result<ScheduleInfo>;

    /// Lets an added schedule go on from `now` that has come to a later instant, as the clock was set back since. One that has
    /// not come further than `now` is left as it is, so that nothing that is due is lost.
    ///
    /// # Errors
    ///
    /// [`ScheduleError::NotFound`]; [`ScheduleError::AlreadyFinished`].
    async fn reset_schedule(&self, key: ScheduleKey, now: Timestamp) -> Result<Reset>;

    /// Make the runs that are due, move the cursors, count, and finish those that have nothing to come. The answers are in
    /// the order of [`FireAdded::due`].
    ///
    /// For each key (deleted and added again or not) there is one run at a time: while it is not over, none is made. Of a
    /// paused task only the cursors move.
    async fn fire_schedules(&self, fire: FireAdded) -> Result<Vec<FiredSchedule>>;

    /// Schedules that are to be fired, and those that were deleted of late, whose version is greater than `since`, by version.
    async fn load_schedules(&self, since: u64, limit: usize) -> Result<Vec<LoadedSchedule>>;

    /// Told (as a hint only) whenever a schedule was added, replaced or deleted; as [`Store::runs_hint`](super::Store::runs_hint).
    fn schedules_hint(&self) -> Arc<Notify>;
}

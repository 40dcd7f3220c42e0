//! How runs are made: what is asked of a store, and what it answers.

use crate::run::{Cause, RunId};
use crate::store::Result;
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

use super::{Cancelled, Released, Retention};
use async_trait::async_trait;

/// What is kept besides the contents of an input, an output or a log, roughly. So none of these counts as 0 bytes, and a run
/// of 0 bytes is known to have none.
pub(super) const ROW_BYTES: i64 = 16;

/// A run to be made.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Whose run.
    pub task: TaskKey,
    /// The instant it is due: what the guest is told.
    pub due_at: Timestamp,
    /// The earliest it may start.
    pub run_at: Timestamp,
    /// Why it exists.
    pub cause: Cause,
    /// What it is given.
    pub input: Vec<u8>,
    /// At most one run of a task has a given key, for as long as the run is kept. The scheduler uses the due instant,
    /// callers of the API their idempotency key; `None` makes a new run in any case.
    pub dedup: Option<String>,
    /// The run that enqueued it.
    pub parent: Option<RunId>,
    /// The added schedule that made it.
    pub schedule: Option<Name>,
    /// Whether it is skipped when earlier runs are not over.
    pub admit: Admit,
    /// If its first attempt has not started by then it is cancelled, and says so.
    pub start_by: Option<Timestamp>,
    /// Whether its first attempt starts although its task or tenant is paused, held back, over a budget, or has as many runs
    /// at once as it may, and before all others: somebody means it.
    pub forced: bool,
    /// What there is to say about how it came to be, for people: "3 missed, 1 run".
    pub note: Option<String>,
}

impl NewRun {
    /// A run of `task` that is due at `due_at`, with nothing else asked for: no input, always let in.
    pub fn of(task: TaskKey, due_at: Timestamp, cause: Cause) -> Self {
        Self {
            task,
            due_at,
            run_at: due_at,
            cause,
            input: Vec::new(),
            dedup: None,
            parent: None,
            schedule: None,
            admit: Admit::Always,
            start_by: None,
            forced: false,
            note: None,
        }
    }
}

/// What a task's schedule has come to, to be written down.
#[derive(Clone, Debug)]
pub struct Fire {
    /// Whose schedule.
    pub task: TaskKey,
    /// The runs that it calls for, oldest first.
    pub runs: Vec<NewRun>,
    /// The last instant that is dealt with.
    pub cursor: Timestamp,
    /// If set, nothing is done unless the store's [`TaskState::fired`](super::TaskState::fired) is still this: for what
    /// depends on how often the task was fired, or on what it remembers.
    pub expect: Option<u64>,
    /// What its trigger has to remember from now on; `None` leaves what is there.
    pub memory: Option<String>,
    /// The time it is.
    pub now: Timestamp,
}

/// The schedule that a task has from now on.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Whose.
    pub task: TaskKey,
    /// The schedule, in short: [`Plan::identity`](crate::schedule::Plan::identity).
    pub schedule: String,
    /// The time it is: if the task had another, no instant before was missed.
    pub now: Timestamp,
}

/// What became of a [`Fire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fired {
    /// The runs, in the order they were asked for.
    Made(Vec<Enqueued>),
    /// The task is paused: only its cursor was moved.
    Paused,
    /// The task was fired by somebody else meanwhile: nothing was changed. Look again.
    Stale,
}

impl Fired {
    /// The runs that were made; none where nothing was.
    pub fn made(&self) -> &[Enqueued] {
        match self {
            Self::Made(made) => made,
            Self::Paused | Self::Stale => &[],
        }
    }
}

/// When a new run is let in. "Not over" is: running, waiting with `run_at` reached, or waiting to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Always.
    Always,
    /// Only while fewer than this many runs of its task are not over; else it is written as cancelled, with a reason.
    Below(u32),
    /// Always, and in the place of all runs of its task that are not over: those that wait are cancelled, those that run
    /// are asked to end, each with a reason that names the new run.
    Replacing,
}

impl Admit {
    /// What a run says that was not let in because `others` of its task are not over.
    pub(crate) fn skipped(others: i64) -> String {
        match others {
            ..=1 => "skipped: the previous run had not finished".to_owned(),
            many => format!("skipped: {many} earlier runs had not finished"),
        }
    }
}

/// What became of a [`NewRun`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is waiting.
    New(RunId),
    /// A run with its dedup key exists; nothing was changed.
    Existing(RunId),
    /// It was written as cancelled, as its overlap policy has it.
    Skipped(RunId),
    /// It is waiting, and has taken the place of others.
    Replacing {
        /// The new run.
        run: RunId,
        /// Those that waited are cancelled; those that are running (asked before or not) still have to be ended by the
        /// host that has them, which is told with the next [`Claims::extend`](crate::store::claims::Claims::extend).
        ended: Vec<RunId>,
    },
}

impl Enqueued {
    /// The run, whichever way it went.
    pub fn run(&self) -> RunId {
        match self {
            Self::New(run) | Self::Existing(run) | Self::Skipped(run) | Self::Replacing { run, .. } => *run,
        }
    }
}

/// Making runs, calling them off, and forgetting them.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Make runs, in one transaction. The answers are in the order of `runs`.
    async fn enqueue(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<Enqueued>>;

    /// Cancel a run that waits; ask for the end of one that runs.
    async fn cancel(&self, run: RunId, reason: &str, now: Timestamp) -> Result<Cancelled>;

    /// Cancel the waiting runs whose first attempt should have started before `now` ([`NewRun::start_by`]), each with a
    /// message that says so. Returns how many there were. [`Claims::claim`](crate::store::claims::Claims::claim) does the same first; this is for when nobody
    /// claims.
    async fn cancel_late(&self, now: Timestamp) -> Result<u64>;

    /// Lets a run start that is held back ([`Transition::HoldBack`](crate::lifecycle::Transition::HoldBack)). The deaths that were counted stay counted.
    async fn release_run(&self, run: RunId, now: Timestamp) -> Result<Released>;

    /// Delete history beyond `retention`, expired cache entries too, a bounded piece of it. Returns how many runs went
    /// (0: nothing is left to do).
    ///
    /// The latest success of a task stays, whatever `retention` says: its output is what the task has to show.
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64>;
}

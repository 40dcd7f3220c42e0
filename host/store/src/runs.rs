//! Defines how runs are made: the requests to a store, and its answers.

use crate::Result;
use sexton_domain::labels::Labels;
use sexton_domain::run::{Cause, RunId};
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::{Cancelled, Released, Retention};
use async_trait::async_trait;
use const_format::formatcp;

/// The approximate bytes that an input, an output or a log takes besides its contents. Thus none of them counts as 0
/// bytes, and a run of 0 bytes is known to have none.
pub(super) const ROW_BYTES: i64 = 16;

/// The beginning of the message of a run that was skipped, which other cancelled runs do not have.
pub(super) const SKIPPED: &str = "skipped:";

/// A run to be made.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub task: TaskKey,
    /// The instant at which the run is due, which the guest sees.
    pub due_at: Timestamp,
    /// The earliest instant at which the run may start.
    pub run_at: Timestamp,
    pub cause: Cause,
    pub input: Vec<u8>,
    /// The run's dedup key: at most one run of a task has a given key, for as long as the run is kept. The scheduler
    /// uses the due instant, callers of the API their idempotency key; `None` always makes a new run.
    pub dedup: Option<String>,
    /// The run that enqueued this one, or that a person repeats by it.
    pub parent: Option<RunId>,
    /// The added schedule that made the run.
    pub schedule: Option<Name>,
    /// Whether the run is skipped when earlier runs are not over.
    pub admit: Admit,
    /// The latest start of the first attempt. After it the run is cancelled, with a message that says so.
    pub start_by: Option<Timestamp>,
    /// Whether the first attempt starts before all others, and although its task or tenant is paused, held back, over a
    /// budget, or at its concurrency limit, because a person asked for that.
    pub forced: bool,
    /// A note for people about how the run was made: "3 missed, 1 run".
    pub note: Option<String>,
    /// Set if the run belongs to a backfill: the most runs of backfills of its task that may be going when it starts.
    /// It then waits for its turn ([`Backfills::take_turns`](super::backfills::Backfills::take_turns)), and the overlap
    /// policy of other runs neither counts nor replaces it.
    pub at_once: Option<u32>,
    /// The labels of the run: those of its task, and those that it is given.
    pub labels: Labels,
}

impl NewRun {
    /// Creates a run of `task` that is due at `due_at`, with defaults for everything else: no input, always admitted.
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
            at_once: None,
            labels: Labels::default(),
        }
    }
}

/// The progress of a task's schedule, to be written down.
#[derive(Clone, Debug)]
pub struct Fire {
    pub task: TaskKey,
    /// The runs that the schedule calls for, oldest first.
    pub runs: Vec<NewRun>,
    /// The last instant that was handled.
    pub cursor: Timestamp,
    /// If set, nothing is done unless the store's [`TaskState::fired`](super::TaskState::fired) still has this value.
    /// Schedules that depend on the number of firings, or on what they remember, set it.
    pub expect: Option<u64>,
    /// The new memory of the trigger; `None` leaves the old one.
    pub memory: Option<String>,
    pub now: Timestamp,
}

/// The schedule that a task has from now on.
#[derive(Clone, Debug)]
pub struct ScheduleStart {
    pub task: TaskKey,
    /// The identity of the schedule: [`Plan::identity`](sexton_domain::schedule::Plan::identity).
    pub schedule: String,
    /// The current time: if the task had another schedule, no earlier instant counts as missed.
    pub now: Timestamp,
}

/// The result of a [`Fire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FireOutcome {
    /// The runs, in the order of the request.
    Made(Vec<EnqueueOutcome>),
    /// The task is paused: only its cursor was moved.
    Paused,
    /// Another host fired the task first: nothing was changed, and the caller must look again.
    Stale,
}

impl FireOutcome {
    /// Returns the runs that were made, if any.
    pub fn made(&self) -> &[EnqueueOutcome] {
        match self {
            Self::Made(made) => made,
            Self::Paused | Self::Stale => &[],
        }
    }
}

/// When a new run is admitted. A run is "not over" if it is running, waiting with `run_at` reached, or waiting to be
/// tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// The run is always admitted.
    Always,
    /// The run is admitted only if fewer than this many runs of its task are not over; otherwise it is written as
    /// cancelled, with a reason.
    Below(u32),
    /// The run is always admitted, and replaces all runs of its task that are not over: waiting runs are cancelled,
    /// running ones are asked to end, each with a reason that names the new run.
    Replacing,
}

impl Admit {
    /// Returns the message of a run that was skipped because `others` of its task are not over.
    pub(crate) fn skipped(others: i64) -> String {
        match others {
            ..=1 => formatcp!("{SKIPPED} the previous run had not finished").to_owned(),
            many => format!("{SKIPPED} {many} earlier runs had not finished"),
        }
    }
}

/// The result of a [`NewRun`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnqueueOutcome {
    /// The run is waiting.
    New(RunId),
    /// A run with the same dedup key exists; nothing was changed.
    Existing(RunId),
    /// The run was written as cancelled, because of its overlap policy.
    Skipped(RunId),
    /// The run is waiting, and has replaced others.
    Replacing {
        run: RunId,
        /// The replaced runs. Waiting ones are cancelled; running ones, asked before or not, must still be ended by
        /// their host, which learns of it with the next [`Claims::extend`](crate::claims::Claims::extend).
        ended: Vec<RunId>,
    },
}

impl EnqueueOutcome {
    /// Returns the run in each case.
    pub fn run(&self) -> RunId {
        match self {
            Self::New(run) | Self::Existing(run) | Self::Skipped(run) | Self::Replacing { run, .. } => *run,
        }
    }
}

/// Makes, cancels and prunes runs.
#[async_trait]
pub trait Runs: Send + Sync {
    /// Makes runs in one transaction. The results are in the order of `runs`.
    async fn enqueue(&self, runs: Vec<NewRun>, now: Timestamp) -> Result<Vec<EnqueueOutcome>>;

    /// Cancels a waiting run; asks a running one to end.
    async fn cancel(&self, run: RunId, reason: &str, now: Timestamp) -> Result<Cancelled>;

    /// Cancels the waiting runs whose first attempt should have started before `now` ([`NewRun::start_by`]), each with
    /// a message that says so. Returns their number. [`Claims::claim`](crate::claims::Claims::claim) does the
    /// same first; this method is for times without claims.
    async fn cancel_late(&self, now: Timestamp) -> Result<u64>;

    /// Lets a run start that is held back ([`Transition::HoldBack`](sexton_domain::lifecycle::Transition::HoldBack)). Its
    /// counted deaths stay counted.
    async fn release_run(&self, run: RunId, now: Timestamp) -> Result<Released>;

    /// Deletes a bounded piece of the history beyond `retention`, and of the expired cache entries. Returns the number
    /// of deleted runs (0: nothing is left to delete).
    ///
    /// The latest success of a task stays, whatever `retention` says, because its output is the task's current result.
    async fn prune(&self, retention: Retention, now: Timestamp) -> Result<u64>;
}

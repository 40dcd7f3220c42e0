//! Starts a run on demand.

use tracing::debug;

use super::{OpError, Ops, Principal, Result, limits};
use sexton_domain::pause::PausedBy;
use sexton_domain::run::RunId;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;
use sexton_store::rules::runs::Demand;
use sexton_store::{EnqueueOutcome, NewRun};

/// The requested run.
#[derive(Clone, Debug, Default)]
pub struct TriggerRun {
    /// The instant at which the run is due; `None` for now.
    pub due_at: Option<Timestamp>,
    /// The input of the run; `None` for that of its task.
    pub input: Option<Vec<u8>>,
    /// The caller's idempotency key: while a run with this key is kept, no other is made.
    pub key: Option<String>,
    /// Whether the run starts even if its task is paused, held back, over a budget, or at its concurrency limit.
    pub past_limits: bool,
}

/// The run that was made, or existed.
#[derive(Clone, Debug)]
pub struct Triggered {
    /// The id of the run.
    pub run: RunId,
    /// The instant at which it is due, if it is new.
    pub due_at: Option<Timestamp>,
    /// Whether it is new. Otherwise its idempotency key was used before.
    pub created: bool,
    /// The runs that it replaces.
    pub replaced: Vec<RunId>,
    /// The pause that keeps it from starting, and its reason.
    pub paused: Option<(PausedBy, Option<String>)>,
    /// The limits that it goes past, in words, if it is new and forced.
    pub note: Option<String>,
}

impl Ops {
    /// Makes a run of `task` for `by`.
    ///
    /// # Errors
    ///
    /// [`OpError::NoTask`] if no plugin offers the task; [`OpError::PastLimitsLater`]; the store's errors.
    pub async fn trigger(&self, by: &Principal, task: &TaskKey, asked: TriggerRun) -> Result<Triggered> {
        let task = self.catalog.get(task).ok_or_else(|| OpError::NoTask(task.clone()))?;
        if asked.past_limits && asked.due_at.is_some() {
            return Err(OpError::PastLimitsLater);
        }
        let now = self.clock.now();
        let past_limits = match asked.past_limits {
            true => Some(limits::exceeded_limits(self, &task, now).await?),
            false => None,
        };
        let demand = Demand { due_at: asked.due_at, input: asked.input, key: asked.key, past_limits };
        let run = NewRun::demanded(&task, demand, now);
        let (due_at, note) = (run.due_at, run.note.clone());
        let made = self.store.enqueue(vec![run], now).await?.pop().expect("a store answers for each run it is given");

        let created = !matches!(made, EnqueueOutcome::Existing(_));
        let run = made.run();
        let replaced = match made {
            EnqueueOutcome::Replacing { ended, .. } => ended,
            _ => Vec::new(),
        };
        self.live.end_replaced(&replaced, run);
        if created {
            debug!(run.id = %run, task.name = %task.key, principal = %by, "Made run {run} of `{}` on request", task.key);
        }
        Ok(Triggered {
            run,
            due_at: Some(due_at).filter(|_| created),
            created,
            replaced,
            paused: self.pause_of(&task.key).await?.map(|(by, pause)| (by, pause.why)),
            note: note.filter(|_| created),
        })
    }
}

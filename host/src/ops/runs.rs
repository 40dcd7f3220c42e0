//! Starting a run on demand.

use tracing::debug;

use super::{OpError, Ops, Principal, Result, limits};
use crate::pause::PausedBy;
use crate::run::RunId;
use crate::store::rules::runs::Demand;
use crate::store::{Enqueued, NewRun};
use crate::task::TaskKey;
use crate::time::Timestamp;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct TriggerRun {
    /// When the run is due; `None`: now.
    pub due_at: Option<Timestamp>,
    /// What the run is given; `None`: the input of its task.
    pub input: Option<Vec<u8>>,
    /// The caller's idempotency key: while a run that has it is kept, no other is made.
    pub key: Option<String>,
    /// Whether the run starts although its task is paused, held back, over a budget, or has as many runs as it may.
    pub past_limits: bool,
}

/// The run that was made, or was there.
#[derive(Clone, Debug)]
pub struct Triggered {
    /// Which.
    pub run: RunId,
    /// When it is due, if it is new.
    pub due_at: Option<Timestamp>,
    /// Whether it is new; otherwise its idempotency key was used before.
    pub created: bool,
    /// The runs that it takes the place of.
    pub replaced: Vec<RunId>,
    /// Which pause keeps it from starting, and the reason that was given for it.
    pub paused: Option<(PausedBy, Option<String>)>,
    /// What it goes past, in words, if it is new and goes past limits.
    pub note: Option<String>,
}

impl Ops {
    /// Makes a run of `task` for `by`.
    ///
    /// # Errors
    ///
    /// [`OpError::NoTask`] if no plugin offers the task; the store's errors.
    pub async fn trigger(&self, by: &Principal, task: &TaskKey, asked: TriggerRun) -> Result<Triggered> {
        let task = self.catalog.get(task).ok_or_else(|| OpError::NoTask(task.clone()))?;
        let now = self.clock.now();
        let past_limits = match asked.past_limits {
            true => Some(limits::gone_past(self, &task, now).await?),
            false => None,
        };
        let demand = Demand { due_at: asked.due_at, input: asked.input, key: asked.key, past_limits };
        let run = NewRun::demanded(&task, demand, now);
        let (due_at, note) = (run.due_at, run.note.clone());
        let made = self.store.enqueue(vec![run], now).await?.pop().expect("a store answers for each run it is given");

        let created = !matches!(made, Enqueued::Existing(_));
        let run = made.run();
        let replaced = match made {
            Enqueued::Replacing { ended, .. } => ended,
            _ => Vec::new(),
        };
        self.live.make_way(&replaced, run);
        if created {
            debug!(run.id = %run, task.name = %task.key, principal = %by, "Made run {run} of `{}`, which was asked for", task.key);
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

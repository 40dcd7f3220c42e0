//! Starts a run on demand, and repeats one that is over.

use tracing::debug;

use super::{OpError, Ops, Principal, Result, limits};
use sexton_domain::labels::Labels;
use sexton_domain::pause::PausedBy;
use sexton_domain::run::RunId;
use sexton_domain::task::{Name, Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::rules::runs::{Demand, Repeat};
use sexton_store::{EnqueueOutcome, NewRun, StoreError};

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
    /// Labels of the run, beside those of its task.
    pub labels: Labels,
}

/// The way in which a run is repeated.
#[derive(Clone, Debug, Default)]
pub struct RepeatRun {
    /// The input of the new run; `None` for that of the repeated one.
    pub input: Option<Vec<u8>>,
    /// As for [`TriggerRun`].
    pub key: Option<String>,
    /// As for [`TriggerRun`].
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
    /// [`OpError::NoTask`] if no plugin offers the task; [`OpError::PastLimitsLater`]; [`OpError::BadLabels`] if the run
    /// would have too many; the store's errors.
    pub async fn trigger(&self, by: &Principal, task: &TaskKey, asked: TriggerRun) -> Result<Triggered> {
        let task = self.catalog.get(task).ok_or_else(|| OpError::NoTask(task.clone()))?;
        if asked.past_limits && asked.due_at.is_some() {
            return Err(OpError::PastLimitsLater);
        }
        let now = self.clock.now();
        let past_limits = self.limits_gone_past(&task, asked.past_limits, now).await?;
        let demand = Demand {
            due_at: asked.due_at,
            input: asked.input,
            key: asked.key,
            past_limits: past_limits.clone(),
            labels: task.labels.with(&asked.labels)?,
        };
        self.make(by, &task, NewRun::demanded(&task, demand, now), past_limits, now).await
    }

    /// Makes a run for `by` that repeats the run `id` of `tenant`: of the same task, for the same instant, with the same input unless
    /// another is given.
    ///
    /// # Errors
    ///
    /// [`OpError::RunIsNotOver`]; [`OpError::NoTask`] if no plugin offers its task any more; the store's errors, such as
    /// [`StoreError::NoRun`] if the run was just deleted.
    pub async fn rerun(&self, by: &Principal, tenant: &Name, id: RunId, asked: RepeatRun) -> Result<Triggered> {
        let run = self.run_of(tenant, id).await?;
        if !run.state.is_over() {
            return Err(OpError::RunIsNotOver(run.id, run.state));
        }
        let task = self.catalog.get(&run.task).ok_or_else(|| OpError::NoTask(run.task.clone()))?;
        let now = self.clock.now();
        let input = match asked.input {
            Some(input) => input,
            None => self.store.input(run.id).await?.ok_or(StoreError::NoRun(run.id))?,
        };
        let past_limits = self.limits_gone_past(&task, asked.past_limits, now).await?;
        let repeat = Repeat {
            run: run.id,
            due_at: run.due_at,
            input,
            key: asked.key,
            past_limits: past_limits.clone(),
            labels: run.labels,
        };
        self.make(by, &task, NewRun::repeating(&task, repeat, now), past_limits, now).await
    }

    /// Returns the limits that a run of `task` goes past at `now`, in words, if it starts whatever holds it back.
    async fn limits_gone_past(&self, task: &Task, past_limits: bool, now: Timestamp) -> Result<Option<String>> {
        match past_limits {
            true => Ok(Some(limits::exceeded_limits(self, task, now).await?)),
            false => Ok(None),
        }
    }

    /// Makes `run` of `task` for `by`; `note` says which limits it goes past.
    async fn make(
        &self,
        by: &Principal,
        task: &Task,
        run: NewRun,
        note: Option<String>,
        now: Timestamp,
    ) -> Result<Triggered> {
        let due_at = run.due_at;
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

//! Starts runs on demand, and repeats one that is over.

use std::collections::BTreeSet;
use std::sync::Arc;

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

/// A requested run that may be made.
struct Demanded {
    task: Arc<Task>,
    run: NewRun,
    /// The limits that it goes past, in words.
    note: Option<String>,
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
        let now = self.clock.now();
        let Demanded { task, run, note } = self.demanded(task, asked, now).await?;
        self.make(by, &task, run, note, now).await
    }

    /// Makes a run for each of `asked` for `by`, all in one transaction of the store. The results are in the order of
    /// the requests; one that is refused keeps no other from being made.
    ///
    /// # Errors
    ///
    /// The store's errors: nothing was made. Those of [`Ops::trigger`] for each request.
    pub async fn trigger_many(
        &self,
        by: &Principal,
        asked: Vec<(TaskKey, TriggerRun)>,
    ) -> Result<Vec<Result<Triggered>>> {
        let now = self.clock.now();
        let (mut runs, mut demanded) = (Vec::with_capacity(asked.len()), Vec::with_capacity(asked.len()));
        for (task, asked) in asked {
            demanded.push(self.demanded(&task, asked, now).await.map(|Demanded { task, run, note }| {
                let due_at = run.due_at;
                runs.push(run);
                (task, due_at, note)
            }));
        }
        let tasks: BTreeSet<TaskKey> = demanded.iter().flatten().map(|(task, ..)| task.key.clone()).collect();
        let mut made = match runs.is_empty() {
            true => Vec::new(),
            false => self.store.enqueue(runs, now).await?,
        }
        .into_iter();
        let (states, pauses) =
            (self.store.task_states_of(tasks.into_iter().collect()).await?, self.store.pauses().await?);
        let mut triggered = |(task, due_at, note): (Arc<Task>, Timestamp, Option<String>)| {
            let made = made.next().expect("a store answers for each run it is given");
            let own = states.get(&task.key).and_then(|state| state.paused.as_ref());
            let paused = pauses.of(&task.key.tenant, own).map(|(by, pause)| (by, pause.why.clone()));
            Triggered { paused, ..self.triggered(by, &task.key, made, due_at, note) }
        };
        Ok(demanded.into_iter().map(|demanded| demanded.map(&mut triggered)).collect())
    }

    /// Decides whether a run of `task` may be made at `now`.
    async fn demanded(&self, task: &TaskKey, asked: TriggerRun, now: Timestamp) -> Result<Demanded> {
        let task = self.catalog.get(task).ok_or_else(|| OpError::NoTask(task.clone()))?;
        if asked.past_limits && asked.due_at.is_some() {
            return Err(OpError::PastLimitsLater);
        }
        let note = self.limits_gone_past(&task, asked.past_limits, now).await?;
        let demand = Demand {
            due_at: asked.due_at,
            input: asked.input,
            key: asked.key,
            past_limits: note.clone(),
            labels: task.labels.with(&asked.labels)?,
        };
        let run = NewRun::demanded(&task, demand, now);
        Ok(Demanded { task, run, note })
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
        let triggered = self.triggered(by, &task.key, made, due_at, note);
        let paused = self.pause_of(&task.key).await?.map(|(by, pause)| (by, pause.why));
        Ok(Triggered { paused, ..triggered })
    }

    /// Returns what the store made of a requested run of `task`, without the pause that keeps it from starting. Has the
    /// runs that it replaces ended.
    fn triggered(
        &self,
        by: &Principal,
        task: &TaskKey,
        made: EnqueueOutcome,
        due_at: Timestamp,
        note: Option<String>,
    ) -> Triggered {
        let created = !matches!(made, EnqueueOutcome::Existing(_));
        let run = made.run();
        let replaced = match made {
            EnqueueOutcome::Replacing { ended, .. } => ended,
            _ => Vec::new(),
        };
        self.live.end_replaced(&replaced, run);
        if created {
            debug!(run.id = %run, task.name = %task, principal = %by, "Made run {run} of `{task}` on request");
        }
        Triggered {
            run,
            due_at: Some(due_at).filter(|_| created),
            created,
            replaced,
            paused: None,
            note: note.filter(|_| created),
        }
    }
}

//! The `schedule` import: runs that a task asks for.

use std::time::Duration;

use wasmtime::component::Linker;

use super::{
    Imports, ImportsCtx, ImportsCtxView, ImportsView, LARGEST_VALUE, Refusal, granted, is_name, store_failure,
};
use crate::run::{Cause, RunState};
use crate::runtime::bindings::sexton::task::schedule::{self, Error, Host, When};
use crate::store::{self, NewRun, RunFilter};
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

/// Runs that one attempt may ask for: enough to fan out, too few to flood the store.
const MOST_RUNS: u32 = 100;

/// Runs of one task that may wait while tasks ask for more of them. A task that asks for two of itself each time would have the
/// store grow without end; with a thousand ahead of it, a run is not soon anyway.
const MOST_WAITING: usize = 1000;

/// The last instant of the year 9999. A later one cannot be written as RFC 3339, and nobody waits for it.
const LAST_INSTANT: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// Let a guest of `linker` enqueue runs.
///
/// # Errors
///
/// If something is linked by that name already.
pub fn add_to_linker<T: ImportsView + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    schedule::add_to_linker::<T, Imports>(linker, T::imports)
}

impl Host for ImportsCtxView<'_> {
    async fn enqueue(
        &mut self,
        task: String,
        when: When,
        input: Vec<u8>,
        key: Option<String>,
    ) -> wasmtime::Result<Result<String, Error>> {
        if key.as_deref().is_some_and(|key| !is_name(key)) {
            return Ok(Err(Error::BadKey));
        }
        // Guests choose their keys: the prefix keeps them apart from the scheduler's, the API's and other tasks'.
        let dedup = key.map(|key| format!("task:{}:{key}", self.ctx.task.key.task));
        self.ask_for(&task, when, input, dedup, "schedule.enqueue").await
    }

    async fn continue_later(&mut self, when: When, state: Vec<u8>) -> wasmtime::Result<Result<String, Error>> {
        let nth = self.ctx.continued + 1;
        let task = self.ctx.task.key.task.to_string();
        let dedup = format!("continue:{}:{nth}", self.ctx.claim.run);
        let answer = self.ask_for(&task, when, state, Some(dedup), "schedule.continue-later").await?;
        if answer.is_ok() {
            self.ctx.continued = nth;
        }
        Ok(answer)
    }
}

impl ImportsCtxView<'_> {
    async fn ask_for(
        &mut self,
        task: &str,
        when: When,
        input: Vec<u8>,
        dedup: Option<String>,
        in_call: &'static str,
    ) -> wasmtime::Result<Result<String, Error>> {
        let ctx = &mut *self.ctx;
        if !granted(&ctx.task.grants.schedule, task) {
            ctx.refuses(Refusal::Task(task));
            return Ok(Err(Error::AccessDenied));
        }
        // A pattern may cover texts that are no task's name.
        let Ok(name) = Name::new(task) else { return Ok(Err(Error::NotFound)) };
        let task = TaskKey { tenant: ctx.task.key.tenant.clone(), task: name };
        if ctx.services.catalog.get(&task).is_none() {
            return Ok(Err(Error::NotFound));
        }
        if input.len() > LARGEST_VALUE || ctx.enqueued >= MOST_RUNS {
            return Ok(Err(Error::TooLarge));
        }
        match ctx.until.unless_ended(in_call, queue_is_full(ctx, &task)).await? {
            Ok(false) => {}
            Ok(true) => {
                // For the rest of the attempt: it is not to ask the store again and again.
                ctx.enqueued = MOST_RUNS;
                return Ok(Err(Error::TooLarge));
            }
            Err(error) => return Ok(Err(Error::Other(store_failure(error, in_call)?))),
        }
        ctx.enqueued += 1;
        ctx.handle.vitals.handed_over(input.len());
        let now = ctx.services.clock.now();
        let due_at = due(when, now);
        let run = NewRun {
            // Runs are claimed by `run_at`, earliest first: one that is "due since 1970" must not overtake the others.
            run_at: due_at.max(now),
            input,
            dedup,
            parent: Some(ctx.claim.run),
            ..NewRun::of(task, due_at, Cause::Task)
        };
        match ctx.until.unless_ended(in_call, ctx.services.store.enqueue(vec![run], now)).await? {
            Ok(made) => match made.first() {
                Some(enqueued) => Ok(Ok(enqueued.run().to_string())),
                None => Ok(Err(Error::Other("the host's store failed".to_owned()))),
            },
            Err(error) => Ok(Err(Error::Other(store_failure(error, in_call)?))),
        }
    }
}

/// Whether as many runs of `task` wait as may. Attempts that ask at the same moment may each add one more.
async fn queue_is_full(ctx: &ImportsCtx, task: &TaskKey) -> store::Result<bool> {
    let waiting = RunFilter {
        tenant: Some(task.tenant.clone()),
        task: Some(task.task.clone()),
        state: Some(RunState::Waiting),
        limit: MOST_WAITING,
        ..RunFilter::default()
    };
    Ok(ctx.services.store.runs(waiting).await?.len() >= MOST_WAITING)
}

/// The instant that a guest means, within the calendar.
fn due(when: When, now: Timestamp) -> Timestamp {
    let at = match when {
        When::Now => now,
        When::At(ms) => Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)),
        When::After(ms) => now.plus(Duration::from_millis(ms)),
    };
    at.min(LAST_INSTANT)
}

#[cfg(test)]
mod tests;

//! The `schedule` import: runs that a task asks for.

use std::time::Duration;

use wasmtime::component::Linker;

use crate::attempt::{LogLine, Refusal};
use crate::imports::bindings::sexton::task::schedule::{self, Error, Host, When};
use crate::lengths;
use crate::store::NewRun;
use crate::store::backlog::Waiting;
use crate::store::rules::runs::Request;
use crate::task::{Name, TaskKey};
use crate::tenant::BacklogLimits;
use crate::time::Timestamp;

use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView, LARGEST_VALUE, granted, is_name, store_failure};

/// Runs that one attempt may ask for: enough to fan out, too few to flood the store.
const MOST_RUNS: u32 = 100;

/// Runs of one task that may wait while tasks ask for more of them. A task that asks for two of itself each time would have the
/// store grow without end; with a thousand ahead of it, a run is not soon anyway.
const MOST_WAITING: u64 = 1000;

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
        let now = ctx.services.clock.now();
        let limits = ctx.services.tenants.backlog(&task.tenant);
        let due_at = due(when, now);
        if due_at.since(now) > limits.horizon {
            let horizon = lengths::exact(limits.horizon);
            return Ok(Err(Error::Other(format!("a run may be due at most {horizon} ahead"))));
        }
        // Also if it is refused: each time the store is asked.
        ctx.enqueued += 1;
        let waiting = match ctx.until.unless_ended(in_call, ctx.services.store.waiting(task.clone())).await? {
            Ok(waiting) => waiting,
            Err(error) => return Ok(Err(Error::Other(store_failure(error, in_call)?))),
        };
        if let Some(full) = full(waiting, &task, input.len(), limits) {
            ctx.tell_full(full);
            if waiting.runs >= MOST_WAITING {
                // For the rest of the attempt, as there will hardly be room before its end.
                ctx.enqueued = MOST_RUNS;
            }
            return Ok(Err(Error::TooLarge));
        }
        ctx.handle.usage.handed_over(input.len());
        let run = NewRun::requested(Request { task, due_at, input, dedup, parent: ctx.claim.run }, now);
        match ctx.until.unless_ended(in_call, ctx.services.store.enqueue(vec![run], now)).await? {
            Ok(made) => match made.first() {
                Some(enqueued) => Ok(Ok(enqueued.run().to_string())),
                None => Ok(Err(Error::Other("the host's store failed".to_owned()))),
            },
            Err(error) => Ok(Err(Error::Other(store_failure(error, in_call)?))),
        }
    }
}

impl ImportsCtx {
    /// Says in the run's log, once, why its runs are refused: a guest is told only that there is no room.
    fn tell_full(&mut self, message: String) {
        if !std::mem::replace(&mut self.told_backlog, true) {
            self.handle.log(LogLine { at: self.services.clock.now(), level: "warn".to_owned(), message });
        }
    }
}

/// Why no further run of `task` may wait with an input of `bytes`, if none may. Attempts that ask at the same moment may each
/// add one more.
fn full(waiting: Waiting, task: &TaskKey, bytes: usize, limits: BacklogLimits) -> Option<String> {
    let name = &task.task;
    if waiting.runs >= MOST_WAITING {
        return Some(format!("no further run of `{name}` was made: {MOST_WAITING} wait, as many as may"));
    }
    let sums = [
        (waiting.bytes, limits.task, format!("of runs of `{name}`"), "task"),
        (waiting.tenant_bytes, limits.tenant, format!("of the runs of tenant `{}`", task.tenant), "tenant"),
    ];
    sums.into_iter().filter(|_| bytes > 0).find_map(|(used, most, whose, key)| {
        (used.saturating_add(bytes as u64) > most).then(|| {
            let most = bytesize::ByteSize::b(most).display().iec();
            format!(
                "no further run of `{name}` was made: inputs {whose} that tasks asked for and that wait may take {most} \
                 together (`[enqueued] {key}`)"
            )
        })
    })
}

/// The instant that a guest means.
fn due(when: When, now: Timestamp) -> Timestamp {
    match when {
        When::Now => now,
        When::At(ms) => Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)),
        When::After(ms) => now.plus(Duration::from_millis(ms)),
    }
}

#[cfg(test)]
mod tests;

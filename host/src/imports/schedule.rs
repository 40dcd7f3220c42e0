//! The `schedule` import: runs that a task enqueues.

use std::time::Duration;

use wasmtime::component::Linker;

use crate::attempt::Refusal;
use crate::imports::bindings::ScheduleError;
use crate::imports::bindings::sexton::task::schedule::{self, Error, Host, When};
use crate::lengths;
use crate::store::NewRun;
use crate::store::backlog::Waiting;
use crate::store::rules::runs::Request;
use crate::task::{Grants, Name, Task, TaskKey};
use crate::tenant::BacklogLimits;
use crate::time::Timestamp;

use super::call_error::store_failure;
use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView, LARGEST_VALUE, State, is_granted, is_name};

/// The runs that one attempt may enqueue: enough to fan out, too few to flood the store.
const MOST_RUNS: u32 = 100;

/// The runs of one task that may wait while tasks enqueue more of them. Without a bound, a task that enqueues two of
/// itself each time would let the store grow without end; behind a thousand, a run does not start soon anyway.
const MOST_WAITING: u64 = 1000;

/// The capability to enqueue runs of tasks.
#[derive(Debug)]
pub struct Schedule;

impl<T: ImportsView> Capability<T> for Schedule {
    fn interfaces(&self) -> &'static [Interface] {
        const { &[of_sexton("schedule")] }
    }

    fn is_granted(&self, grants: &Grants) -> bool {
        !grants.schedule.is_empty()
    }

    fn manifest_line(&self, task: &Task) -> String {
        format!("schedule = [\"{}\"]", task.key.task)
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        schedule::add_to_linker::<T, Imports>(linker, T::imports)
    }
}

impl From<Error> for ScheduleError {
    fn from(error: Error) -> Self {
        Self::Guest(error)
    }
}

/// The requests that an attempt has made so far.
#[derive(Debug, Default)]
struct Requests {
    /// Whether the run's log says already that no further run may wait.
    told_full: bool,
    /// The number of runs that the attempt has asked for.
    runs: u32,
    /// The number of continuations that the attempt has asked for.
    continued: u32,
}

impl State for Requests {
    fn begin(_: &ImportsCtx) -> Self {
        Self::default()
    }
}

impl Host for ImportsCtxView<'_> {
    async fn enqueue(
        &mut self,
        task: String,
        when: When,
        input: Vec<u8>,
        key: Option<String>,
    ) -> Result<String, ScheduleError> {
        if key.as_deref().is_some_and(|key| !is_name(key)) {
            return Err(Error::BadKey.into());
        }
        // Guests choose their keys. The prefix keeps them apart from the keys of the scheduler, the API and other
        // tasks.
        let dedup = key.map(|key| format!("task:{}:{key}", self.ctx.task.key.task));
        self.ask_for(&task, when, input, dedup, "schedule.enqueue").await
    }

    async fn continue_later(&mut self, when: When, state: Vec<u8>) -> Result<String, ScheduleError> {
        let nth = self.ctx.state::<Requests>().continued + 1;
        let task = self.ctx.task.key.task.to_string();
        let dedup = format!("continue:{}:{nth}", self.ctx.claim.run);
        let run = self.ask_for(&task, when, state, Some(dedup), "schedule.continue-later").await?;
        self.ctx.state::<Requests>().continued = nth;
        Ok(run)
    }

    fn convert_error(&mut self, error: ScheduleError) -> wasmtime::Result<Error> {
        error.into_guest()
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
    ) -> Result<String, ScheduleError> {
        let ctx = &mut *self.ctx;
        if !is_granted(&ctx.task.grants.schedule, task) {
            ctx.refuses(Refusal::Task(task));
            return Err(Error::AccessDenied.into());
        }
        // A pattern may cover texts that are not names of tasks.
        let Ok(name) = Name::new(task) else { return Err(Error::NotFound.into()) };
        let task = TaskKey { tenant: ctx.task.key.tenant.clone(), task: name };
        if ctx.services.catalog.get(&task).is_none() {
            return Err(Error::NotFound.into());
        }
        if input.len() > LARGEST_VALUE || ctx.state::<Requests>().runs >= MOST_RUNS {
            return Err(Error::TooLarge.into());
        }
        let now = ctx.services.clock.now();
        let limits = ctx.services.tenants.backlog(&task.tenant);
        let due_at = due(when, now);
        if due_at.since(now) > limits.horizon {
            let horizon = lengths::exact(limits.horizon);
            return Err(Error::Other(format!("a run may be due at most {horizon} ahead")).into());
        }
        // A refused request counts as well, because it asks the store, too.
        ctx.state::<Requests>().runs += 1;
        let waiting = ctx.until.run_until_ended(in_call, ctx.services.store.waiting(task.clone())).await?;
        let waiting = waiting.map_err(|error| store_failure(error, in_call, Error::Other))?;
        if let Some(full) = full(waiting, &task, input.len(), limits) {
            ctx.log_full_backlog(full);
            if waiting.runs >= MOST_WAITING {
                // The attempt gets no further run, because there will hardly be room before its end.
                ctx.state::<Requests>().runs = MOST_RUNS;
            }
            return Err(Error::TooLarge.into());
        }
        ctx.handle.usage.add_sent(input.len());
        let run = NewRun::requested(Request { task, due_at, input, dedup, parent: ctx.claim.run }, now);
        let made = ctx.until.run_until_ended(in_call, ctx.services.store.enqueue(vec![run], now)).await?;
        match made.map_err(|error| store_failure(error, in_call, Error::Other))?.first() {
            Some(enqueued) => Ok(enqueued.run().to_string()),
            None => Err(Error::Other("the host's store failed".to_owned()).into()),
        }
    }
}

impl ImportsCtx {
    /// Writes into the run's log, once, why its runs are refused, because a guest is told only that there is no room.
    fn log_full_backlog(&mut self, message: String) {
        if !std::mem::replace(&mut self.state::<Requests>().told_full, true) {
            self.warn(message);
        }
    }
}

/// Returns why no further run of `task` with an input of `bytes` may wait, if that is so. Attempts that ask at the same
/// moment may each add one more.
fn full(waiting: Waiting, task: &TaskKey, bytes: usize, limits: BacklogLimits) -> Option<String> {
    let name = &task.task;
    if waiting.runs >= MOST_WAITING {
        return Some(format!("no further run of `{name}` was made: {MOST_WAITING} runs wait, which is the limit"));
    }
    let sums = [
        (waiting.bytes, limits.task, format!("of runs of `{name}`"), "task"),
        (waiting.tenant_bytes, limits.tenant, format!("of the runs of tenant `{}`", task.tenant), "tenant"),
    ];
    sums.into_iter().filter(|_| bytes > 0).find_map(|(used, most, whose, key)| {
        (used.saturating_add(bytes as u64) > most).then(|| {
            let most = bytesize::ByteSize::b(most).display().iec();
            format!(
                "no further run of `{name}` was made: the inputs {whose} that tasks requested and that wait may take {most} \
                 together (`[enqueued] {key}`)"
            )
        })
    })
}

/// Returns the instant that `when` means at `now`.
fn due(when: When, now: Timestamp) -> Timestamp {
    match when {
        When::Now => now,
        When::At(ms) => Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX)),
        When::After(ms) => now.plus(Duration::from_millis(ms)),
    }
}

#[cfg(test)]
mod tests;

//! The `schedule` import: runs that a task enqueues, and schedules that it adds.
//!
//! The host decides whether a run is made ([`RunRequests`](crate::imports::RunRequests)) and whether a schedule is added
//! or deleted ([`ScheduleRequests`](crate::imports::ScheduleRequests)). This file reads what the guest sends, counts its
//! requests, and writes into the run's log what the guest is not told.

mod recurring;

use std::time::Duration;

use wasmtime::component::Linker;

use crate::attempt::Refusal;
use crate::imports::bindings::sexton::task::schedule::{self, Added, Error, Host, Recurring, When};
use crate::imports::bindings::{AddingError, ScheduleError};
use sexton_domain::lengths;
use sexton_domain::task::{Grants, Task};
use sexton_domain::time::Timestamp;
use sexton_store::rules::runs::RequestKey;

use super::call_error::store_failure;
use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView, RunRefused, RunRequest, State, is_name};

/// The capability to enqueue runs of tasks, and to add schedules of them.
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
    /// The number of requests for which the store was asked, including those that were refused then. The greatest
    /// number stands for an attempt that gets no further run.
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
        self.ask_for(task, when, input, key.map(RequestKey::Chosen), "schedule.enqueue").await
    }

    async fn continue_later(&mut self, when: When, state: Vec<u8>) -> Result<String, ScheduleError> {
        let nth = self.ctx.state::<Requests>().continued + 1;
        let task = self.ctx.task.key.task.to_string();
        let key = RequestKey::Continuation(nth);
        let run = self.ask_for(task, when, state, Some(key), "schedule.continue-later").await?;
        self.ctx.state::<Requests>().continued = nth;
        Ok(run)
    }

    async fn add_schedule(&mut self, key: String, schedule: Recurring, replace: bool) -> Result<bool, AddingError> {
        self.ctx.add_schedule(key, schedule, replace).await
    }

    async fn list_schedules(&mut self) -> Result<Vec<Added>, AddingError> {
        self.ctx.list_schedules().await
    }

    async fn delete_schedule(&mut self, key: String) -> Result<bool, AddingError> {
        self.ctx.delete_schedule(key).await
    }

    fn convert_error(&mut self, error: ScheduleError) -> wasmtime::Result<Error> {
        error.into_guest()
    }

    fn convert_schedule_error(&mut self, error: AddingError) -> wasmtime::Result<schedule::ScheduleError> {
        error.into_guest()
    }
}

impl ImportsCtxView<'_> {
    async fn ask_for(
        &mut self,
        task: String,
        when: When,
        input: Vec<u8>,
        key: Option<RequestKey>,
        in_call: &'static str,
    ) -> Result<String, ScheduleError> {
        let ctx = &mut *self.ctx;
        let by = ctx.caller();
        let due_at = due(when, ctx.services.clock.now());
        let (name, bytes) = (task.clone(), input.len());
        let asked_before = ctx.state::<Requests>().runs;
        let asked = RunRequest { task, due_at, input, key, asked_before };
        let made = ctx.until.run_until_ended(in_call, ctx.services.run_requests.request_run(&by, asked)).await?;
        if made.as_ref().map_or_else(RunRefused::has_asked_store, |_| true) {
            ctx.state::<Requests>().runs = asked_before.saturating_add(1);
        }
        match made {
            Ok(run) => {
                ctx.handle.usage.add_sent(bytes);
                ctx.handle.usage.acts(); // also without an input
                Ok(run.to_string())
            }
            Err(refused) => Err(ctx.refused(refused, &name, in_call)),
        }
    }
}

impl ImportsCtx {
    /// Returns the guest's error for a request that was refused, and writes into the run's log what only its author
    /// may know.
    fn refused(&mut self, refused: RunRefused, task: &str, in_call: &'static str) -> ScheduleError {
        match refused {
            RunRefused::NotGranted => {
                self.refuses(Refusal::Task(task));
                Error::AccessDenied.into()
            }
            RunRefused::NoTask => Error::NotFound.into(),
            RunRefused::TooLarge | RunRefused::TooMany => Error::TooLarge.into(),
            RunRefused::TooFarAhead(horizon) => {
                Error::Other(format!("a run may be due at most {} ahead", lengths::exact(horizon))).into()
            }
            RunRefused::Full { message, lasts } => {
                self.log_full_backlog(message);
                if lasts {
                    self.state::<Requests>().runs = u32::MAX;
                }
                Error::TooLarge.into()
            }
            RunRefused::Store(error) => store_failure(error, in_call, Error::Other),
        }
    }

    /// Writes into the run's log, once, why its runs are refused, because a guest is told only that there is no room.
    fn log_full_backlog(&mut self, message: String) {
        if !std::mem::replace(&mut self.state::<Requests>().told_full, true) {
            self.warn(message);
        }
    }
}

/// Returns the instant that `when` means at `now`; `None` for now.
fn due(when: When, now: Timestamp) -> Option<Timestamp> {
    match when {
        When::Now => None,
        When::At(ms) => Some(Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))),
        When::After(ms) => Some(now.plus(Duration::from_millis(ms))),
    }
}

#[cfg(test)]
mod tests;

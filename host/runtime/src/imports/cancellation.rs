//! The `cancellation` import: tells a guest that it must end before it is interrupted.
//!
//! A request to end a run goes to its [`RunHandle`](crate::attempt::RunHandle). That the deadline is near is decided
//! here, because no other part tells it.

use std::time::{Duration, Instant};

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::attempt::{CancelReason, RunEnd};
use crate::imports::bindings::sexton::task::cancellation::{self, Host, Reason};
use sexton_domain::task::Limits;

use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView};

/// The capability to learn that the run must end. It needs no grant.
#[derive(Debug)]
pub struct Cancellation;

impl<T: ImportsView> Capability<T> for Cancellation {
    fn interfaces(&self) -> &'static [Interface] {
        const { &[of_sexton("cancellation")] }
    }

    fn link(&self, linker: &mut Linker<T>) -> wasmtime::Result<()> {
        cancellation::add_to_linker::<T, Imports>(linker, T::imports)
    }
}

/// Returns how long before its deadline a run learns that the deadline is near: its grace, but never before half of its
/// time is over, lest a task with little time begin with that notice.
fn notice(limits: &Limits) -> Duration {
    limits.grace.min(limits.deadline / 2)
}

/// The event that a subscribed guest waits for.
struct CancelSubscription {
    until: RunEnd,
    /// When the deadline counts as near.
    near: Instant,
}

#[async_trait::async_trait]
impl Pollable for CancelSubscription {
    async fn ready(&mut self) {
        // The result is not needed, because there is a reason in either case.
        let wished = async {
            self.until.handle().cancel_requested().await;
        };
        self.until.within(Some(self.near), wished).await;
    }
}

impl ImportsCtx {
    fn notice_at(&self) -> Instant {
        let deadline = self.until.deadline();
        deadline.checked_sub(notice(&self.task.limits)).unwrap_or(deadline)
    }
}

impl Host for ImportsCtxView<'_> {
    fn cancelled(&mut self) -> wasmtime::Result<Option<Reason>> {
        Ok(match self.ctx.handle.cancel_reason() {
            Some(CancelReason::Killed) => Some(Reason::Killed),
            Some(CancelReason::Replaced) => Some(Reason::Replaced),
            Some(CancelReason::Shutdown) => Some(Reason::Shutdown),
            None => (self.ctx.until.now() >= self.ctx.notice_at()).then_some(Reason::DeadlineNear),
        })
    }

    fn subscribe(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        // Each push traps when the table is full, so the task's limit of handles bounds how often a guest can
        // subscribe.
        let heard =
            self.table.push(CancelSubscription { until: self.ctx.until.clone(), near: self.ctx.notice_at() })?;
        subscribe(self.table, heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notice_of_the_deadline_is_given_in_the_second_half_of_a_runs_time_at_the_earliest() {
        let notice = |deadline, grace| {
            let [deadline, grace] = [deadline, grace].map(Duration::from_millis);
            super::notice(&Limits { deadline, grace, ..Limits::default() }).as_millis()
        };
        assert_eq!(notice(60_000, 1000), 1000);
        assert_eq!(notice(500, 1000), 250);
        assert_eq!(notice(500, 0), 0);
    }
}

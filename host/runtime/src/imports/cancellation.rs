//! The `cancellation` import: tells a guest that it must end before it is interrupted.
//!
//! A request to end a run goes to its [`RunHandle`](crate::attempt::RunHandle). That the deadline is near is decided
//! here, because no other part tells it.

use std::time::{Duration, Instant};

use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::attempt::{CancelReason, RunEnd};
use crate::imports::bindings::sexton::task::cancellation::{self, Host, Reason};

use super::capability::{Capability, Interface, of_sexton};
use super::{Imports, ImportsCtx, ImportsCtxView, ImportsView};
use sexton_domain::lengths;

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

/// The event that the host insists, which a subscribed guest waits for.
struct Insisted {
    until: RunEnd,
    /// When the host insists because of the deadline, if it does.
    near: Option<Instant>,
}

#[async_trait::async_trait]
impl Pollable for Insisted {
    async fn ready(&mut self) {
        self.until.within(self.near, self.until.handle().insisted()).await;
    }
}

impl ImportsCtx {
    /// Returns the instant that lies `notice` before the deadline.
    fn before_deadline(&self, notice: Duration) -> Instant {
        let deadline = self.until.deadline();
        deadline.checked_sub(notice).unwrap_or(deadline)
    }

    /// Returns how long before its deadline the guest is asked to end, and asked once more.
    fn notices(&self) -> (Duration, Option<Duration>) {
        let limits = &self.task.limits;
        limits.ladder.notices(limits.deadline)
    }

    /// Returns when the guest is asked to end because of its deadline.
    fn notice_at(&self) -> Instant {
        self.before_deadline(self.notices().0)
    }
}

impl Host for ImportsCtxView<'_> {
    fn cancelled(&mut self) -> wasmtime::Result<Option<Reason>> {
        Ok(match self.ctx.handle.cancel_reason() {
            Some(CancelReason::Killed) => Some(Reason::Killed),
            Some(CancelReason::Replaced) => Some(Reason::Replaced),
            Some(CancelReason::Shutdown) => Some(Reason::Shutdown),
            // A guest that is idle has as little time left as one whose deadline is near.
            Some(CancelReason::Idle) => Some(Reason::DeadlineNear),
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

    fn time_left(&mut self) -> wasmtime::Result<Option<u64>> {
        if self.cancelled()?.is_none() {
            return Ok(None);
        }
        let left = self.ctx.until.left();
        let ends_at = self.ctx.handle.ends_at();
        let left = ends_at.map_or(left, |at| at.saturating_duration_since(self.ctx.until.now()).min(left));
        Ok(Some(lengths::millis(left)))
    }

    fn subscribe_insisted(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let near = self.ctx.notices().1.map(|notice| self.ctx.before_deadline(notice));
        let insisted = self.table.push(Insisted { until: self.ctx.until.clone(), near })?;
        subscribe(self.table, insisted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::attempt::{HowItEnds, Stop};
    use crate::imports::testing::{World, grants};
    use sexton_domain::task::{Ladder, Limits, Task};

    #[tokio::test]
    async fn a_guest_that_is_told_to_end_learns_how_much_time_is_left() {
        let world = World::new();
        let mut guest = world.guest_of("a", grants(&[])).await;
        let ladder = Ladder { end: Duration::from_secs(20), ..Ladder::default() };
        let limits = Limits { ladder, ..Limits::default() };
        guest.ctx.task = Arc::new(Task { limits, ..Task::clone(&guest.ctx.task) });
        guest.order.handle.begin(HowItEnds { ladder, idle: None });
        assert_eq!(guest.imports().time_left().unwrap(), None);

        guest.order.handle.ask_to_end(Stop::Idle);

        assert!(matches!(guest.imports().cancelled(), Ok(Some(Reason::DeadlineNear))));
        let left = guest.imports().time_left().unwrap().unwrap();
        assert!((10_000..=20_000).contains(&left), "{left}");
    }
}

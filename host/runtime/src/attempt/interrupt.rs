//! Ends a wait inside a host function when its run ends.
//!
//! The runtime drops a guest at its deadline in any case. But a dropped guest leaves no stack, whereas a trap in the
//! host function that it waits in shows where it hung.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};

use crate::attempt::{RunHandle, Sleeper, Stop};
use sexton_domain::task::TaskKey;

/// A host call was ended because the run is over. The runtime's classifier finds it in the trap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run was ended in `{in_call}`: {why}")]
pub struct Interrupt {
    /// The reason why the run is over.
    pub why: InterruptReason,
    /// The host function in which the guest was, such as `locks.acquire`.
    pub in_call: &'static str,
}

/// The reason why a run is over before its guest returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterruptReason {
    /// The run's time is used up.
    #[error("its deadline is reached")]
    Deadline,
    /// The run was ended from outside, or its claim is lost.
    #[error("{}", match .0 {
        Stop::Killed(reason) => format!("killed: {reason}"),
        Stop::Shutdown => "the host is shutting down".to_owned(),
        Stop::Returned => "its host takes no more runs".to_owned(),
        Stop::ClaimLost => "its claim is lost".to_owned(),
        Stop::Idle => "it is idle".to_owned(),
    })]
    Stopped(Stop),
}

/// The end of a run from outside: its deadline, or [`RunHandle::stop`].
#[derive(Clone, Debug)]
pub struct RunEnd {
    handle: Arc<RunHandle>,
    deadline: Instant,
    sleeper: Option<Arc<Sleeper>>,
}

impl RunEnd {
    /// Creates the end of the attempt `handle`: at `deadline`, or earlier if the attempt is stopped.
    ///
    /// An attempt in virtual time ends at its own deadline instead.
    pub fn new(handle: Arc<RunHandle>, deadline: Instant) -> Self {
        let sleeper = handle.sleeper().cloned();
        Self::before_the_guest(handle, deadline, sleeper)
    }

    /// Creates the end of a wait before there is a guest: at `deadline`, or earlier if the attempt is stopped. In virtual
    /// time the wait is that of `sleeper`, which has a deadline of its own.
    pub(crate) fn before_the_guest(handle: Arc<RunHandle>, deadline: Instant, sleeper: Option<Arc<Sleeper>>) -> Self {
        let deadline = sleeper.as_ref().map_or(deadline, |sleeper| sleeper.deadline());
        Self { handle, deadline, sleeper }
    }

    /// Creates the same end by real time, for waits for the real world.
    pub(crate) fn by_real_time(handle: Arc<RunHandle>, deadline: Instant) -> Self {
        Self { handle, deadline, sleeper: None }
    }

    /// Returns the time by the clock that `deadline` belongs to.
    pub fn now(&self) -> Instant {
        self.sleeper.as_ref().map_or_else(Instant::now, |sleeper| sleeper.now())
    }

    /// Waits for `work` at most until `end`, and returns whether it was done. `work` may wait for time and other
    /// attempts only.
    pub(crate) async fn within(&self, end: Option<Instant>, work: impl Future<Output = ()>) -> bool {
        match (&self.sleeper, end) {
            (Some(sleeper), end) => sleeper.wait_within(work, end).await,
            (None, Some(end)) => tokio::time::timeout_at(end.into(), work).await.is_ok(),
            (None, None) => {
                work.await;
                true
            }
        }
    }

    /// Returns whether the attempt lives in virtual time.
    pub(crate) fn is_virtual(&self) -> bool {
        self.sleeper.is_some()
    }

    /// Returns the attempt's handle.
    pub fn handle(&self) -> &Arc<RunHandle> {
        &self.handle
    }

    /// Returns the attempt's task.
    pub fn task(&self) -> &TaskKey {
        &self.handle.task
    }

    /// Returns the attempt's deadline.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns how much of the run's time is left: zero at its deadline and after.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(self.now())
    }

    /// Returns why the run is over, if it is.
    pub fn over(&self) -> Option<InterruptReason> {
        match self.handle.stopped() {
            Some(stop) => Some(InterruptReason::Stopped(stop)),
            None => (self.now() >= self.deadline).then_some(InterruptReason::Deadline),
        }
    }

    /// Completes when the run is over. Needs a tokio context, for the timer.
    pub async fn ended(&self) -> InterruptReason {
        if let Some(sleeper) = &self.sleeper {
            return match select(pin!(sleeper.sleep_until(self.deadline)), pin!(self.handle.stops())).await {
                Either::Left(_) => InterruptReason::Deadline,
                Either::Right((stop, _)) => InterruptReason::Stopped(stop),
            };
        }
        match tokio::time::timeout_at(self.deadline.into(), self.handle.stops()).await {
            Ok(stop) => InterruptReason::Stopped(stop),
            Err(_) => InterruptReason::Deadline,
        }
    }

    /// Does `work` on behalf of the host function `in_call`, unless the run is over first. Needs a tokio context.
    ///
    /// `work` is dropped wherever it stands when the run ends, so that must be safe.
    ///
    /// # Errors
    ///
    /// [`Interrupt`] if the run is over, even if `work` becomes ready at that moment: nothing of a guest runs longer.
    pub async fn run_until_ended<T>(
        &self,
        in_call: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        self.wait_until_ended(in_call, None, work).await
    }

    /// As [`RunEnd::run_until_ended`], and shows that the host function waits for `what`, such as a lock's name.
    ///
    /// # Errors
    ///
    /// As [`RunEnd::run_until_ended`].
    pub async fn wait_until_ended<T>(
        &self,
        in_call: &'static str,
        what: Option<&str>,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        if let Some(why) = self.over() {
            return Err(Interrupt { why, in_call });
        }
        let mut work = pin!(work);
        // Most work is ready at once and then needs no timer.
        if let Poll::Ready(done) = futures_util::poll!(work.as_mut()) {
            return Ok(done);
        }
        let _shown = self.handle.usage.waits(in_call, what.map(str::to_owned));
        match select(pin!(self.ended()), work).await {
            Either::Left((why, _)) => Err(Interrupt { why, in_call }),
            Either::Right((done, _)) => Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::imports::testing::{soon, until};

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn work_that_is_done_in_time_is_returned() {
        let work = async {
            tokio::task::yield_now().await;
            7
        };
        assert_eq!(until(LONG).run_until_ended("call", async { 7 }).await, Ok(7));
        assert_eq!(until(LONG).run_until_ended("call", work).await, Ok(7));
    }

    #[tokio::test]
    async fn a_wait_ends_at_the_deadline() {
        let start = Instant::now();
        let until = until(Duration::from_millis(30));

        let ended = soon(until.run_until_ended("call", pending::<()>())).await;

        assert_eq!(ended, Err(Interrupt { why: InterruptReason::Deadline, in_call: "call" }));
        assert!(start.elapsed() >= Duration::from_millis(30));
        assert_eq!(until.left(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_wait_ends_when_its_run_is_stopped() {
        let until = until(LONG);
        let waiting = until.clone();
        let wait = tokio::spawn(async move { waiting.run_until_ended("call", pending::<()>()).await });

        tokio::task::yield_now().await;
        until.handle.stop(Stop::Shutdown);

        let ended = soon(wait).await.unwrap();
        assert_eq!(ended, Err(Interrupt { why: InterruptReason::Stopped(Stop::Shutdown), in_call: "call" }));
    }

    #[tokio::test]
    async fn work_does_not_begin_for_a_run_that_is_over() {
        let begun = async { panic!("it was begun") };
        let ended = until(Duration::ZERO).run_until_ended("call", begun).await;

        assert_eq!(ended, Err(Interrupt { why: InterruptReason::Deadline, in_call: "call" }));
        assert_eq!(ended.unwrap_err().to_string(), "the run was ended in `call`: its deadline is reached");
    }
}

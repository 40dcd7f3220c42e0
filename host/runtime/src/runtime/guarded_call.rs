//! Ends a guest's call at its deadline, or when its run is stopped, whatever it is doing.
//!
//! A guest that computes yields every millisecond or so, and is dropped at the first yield after its end. A guest that
//! waits in a host call is woken: once to let the host call end itself with a trap that says where it was
//! ([`RunEnd`](crate::attempt::Until)), and then it is dropped as well. Dropping a call unwinds its stack, while `guest`
//! records the backtrace; no instruction of the guest runs after that.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::attempt::{InterruptReason, RunHandle};

use super::lanes::{GuestTask, Lanes};

/// Time after the deadline in which a host call may still end itself before it is dropped. Tokio's timers count in
/// milliseconds, so those of host calls fire up to two late.
const GRACE: Duration = Duration::from_millis(4);

/// Processor time after its end in which a guest that computes may go on until its fuel is known exactly: when it next
/// uses up a slice. That takes half a millisecond for all but guests that wait for memory with every instruction; their
/// fuel for the last slice is estimated.
const SETTLE: Duration = Duration::from_millis(10);

/// The longest time for settling on a machine that has no processor time for it.
const SETTLE_WITHIN: Duration = Duration::from_millis(30);

/// The reason that a call did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interruption {
    /// The run reached its deadline or was stopped.
    Over(InterruptReason),
    /// A host function panicked, with these words.
    Panicked(String),
}

/// Observations of a call while it went on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pauses {
    /// Whether it ever started.
    pub(super) started: bool,
    /// The number of its yields.
    pub(super) yields: u64,
    /// Time in the queue after its yields.
    pub(super) queued: Duration,
    /// Time in the queue before its first turn.
    pub(super) queued_first: Duration,
    /// Processor time that the guest itself had used when its fuel was last known exactly.
    pub(super) settled: Duration,
    /// Processor time that it has used since then.
    pub(super) unsettled: Duration,
}

/// A call that is being watched.
pub(super) struct GuardedCall<'a, F: Future> {
    /// `None` once it was dropped.
    call: Pin<&'a mut Option<F>>,
    alarm: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    lanes: &'a Lanes,
    turn: &'a Arc<GuestTask>,
    handle: Arc<RunHandle>,
    polled: Option<Instant>,
    /// When the call was first found due, and the processor time that it had used then.
    due_since: Option<(Instant, Duration)>,
    pauses: Pauses,
}

impl<'a, F: Future> GuardedCall<'a, F> {
    pub(super) fn new(
        call: Pin<&'a mut Option<F>>,
        lanes: &'a Lanes,
        turn: &'a Arc<GuestTask>,
        handle: Arc<RunHandle>,
    ) -> Self {
        Self { call, alarm: None, lanes, turn, handle, polled: None, due_since: None, pauses: Pauses::default() }
    }

    fn due(&self, now: Instant) -> Option<InterruptReason> {
        match self.handle.stopped() {
            Some(stop) => Some(InterruptReason::Stopped(stop)),
            None => (now >= self.turn.deadline || self.handle.is_over(self.turn.used()))
                .then_some(InterruptReason::Deadline),
        }
    }

    /// Returns whether a guest that must end may go on until its fuel is known. No guest may while many must end.
    fn may_finish_slice(&mut self, now: Instant) -> bool {
        let used = self.turn.used();
        let (since, used_then) = *self.due_since.get_or_insert((now, used));
        let in_time = used.saturating_sub(used_then) < SETTLE && now.duration_since(since) < SETTLE_WITHIN;
        self.pauses.started && self.turn.ticked() && in_time && !self.lanes.many_must_end()
    }

    /// Returns whether a due call must be dropped, now that it was polled once more.
    fn must_drop(&mut self, why: &InterruptReason, computing: bool, now: Instant) -> bool {
        if computing {
            return !self.may_finish_slice(now);
        }
        // A host call that ends itself says where it was.
        *why != InterruptReason::Deadline || now >= self.turn.deadline + GRACE || self.handle.is_over(self.turn.used())
    }

    /// Polls the call, and records what that took.
    fn take_turn(&mut self, start: Instant, cx: &mut Context<'_>) -> (std::thread::Result<Poll<F::Output>>, Instant) {
        self.turn.yields_seen(self.pauses.yields);
        self.turn.begin(start);
        self.pauses.started = true;
        let call = self.call.as_mut().as_pin_mut().expect("it is polled only until it is ready");
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| call.poll(cx)));
        let end = Instant::now();
        self.turn.end_at(end);
        self.record_fuel();
        self.handle.usage.guest_used(self.turn.used_by_guest());
        self.polled = Some(end);
        (polled, end)
    }

    /// Records up to when the guest's fuel is known, after a turn. If the ticker cut the turn, the fuel is unknown from
    /// when the guest last left the host with its fuel reported.
    fn record_fuel(&mut self) {
        let used = self.turn.used_by_guest();
        let settled = if self.turn.ticked() { self.pauses.settled.max(self.turn.fuel_known_at()) } else { used };
        (self.pauses.settled, self.pauses.unsettled) = (settled, used.saturating_sub(settled));
    }

    /// Sets an alarm that wakes the guest at its end. Only guests that have yielded or wait get one, because most runs
    /// are over before they need it.
    fn set_alarm(&mut self, cx: &Context<'_>) {
        if self.alarm.is_some() {
            return;
        }
        let handle = Arc::clone(&self.handle);
        let last = tokio::time::Instant::from_std(self.turn.deadline + GRACE);
        let mut alarm = Box::pin(async move {
            // A deadline and a stop are handled alike: the guest is polled, and checks which it was.
            let _ = tokio::time::timeout_at(last, handle.stops()).await;
        });
        let waker = self.lanes.expedite(self.turn, cx.waker());
        if alarm.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
        self.alarm = Some(alarm);
    }

    fn drop_call(&mut self) {
        self.turn.end();
        self.call.set(None);
    }
}

impl<F: Future> Future for GuardedCall<'_, F> {
    /// The result of the call or the reason that it was ended, and what was observed of it.
    type Output = (Result<F::Output, Interruption>, Pauses);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let start = Instant::now();
        let mut computing = true; // before its first turn, too, when it cannot wait yet
        if this.handle.sleeper().is_some_and(|sleeper| sleeper.has_slept()) {
            // In virtual time a wait may end before its turn is quite over, which must not be taken for a yield.
            this.turn.queued_by(false);
        }
        if let Some(polled) = this.polled {
            computing = this.turn.yielded();
            if computing {
                this.pauses.yields += 1;
                this.pauses.queued += start.duration_since(polled);
            }
        } else {
            this.pauses.queued_first = start.duration_since(this.turn.came);
        }
        let due = this.due(start);
        if let Some(why) = due.clone().filter(|_| computing && !this.may_finish_slice(start)) {
            this.drop_call();
            return Poll::Ready((Err(Interruption::Over(why)), this.pauses));
        }

        let (polled, end) = this.take_turn(start, cx);
        match (polled, due) {
            (Ok(Poll::Ready(returned)), _) => Poll::Ready((Ok(returned), this.pauses)),
            (Err(panic), _) => {
                this.drop_call();
                Poll::Ready((Err(Interruption::Panicked(words(&*panic))), this.pauses))
            }
            (Ok(Poll::Pending), Some(why)) if this.must_drop(&why, computing, end) => {
                // If the call stands in a yield, that yield has not been counted yet.
                this.pauses.yields += u64::from(this.turn.in_yield());
                this.drop_call();
                Poll::Ready((Err(Interruption::Over(why)), this.pauses))
            }
            (Ok(Poll::Pending), _) => {
                this.set_alarm(cx);
                Poll::Pending
            }
        }
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

//! Ends a guest's call at its deadline, or when its run is stopped, whatever it is doing.
//!
//! A guest that computes yields every millisecond or so, and is dropped at the first yield after its end. A guest that
//! waits in a host call is woken: once to let the host call end itself with a trap that says where it was
//! (`imports::ended`), and then it is dropped as well. Dropping a call unwinds its stack, in the course of which `guest`
//! records the backtrace; no instruction of the guest runs after that.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::handle::{RunHandle, Stop};
use super::lanes::{Lanes, Turn};

/// How long after the deadline a host call may still end itself before it is dropped. Tokio's timers count in
/// milliseconds, so those of host calls come up to two late.
const GRACE: Duration = Duration::from_millis(4);

/// Why a call was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Its time is used up.
    Deadline,
    /// Somebody stopped it.
    Stopped(Stop),
    /// A host function panicked, with these words.
    Panicked(String),
}

/// What was seen of a call while it went on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pauses {
    /// Whether it was ever started.
    pub(super) started: bool,
    /// How often it yielded.
    pub(super) yields: u64,
    /// How long it was in the queue after that.
    pub(super) queued: Duration,
}

/// A call that is being watched.
pub(super) struct Watched<'a, T> {
    call: Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>,
    alarm: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    lanes: &'a Lanes,
    turn: &'a Arc<Turn>,
    handle: Arc<RunHandle>,
    polled: Option<Instant>,
    pauses: Pauses,
}

impl<'a, T> Watched<'a, T> {
    pub(super) fn new(
        call: impl Future<Output = T> + Send + 'a,
        lanes: &'a Lanes,
        turn: &'a Arc<Turn>,
        handle: Arc<RunHandle>,
    ) -> Self {
        Self { call: Some(Box::pin(call)), alarm: None, lanes, turn, handle, polled: None, pauses: Pauses::default() }
    }

    fn due(&self, now: Instant) -> Option<Interrupt> {
        match self.handle.stopped() {
            Some(stop) => Some(Interrupt::Stopped(stop)),
            None => (now >= self.turn.deadline).then_some(Interrupt::Deadline),
        }
    }

    /// Wake the guest at its end. Only for a guest that has yielded or waits: most runs are over before they need it.
    fn set_alarm(&mut self, cx: &Context<'_>) {
        if self.alarm.is_some() {
            return;
        }
        let mut stops = self.handle.stops();
        let last = tokio::time::Instant::from_std(self.turn.deadline + GRACE);
        let mut alarm = Box::pin(async move {
            // Whether it was the deadline, a stop, or a handle that is gone: the guest is polled, and looks.
            let _ = tokio::time::timeout_at(last, stops.wait_for(Option::is_some)).await;
        });
        let waker = self.lanes.expedite(self.turn, cx.waker());
        if alarm.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            waker.wake();
        }
        self.alarm = Some(alarm);
    }

    fn drop_call(&mut self) {
        self.turn.end();
        self.call = None;
    }
}

impl<T> Future for Watched<'_, T> {
    /// What the call came to, or why it was ended; and what was seen of it.
    type Output = (Result<T, Interrupt>, Pauses);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let start = Instant::now();
        let mut computing = true; // before its first turn, too: there is nothing to wait for
        if let Some(polled) = this.polled {
            computing = this.turn.yielded();
            if computing {
                this.pauses.yields += 1;
                this.pauses.queued += start.duration_since(polled);
            }
        }
        let due = this.due(start);
        if let Some(interrupt) = due.clone().filter(|_| computing) {
            this.drop_call();
            return Poll::Ready((Err(interrupt), this.pauses));
        }
        this.turn.yields_seen(this.pauses.yields);
        this.pauses.started = true;

        let call = this.call.as_mut().expect("it is polled only until it is ready");
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx)));
        let end = Instant::now();
        this.turn.spend(end.duration_since(start));
        this.polled = Some(end);
        match (polled, due) {
            (Ok(Poll::Ready(returned)), _) => Poll::Ready((Ok(returned), this.pauses)),
            (Err(panic), _) => {
                this.drop_call();
                Poll::Ready((Err(Interrupt::Panicked(words(&*panic))), this.pauses))
            }
            // It had its chance to say where it was.
            (Ok(Poll::Pending), Some(interrupt))
                if interrupt != Interrupt::Deadline || end >= this.turn.deadline + GRACE =>
            {
                this.drop_call();
                Poll::Ready((Err(interrupt), this.pauses))
            }
            (Ok(Poll::Pending), _) => {
                this.set_alarm(cx);
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Watched<'_, T> {
    fn drop(&mut self) {
        // Dropped from outside, so that the stack is not recorded: nobody will read it.
        self.call = None;
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message").to_owned()
}

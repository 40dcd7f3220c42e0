//! Tells those who wait for runs that they are over: several at a time, where runs are short.
//!
//! Waking a thread that sleeps is a system call, which takes a third of the time of a run that does nothing. A guest
//! thread that has more new runs to do therefore keeps its wake-ups back for a moment. It gives them before it sleeps,
//! before it goes on with a guest that has computed before, and after [`LATE`] at the first opportunity: at worst a
//! new guest's first slice, about a millisecond, later than it could.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// How long an answer may be kept back. Several short runs, and too short for anybody to notice.
const LATE: Duration = Duration::from_micros(100);

thread_local! {
    static ANSWERS: RefCell<Answers> = const { RefCell::new(Answers { wakers: Vec::new(), since: None }) };
}

struct Answers {
    wakers: Vec<Waker>,
    since: Option<Instant>,
}

/// Give all answers that this thread has kept back.
pub(super) fn give() {
    // Taken out first: a waker may run anything, such as the drop of another run.
    let mut wakers = ANSWERS.with_borrow_mut(|answers| {
        answers.since = None;
        std::mem::take(&mut answers.wakers)
    });
    wakers.drain(..).for_each(Waker::wake);
    ANSWERS.with_borrow_mut(|answers| {
        // Its room is used again.
        if answers.wakers.is_empty() {
            answers.wakers = wakers;
        }
    });
}

/// Give them if the first of them has waited for long enough.
pub(super) fn give_if_late() {
    if ANSWERS.with_borrow(|answers| answers.since.is_some_and(|since| since.elapsed() >= LATE)) {
        give();
    }
}

/// The output of `task`, which is polled on guest threads, for somebody who waits elsewhere.
pub(super) async fn answer<F: Future + Unpin>(mut task: F) -> F::Output {
    std::future::poll_fn(move |cx| -> Poll<F::Output> {
        let waker = Waker::from(Arc::new(Later(cx.waker().clone())));
        Pin::new(&mut task).poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// Wakes when the guest thread gives its answers.
struct Later(Waker);

impl Wake for Later {
    fn wake(self: Arc<Self>) {
        if !super::lanes::on_guest_thread() {
            self.0.wake_by_ref();
            return;
        }
        ANSWERS.with_borrow_mut(|answers| {
            answers.wakers.push(self.0.clone());
            answers.since.get_or_insert_with(Instant::now);
        });
    }
}

//! Tells callers that wait for runs that these have ended: several at a time, when runs are short.
//!
//! Waking a sleeping thread is a system call that takes a third of the time of an empty run, and the woken thread
//! sleeps again before the next run ends. So guest threads hold their answers back for a moment, and one task on the
//! callers' runtime, the giver, wakes all callers, which costs nothing there. Answers are given before a guest thread
//! sleeps, before it continues a guest that has computed before, and at the first opportunity after [`LATE`]: at worst
//! they are late by a new guest's first slice, about a millisecond.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use super::lanes::on_guest_thread;
use sexton_system::supervisor::{Supervisor, caught};

/// The longest time that an answer is held back: several short runs, and too short for a caller to notice.
const LATE: Duration = Duration::from_micros(200);

/// The name under which a panic of the giver is reported.
const GIVER: &str = "the wake-up of callers";

/// The answers that are held back.
#[derive(Debug, Default)]
pub(super) struct WakeBatch {
    kept: Mutex<Pending>,
    /// Whether answers may be held back, so that a thread of low priority does not take the lock for nothing.
    any: AtomicBool,
    due: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    wakers: Vec<Waker>,
    since: Option<Instant>,
    /// Whether the giver has been told of these wakers.
    told: bool,
    /// The runtime of the giver, once it runs. A caller on another runtime is woken directly, because that runtime may
    /// have no other thread to drive it.
    giver: Option<Id>,
    /// Whether a giver runs or has been requested.
    asked: bool,
    stopping: bool,
}

impl WakeBatch {
    /// Waits on a tokio runtime for the output of `task`, which is polled on guest threads.
    pub(super) async fn wait<F: Future + Unpin>(self: &Arc<Self>, mut task: F) -> F::Output {
        // Caches the last waker and its answer, because the same caller usually polls again.
        let mut last: Option<(Waker, Waker)> = None;
        std::future::poll_fn(move |cx| -> Poll<F::Output> {
            let same = last.take().filter(|(whom, _)| whom.will_wake(cx.waker()));
            let (_, answer) = last.insert(same.unwrap_or_else(|| {
                let waker = cx.waker().clone();
                let answer = BatchWaker { answers: Arc::clone(self), runtime: self.runtime(), waker: waker.clone() };
                (waker, Waker::from(Arc::new(answer)))
            }));
            Pin::new(&mut task).poll(&mut Context::from_waker(answer))
        })
        .await
    }

    /// Gives all answers that are held back.
    pub(super) fn wake_all(&self) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.pending();
        if !kept.wakers.is_empty() && !kept.told {
            kept.told = true;
            drop(kept);
            self.due.notify_one();
        }
    }

    /// Gives the answers if the first of them has waited for long enough.
    pub(super) fn wake_if_late(&self) {
        if self.any.load(Ordering::Relaxed) && self.pending().since.is_some_and(|since| since.elapsed() >= LATE) {
            self.wake_all();
        }
    }

    /// Ends the giver. From now on answers are given directly.
    pub(super) fn stop(&self) {
        self.pending().stopping = true;
        self.due.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // A panic under the lock leaves nothing half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the caller's runtime, and starts a giver on it if there is none.
    fn runtime(self: &Arc<Self>) -> Option<Id> {
        let runtime = Handle::try_current().ok()?;
        let mut kept = self.pending();
        if !kept.asked && !kept.stopping {
            kept.asked = true;
            // Unlocks first, because a runtime that is being shut down drops the giver at once, which takes the lock.
            drop(kept);
            // After a panic the next caller that waits starts another giver.
            let giver = caught(BatchRunner(Arc::clone(self)).wake_all(runtime.id()));
            runtime.spawn(async { giver.await.unwrap_or_else(|panic| Supervisor::of_process().note(GIVER, &panic)) });
        }
        Some(runtime.id())
    }

    fn take(&self) -> Vec<Waker> {
        let mut kept = self.pending();
        self.any.store(false, Ordering::Relaxed);
        kept.told = false;
        kept.since = None;
        std::mem::take(&mut kept.wakers)
    }
}

/// Wakes the caller that waits for a run, when the answers are given.
struct BatchWaker {
    answers: Arc<WakeBatch>,
    runtime: Option<Id>,
    waker: Waker,
}

impl Wake for BatchWaker {
    fn wake(self: Arc<Self>) {
        if on_guest_thread() {
            let mut kept = self.answers.pending();
            if kept.giver.is_some() && kept.giver == self.runtime {
                kept.wakers.push(self.waker.clone());
                self.answers.any.store(true, Ordering::Relaxed);
                kept.since.get_or_insert_with(Instant::now);
                return;
            }
        }
        self.waker.wake_by_ref();
    }
}

struct BatchRunner(Arc<WakeBatch>);

impl BatchRunner {
    async fn wake_all(self, runtime: Id) {
        self.0.pending().giver = Some(runtime);
        while !self.0.pending().stopping {
            self.0.due.notified().await;
            self.0.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for BatchRunner {
    /// Gives what is left, because the giver was stopped or its runtime is being shut down, and no answer may be held
    /// back any more.
    fn drop(&mut self) {
        let mut kept = self.0.pending();
        kept.giver = None;
        kept.asked = false;
        drop(kept);
        self.0.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn keep(answers: &WakeBatch, woken: &Arc<Woken>) {
        answers.pending().wakers.push(Waker::from(Arc::clone(woken)));
        answers.any.store(true, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn answers_that_are_held_back_are_given_together() {
        let (answers, woken) = (Arc::new(WakeBatch::default()), Arc::new(Woken::default()));
        answers.runtime();
        tokio::task::yield_now().await;

        keep(&answers, &woken);
        keep(&answers, &woken);
        answers.wake_all();
        let before = woken.0.load(Ordering::SeqCst);
        tokio::task::yield_now().await;

        assert_eq!((before, woken.0.load(Ordering::SeqCst)), (0, 2));
    }

    #[test]
    fn answers_survive_the_shutdown_of_the_givers_runtime() {
        let (answers, woken) = (Arc::new(WakeBatch::default()), Arc::new(Woken::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            answers.runtime();
            tokio::task::yield_now().await;
        });
        let there = answers.pending().giver;

        keep(&answers, &woken);
        drop(runtime);

        assert!(there.is_some() && answers.pending().giver.is_none());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    /// Panics when woken.
    struct Faulty;

    impl Wake for Faulty {
        fn wake(self: Arc<Self>) {
            panic!("a fault of the host");
        }
    }

    #[tokio::test]
    async fn a_giver_that_panics_is_reported_and_replaced() {
        let (answers, woken) = (Arc::new(WakeBatch::default()), Arc::new(Woken::default()));
        answers.runtime();
        tokio::task::yield_now().await;
        answers.pending().wakers.push(Waker::from(Arc::new(Faulty)));
        answers.any.store(true, Ordering::Relaxed);
        answers.wake_all();
        tokio::task::yield_now().await;
        assert_eq!(answers.pending().giver, None, "answers are given directly meanwhile");

        answers.runtime();
        tokio::task::yield_now().await;
        keep(&answers, &woken);
        answers.wake_all();
        tokio::task::yield_now().await;

        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        let faults = Supervisor::of_process().faults();
        assert!(
            faults.iter().any(|fault| fault.part == GIVER && fault.message.starts_with("a fault of the host")),
            "{faults:?}"
        );
    }
}

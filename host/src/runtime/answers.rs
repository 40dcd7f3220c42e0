//! Tells those who wait for runs that they are over: several at a time, where runs are short.
//!
//! Waking a thread that sleeps is a system call, which takes a third of the time of a run that does nothing, and whoever
//! is woken sleeps again before the next run is over. So guest threads keep their answers back for a moment, and one
//! task on the runtime of those who wait, the giver, wakes all of them, which costs nothing there. An answer is given
//! before a guest thread sleeps, before it goes on with a guest that has computed before, and after [`LATE`] at the first
//! opportunity: at worst a new guest's first slice, about a millisecond, later than it could be.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use super::lanes::on_guest_thread;
use crate::supervisor::{Supervisor, caught};

/// How long an answer may be kept back. Several short runs, and too short for anybody to notice.
const LATE: Duration = Duration::from_micros(200);

/// What a panic of the giver is told as.
const GIVER: &str = "the giver of answers";

/// The answers that are kept back.
#[derive(Debug, Default)]
pub(super) struct Answers {
    kept: Mutex<Kept>,
    /// Whether some may be kept back: a thread of low priority had better not touch the lock for nothing.
    any: AtomicBool,
    due: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    wakers: Vec<Waker>,
    since: Option<Instant>,
    /// Whether the giver has been told of them.
    told: bool,
    /// The runtime that the giver is on, once it runs. Who waits on another one is woken directly: nobody else may be
    /// driving it.
    giver: Option<Id>,
    /// Whether there is a giver, or one was asked for.
    asked: bool,
    stopping: bool,
}

impl Answers {
    /// The output of `task`, which is polled on guest threads, for somebody who waits on a tokio runtime.
    pub(super) async fn wait<F: Future + Unpin>(self: &Arc<Self>, mut task: F) -> F::Output {
        // Whom the last answer was for, and the answer: mostly it is the same one who asks again.
        let mut last: Option<(Waker, Waker)> = None;
        std::future::poll_fn(move |cx| -> Poll<F::Output> {
            let same = last.take().filter(|(whom, _)| whom.will_wake(cx.waker()));
            let (_, answer) = last.insert(same.unwrap_or_else(|| {
                let waker = cx.waker().clone();
                let answer = Answer { answers: Arc::clone(self), runtime: self.runtime(), waker: waker.clone() };
                (waker, Waker::from(Arc::new(answer)))
            }));
            Pin::new(&mut task).poll(&mut Context::from_waker(answer))
        })
        .await
    }

    /// Give all answers that are kept back.
    pub(super) fn give(&self) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut kept = self.kept();
        if !kept.wakers.is_empty() && !kept.told {
            kept.told = true;
            drop(kept);
            self.due.notify_one();
        }
    }

    /// Give them if the first of them has waited for long enough.
    pub(super) fn give_if_late(&self) {
        if self.any.load(Ordering::Relaxed) && self.kept().since.is_some_and(|since| since.elapsed() >= LATE) {
            self.give();
        }
    }

    /// End the giver. Answers are given directly from now on.
    pub(super) fn stop(&self) {
        self.kept().stopping = true;
        self.due.notify_one();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing that is done under the lock leaves it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The runtime that the caller is on, on which a giver is started if there is none.
    fn runtime(self: &Arc<Self>) -> Option<Id> {
        let runtime = Handle::try_current().ok()?;
        let mut kept = self.kept();
        if !kept.asked && !kept.stopping {
            kept.asked = true;
            // A runtime that is being shut down drops it at once, which takes the lock.
            drop(kept);
            // After a panic the next caller that waits has another giver begun.
            let giver = caught(Giver(Arc::clone(self)).give(runtime.id()));
            runtime.spawn(async { giver.await.unwrap_or_else(|panic| Supervisor::of_process().note(GIVER, &panic)) });
        }
        Some(runtime.id())
    }

    fn take(&self) -> Vec<Waker> {
        let mut kept = self.kept();
        self.any.store(false, Ordering::Relaxed);
        kept.told = false;
        kept.since = None;
        std::mem::take(&mut kept.wakers)
    }
}

/// Wakes who waits for a run, when the answers are given.
struct Answer {
    answers: Arc<Answers>,
    runtime: Option<Id>,
    waker: Waker,
}

impl Wake for Answer {
    fn wake(self: Arc<Self>) {
        if on_guest_thread() {
            let mut kept = self.answers.kept();
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

struct Giver(Arc<Answers>);

impl Giver {
    async fn give(self, runtime: Id) {
        self.0.kept().giver = Some(runtime);
        while !self.0.kept().stopping {
            self.0.due.notified().await;
            self.0.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Giver {
    /// It was stopped, or its runtime is being shut down: nothing may be kept any more.
    fn drop(&mut self) {
        let mut kept = self.0.kept();
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

    fn keep(answers: &Answers, woken: &Arc<Woken>) {
        answers.kept().wakers.push(Waker::from(Arc::clone(woken)));
        answers.any.store(true, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn answers_that_are_kept_back_are_given_together() {
        let (answers, woken) = (Arc::new(Answers::default()), Arc::new(Woken::default()));
        answers.runtime();
        tokio::task::yield_now().await;

        keep(&answers, &woken);
        keep(&answers, &woken);
        answers.give();
        let before = woken.0.load(Ordering::SeqCst);
        tokio::task::yield_now().await;

        assert_eq!((before, woken.0.load(Ordering::SeqCst)), (0, 2));
    }

    #[test]
    fn no_answer_is_lost_with_the_runtime_of_the_giver() {
        let (answers, woken) = (Arc::new(Answers::default()), Arc::new(Woken::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            answers.runtime();
            tokio::task::yield_now().await;
        });
        let there = answers.kept().giver;

        keep(&answers, &woken);
        drop(runtime);

        assert!(there.is_some() && answers.kept().giver.is_none());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    /// Panics when it is woken.
    struct Faulty;

    impl Wake for Faulty {
        fn wake(self: Arc<Self>) {
            panic!("a fault of the host");
        }
    }

    #[tokio::test]
    async fn a_giver_that_panics_is_noted_and_followed_by_another() {
        let (answers, woken) = (Arc::new(Answers::default()), Arc::new(Woken::default()));
        answers.runtime();
        tokio::task::yield_now().await;
        answers.kept().wakers.push(Waker::from(Arc::new(Faulty)));
        answers.any.store(true, Ordering::Relaxed);
        answers.give();
        tokio::task::yield_now().await;
        assert_eq!(answers.kept().giver, None, "answers are given directly meanwhile");

        answers.runtime();
        tokio::task::yield_now().await;
        keep(&answers, &woken);
        answers.give();
        tokio::task::yield_now().await;

        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        let faults = Supervisor::of_process().faults();
        assert!(
            faults.iter().any(|fault| fault.part == GIVER && fault.message.starts_with("a fault of the host")),
            "{faults:?}"
        );
    }
}

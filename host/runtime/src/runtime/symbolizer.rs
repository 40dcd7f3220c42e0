//! Puts the stacks of ended guests into words, apart from the threads that others wait for.
//!
//! The words come from debug information that guests bring along. A flood of traps, each with megabytes of it to read,
//! must not keep control-plane threads busy, so one thread of low priority reads it. The thread remembers its answers,
//! because a task that traps mostly traps again at the same place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::attempt::stack::Stack;
use sexton_system::supervisor::{AfterPanic, Supervisor};

use super::RuntimeError;
use super::debug_lines::{DebugLines, names};
use super::lanes::lower_priority;

/// The niceness of the thread, the same as that of threads on which guests spin.
const NICE: i32 = 10;

/// Stacks that wait for the thread. Further attempts wait for a place in the queue, which makes no difference to them.
const WAITING: usize = 64;

/// The limits after which an attempt's end stops waiting for its words, and names have to do.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Processor time spent on stacks, its own and others', while it waits.
    effort: Duration,
    /// Elapsed time: a machine that gives the thread no processor at all must not keep a run from ending.
    clock: Duration,
}

/// The time for which ends still wait for their words while the host stops. The outcome must be stored before the process
/// ends, whatever the machine is busy with; otherwise the run would be lost, and that would count against its task.
const LAST_MOMENT: Duration = Duration::from_secs(1);

const PATIENCE: Patience = Patience { effort: Duration::from_secs(5), clock: Duration::from_secs(50) };

/// Time between two checks of a waiting attempt whether its patience is over. An answer is noticed at once.
const LOOK: Duration = Duration::from_millis(500);

/// A stack that waits to be put into words.
#[derive(Debug)]
struct Queued {
    /// The digest of the stack's component.
    digest: String,
    stack: Stack,
    answer: oneshot::Sender<String>,
}

/// Puts stacks into words.
#[derive(Debug)]
pub(super) struct SymbolizerThread {
    lines: Arc<DebugLines>,
    queue: mpsc::Sender<Queued>,
    patience: Patience,
    /// Whether the host stops.
    stopping: watch::Sender<bool>,
}

impl SymbolizerThread {
    /// Starts the thread. After this is dropped, the thread finishes its queue and ends.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Thread`] if the system gives no more threads.
    pub(super) fn start(lines: Arc<DebugLines>) -> Result<Self, RuntimeError> {
        let (queue, mut asked) = mpsc::channel(WAITING);
        let found_by = Arc::clone(&lines);
        Supervisor::of_process()
            .thread("sexton-words", AfterPanic::Again, move || answer(&found_by, &mut asked))
            .map_err(RuntimeError::Thread)?;
        Ok(Self { lines, queue, patience: PATIENCE, stopping: watch::Sender::new(false) })
    }

    /// Has all ends wait for their words no longer than a moment from now on, because the host stops.
    pub(super) fn shorten_waits(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns whether [`SymbolizerThread::shorten_waits`] was called.
    pub(super) fn has_shortened_waits(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns `stack`, of the component with this digest, in words; only the names of its functions if the words are
    /// not found in time.
    pub(super) async fn words(&self, digest: &str, stack: Stack) -> String {
        if let Some(words) = self.lines.remembered(digest, &stack) {
            return words;
        }
        let found = async {
            let (answer, found) = oneshot::channel();
            let asked = Queued { digest: digest.to_owned(), stack: stack.clone(), answer };
            self.queue.send(asked).await.ok()?;
            found.await.ok()
        };
        self.within_patience(found).await.unwrap_or_else(|| names(&stack))
    }

    /// Returns the output of `found`, unless patience ends first.
    async fn within_patience(&self, found: impl Future<Output = Option<String>>) -> Option<String> {
        let Patience { effort, clock } = self.patience;
        let (begun, end) = (self.lines.effort.used(), Instant::now() + clock);
        let mut stopping = self.stopping.subscribe();
        let last_moment = async {
            // An error would mean that the sender is gone, but `self` has it.
            drop(stopping.wait_for(|stopping| *stopping).await);
            tokio::time::sleep(LAST_MOMENT).await;
        };
        let (mut found, mut last_moment) = (std::pin::pin!(found), std::pin::pin!(last_moment));
        loop {
            tokio::select! {
                found = &mut found => return found,
                () = &mut last_moment => return None,
                () = tokio::time::sleep(LOOK.min(effort)) => {}
            }
            let spent = self.lines.effort.used().saturating_sub(begun);
            if spent >= effort || Instant::now() >= end {
                return None;
            }
        }
    }
}

fn answer(lines: &DebugLines, asked: &mut mpsc::Receiver<Queued>) {
    lower_priority(NICE);
    lines.effort.of_this_thread();
    while let Some(Queued { digest, stack, answer }) = asked.blocking_recv() {
        if answer.is_closed() {
            continue; // the attempt has lost patience
        }
        // The debug information is the guest's own. A guest that makes its reader panic goes without words.
        let words = Supervisor::of_process().watched("stack to words", || lines.words(&digest, &stack));
        let words = words.unwrap_or_else(|| names(&stack));
        // Fails when the attempt waits no longer.
        let _ = answer.send(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_stacks_at_once_are_all_answered() {
        let directory = tempfile::tempdir().unwrap();
        let words =
            Arc::new(SymbolizerThread::start(Arc::new(DebugLines::new(directory.path().to_owned(), None))).unwrap());
        let stack = |n: usize| Stack::named(&[&format!("inner_{n}"), "_ZN5probe4spin17h0123456789abcdefE"]);

        let asked: Vec<_> = (0..10 * WAITING)
            .map(|n| {
                let words = Arc::clone(&words);
                tokio::spawn(async move { words.words("digest", stack(n)).await })
            })
            .collect();

        for (n, asked) in asked.into_iter().enumerate() {
            assert_eq!(asked.await.unwrap(), format!("inner_{n}\nprobe::spin"));
        }
        assert_eq!(words.lines.remembered("digest", &stack(7)).as_deref(), Some("inner_7\nprobe::spin"));
        assert_eq!(words.words("digest", stack(7)).await, "inner_7\nprobe::spin");
        assert_eq!(words.lines.remembered("another", &stack(7)), None);
    }

    #[tokio::test]
    async fn an_attempt_waits_for_its_words_by_processor_time_and_not_by_elapsed_time() {
        let directory = tempfile::tempdir().unwrap();
        let mut words = SymbolizerThread::start(Arc::new(DebugLines::new(directory.path().to_owned(), None))).unwrap();
        words.patience = Patience { effort: Duration::from_millis(20), clock: Duration::from_secs(3600) };
        let (answer, found) = oneshot::channel();
        let found = async { found.await.ok() };
        let mut waiting = std::pin::pin!(words.within_patience(found));

        // Waits ten times as long as the allowed processor time, of which the thread gets none. A slow machine makes
        // this longer.
        let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
        answer.send("words".to_owned()).unwrap();
        let in_time = waiting.await;
        let never = words.within_patience(std::future::pending());
        let spends = async {
            // Spends processor time until patience is over, however often it looks.
            loop {
                words.lines.effort.child_ended(Some(Duration::from_millis(20)));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let given_up = tokio::select! { given_up = never => given_up, () = spends => unreachable!("it never ends") };

        assert_eq!((early.is_err(), in_time.as_deref(), given_up), (true, Some("words"), None));
    }

    #[tokio::test]
    async fn an_attempt_ends_by_elapsed_time_when_its_words_get_no_processor_time() {
        let directory = tempfile::tempdir().unwrap();
        let mut words = SymbolizerThread::start(Arc::new(DebugLines::new(directory.path().to_owned(), None))).unwrap();
        words.patience = Patience { effort: Duration::from_secs(3600), clock: Duration::from_millis(1) };

        assert_eq!(words.within_patience(std::future::pending()).await, None);
    }

    #[tokio::test]
    async fn while_the_host_stops_an_end_waits_for_its_words_no_longer_than_a_moment() {
        let directory = tempfile::tempdir().unwrap();
        let words = SymbolizerThread::start(Arc::new(DebugLines::new(directory.path().to_owned(), None))).unwrap();
        let waiting = words.within_patience(std::future::pending());

        words.shorten_waits();

        // By its own patience it would wait for almost a minute.
        assert_eq!(tokio::time::timeout(PATIENCE.clock / 2, waiting).await, Ok(None));
    }
}

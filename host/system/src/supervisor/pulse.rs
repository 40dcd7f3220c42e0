//! Detects loops that hang: they neither end nor panic, and do not come round.
//!
//! A loop reports when it starts to work, and when it rests and for how long at most. A loop that waits for an event is
//! not late, however long that takes. Work and rest are measured in time that this process had: in a process that was
//! stopped, or on a machine that slept, no loop is late. So a thread counts that time in short steps, and a step that
//! took long counts as two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use sexton_domain::lengths;
use sexton_domain::lengths::millis;

/// The longest time of a round, and the longest delay after a rest. The longest wait for the database is two minutes,
/// and an overloaded machine delays loops by seconds.
const LATE: Duration = Duration::from_secs(300);

/// The interval at which time is counted.
const STEP: Duration = Duration::from_secs(2);

/// The due time while a loop waits for an event.
const NEVER: u64 = u64::MAX;

tokio::task_local! {
    /// The pulse of the loop that the task runs.
    static PULSE: Arc<Pulse>;
}

/// Reports that the calling loop starts to work. Within a long round it reports that again with each piece.
pub fn works() {
    // Code outside a host's parts, such as a test, is not watched.
    let _ = PULSE.try_with(|pulse| pulse.expects(Some(Duration::ZERO)));
}

/// Reports that the calling loop rests: until an event, and for `at_most` if it comes round without one.
pub fn rests(at_most: Option<Duration>) {
    let _ = PULSE.try_with(|pulse| pulse.expects(at_most));
}

/// A loop that hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hung {
    /// The name of the part.
    pub part: String,
    /// The time since its last report, in milliseconds.
    pub silent_ms: u64,
}

/// The time that this process had, in milliseconds.
#[derive(Debug, Default)]
struct Awake(AtomicU64);

impl Awake {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The last report of a loop.
#[derive(Debug)]
pub(super) struct Pulse {
    awake: Arc<Awake>,
    heard: AtomicU64,
    /// The time at which the next report is due.
    due: AtomicU64,
    told: AtomicBool,
}

impl Pulse {
    /// Runs `part`, which may report with [`works`] and [`rests`].
    pub(super) async fn of<T>(self: Arc<Self>, part: impl Future<Output = T>) -> T {
        PULSE.scope(self, part).await
    }

    /// Records that the loop has ended or is down, which is reported elsewhere.
    pub(super) fn stops(&self) {
        self.expects(None);
    }

    fn expects(&self, at_most: Option<Duration>) {
        let now = self.awake.now();
        let due = at_most.map_or(NEVER, |at_most| now.saturating_add(millis(at_most.saturating_add(LATE))));
        self.heard.store(now, Ordering::Relaxed);
        self.due.store(due, Ordering::Relaxed);
    }

    fn silence(&self) -> Option<Duration> {
        let now = self.awake.now();
        let late = now > self.due.load(Ordering::Relaxed);
        late.then(|| Duration::from_millis(now.saturating_sub(self.heard.load(Ordering::Relaxed))))
    }
}

/// The reports of all loops.
#[derive(Debug, Default)]
pub(super) struct Pulses {
    awake: Arc<Awake>,
    loops: Mutex<BTreeMap<String, Arc<Pulse>>>,
}

impl Pulses {
    /// Begins a loop. No report is due until its first one.
    pub(super) fn begin(&self, part: &str) -> Arc<Pulse> {
        let (awake, told) = (Arc::clone(&self.awake), AtomicBool::new(false));
        let pulse =
            Arc::new(Pulse { awake, heard: AtomicU64::new(self.awake.now()), due: AtomicU64::new(NEVER), told });
        self.loops().insert(part.to_owned(), Arc::clone(&pulse));
        pulse
    }

    /// Counts time, for ever.
    pub(super) fn watch(&self) {
        let mut last = Instant::now();
        loop {
            std::thread::sleep(STEP);
            self.passes(last.elapsed());
            last = Instant::now();
        }
    }

    /// Records that `time` has passed, of which this process may have had little.
    pub(super) fn passes(&self, time: Duration) {
        self.awake.0.fetch_add(millis(time.min(2 * STEP)), Ordering::Relaxed);
        for (part, pulse) in &*self.loops() {
            let silent = pulse.silence();
            match (silent, pulse.told.swap(silent.is_some(), Ordering::Relaxed)) {
                (Some(silent), false) => {
                    let silent = lengths::about(silent);
                    error!(
                        alert = "part-hung",
                        part, "The host's part `{part}` hangs: it has not finished a round for {silent}"
                    );
                }
                (None, true) => info!(part, "The host's part `{part}` continues"),
                _ => {}
            }
        }
    }

    /// Records that `time` has passed in which the process was not stopped.
    pub(super) fn is_awake_for(&self, time: Duration) {
        for _ in 0..time.as_millis() / STEP.as_millis() {
            self.passes(STEP);
        }
    }

    /// Returns the loops that hang.
    pub(super) fn hung(&self) -> Vec<Hung> {
        let loops = self.loops();
        let silent = loops.iter().filter_map(|(part, pulse)| Some((part, pulse.silence()?)));
        silent.map(|(part, silent)| Hung { part: part.clone(), silent_ms: millis(silent) }).collect()
    }

    fn loops(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Pulse>>> {
        // No operation under the lock leaves it half changed.
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::supervisor::Supervisor;

    fn hung(supervisor: &Supervisor) -> Vec<String> {
        supervisor.hung().into_iter().map(|hung| hung.part).collect()
    }

    /// A loop that works on request, and rests for up to ten minutes in between. It reports how many rounds it has
    /// begun.
    struct Loop {
        go_on: Arc<tokio::sync::Notify>,
        rounds: watch::Receiver<usize>,
        over: watch::Sender<bool>,
    }

    impl Loop {
        const REST: Duration = Duration::from_secs(600);

        fn begin<W: Future<Output = ()> + Send>(
            supervisor: &Arc<Supervisor>,
            name: &str,
            work: impl Fn() -> W + Clone + Send + Sync + 'static,
        ) -> Self {
            let (go_on, rounds, over) =
                (Arc::new(tokio::sync::Notify::new()), watch::Sender::new(0), watch::Sender::new(false));
            let (told, begun) = (Arc::clone(&go_on), rounds.subscribe());
            supervisor.part(name, over.subscribe(), move || {
                let (told, rounds, work) = (Arc::clone(&told), rounds.clone(), work.clone());
                async move {
                    loop {
                        works();
                        work().await;
                        rests(Some(Self::REST));
                        rounds.send_modify(|rounds| *rounds += 1);
                        told.notified().await;
                        works();
                        rounds.send_modify(|rounds| *rounds += 1);
                    }
                }
            });
            Self { go_on, rounds: begun, over }
        }

        async fn reaches(&mut self, round: usize) {
            self.rounds.wait_for(|rounds| *rounds >= round).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_loop_that_blocks_its_thread_or_waits_for_ever_hangs_and_others_do_not() {
        let supervisor = Arc::new(Supervisor::default());
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let first = Arc::new(AtomicBool::new(true));
        let mut blocks = Loop::begin(&supervisor, "blocks", move || {
            let (blocked, first) = (Arc::clone(&blocked), first.swap(false, Ordering::Relaxed));
            async move {
                if !first {
                    let _ = blocked.lock().unwrap().recv();
                }
            }
        });
        let mut well = Loop::begin(&supervisor, "well", || async {});
        let (mut for_ever, mut fine) = (false, Vec::new());
        let _waiting = supervisor.part("waits", well.over.subscribe(), || async {
            rests(None);
            std::future::pending().await
        });
        blocks.reaches(1).await;
        well.reaches(1).await;
        blocks.go_on.notify_one();
        blocks.reaches(2).await;

        supervisor.passes(LATE - STEP);
        fine.extend(hung(&supervisor));
        supervisor.passes(2 * STEP);
        for_ever |= hung(&supervisor) == ["blocks"];

        assert!(fine.is_empty() && for_ever, "{fine:?}, then {:?}", supervisor.hung());
        release.send(()).unwrap();
        blocks.reaches(3).await;
        assert_eq!(hung(&supervisor), [""; 0], "it goes on");
        well.over.send_replace(true);
        blocks.over.send_replace(true);
    }

    #[tokio::test]
    async fn a_loop_that_does_not_come_back_from_its_rest_hangs_once_the_rest_is_long_over() {
        let supervisor = Arc::new(Supervisor::default());
        let mut rests = Loop::begin(&supervisor, "rests", || async {});
        rests.reaches(1).await;

        supervisor.passes(Loop::REST + LATE - STEP);
        assert_eq!(hung(&supervisor), [""; 0]);
        supervisor.passes(2 * STEP);

        let hung = supervisor.hung();
        assert_eq!(hung.len(), 1, "{hung:?}");
        assert!(hung[0].silent_ms >= millis(Loop::REST + LATE), "{hung:?}");
    }

    #[tokio::test]
    async fn a_process_that_was_stopped_for_an_hour_has_no_loops_that_hang() {
        let supervisor = Arc::new(Supervisor::default());
        let mut well = Loop::begin(&supervisor, "well", || async {});
        well.reaches(1).await;
        well.go_on.notify_one();
        well.reaches(2).await;

        supervisor.pulses.passes(Duration::from_secs(3600));

        assert_eq!(hung(&supervisor), [""; 0]);
    }

    #[tokio::test]
    async fn a_loop_that_panicked_is_down_and_does_not_hang() {
        let supervisor = Arc::new(Supervisor::default());
        let over = watch::Sender::new(false);
        let _part = supervisor.part("fails", over.subscribe(), || async {
            works();
            panic!("no good")
        });
        while supervisor.faults().is_empty() {
            tokio::task::yield_now().await;
        }

        supervisor.passes(2 * LATE);

        assert_eq!(hung(&supervisor), [""; 0]);
    }
}

//! What others hold of an attempt that is under way: they can end it, look at it, and read its log as it grows.
//!
//! An attempt is ended in two steps, of which a guest that cannot hear of its end (`sexton:task/cancellation`) takes only the
//! second: it is told ([`RunHandle::ask_to_end`]), and after its grace it is interrupted ([`RunHandle::stop`]).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::run::{ClaimKey, Kept, RunId};
use crate::task::TaskKey;
use crate::time::Timestamp;

use super::refused::Refused;
use super::sampler::Sampler;
use super::stack::Symbolizer;
use super::usage::Usage;
use super::virtual_time::{Sleeper, VirtualTime};

/// Why an attempt is ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it; with their words.
    Killed(String),
    /// The host is being shut down and does not wait longer.
    Shutdown,
    /// The claim is another host's now.
    ClaimLost,
}

/// What a guest that is to end is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// Its host is being shut down.
    Shutdown,
    /// Another run takes its place.
    Replaced,
    /// Somebody asked for its end.
    Killed,
}

/// That an attempt is to end.
#[derive(Clone, Debug)]
struct Asked {
    wish: Wish,
    /// What becomes of the attempt.
    why: Stop,
    /// Whether its guest is told of the wish: one that is interrupted at once is not.
    told: bool,
}

/// A line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: Timestamp,
    /// `debug`, `info`, `warn` or `error`; `stdout` and `stderr` for what a guest printed.
    pub level: String,
    /// What.
    pub message: String,
}

/// An attempt under way.
#[derive(Debug)]
pub struct RunHandle {
    /// Run, attempt and fence.
    pub key: ClaimKey,
    /// Of which task.
    pub task: TaskKey,
    /// Since when.
    pub started: Instant,
    /// What it has used, and what it is doing.
    pub usage: Usage,
    /// What the host refused its guest.
    pub refused: Refused,
    /// Where its guest is.
    pub(crate) sampler: Sampler,
    /// What its accounts are compared with: what its guest took at least, and at most.
    #[cfg(test)]
    pub(crate) stopwatches: [crate::cpu_time::Stopwatch; 2],
    /// How long a guest has that is told; unset before it begins, zero if it cannot hear of it.
    grace: OnceLock<Duration>,
    /// In virtual time, once it has begun there.
    sleeper: OnceLock<Arc<Sleeper>>,
    asked: Mutex<Option<Asked>>,
    /// Why it is interrupted, once it is.
    stop: OnceLock<Stop>,
    /// Told when the guest is told something, and when it is interrupted.
    ends: Notify,
    /// Whether it will be interrupted at the end of its grace.
    armed: AtomicBool,
    log: Mutex<Log>,
    /// Told how long the log is, once somebody wants to know.
    grown: OnceLock<watch::Sender<usize>>,
}

#[derive(Debug)]
struct Log {
    lines: Vec<LogLine>,
    bytes: u64,
    limit: u64,
    cut: bool,
}

impl RunHandle {
    /// A handle for an attempt that starts now and keeps up to `log_limit` bytes of log.
    pub fn new(key: ClaimKey, task: TaskKey, log_limit: u64) -> Self {
        Self {
            key,
            task,
            started: Instant::now(),
            usage: Usage::default(),
            refused: Refused::default(),
            sampler: Sampler::default(),
            #[cfg(test)]
            stopwatches: Default::default(),
            grace: OnceLock::new(),
            sleeper: OnceLock::new(),
            asked: Mutex::default(),
            stop: OnceLock::new(),
            ends: Notify::new(),
            armed: AtomicBool::new(false),
            log: Mutex::new(Log { lines: Vec::new(), bytes: 0, limit: log_limit, cut: false }),
            grown: OnceLock::new(),
        }
    }

    /// Its guest begins, which has `grace` to end by itself once it is told. `symbolizer` explains its component, which has this digest.
    pub(crate) fn begins(&self, symbolizer: &Arc<dyn Symbolizer>, digest: &Arc<str>, grace: Duration) {
        // It begins once.
        let _ = self.grace.set(grace);
        self.sampler.begins(symbolizer, digest);
    }

    /// It begins in virtual `time`, and may take so long.
    pub(crate) fn lives_in(&self, time: &Arc<VirtualTime>, limit: Duration) {
        // It begins once.
        let _ = self.sleeper.set(Sleeper::new(time, self.key, limit));
    }

    /// The attempt in virtual time, if it lives there.
    pub fn sleeper(&self) -> Option<&Arc<Sleeper>> {
        self.sleeper.get()
    }

    /// Whether its virtual time is used up, if its guest has used so much processor time.
    pub(crate) fn is_over(&self, used: Duration) -> bool {
        self.sleeper.get().is_some_and(|sleeper| sleeper.is_over(used))
    }

    /// How long its guest has from being told to being interrupted; zero if it is interrupted at once.
    fn grace(&self) -> Duration {
        // A guest that has not begun yet has nothing to put in order.
        self.grace.get().copied().unwrap_or_default()
    }

    /// Tell the guest that it is to end because of `why`, if it can hear of it, and end the attempt after its grace; at once
    /// if it cannot, or if there is nothing left to be put in order since the claim is lost. How long it has.
    ///
    /// To be called where tokio is: its timer is not a guest thread's.
    pub fn ask_to_end(self: &Arc<Self>, why: Stop) -> Duration {
        let wish = match &why {
            Stop::Killed(_) => Wish::Killed,
            Stop::Shutdown => Wish::Shutdown,
            Stop::ClaimLost => {
                self.stop(why);
                return Duration::ZERO;
            }
        };
        self.ask(wish, why)
    }

    /// As [`RunHandle::ask_to_end`], because the run `by` takes its place: it is cancelled.
    pub fn replace(self: &Arc<Self>, by: RunId) -> Duration {
        self.ask(Wish::Replaced, Stop::Killed(format!("replaced by run {by}")))
    }

    /// Tell the guest that its host is being shut down, if it can hear of it. Whoever tells it ends it later, too.
    pub fn announce_shutdown(&self) {
        if !self.grace().is_zero() {
            self.note(Asked { wish: Wish::Shutdown, why: Stop::Shutdown, told: true });
        }
    }

    fn ask(self: &Arc<Self>, wish: Wish, why: Stop) -> Duration {
        let (grace, tokio) = (self.grace(), tokio::runtime::Handle::try_current());
        let Some(tokio) = tokio.ok().filter(|_| !grace.is_zero()) else {
            self.note(Asked { wish, why: why.clone(), told: false });
            self.interrupt(why);
            return Duration::ZERO;
        };
        self.note(Asked { wish, why: why.clone(), told: true });
        if !self.armed.swap(true, Ordering::SeqCst) {
            let handle = Arc::downgrade(self);
            let end = move || {
                // An attempt that is over is gone, or takes no notice.
                if let Some(handle) = handle.upgrade() {
                    handle.interrupt(why);
                }
            };
            match self.sleeper() {
                Some(sleeper) => sleeper.after(grace, end),
                None => drop(tokio.spawn(async move {
                    tokio::time::sleep(grace).await;
                    end();
                })),
            }
        }
        grace
    }

    /// The first reason stays, unless a more pressing one comes: somebody who ends a run means it, whatever the host does.
    fn note(&self, new: Asked) {
        let tell = new.told;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *asked {
            Some(before) if before.wish >= new.wish => before.told |= tell,
            _ => *asked = Some(new),
        }
        drop(asked);
        if tell {
            self.ends.notify_waiters();
        }
    }

    fn noted(&self) -> Option<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the attempt is to end, whether it was told so or is interrupted: what it comes to is to be read in that light.
    pub fn asked(&self) -> Option<Stop> {
        self.noted().map(|asked| asked.why)
    }

    /// What the guest is told, if it is to end.
    pub fn wish(&self) -> Option<Wish> {
        self.noted().filter(|asked| asked.told).map(|asked| asked.wish)
    }

    /// Completes when the guest is told something.
    pub async fn wished(&self) -> Wish {
        self.once(Self::wish).await
    }

    /// End the attempt at once. The first reason given stays.
    pub fn stop(&self, why: Stop) {
        match &why {
            Stop::Killed(_) => self.note(Asked { wish: Wish::Killed, why: why.clone(), told: false }),
            Stop::Shutdown => self.note(Asked { wish: Wish::Shutdown, why: why.clone(), told: false }),
            // Nobody's wish, and nothing that the attempt comes to is written down.
            Stop::ClaimLost => {}
        }
        self.interrupt(why);
    }

    fn interrupt(&self, why: Stop) {
        if self.stop.set(why).is_ok() {
            if let Some(sleeper) = self.sleeper() {
                sleeper.ends();
            }
            self.ends.notify_waiters();
        }
    }

    /// What `look` finds, once it finds something.
    async fn once<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            // Registered before the look, so that what comes in between is not missed.
            let mut ends = pin!(self.ends.notified());
            ends.as_mut().enable();
            if let Some(found) = look(self) {
                return found;
            }
            ends.await;
        }
    }

    /// How many look at where its guest is.
    pub fn lookers(&self) -> usize {
        self.sampler.looking()
    }

    /// Why the attempt is to end, if it is.
    pub fn stopped(&self) -> Option<Stop> {
        self.stop.get().cloned()
    }

    /// Completes when the attempt is to end.
    pub async fn stops(&self) -> Stop {
        self.once(Self::stopped).await
    }

    /// Add a line to the log, if there is room.
    pub fn log(&self, line: LogLine) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let size = line.message.len() as u64 + 48; // what the line's time and level take when it is stored
        if log.cut || log.bytes + size > log.limit {
            log.cut = true;
            return;
        }
        log.bytes += size;
        log.lines.push(line);
        if let Some(grown) = self.grown.get() {
            grown.send_replace(log.lines.len());
        }
    }

    /// The lines from the `from`th on (from 0), and whether more were cut.
    pub fn lines(&self, from: usize) -> (Vec<LogLine>, bool) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        (log.lines.get(from..).unwrap_or_default().to_vec(), log.cut)
    }

    /// Told how many lines there are, whenever there are more. Closed when the attempt is over and its handle gone.
    pub fn growth(&self) -> watch::Receiver<usize> {
        // Under the lock, so that no line comes in between.
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        self.grown.get_or_init(|| watch::Sender::new(log.lines.len())).subscribe()
    }

    /// The log as it is kept with the attempt: a JSON object a line.
    pub fn kept_log(&self) -> Kept {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for line in &log.lines {
            text.push_str(&serde_json::to_string(line).expect("a log line has no keys that JSON cannot have"));
            text.push('\n');
        }
        Kept { text, cut: log.cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{first_claim, task_key};

    /// A handle of a guest that has `grace`.
    fn handle(grace: Duration) -> Arc<RunHandle> {
        let handle = RunHandle::new(first_claim(1), task_key("probe"), 0);
        handle.grace.set(grace).unwrap();
        Arc::new(handle)
    }

    const GRACE: Duration = Duration::from_millis(50);

    fn killed(why: &str) -> Stop {
        Stop::Killed(why.to_owned())
    }

    #[tokio::test]
    async fn a_guest_is_told_first_and_interrupted_after_its_grace() {
        let handle = handle(GRACE);
        let start = Instant::now();

        assert_eq!(handle.ask_to_end(killed("enough")), GRACE);

        assert_eq!((handle.wished().await, handle.stopped()), (Wish::Killed, None));
        handle.stops().await;
        assert_eq!(handle.stopped(), Some(killed("enough")));
        assert!(start.elapsed() >= GRACE);
    }

    #[tokio::test]
    async fn a_guest_that_cannot_hear_of_its_end_or_has_lost_its_claim_is_interrupted_at_once() {
        let deaf = handle(Duration::ZERO);
        assert_eq!(deaf.ask_to_end(killed("enough")), Duration::ZERO);
        assert_eq!((deaf.stopped(), deaf.wish()), (Some(killed("enough")), None));

        let lost = handle(GRACE);
        assert_eq!(lost.ask_to_end(Stop::ClaimLost), Duration::ZERO);
        assert_eq!((lost.stopped(), lost.wish(), lost.asked()), (Some(Stop::ClaimLost), None, None));
    }

    #[tokio::test]
    async fn a_kill_goes_before_a_shutdown_whichever_came_first() {
        for first in [true, false] {
            let handle = handle(GRACE);
            if first {
                handle.ask_to_end(killed("enough"));
            }
            handle.announce_shutdown();
            if !first {
                assert_eq!(handle.wish(), Some(Wish::Shutdown));
                handle.ask_to_end(killed("enough"));
            }
            assert_eq!((handle.wish(), handle.asked()), (Some(Wish::Killed), Some(killed("enough"))));
            handle.stops().await;
        }
    }

    #[tokio::test]
    async fn an_announced_shutdown_interrupts_nobody_by_itself_and_a_kill_without_grace_does() {
        let handle = handle(GRACE);

        handle.announce_shutdown();
        assert_eq!((handle.stopped(), handle.asked()), (None, Some(Stop::Shutdown)));
        handle.stop(killed("now"));

        assert_eq!((handle.stopped(), handle.asked()), (Some(killed("now")), Some(killed("now"))));
    }

    #[tokio::test]
    async fn a_run_that_is_replaced_hears_so_and_is_killed() {
        let handle = handle(GRACE);

        handle.replace(RunId(9));

        assert_eq!((handle.wish(), handle.asked()), (Some(Wish::Replaced), Some(killed("replaced by run 9"))));
    }

    #[test]
    fn without_a_clock_to_wait_by_a_guest_is_interrupted_at_once() {
        let handle = handle(GRACE);
        assert_eq!(handle.ask_to_end(killed("enough")), Duration::ZERO);
        assert_eq!(handle.stopped(), Some(killed("enough")));
    }
}

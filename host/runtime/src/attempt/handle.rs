//! A handle on an attempt in progress: others end the attempt, watch it, and read its log while it grows.
//!
//! An attempt is ended in two steps: its guest is notified ([`RunHandle::ask_to_end`]), and after its grace it is
//! interrupted ([`RunHandle::stop`]). A guest that does not import `sexton:task/cancellation` is only interrupted.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use sexton_domain::run::{CappedText, ClaimKey, RunId, replaced_by};
use sexton_domain::task::{Ladder, TaskKey};
use sexton_domain::time::Timestamp;

use super::refusal_log::RefusalLog;
use super::sampler::Sampler;
use super::stack::Symbolizer;
use super::usage::Usage;
use super::virtual_time::{Sleeper, VirtualTime};

/// The reason why an attempt is ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A kill by a user, or a replacement by another run, with its reason.
    Killed(String),
    /// The host shuts down and does not wait longer.
    Shutdown,
    /// The host takes no more runs, and the guest had not begun.
    Returned,
    /// Another host has the claim now.
    ClaimLost,
    /// The guest was idle for as long as it may be.
    Idle,
}

/// The reason to end that a guest is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CancelReason {
    /// The guest is idle.
    Idle,
    /// The guest's host shuts down.
    Shutdown,
    /// Another run takes its place.
    Replaced,
    /// A user asked for the guest's end.
    Killed,
}

/// A request to end an attempt.
#[derive(Clone, Debug)]
struct EndRequest {
    wish: CancelReason,
    /// The reason that decides the attempt's outcome.
    why: Stop,
    /// Whether the guest is notified. A guest that is interrupted at once is not.
    told: bool,
}

/// A step by which an attempt is ended.
#[derive(Clone, Debug)]
enum Step {
    /// Notify the guest.
    Ask(EndRequest),
    /// Notify the guest once more.
    Insist,
    /// Interrupt the guest for this reason.
    End(Stop),
}

/// Takes a step with the attempt, unless it is over: then its handle is gone, or ignores the step.
fn takes(handle: &Weak<RunHandle>, step: Step) {
    let Some(handle) = handle.upgrade() else { return };
    match step {
        Step::Ask(asked) => handle.note(asked),
        Step::Insist => {
            handle.insisted.store(true, Ordering::SeqCst);
            handle.ends.notify_waiters();
        }
        Step::End(why) => handle.interrupt(why),
    }
}

/// Looks at the attempt whenever its guest may have been idle for long enough by virtual time, and ends it then.
fn idle_in_virtual_time(handle: &Arc<RunHandle>, sleeper: &Arc<Sleeper>, limit: Duration) {
    let left = handle.usage.pulse.left(limit);
    if left.is_zero() {
        handle.ask_to_end(Stop::Idle);
        return;
    }
    let handle = Arc::downgrade(handle);
    let again = Arc::clone(sleeper);
    sleeper.after(left, move || {
        if let Some(handle) = handle.upgrade().filter(|handle| handle.stopped().is_none()) {
            idle_in_virtual_time(&handle, &again, limit);
        }
    });
}

/// The reasons for which a guest is ended, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HowItEnds {
    /// The steps by which it is ended; all zero if it cannot be notified.
    pub(crate) ladder: Ladder,
    /// The time for which it may be idle.
    pub(crate) idle: Option<Duration>,
}

/// A line of a run's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the line was written.
    pub at: Timestamp,
    /// `debug`, `info`, `warn` or `error`; `stdout` and `stderr` for lines that the guest printed.
    pub level: String,
    /// The line's text.
    pub message: String,
}

/// An attempt in progress.
#[derive(Debug)]
pub struct RunHandle {
    /// Run, attempt and fence.
    pub key: ClaimKey,
    /// The task of the run.
    pub task: TaskKey,
    /// When the attempt began.
    pub started: Instant,
    /// The resources that the attempt has used, and its present activity.
    pub usage: Usage,
    /// The refusals of the host to the guest.
    pub refused: RefusalLog,
    /// Shows the place in its code that the guest is at.
    pub(crate) sampler: Sampler,
    /// The bounds that a test compares the attempt's processor time with: the least and the most that its guest took.
    #[cfg(test)]
    pub(crate) stopwatches: [crate::cpu_time::Stopwatch; 2],
    /// The steps by which the guest is ended. Unset before the guest begins, and zero if the guest cannot be notified.
    ladder: OnceLock<Ladder>,
    /// The instant at which the guest is interrupted, once it is known.
    ends_at: OnceLock<Instant>,
    /// Whether the guest was asked once more.
    insisted: AtomicBool,
    /// The attempt in virtual time, once it has begun there.
    sleeper: OnceLock<Arc<Sleeper>>,
    asked: Mutex<Option<EndRequest>>,
    /// The reason why the attempt is interrupted, once it is.
    stop: OnceLock<Stop>,
    /// Notified when there is a wish for the guest, and when the attempt is interrupted.
    ends: Notify,
    /// Whether the attempt will be interrupted at the end of the grace.
    armed: AtomicBool,
    log: Mutex<Log>,
    /// Sends the length of the log, once there is a subscriber.
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
    /// Creates a handle for an attempt that starts now and keeps up to `log_limit` bytes of log.
    pub fn new(key: ClaimKey, task: TaskKey, log_limit: u64) -> Self {
        Self {
            key,
            task,
            started: Instant::now(),
            usage: Usage::default(),
            refused: RefusalLog::default(),
            sampler: Sampler::default(),
            #[cfg(test)]
            stopwatches: Default::default(),
            ladder: OnceLock::new(),
            ends_at: OnceLock::new(),
            insisted: AtomicBool::new(false),
            sleeper: OnceLock::new(),
            asked: Mutex::default(),
            stop: OnceLock::new(),
            ends: Notify::new(),
            armed: AtomicBool::new(false),
            log: Mutex::new(Log { lines: Vec::new(), bytes: 0, limit: log_limit, cut: false }),
            grown: OnceLock::new(),
        }
    }

    /// Notes that the guest begins. `symbolizer` explains its component, which has this digest.
    pub(crate) fn guest_started(
        self: &Arc<Self>,
        symbolizer: &Arc<dyn Symbolizer>,
        digest: &Arc<str>,
        ends: HowItEnds,
    ) {
        self.sampler.guest_started(symbolizer, digest);
        self.begin(ends);
    }

    /// Begins to count the time for which the guest may be idle, and notes that it has begun.
    pub(crate) fn begin(self: &Arc<Self>, ends: HowItEnds) {
        if let Some(limit) = ends.idle {
            self.usage.pulse.begin(self.sleeper().cloned());
            if let Some(sleeper) = self.sleeper() {
                // On this thread, because in virtual time nothing may come between the guest's start and its watch.
                idle_in_virtual_time(self, sleeper, limit);
            }
        }
        // A guest begins only once.
        let _ = self.ladder.set(ends.ladder);
        if ends.idle.is_some() {
            self.ends.notify_waiters();
        }
    }

    /// Puts the attempt into virtual `time`, of which it may take `limit`.
    pub(crate) fn use_virtual_time(&self, time: &Arc<VirtualTime>, limit: Duration) {
        // An attempt begins only once.
        let _ = self.sleeper.set(Sleeper::new(time, self.key, limit));
    }

    /// Returns the attempt in virtual time, if it lives there.
    pub fn sleeper(&self) -> Option<&Arc<Sleeper>> {
        self.sleeper.get()
    }

    /// Returns whether the attempt's virtual time is used up, given its guest's processor time.
    pub(crate) fn is_over(&self, used: Duration) -> bool {
        self.sleeper.get().is_some_and(|sleeper| sleeper.is_over(used))
    }

    /// Returns the steps by which the guest is ended; all zero if it is interrupted at once.
    fn ladder(&self) -> Ladder {
        // A guest that has not begun yet has nothing to put in order.
        self.ladder.get().copied().unwrap_or_default()
    }

    /// Returns the time by the clock of the attempt.
    fn now(&self) -> Instant {
        self.sleeper().map_or_else(Instant::now, |sleeper| sleeper.now())
    }

    /// Ends the attempt once its guest has begun and then been idle for `limit`. Completes never; dropping it ends the
    /// watch.
    pub(crate) async fn watch_idle(self: &Arc<Self>, limit: Duration) -> Infallible {
        self.once(|handle| handle.ladder.get().map(drop)).await;
        // In virtual time the clock calls.
        if self.sleeper().is_none() {
            loop {
                match self.usage.pulse.left(limit) {
                    Duration::ZERO => break,
                    left => tokio::time::sleep(left).await,
                }
            }
            self.ask_to_end(Stop::Idle);
        }
        std::future::pending().await
    }

    /// Notifies the guest that it must end because of `why`, and ends the attempt after its grace, which is returned.
    /// Ends the attempt at once if the guest cannot be notified, or if the claim is lost, because then nothing is left
    /// to put in order.
    ///
    /// Needs a tokio context, whose timer does not depend on guest threads. Without one the attempt ends at once.
    pub fn ask_to_end(self: &Arc<Self>, why: Stop) -> Duration {
        let wish = match &why {
            Stop::Killed(_) => CancelReason::Killed,
            Stop::Shutdown => CancelReason::Shutdown,
            Stop::Idle => CancelReason::Idle,
            Stop::Returned | Stop::ClaimLost => {
                self.stop(why);
                return Duration::ZERO;
            }
        };
        self.ask(wish, why)
    }

    /// Cancels this run as [`RunHandle::ask_to_end`] does, because the run `by` takes its place.
    pub fn replace(self: &Arc<Self>, by: RunId) -> Duration {
        self.ask(CancelReason::Replaced, Stop::Killed(replaced_by(by)))
    }

    /// Notifies the guest, if possible, that its host shuts down. The caller must end the attempt later. An attempt whose
    /// guest has not begun ends at once, because a guest that begins in a shutdown would only be interrupted.
    pub fn announce_shutdown(&self) {
        self.return_unless_begun();
        if !self.ladder().end.is_zero() {
            self.note(EndRequest { wish: CancelReason::Shutdown, why: Stop::Shutdown, told: true });
        }
    }

    /// Ends the attempt if its guest has not begun, so that its run goes back to the store.
    ///
    /// A guest that begins at this moment is interrupted in its first milliseconds, and its run goes back as well.
    pub fn return_unless_begun(&self) {
        if self.ladder.get().is_none() {
            self.stop(Stop::Returned);
        }
    }

    fn ask(self: &Arc<Self>, wish: CancelReason, why: Stop) -> Duration {
        let (ladder, tokio) = (self.ladder(), tokio::runtime::Handle::try_current());
        let Some(tokio) = tokio.ok().filter(|_| !ladder.end.is_zero()) else {
            self.note(EndRequest { wish, why: why.clone(), told: false });
            self.interrupt(why);
            return Duration::ZERO;
        };
        let asked = EndRequest { wish, why, told: true };
        self.note(EndRequest { told: ladder.ask.is_zero(), ..asked.clone() });
        if !self.armed.swap(true, Ordering::SeqCst) {
            let _ = self.ends_at.set(self.now() + ladder.end);
            let later = (!ladder.ask.is_zero()).then(|| (ladder.ask, Step::Ask(asked.clone())));
            let insist = ladder.insist.map(|at| (at, Step::Insist));
            let steps = later.into_iter().chain(insist).chain([(ladder.end, Step::End(asked.why))]);
            match self.sleeper() {
                Some(sleeper) => {
                    for (at, step) in steps {
                        let handle = Arc::downgrade(self);
                        sleeper.after(at, move || takes(&handle, step));
                    }
                }
                None => {
                    let (handle, began) = (Arc::downgrade(self), tokio::time::Instant::now());
                    let steps: Vec<_> = steps.collect();
                    tokio.spawn(async move {
                        for (at, step) in steps {
                            tokio::time::sleep_until(began + at).await;
                            takes(&handle, step);
                        }
                    });
                }
            }
        }
        ladder.end
    }

    /// Returns the instant at which the guest is interrupted, if that is known already.
    pub fn ends_at(&self) -> Option<Instant> {
        self.ends_at.get().copied()
    }

    /// Completes when the guest is asked once more to end.
    pub async fn insisted(&self) {
        self.once(|handle| handle.insisted.load(Ordering::SeqCst).then_some(())).await;
    }

    /// Keeps the first reason unless a more pressing one follows: a user's kill goes before what the host does.
    fn note(&self, new: EndRequest) {
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

    fn noted(&self) -> Option<EndRequest> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the reason to end, whether the guest was notified or interrupted. The attempt's result is judged by it.
    pub fn stop_reason(&self) -> Option<Stop> {
        self.noted().map(|asked| asked.why)
    }

    /// Returns the reason that the guest is notified of, if it must end.
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.noted().filter(|asked| asked.told).map(|asked| asked.wish)
    }

    /// Completes when the guest is notified of a reason.
    pub async fn cancel_requested(&self) -> CancelReason {
        self.once(Self::cancel_reason).await
    }

    /// Ends the attempt at once. If it is called again, the first reason stays.
    pub fn stop(&self, why: Stop) {
        match &why {
            Stop::Killed(_) => self.note(EndRequest { wish: CancelReason::Killed, why: why.clone(), told: false }),
            Stop::Shutdown | Stop::Returned => {
                self.note(EndRequest { wish: CancelReason::Shutdown, why: why.clone(), told: false });
            }
            Stop::Idle => self.note(EndRequest { wish: CancelReason::Idle, why: why.clone(), told: false }),
            // A lost claim is not a request, and no outcome of the attempt is stored.
            Stop::ClaimLost => {}
        }
        self.interrupt(why);
    }

    fn interrupt(&self, why: Stop) {
        if self.stop.set(why).is_ok() {
            if let Some(sleeper) = self.sleeper() {
                sleeper.wake_for_end();
            }
            self.ends.notify_waiters();
        }
    }

    /// Returns the result of `look` once there is one.
    async fn once<T>(&self, look: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            // The notification is registered before the check, so that one in between is not missed.
            let mut ends = pin!(self.ends.notified());
            ends.as_mut().enable();
            if let Some(found) = look(self) {
                return found;
            }
            ends.await;
        }
    }

    /// Returns how many observers the guest has.
    pub fn observers(&self) -> usize {
        self.sampler.looking()
    }

    /// Returns why the attempt is interrupted, if it is.
    pub fn stopped(&self) -> Option<Stop> {
        self.stop.get().cloned()
    }

    /// Completes when the attempt is interrupted.
    pub async fn stops(&self) -> Stop {
        self.once(Self::stopped).await
    }

    /// Adds a line to the log if there is room.
    pub fn log(&self, line: LogLine) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let size = line.message.len() as u64 + 48; // the stored size of the line's time and level
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

    /// Returns the lines from index `from` on, and whether lines were cut.
    pub fn lines(&self, from: usize) -> (Vec<LogLine>, bool) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        (log.lines.get(from..).unwrap_or_default().to_vec(), log.cut)
    }

    /// Subscribes to the number of lines. The channel closes when the attempt is over and its handle dropped.
    pub fn growth(&self) -> watch::Receiver<usize> {
        // The lock keeps a line from being added between the length and the subscription.
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        self.grown.get_or_init(|| watch::Sender::new(log.lines.len())).subscribe()
    }

    /// Returns the log as the store keeps it: a JSON object a line.
    pub fn stored_log(&self) -> CappedText {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for line in &log.lines {
            text.push_str(&serde_json::to_string(line).expect("a log line has no keys that JSON cannot have"));
            text.push('\n');
        }
        CappedText { text, cut: log.cut }
    }
}

#[cfg(test)]
mod tests;

//! What others hold of an attempt that is under way: they can end it, look at it, and read its log as it grows.
//!
//! An attempt is ended in two steps, of which a guest that cannot hear of its end (`imports::cancellation`) takes only the
//! second: it is told ([`RunHandle::ask_to_end`]), and after its grace it is interrupted ([`RunHandle::stop`]).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::run::{ClaimKey, Kept, RunId};
use crate::task::TaskKey;
use crate::time::Timestamp;

use super::link::Prepared;
use super::sampler::Sampler;
use super::stack::Lines;
use super::vitals::Vitals;

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
    /// What its guest is told.
    wish: Wish,
    /// What becomes of the attempt.
    why: Stop,
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
    pub vitals: Vitals,
    /// Where its guest is.
    pub(super) sampler: Sampler,
    /// How long a guest has that is told; unset before it begins, zero if it cannot hear of it.
    grace: OnceLock<Duration>,
    asked: Mutex<Option<Asked>>,
    wishes: watch::Sender<Option<Wish>>,
    /// Whether it will be interrupted at the end of its grace.
    armed: AtomicBool,
    stop: watch::Sender<Option<Stop>>,
    log: Mutex<Log>,
    grown: watch::Sender<usize>,
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
            vitals: Vitals::default(),
            sampler: Sampler::default(),
            grace: OnceLock::new(),
            asked: Mutex::default(),
            wishes: watch::Sender::new(None),
            armed: AtomicBool::new(false),
            stop: watch::Sender::new(None),
            log: Mutex::new(Log { lines: Vec::new(), bytes: 0, limit: log_limit, cut: false }),
            grown: watch::Sender::new(0),
        }
    }

    /// Its guest begins: `prepared`, which has `grace` to end by itself once it is told, if it can hear of that.
    pub(super) fn begins(&self, lines: &Arc<Lines>, prepared: &Prepared, grace: Duration) {
        // It begins once.
        let _ = self.grace.set(if prepared.heeds() { grace } else { Duration::ZERO });
        self.sampler.begins(lines, prepared.digest());
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
        self.ask(Asked { wish, why })
    }

    /// As [`RunHandle::ask_to_end`], because the run `by` takes its place: it is cancelled.
    pub fn replace(self: &Arc<Self>, by: RunId) -> Duration {
        self.ask(Asked { wish: Wish::Replaced, why: Stop::Killed(format!("replaced by run {by}")) })
    }

    /// Tell the guest that its host is being shut down, if it can hear of it. Whoever tells it ends it later, too.
    pub fn announce_shutdown(&self) {
        if !self.grace().is_zero() {
            self.note(Asked { wish: Wish::Shutdown, why: Stop::Shutdown });
            self.tell();
        }
    }

    fn ask(self: &Arc<Self>, asked: Asked) -> Duration {
        let why = asked.why.clone();
        self.note(asked);
        let (grace, tokio) = (self.grace(), tokio::runtime::Handle::try_current());
        let Some(tokio) = tokio.ok().filter(|_| !grace.is_zero()) else {
            self.stop(why);
            return Duration::ZERO;
        };
        self.tell();
        if !self.armed.swap(true, Ordering::SeqCst) {
            let handle = Arc::downgrade(self);
            tokio.spawn(async move {
                tokio::time::sleep(grace).await;
                // An attempt that is over is gone, or takes no notice.
                if let Some(handle) = handle.upgrade() {
                    handle.stop(why);
                }
            });
        }
        grace
    }

    /// The first reason stays, unless a more pressing one comes: somebody who ends a run means it, whatever the host does.
    fn note(&self, new: Asked) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.as_ref().is_none_or(|before| before.wish < new.wish) {
            *asked = Some(new);
        }
    }

    fn tell(&self) {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.wishes.send_replace(asked.as_ref().map(|asked| asked.wish));
    }

    /// Why the attempt is to end, whether it was told so or is interrupted: what it comes to is to be read in that light.
    pub fn asked(&self) -> Option<Stop> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.as_ref().map(|asked| asked.why.clone())
    }

    /// What the guest is told, if it is to end.
    pub fn wish(&self) -> Option<Wish> {
        *self.wishes.borrow()
    }

    /// Told when there is a wish.
    pub fn wishes(&self) -> watch::Receiver<Option<Wish>> {
        self.wishes.subscribe()
    }

    /// End the attempt at once. The first reason given stays.
    pub fn stop(&self, why: Stop) {
        match &why {
            Stop::Killed(_) => self.note(Asked { wish: Wish::Killed, why: why.clone() }),
            Stop::Shutdown => self.note(Asked { wish: Wish::Shutdown, why: why.clone() }),
            // Nobody's wish, and nothing that the attempt comes to is written down.
            Stop::ClaimLost => {}
        }
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            if first {
                *stop = Some(why);
            }
            first
        });
    }

    /// Why the attempt is to end, if it is.
    pub fn stopped(&self) -> Option<Stop> {
        self.stop.borrow().clone()
    }

    /// Told when [`RunHandle::stop`] is called.
    pub fn stops(&self) -> watch::Receiver<Option<Stop>> {
        self.stop.subscribe()
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
        self.grown.send_replace(log.lines.len());
    }

    /// The lines from the `from`th on (from 0), and whether more were cut.
    pub fn lines(&self, from: usize) -> (Vec<LogLine>, bool) {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        (log.lines.get(from..).unwrap_or_default().to_vec(), log.cut)
    }

    /// Told how many lines there are, whenever there are more. Closed when the attempt is over and its handle gone.
    pub fn growth(&self) -> watch::Receiver<usize> {
        self.grown.subscribe()
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

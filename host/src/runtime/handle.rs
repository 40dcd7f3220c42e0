//! What others hold of an attempt that is under way: they can end it, and read its log as it grows.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::run::{ClaimKey, Kept};
use crate::task::TaskKey;
use crate::time::Timestamp;

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
    stop: watch::Sender<Option<Stop>>,
    log: Mutex<Lines>,
    grown: watch::Sender<usize>,
}

#[derive(Debug)]
struct Lines {
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
            stop: watch::Sender::new(None),
            log: Mutex::new(Lines { lines: Vec::new(), bytes: 0, limit: log_limit, cut: false }),
            grown: watch::Sender::new(0),
        }
    }

    /// End the attempt. The first reason given stays.
    pub fn stop(&self, why: Stop) {
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

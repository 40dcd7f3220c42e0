//! Measures the machine in the minute in which the others are measured, so that figures of two days can be compared.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::common::bare::BareCalls;
use crate::common::disk;

/// The bare calls of a measurement.
const CALLS: u64 = 20_000;

/// The speed of one core and of the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    bare_us: f64,
    fdatasync: [f64; 2],
}

impl Machine {
    pub(crate) fn measure(place: &Path, calls: &BareCalls) -> Self {
        let durable = disk::fdatasync(place);
        Self { bare_us: calls.micros_each(CALLS, 1), fdatasync: [durable.p50, durable.p99] }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99] = self.fdatasync;
        write!(f, "bare run {:.1} us, fdatasync {p50:.1} / {p99:.1} ms", self.bare_us)
    }
}

/// The processors' time since the machine was started: all of it, and that which the machine below took away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stolen {
    all: u64,
    stolen: u64,
    at: Instant,
}

impl Stolen {
    pub(crate) fn now() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let numbers = stat.lines().next().unwrap().split_whitespace().skip(1).map(|number| number.parse().unwrap());
        let numbers: Vec<u64> = numbers.collect();
        // user, nice, system, idle, iowait, irq, softirq, steal. The numbers after these are part of the first two.
        Self { all: numbers.iter().take(8).sum(), stolen: numbers.get(7).copied().unwrap_or(0), at: Instant::now() }
    }

    /// Returns the percentage of the processors' time that was stolen since `self`, and the seconds since then.
    pub(crate) fn since(self) -> (f64, f64) {
        let now = Self::now();
        let all = (now.all - self.all).max(1);
        ((now.stolen - self.stolen) as f64 * 100.0 / all as f64, self.at.elapsed().as_secs_f64())
    }
}

//! Reads how much of the machine a process takes, as the kernel reports it.

use std::fmt;
use std::fs;

use anyhow::{Context, Result};

/// Memory, threads and open files of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// The resident memory, in KiB.
    pub(crate) rss: u64,
    /// The most resident memory since [`forget_peak`], in KiB.
    pub(crate) peak: u64,
    pub(crate) threads: u64,
    pub(crate) files: u64,
}

impl Vitals {
    /// Reads the values of the process `pid`.
    ///
    /// # Errors
    ///
    /// The process is gone, or another user's.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the host is gone")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).with_context(|| format!("no {name}"))
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).context("cannot count the host's files")?.count() as u64;
        Ok(Self { rss: field("VmRSS")?, peak: field("VmHWM")?, threads: field("Threads")?, files })
    }
}

impl fmt::Display for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RSS {:>4} MiB, {:>2} threads, {:>3} files", self.rss >> 10, self.threads, self.files)
    }
}

/// Resets the peak of resident memory. Best effort: without it the peak is that of an earlier attack.
pub(crate) fn forget_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

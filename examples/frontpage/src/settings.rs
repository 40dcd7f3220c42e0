//! Reads the settings of the manifest.

use std::time::Duration;

use sexton_task::{Failure, settings};

/// The task's settings.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The address of the remotes: remote 3 is `REMOTES/3`. Must be set.
    pub(crate) remotes: String,
    /// The number of remotes; 10.
    pub(crate) count: usize,
    /// The age of a section from which a run renews it; 5 s. At the period or over, sections would skip runs.
    pub(crate) max_age: Duration,
    /// The time that every run waits for answers, from its start; 6 s. At the period or over, the page would fall
    /// behind.
    pub(crate) quick: Duration,
    /// The time that a patient run waits, from its start; 45 s. It must be less than the deadline, because the page
    /// comes after it.
    pub(crate) patient: Duration,
    /// The time that a run waits for its turn to make the page; 10 s. Making it takes milliseconds, and at most two other
    /// runs come before. It counts towards the deadline.
    pub(crate) turn: Duration,
    /// The age up to which the page calls a section current; 20 s, two periods: at least one run missed an older one.
    pub(crate) current: Duration,
}

impl Settings {
    pub(crate) fn read() -> Result<Self, Failure> {
        Ok(Self {
            remotes: settings::require("remotes")?.trim_end_matches('/').to_owned(),
            count: settings::parse("count")?.unwrap_or(10),
            max_age: milliseconds("max-age-ms", 5_000)?,
            quick: milliseconds("quick-ms", 6_000)?,
            patient: milliseconds("patient-ms", 45_000)?,
            turn: milliseconds("turn-ms", 10_000)?,
            current: milliseconds("current-ms", 20_000)?,
        })
    }
}

fn milliseconds(key: &str, default: u64) -> Result<Duration, Failure> {
    Ok(Duration::from_millis(settings::parse(key)?.unwrap_or(default)))
}

//! crontab(5).

use chrono_tz::Tz;

use crate::time::Timestamp;

/// A five-field crontab(5) expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Crontab;

/// Why a text is not a crontab expression.
#[derive(Debug, thiserror::Error)]
#[error("bad crontab")]
pub struct BadCrontab;

impl Crontab {
    /// The first instant after `after`.
    pub fn next_after(&self, _zone: Tz, _after: Timestamp) -> Option<Timestamp> {
        None
    }
}

impl std::fmt::Display for Crontab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("crontab")
    }
}

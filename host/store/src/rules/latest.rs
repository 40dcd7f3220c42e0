//! Decides which of a task's runs is the latest.

use std::time::Duration;

use sexton_domain::run::RunId;
use sexton_domain::time::Timestamp;

/// A run, and the instant by which it is the latest: when it ended, or when it began.
pub(crate) type RunAt = (RunId, Timestamp);

/// An instant that is further than this ahead of a later one was written before the clock was set back. An end may be
/// written this much later than another that came after it, because a host keeps ends while its store does not answer.
pub(crate) const SET_BACK: Duration = Duration::from_secs(60);

/// Returns the later of the run that is `known` and another one: by instant, not by number, because a run that was made
/// earlier may end later. Of two with one instant the later made counts.
///
/// PostgreSQL's sums follow this rule within a lane (`postgres/counter_changes.rs`). Of several lanes the later instant counts, so
/// that after a clock was set back by more than a moment an older run may count until the clock has caught up.
pub(crate) fn later(known: Option<RunAt>, other: RunAt) -> RunAt {
    let by_instant = |(run, at): RunAt| (at, run);
    match known {
        Some(known) if by_instant(known) > by_instant(other) && known.1 <= other.1.plus(SET_BACK) => known,
        _ => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: i64, seconds: i64) -> RunAt {
        (RunId(id), Timestamp::from_millis(seconds * 1000))
    }

    #[test]
    fn the_latest_run_is_the_one_with_the_latest_instant_whatever_its_number() {
        assert_eq!(later(None, run(2, 5)), run(2, 5));
        assert_eq!(later(Some(run(2, 5)), run(1, 9)), run(1, 9));
        assert_eq!(later(Some(run(1, 9)), run(2, 5)), run(1, 9));
        assert_eq!(later(Some(run(1, 5)), run(2, 5)), run(2, 5));
        assert_eq!(later(Some(run(2, 5)), run(1, 5)), run(2, 5));
    }

    #[test]
    fn a_run_of_a_clock_that_was_set_back_does_not_stay_the_latest() {
        assert_eq!(later(Some(run(1, 65)), run(2, 5)), run(1, 65));
        assert_eq!(later(Some(run(1, 66)), run(2, 5)), run(2, 5));
    }
}

//! The lock that a task's runs hold while they run.

use std::fmt;
use std::time::Duration;

/// Whether a lock has one holder, or holders that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockMode {
    /// The lock has one holder.
    Exclusive,
    /// The lock has any number of holders, which all share it.
    Shared,
}

impl LockMode {
    /// Returns whether a holder in this mode and one in the mode `other` exclude each other.
    pub fn excludes(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

/// The lock that the host takes for each attempt of a task: before the guest is made, until the attempt is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskLock {
    /// The name, one of the locks of the task's tenant.
    pub name: String,
    /// The mode in which attempts hold it.
    pub mode: LockMode,
    /// The longest wait of an attempt for it. The wait is no part of the guest's time.
    pub wait: Duration,
    /// The end of an attempt that does not get it.
    pub if_held: IfHeld,
}

/// The end of an attempt that does not get its task's lock. Its guest is not started in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfHeld {
    /// The run is cancelled as skipped, which is no failure.
    #[default]
    Skip,
    /// The attempt has failed, and is tried again as other failures are.
    Fail,
    /// The run has succeeded as skipped, without an output.
    Succeed,
}

impl TaskLock {
    /// Returns why an attempt did not get the lock, given what was in its way.
    #[must_use]
    pub fn not_free(&self, way: &dyn fmt::Display) -> String {
        let within = match self.wait {
            Duration::ZERO => String::new(),
            wait => format!(" within {}", crate::lengths::exact(wait)),
        };
        format!("lock `{}` was not free{within}: {way}", self.name)
    }
}

/// The steps by which an attempt is ended whose guest can hear of its end. Each time counts from the instant at which
/// the attempt must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// When the guest is asked to end.
    pub ask: Duration,
    /// When the guest is asked once more, if it is.
    pub insist: Option<Duration>,
    /// When the guest is interrupted. Zero interrupts it at once, without a word.
    pub end: Duration,
}

impl Ladder {
    /// Returns how long before its `deadline`, counted from its start, a guest hears that the deadline is near: when it
    /// is asked, and when it is asked once more. Neither comes before half of its time is over, lest a task with little
    /// time begin with a notice.
    #[must_use]
    pub fn notices(&self, deadline: Duration) -> (Duration, Option<Duration>) {
        let before = |step: Duration| self.end.saturating_sub(step).min(deadline / 2);
        (before(self.ask), self.insist.map(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_about_a_lock_say_how_long_it_was_waited_for() {
        let lock = |seconds| TaskLock {
            name: "ledger".to_owned(),
            mode: LockMode::Exclusive,
            wait: Duration::from_secs(seconds),
            if_held: IfHeld::Skip,
        };
        assert_eq!(lock(0).not_free(&"run 7 has it"), "lock `ledger` was not free: run 7 has it");
        assert_eq!(lock(90).not_free(&"run 7 has it"), "lock `ledger` was not free within 1m 30s: run 7 has it");
    }

    #[test]
    fn notice_of_the_deadline_is_given_in_the_second_half_of_a_runs_time_at_the_earliest() {
        let notices = |deadline, insist: Option<u64>, end| {
            let ms = Duration::from_millis;
            let ladder = Ladder { ask: ms(0), insist: insist.map(ms), end: ms(end) };
            let (ask, insist) = ladder.notices(ms(deadline));
            (ask.as_millis(), insist.map(|insist| insist.as_millis()))
        };
        assert_eq!(notices(60_000, None, 1000), (1000, None));
        assert_eq!(notices(60_000, Some(700), 1000), (1000, Some(300)));
        assert_eq!(notices(500, Some(100), 1000), (250, Some(250)));
        assert_eq!(notices(500, None, 0), (0, None));
    }
}

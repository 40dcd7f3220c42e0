//! Decides what happens to a task whose runs fail again and again: it is paused, or held back for a while.
//!
//! The counts cover all hosts together. So a store keeps them, and calls this module in the transaction that writes an
//! attempt's end; nothing here knows a store.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::run::{Cause, Outcome, RunId, RunState};
use crate::time::Timestamp;

/// The policy for a task that fails again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// The number of consecutive failed runs after which the task is paused; `None` never pauses it.
    pub pause_after: Option<u32>,
    /// The longest time for which it is held back if it crashes again and again; `None` never holds it back.
    pub brake: Option<Duration>,
}

impl Default for Supervision {
    fn default() -> Self {
        Self { pause_after: None, brake: Some(Duration::from_secs(5 * 60)) }
    }
}

/// The number of consecutive crashes from which the brake holds. Fewer may be bad luck.
pub const CRASHES_TO_BRAKE: u32 = 3;

/// The first hold, which is doubled with each further consecutive crash.
pub const SHORTEST_HOLD: Duration = Duration::from_secs(1);

/// The results of a task's latest runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The number of failed runs since the last one that succeeded.
    pub failures: u32,
    /// The number of crashed attempts since the last one that ended as its guest decided.
    pub crashes: u32,
    /// The instant until which the brake holds the task back. One that has passed holds nothing.
    pub held_until: Option<Timestamp>,
}

/// A pause of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// The begin of the pause; `None` if it was not recorded.
    pub since: Option<Timestamp>,
    /// The reason; `None` if an operator gave none.
    pub why: Option<String>,
}

impl Pause {
    /// Returns the pause that follows from a request for one, given the pause `before`. Returns `None` if nothing
    /// changes: a pause keeps its begin, and its reason unless another is given.
    pub fn over(before: Option<&Self>, why: Option<&str>, now: Timestamp) -> Option<Self> {
        let Some(before) = before else { return Some(Self { since: Some(now), why: why.map(str::to_owned) }) };
        let why = why.filter(|why| before.why.as_deref() != Some(why))?;
        Some(Self { since: before.since, why: Some(why.to_owned()) })
    }
}

/// The end of an attempt, as far as it counts here.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// The run.
    pub run: RunId,
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// The state of the run after it.
    pub state: RunState,
    /// The instant of the end.
    pub at: Timestamp,
}

/// The effect of an attempt's end on its task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// The standing of the task now.
    pub standing: Standing,
    /// The pause, if this end causes one.
    pub paused: Option<Pause>,
    /// The end of the hold, if this end causes one.
    pub held: Option<Timestamp>,
}

/// Returns the effect of `end` on a task with the standing `before`. A task that `is_paused` already is not paused
/// again.
pub fn after(before: Standing, is_paused: bool, end: &End, policy: &Supervision) -> Consequence {
    let standing = before.after(end, policy);
    let failed = end.state == RunState::Failed && policy.pause_after.is_some_and(|most| standing.failures >= most);
    let paused = (failed && !is_paused).then(|| Pause { since: Some(end.at), why: Some(why(&standing, end)) });
    let held = standing.held_until.filter(|_| standing.held_until > before.held_until);
    Consequence { standing, paused, held }
}

fn why(standing: &Standing, end: &End) -> String {
    let (run, outcome) = (end.run, end.outcome);
    match standing.failures {
        1 => format!("run {run} failed ({outcome})"),
        failures => format!("{failures} runs failed one after another, the last was run {run} ({outcome})"),
    }
}

impl Standing {
    fn after(self, end: &End, policy: &Supervision) -> Self {
        // A run that was not carried out says nothing about the task, even if its task counts it as a success.
        if end.outcome == Outcome::Skipped {
            return self;
        }
        if end.state == RunState::Succeeded {
            return Self::default();
        }
        let failures = self.failures.saturating_add(u32::from(end.state == RunState::Failed));
        match end.outcome {
            Outcome::Deferred => Self { failures, ..Self::default() },
            outcome if is_crash(outcome) => {
                let crashes = self.crashes.saturating_add(1);
                let hold = policy.brake.and_then(|longest| brake_delay(crashes, longest));
                Self { failures, crashes, held_until: hold.map(|hold| end.at.plus(hold)).max(self.held_until) }
            }
            _ => Self { failures, ..self },
        }
    }

    /// Returns whether the brake holds scheduled runs and retries back at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }

    /// Returns in words why a waiting run starts later than at its `run_at`, or `None` if only the time and a free slot
    /// decide that.
    pub fn why_held(&self, run_at: Timestamp, cause: Cause, attempt: u32) -> Option<String> {
        let until = self.held_until.filter(|until| *until > run_at && !bypasses_brake(cause, attempt))?;
        Some(format!("held back until {until} after {} crashes in a row", self.crashes))
    }
}

/// Returns whether the brake lets a run through: one on demand that was not tried yet, because an operator wants to see
/// whether the task works now.
pub fn bypasses_brake(cause: Cause, attempt: u32) -> bool {
    cause == Cause::Demand && attempt == 0
}

/// Returns whether the guest crashed: it was ended without having reported anything itself. It is not to blame for
/// actions of hosts and operators, and a failure that it reports is an answer.
fn is_crash(outcome: Outcome) -> bool {
    use Outcome::{Idle, OutOfFuel, OutOfMemory, TimedOut, Trapped};
    matches!(outcome, Trapped | OutOfMemory | OutOfFuel | TimedOut | Idle)
}

/// Returns for how long a task is held back after this many consecutive crashes, if it is.
fn brake_delay(crashes: u32, longest: Duration) -> Option<Duration> {
    let doublings = crashes.checked_sub(CRASHES_TO_BRAKE)?;
    Some(SHORTEST_HOLD.saturating_mul(1 << doublings.min(31)).min(longest))
}

/// Prints `paused`, with the reason if there is one.
impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.why {
            Some(why) => write!(f, "paused: {why}"),
            None => f.write_str("paused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + ms)
    }

    fn end(outcome: Outcome, state: RunState, ms: i64) -> End {
        End { run: RunId(7), outcome, state, at: at(ms) }
    }

    /// Returns the standing of a task after ends with these outcomes that left their runs in `state`, all at the same
    /// instant.
    fn through(outcomes: &[Outcome], state: RunState, policy: &Supervision) -> Standing {
        let each = |standing, outcome: &Outcome| after(standing, false, &end(*outcome, state, 0), policy).standing;
        outcomes.iter().fold(Standing::default(), each)
    }

    #[test]
    fn the_brake_holds_from_the_third_crash_on_and_twice_as_long_with_each_up_to_the_longest() {
        let holds = |longest| (1..=6).map(|crashes| brake_delay(crashes, longest)).collect::<Vec<_>>();
        let seconds = |n| Some(Duration::from_secs(n));

        assert_eq!(holds(Duration::from_secs(300)), [None, None, seconds(1), seconds(2), seconds(4), seconds(8)]);
        assert_eq!(holds(Duration::from_secs(3)), [None, None, seconds(1), seconds(2), seconds(3), seconds(3)]);
        assert_eq!(brake_delay(u32::MAX, Duration::from_secs(300)), seconds(300));
        assert_eq!(brake_delay(u32::MAX, Duration::MAX), Some(SHORTEST_HOLD * (1 << 31)));
    }

    #[test]
    fn only_outcomes_that_broke_the_guest_are_crashes() {
        let crashes: Vec<_> = Outcome::ALL.into_iter().filter(|outcome| is_crash(*outcome)).collect();
        let [fuel, time, memory] = [Outcome::OutOfFuel, Outcome::TimedOut, Outcome::OutOfMemory];
        assert_eq!(crashes, [fuel, time, memory, Outcome::Trapped, Outcome::Idle]);
    }

    #[test]
    fn a_row_of_crashes_ends_with_what_the_guest_wished_and_with_nothing_else() {
        let policy = Supervision::default();
        let crashed = through(&[Outcome::Trapped; 3], RunState::Waiting, &policy);
        assert_eq!(crashed, Standing { failures: 0, crashes: 3, held_until: Some(at(1000)) });

        for outcome in [Outcome::FailedTransient, Outcome::FailedPermanent, Outcome::Killed, Outcome::Lost] {
            let next = after(crashed, false, &end(outcome, RunState::Waiting, 0), &policy);
            assert_eq!((next.standing, next.held), (crashed, None), "{outcome}");
        }
        let deferred = after(crashed, false, &end(Outcome::Deferred, RunState::Waiting, 0), &policy);
        let succeeded = after(crashed, false, &end(Outcome::Succeeded, RunState::Succeeded, 0), &policy);
        assert_eq!([deferred.standing, succeeded.standing], [Standing::default(); 2]);
    }

    #[test]
    fn a_run_that_was_skipped_changes_nothing_however_it_counts() {
        let policy = Supervision { pause_after: Some(1), ..Supervision::default() };
        let crashed = through(&[Outcome::Trapped; 3], RunState::Waiting, &policy);
        for state in [RunState::Cancelled, RunState::Succeeded] {
            let next = after(crashed, false, &end(Outcome::Skipped, state, 0), &policy);
            assert_eq!((next.standing, next.paused), (crashed, None), "{state}");
        }
    }

    #[test]
    fn each_crash_that_lengthens_a_hold_is_logged() {
        let policy = Supervision::default();
        let crash = |before: Standing, ms| after(before, false, &end(Outcome::Trapped, RunState::Waiting, ms), &policy);
        let second = crash(through(&[Outcome::Trapped], RunState::Waiting, &policy), 0);

        let third = crash(second.standing, 0);
        let fourth = crash(third.standing, 10);

        assert_eq!([second.held, third.held, fourth.held], [None, Some(at(1000)), Some(at(2010))]);
    }

    #[test]
    fn a_deferral_ends_a_row_of_crashes_and_not_one_of_failed_runs() {
        let policy = Supervision { pause_after: Some(9), brake: None };
        let failed = through(&[Outcome::FailedPermanent; 3], RunState::Failed, &policy);

        let deferred = after(failed, false, &end(Outcome::Deferred, RunState::Waiting, 0), &policy);

        assert_eq!((failed.failures, deferred.standing.failures), (3, 3));
    }

    #[test]
    fn a_crash_never_shortens_a_hold() {
        let policy = Supervision::default();
        let held = Standing { failures: 0, crashes: 9, held_until: Some(at(64_000)) };

        let next = after(held, false, &end(Outcome::Trapped, RunState::Failed, -500_000), &policy);

        assert_eq!((next.standing.held_until, next.held), (Some(at(64_000)), None));
        let without = Supervision { brake: None, ..policy };
        assert_eq!(through(&[Outcome::Trapped; 9], RunState::Failed, &without).held_until, None);
    }

    #[test]
    fn a_task_is_paused_by_the_run_that_fails_after_so_many_and_only_once() {
        let policy = Supervision { pause_after: Some(2), brake: None };
        let failed = end(Outcome::FailedPermanent, RunState::Failed, 5);

        let first = after(Standing::default(), false, &failed, &policy);
        let second = after(first.standing, false, &failed, &policy);
        let third = after(second.standing, true, &failed, &policy);

        assert_eq!((first.paused, first.standing.failures), (None, 1));
        let pause = second.paused.unwrap();
        assert_eq!(pause.since, Some(at(5)));
        assert_eq!(pause.to_string(), "paused: 2 runs failed one after another, the last was run 7 (failed-permanent)");
        assert_eq!((third.paused, third.standing.failures), (None, 3));
    }

    #[test]
    fn attempts_that_are_tried_again_and_runs_that_are_called_off_are_no_failed_runs() {
        let policy = Supervision { pause_after: Some(1), brake: None };
        for (outcome, state) in [
            (Outcome::Trapped, RunState::Waiting),
            (Outcome::FailedTransient, RunState::Waiting),
            (Outcome::Deferred, RunState::Waiting),
            (Outcome::Killed, RunState::Cancelled),
        ] {
            let next = after(Standing::default(), false, &end(outcome, state, 0), &policy);
            assert_eq!((next.paused, next.standing.failures), (None, 0), "{outcome}");
        }
        let lost = after(Standing::default(), false, &end(Outcome::Lost, RunState::Failed, 0), &policy);
        assert_eq!(lost.paused.unwrap().why.as_deref(), Some("run 7 failed (lost)"));
    }

    #[test]
    fn a_second_pause_keeps_the_start_of_the_first_and_replaces_its_reason() {
        let pause = |since, why: Option<&str>| Pause { since: Some(at(since)), why: why.map(str::to_owned) };
        let (plain, broken) = (pause(1, None), pause(1, Some("broken")));

        assert_eq!(Pause::over(None, None, at(5)), Some(pause(5, None)));
        assert_eq!(Pause::over(None, Some("broken"), at(5)), Some(pause(5, Some("broken"))));
        assert_eq!(Pause::over(Some(&plain), Some("broken"), at(5)), Some(pause(1, Some("broken"))));
        assert_eq!(Pause::over(Some(&broken), Some("late"), at(5)), Some(pause(1, Some("late"))));
        for (before, why) in [(&plain, None), (&broken, None), (&broken, Some("broken"))] {
            assert_eq!(Pause::over(Some(before), why, at(5)), None, "nothing changes: {before:?} and {why:?}");
        }
    }

    #[test]
    fn unless_a_manifest_says_a_task_is_never_paused_and_held_back_for_five_minutes_at_most() {
        let usual = Supervision { pause_after: None, brake: Some(Duration::from_secs(300)) };
        assert_eq!(Supervision::default(), usual);
    }

    #[test]
    fn a_waiting_run_shows_what_holds_it_back_unless_it_is_on_demand() {
        let held = Standing { failures: 0, crashes: 4, held_until: Some(at(2000)) };
        let why = |run_at, cause, attempt| held.why_held(at(run_at), cause, attempt);

        let words = why(0, Cause::Schedule, 0).unwrap();
        assert_eq!(words, format!("held back until {} after 4 crashes in a row", at(2000)));
        assert!(why(0, Cause::Demand, 1).is_some() && why(0, Cause::Task, 0).is_some());
        assert_eq!((why(2000, Cause::Schedule, 0), why(0, Cause::Demand, 0)), (None, None));
        assert!(held.holds(at(1999)) && !held.holds(at(2000)));
    }
}

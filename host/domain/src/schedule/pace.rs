//! Decides when a pace starts its next run, so that between `min` and `max` runs are going. Pure.
//!
//! The interval between two starts adapts: it is halved while fewer than `min` runs are going, grows by half with every
//! start that is not needed, and is the longest after a failure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Pace, SET_BACK};
use crate::time::Timestamp;

/// The state that is kept between two starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaceState {
    /// The time from the last start to the next one, if no run fails and enough are going.
    #[serde(rename = "interval_ms", with = "interval")]
    pub interval: Duration,
    /// The instant of the last start.
    pub started: Timestamp,
    /// The latest failure that this interval takes into account.
    pub failed: Option<Timestamp>,
}

/// The runs of a task, as far as a pace needs to know them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Going {
    /// The number of runs that have not ended: due and waiting, waiting to be tried again, or running, however they
    /// came about.
    pub alive: u32,
    /// The end of the latest run that failed.
    pub failed: Option<Timestamp>,
}

/// The decision of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceDecision {
    /// A run must start now, and this state must be stored.
    Start(PaceState),
    /// No run starts before that instant, as far as can be told now.
    At(Timestamp),
    /// The maximum number of runs is going. The scheduler must look again when one of them ends.
    Full,
}

impl PaceDecision {
    /// Returns the instant of the next start, as far as can be told now.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Start(_) => Some(now),
            Self::At(at) => Some(*at),
            Self::Full => None,
        }
    }
}

impl Pace {
    /// Decides whether a run must start now. `before` is `None` when the task is seen for the first time.
    pub fn look(&self, before: Option<&PaceState>, going: Going, now: Timestamp) -> PaceDecision {
        if going.alive >= self.max {
            return PaceDecision::Full;
        }
        let Some(before) = before else {
            return PaceDecision::Start(PaceState { interval: self.from, started: now, failed: going.failed });
        };
        // A failure that was known at the last start has already had its effect.
        let failure = going.failed.filter(|at| before.failed.is_none_or(|seen| seen < *at));
        let wanting = going.alive < self.min;
        let interval = match failure {
            Some(_) => self.to,
            None if wanting => self.within(before.interval / 2),
            None => self.within(before.interval),
        };
        let since = |at: Timestamp| if at > now.plus(SET_BACK) { now } else { at.plus(interval) };
        let due = failure.map_or(since(before.started), |at| since(before.started).max(since(at)));
        if due > now {
            return PaceDecision::At(due);
        }
        let interval = match failure {
            None if !wanting => self.within(interval + interval / 2),
            _ => interval,
        };
        PaceDecision::Start(PaceState { interval, started: now, failed: going.failed.max(before.failed) })
    }

    fn within(&self, interval: Duration) -> Duration {
        interval.clamp(self.from, self.to)
    }
}

/// Serializes whole milliseconds, because instants are such.
mod interval {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(crate::lengths::millis(*value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000).plus(Duration::from_millis(ms))
    }

    fn pace(min: u32, max: u32, from: u64, to: u64) -> Pace {
        Pace { min, max, from: Duration::from_millis(from), to: Duration::from_millis(to) }
    }

    /// Returns the starts within `length`, with a look whenever one is asked for and at the end of each run. A run
    /// lasts for `lasts`, and every `fails`th of them fails.
    struct Simulation {
        starts: Vec<u64>,
        failures: Vec<u64>,
        intervals: Vec<Duration>,
        most: u32,
    }

    fn simulate(pace: &Pace, length: u64, lasts: impl Fn(usize) -> u64, fails: Option<usize>) -> Simulation {
        let mut seen = Simulation { starts: vec![], failures: vec![], intervals: vec![], most: 0 };
        let (mut ends, mut failed): (Vec<(u64, bool)>, Option<u64>) = (vec![], None);
        let (mut now, mut state) = (0, None);
        while now < length {
            ends.retain(|(end, fails)| {
                if *end <= now && *fails {
                    failed = failed.max(Some(*end));
                    seen.failures.push(*end);
                }
                *end > now
            });
            let alive = u32::try_from(ends.len()).unwrap();
            let next = match pace.look(state.as_ref(), Going { alive, failed: failed.map(at) }, at(now)) {
                PaceDecision::Start(next) => {
                    let nth = seen.starts.len();
                    ends.push((now + lasts(nth).max(1), fails.is_some_and(|every| nth % every == every - 1)));
                    seen.starts.push(now);
                    seen.intervals.push(next.interval);
                    seen.most = seen.most.max(alive + 1);
                    state = Some(next);
                    continue;
                }
                PaceDecision::At(next) => u64::try_from(next.as_millis() - at(0).as_millis()).unwrap(),
                PaceDecision::Full => u64::MAX,
            };
            now = ends.iter().map(|(end, _)| *end).min().unwrap_or(u64::MAX).min(next);
        }
        seen
    }

    fn paces() -> impl Strategy<Value = Pace> {
        (0u32..8, 1u32..8, 1u64..5_000, 0u64..60_000)
            .prop_map(|(min, more, from, longer)| pace(min, min + more, from, from + longer))
    }

    proptest! {
        #[test]
        fn never_are_more_going_than_the_most(pace in paces(), lasts in proptest::collection::vec(1u64..100_000, 1..20)) {
            let seen = simulate(&pace, 500_000, |nth| lasts[nth % lasts.len()], None);
            prop_assert!(seen.most <= pace.max);
        }

        #[test]
        fn no_two_starts_are_closer_than_the_shortest_interval_and_every_interval_is_within_its_bounds(
            pace in paces(), lasts in proptest::collection::vec(1u64..100_000, 1..20), fails in 1usize..5,
        ) {
            let seen = simulate(&pace, 500_000, |nth| lasts[nth % lasts.len()], Some(fails));
            for pair in seen.starts.windows(2) {
                prop_assert!(u128::from(pair[1] - pair[0]) >= pace.from.as_millis());
            }
            prop_assert!(seen.intervals.iter().all(|interval| (pace.from..=pace.to).contains(interval)));
        }

        #[test]
        fn after_a_failure_nothing_is_started_for_the_longest_interval(
            pace in paces(), lasts in proptest::collection::vec(1u64..100_000, 1..20), fails in 1usize..5,
        ) {
            let seen = simulate(&pace, 500_000, |nth| lasts[nth % lasts.len()], Some(fails));
            let to = u64::try_from(pace.to.as_millis()).unwrap();
            for failure in &seen.failures {
                // A run that starts in the same instant started before the failure was seen, or is the one under test.
                let soon = seen.starts.iter().filter(|start| **start > *failure && **start < failure + to);
                prop_assert_eq!(soon.count(), 0, "after {}", failure);
            }
        }

        #[test]
        fn while_too_few_are_going_for_long_they_start_at_the_shortest_interval(
            (min, from, longer) in (1u32..8, 1u64..1000, 0u64..60_000), before in 0u64..60_000,
        ) {
            let pace = pace(min, min + 1, from, from + longer);
            let interval = Duration::from_millis(before).clamp(pace.from, pace.to);
            let mut state = PaceState { interval, started: at(0), failed: None };
            // The interval is halved each time: from a minute to a millisecond in 16 steps.
            for _ in 0..17 {
                let PaceDecision::At(next) = pace.look(Some(&state), Going::default(), state.started) else {
                    panic!("it has only just started")
                };
                let PaceDecision::Start(next) = pace.look(Some(&state), Going::default(), next) else { panic!("it is due") };
                state = next;
            }
            prop_assert_eq!(state.interval, pace.from);
        }

        #[test]
        fn while_enough_are_going_the_interval_grows_to_the_longest((from, longer) in (2u64..1000, 0u64..60_000)) {
            let pace = pace(1, 5, from, from + longer);
            let mut state = PaceState { interval: pace.from, started: at(0), failed: None };
            for _ in 0..40 {
                let going = Going { alive: 1, failed: None };
                let PaceDecision::At(next) = pace.look(Some(&state), going, state.started) else { panic!() };
                let PaceDecision::Start(next) = pace.look(Some(&state), going, next) else { panic!() };
                state = next;
            }
            prop_assert_eq!(state.interval, pace.to);
        }

        #[test]
        fn it_always_goes_on(pace in paces(), alive in 0u32..20, failed in proptest::option::of(0u64..1 << 40), now in 0u64..1 << 40) {
            // However the clock was set, the next look is never further away than the longest interval.
            let state = PaceState { interval: pace.to, started: at(1 << 39), failed: None };
            match pace.look(Some(&state), Going { alive, failed: failed.map(at) }, at(now)) {
                PaceDecision::At(next) => prop_assert!(next.since(at(now)) <= pace.to + SET_BACK),
                PaceDecision::Full => prop_assert!(alive >= pace.max),
                PaceDecision::Start(next) => prop_assert_eq!(next.started, at(now)),
            }
        }
    }

    #[test]
    fn as_it_is_written_in_the_docs() {
        let pace = pace(1, 3, 1_000, 10_000);

        // Runs that never end: the first at once, each later one half as long again after the previous, and none when
        // three are going.
        let hung = simulate(&pace, 100_000, |_| u64::MAX / 2, None);
        assert_eq!(hung.starts, [0, 1_000, 2_500]);
        assert_eq!(hung.intervals.iter().map(Duration::as_millis).collect::<Vec<_>>(), [1_000, 1_500, 2_250]);
        // Runs that end at once: there are always too few, so one starts every shortest interval.
        let short = simulate(&pace, 5_500, |_| 1, None);
        assert_eq!(short.starts, [0, 1_000, 2_000, 3_000, 4_000, 5_000]);
        // Runs that fail at once: the next one starts the longest interval after that.
        let failing = simulate(&pace, 25_000, |_| 1, Some(1));
        assert_eq!(failing.starts, [0, 10_001, 20_002]);
    }

    #[test]
    fn a_failure_causes_one_long_interval_and_then_the_pace_continues() {
        let pace = pace(1, 3, 1_000, 10_000);
        let running = PaceState { interval: Duration::from_secs(2), started: at(0), failed: None };
        let failed = Going { alive: 1, failed: Some(at(500)) };

        assert_eq!(pace.look(Some(&running), failed, at(10_499)), PaceDecision::At(at(10_500)));
        let PaceDecision::Start(next) = pace.look(Some(&running), failed, at(10_500)) else { panic!("it is due") };

        let remembered = PaceState { interval: pace.to, started: at(10_500), failed: Some(at(500)) };
        assert_eq!(next, remembered);
        let too_few = Going { alive: 0, ..failed };
        assert_eq!(pace.look(Some(&next), too_few, at(10_500)), PaceDecision::At(at(15_500)), "half of the longest");
    }

    #[test]
    fn a_start_or_a_failure_further_ahead_than_clocks_differ_is_not_waited_for() {
        let pace = pace(0, 3, 1_000, 10_000);
        let now = at(100_000);
        let starts = |started, failed| {
            let before = PaceState { interval: pace.from, started, failed: None };
            pace.look(Some(&before), Going { alive: 1, failed }, now).next(now).expect("not full")
        };
        let (a_little, more) = (now.plus(SET_BACK), now.plus(SET_BACK + Duration::from_millis(1)));

        assert_eq!([starts(a_little, None), starts(more, None)], [a_little.plus(pace.from), now]);
        let long_ago = at(0);
        assert_eq!([starts(long_ago, Some(a_little)), starts(long_ago, Some(more))], [a_little.plus(pace.to), now]);
    }

    #[test]
    fn the_next_start_is_now_or_later_or_unknown() {
        let state = PaceState { interval: Duration::from_secs(1), started: at(5), failed: None };
        let next =
            [PaceDecision::Start(state), PaceDecision::At(at(9)), PaceDecision::Full].map(|paced| paced.next(at(5)));
        assert_eq!(next, [Some(at(5)), Some(at(9)), None]);
    }

    #[test]
    fn a_stored_state_is_read_again() {
        let state = PaceState { interval: Duration::from_millis(1500), started: at(7), failed: Some(at(3)) };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(
            text,
            r#"{"interval_ms":1500,"started":"2027-01-15T08:00:00.007Z","failed":"2027-01-15T08:00:00.003Z"}"#
        );
        assert_eq!(serde_json::from_str::<PaceState>(&text).unwrap(), state);
    }
}

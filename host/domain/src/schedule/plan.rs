//! Holds a task's whole schedule: its trigger, the bounds on it, and how much later than due its runs start.
//!
//! Random amounts are hashes, so that all hosts compute the same, also after a restart: a hash of the task for its
//! spread, and of the task and the instant for its jitter.

use std::time::Duration;

use chrono_tz::Tz;

use super::interval::Interval;
use super::{CatchUp, Dst, Timing, Trigger, plausible};
use crate::time::Timestamp;

/// The distance of two adjacent instants.
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// Everything that decides when a task's runs are due and when they start.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The trigger.
    pub trigger: &'a Trigger,
    /// The zone that the trigger is read in.
    pub zone: Tz,
    /// Bounds on the trigger, and how much later its runs start.
    pub timing: Timing,
    /// Policy for missed instants.
    pub catch_up: CatchUp,
    /// Stands for the task in random amounts: [`seed`] of its full name.
    pub seed: u64,
}

impl<'a> Plan<'a> {
    /// Creates a plan of a trigger alone, by the clocks of `zone` unless the trigger's text names another.
    pub fn of(trigger: &'a Trigger, zone: Tz) -> Self {
        let zone = trigger.zone_or(zone);
        Self { trigger, zone, timing: Timing::default(), catch_up: CatchUp::None, seed: 0 }
    }

    /// Returns a short text that identifies the schedule. Another text is another schedule: none of its instants before
    /// the change were missed, and its runs are counted anew.
    ///
    /// The text covers the trigger and its bounds. How much later the runs start, how many there are, and the policies
    /// may change without a change of identity.
    pub fn identity(&self) -> String {
        let Timing { start, end, .. } = self.timing;
        let mut text = match self.trigger {
            Trigger::OnDemand => return "demand".to_owned(),
            Trigger::OnStart => return "start".to_owned(),
            Trigger::Cron(crontab) => {
                let dst = match crontab.dst() {
                    Dst::Vixie => "",
                    Dst::Skip => " skip",
                    Dst::Utc => " utc",
                };
                format!("cron {crontab} {}{dst}", self.zone.name())
            }
            Trigger::Every(interval) => {
                let by_calendar =
                    self.interval().is_some_and(|interval| interval.is_on_calendar()) && self.zone != Tz::UTC;
                let zone = if by_calendar { format!(" {}", self.zone.name()) } else { String::new() };
                format!("every {}ms{zone}", interval.as_millis())
            }
            Trigger::At(at) => format!("at {at}"),
            Trigger::After(_) => "after".to_owned(),
            Trigger::Pace(_) => "pace".to_owned(),
        };
        for (word, bound) in [("from", start), ("until", end)] {
            if let Some(at) = bound {
                text.push_str(&format!(" {word} {at}"));
            }
        }
        text
    }

    /// Returns how many more runs the schedule makes after `fired` of them; `None` if there is no limit.
    pub fn left(&self, fired: u64) -> Option<u64> {
        self.timing.times.map(|times| u64::from(times).saturating_sub(fired))
    }

    /// Returns in words why the schedule makes no more runs after `fired` of them; `None` while more will follow.
    pub fn done(&self, fired: u64, now: Timestamp) -> Option<String> {
        let there = |at: Timestamp| at.to_utc().with_timezone(&self.zone).to_rfc3339();
        if let (Some(times), Some(0)) = (self.timing.times, self.left(fired)) {
            return Some(format!("ran {times} of {times} times"));
        }
        // The run of an instant has started this long after it.
        let over = |at: Timestamp| at.plus(self.fixed()).plus(self.timing.jitter) < now;
        if let Some(end) = self.timing.end.filter(|end| over(*end)) {
            return Some(format!("ended at {}", there(end)));
        }
        match self.trigger {
            Trigger::At(at) if fired > 0 => Some(format!("ran once, at {}", there(*at))),
            Trigger::At(at) if over(*at) => Some(format!("was due once, at {}, which has passed", there(*at))),
            Trigger::Cron(_) | Trigger::Every(_)
                if self.next_after(now.minus(self.fixed() + self.timing.jitter + MILLISECOND)).is_none() =>
            {
                let end = self.timing.end.map(|end| format!(" before it ends at {}", there(end))).unwrap_or_default();
                Some(format!("is not due any more{end}"))
            }
            _ => None,
        }
    }

    /// Returns the first instant after `after` at which the task is due, within its bounds. Returns `None` if there is
    /// none, or if the trigger depends on earlier runs, which only the scheduler knows.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let after = self.timing.start.map_or(after, |start| after.max(start.minus(MILLISECOND)));
        self.unbounded_after(after).filter(|next| self.timing.end.is_none_or(|end| *next <= end))
    }

    /// Does the same without regard to the bounds, except that an interval is still counted from its start.
    pub(super) fn unbounded_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self.trigger {
            Trigger::OnDemand | Trigger::OnStart | Trigger::After(_) | Trigger::Pace(_) => None,
            Trigger::Cron(crontab) => crontab.next_after(self.zone, after),
            Trigger::Every(_) => self.interval()?.next_after(after),
            Trigger::At(at) => Some(*at).filter(|at| *at > after),
        }
    }

    /// Returns the instants of an interval.
    pub(super) fn interval(&self) -> Option<Interval> {
        let Trigger::Every(step) = self.trigger else { return None };
        Interval::new(*step, self.timing.start, self.zone)
    }

    /// Iterates over the instants at which the task is due, after `now` and after `fired` runs, each with the start of
    /// its run. No instant up to `cursor` comes again.
    pub fn upcoming(
        &self,
        now: Timestamp,
        cursor: Option<Timestamp>,
        fired: u64,
    ) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let left = self.left(fired).map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let then = now.minus(self.fixed());
        // The cursor may be ahead of `then` by a moment even if no clock was set, because an instant was dealt with
        // just now.
        let first = self.next_after(plausible(cursor, now).map_or(then, |cursor| cursor.max(then)));
        std::iter::successors(first, |at| self.next_after(*at)).take(left).map(|at| (at, self.start_of(at)))
    }

    /// Returns the start of the run that is due at `due_at`.
    pub fn start_of(&self, due_at: Timestamp) -> Timestamp {
        let jitter = share(self.timing.jitter, mixed(self.seed ^ mixed(due_at.as_millis().cast_unsigned())));
        due_at.plus(self.fixed()).plus(jitter)
    }

    /// Returns how much later all runs start.
    pub(super) fn fixed(&self) -> Duration {
        self.timing.delay + share(self.timing.spread, mixed(self.seed))
    }
}

/// Returns the number that stands for the task `name` of `tenant`: the same in all versions and on all machines
/// (FNV-1a, 64 bits).
pub fn seed(tenant: &str, name: &str) -> u64 {
    let bytes = tenant.bytes().chain([b'/']).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Spreads bits evenly, also those of adjacent numbers (the last step of SplitMix64).
fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns the share of `most`, in whole milliseconds from zero to `most` inclusive, that `bits` stand for.
fn share(most: Duration, bits: u64) -> Duration {
    let parts = most.as_millis() + 1;
    let part = (u128::from(bits) * parts) >> 64;
    Duration::from_millis(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn plan(timing: Timing, name: &str) -> Plan<'static> {
        const MINUTELY: Trigger = Trigger::Every(Duration::from_secs(60));
        Plan { trigger: &MINUTELY, zone: Tz::UTC, timing, catch_up: CatchUp::None, seed: seed("default", name) }
    }

    #[test]
    fn a_task_has_the_same_place_in_its_spread_in_all_versions_and_others_have_others() {
        let timing = Timing { spread: Duration::from_secs(3600), ..Timing::default() };
        let place = |name: &str| plan(timing, name).start_of(s(0)).as_millis();

        assert_eq!([place("backup"), place("report")], [PLACES[0], PLACES[1]]);
        let places: Vec<i64> = (0..1000).map(|n| place(&format!("task-{n}"))).collect();
        let in_quarter = |n: i64| places.iter().filter(|at| **at / 900_000 == n).count();
        assert!(places.iter().all(|at| (0..=3_600_000).contains(at)));
        assert!((0..4).all(|n| (200..300).contains(&in_quarter(n))), "{:?}", [0, 1, 2, 3].map(in_quarter));
    }

    /// The values at the time of writing. A change would move the runs of every task with a spread.
    const PLACES: [i64; 2] = [2_271_402, 681_073];

    #[test]
    fn each_run_has_its_own_jitter_which_is_the_same_on_all_hosts() {
        let timing = Timing { delay: Duration::from_secs(5), jitter: Duration::from_secs(10), ..Timing::default() };
        let later = |n: i64| plan(timing, "a").start_of(s(n * 60)).since(s(n * 60));

        let all: Vec<Duration> = (0..1000).map(later).collect();

        assert!(all.iter().all(|by| (Duration::from_secs(5)..=Duration::from_secs(15)).contains(by)));
        let early = all.iter().filter(|by| **by < Duration::from_secs(10)).count();
        assert!((400..600).contains(&early), "{early}");
        assert_eq!(all, (0..1000).map(later).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_due_before_its_start_after_its_end_or_beyond_its_times() {
        let timing = Timing { start: Some(s(120)), end: Some(s(300)), times: Some(3), ..Timing::default() };
        let plan = plan(timing, "a");
        let upcoming = |now, fired| plan.upcoming(s(now), None, fired).map(|(at, _)| at).collect::<Vec<_>>();

        assert_eq!(upcoming(0, 0), [s(120), s(180), s(240)]);
        assert_eq!(upcoming(120, 1), [s(180), s(240)]);
        assert_eq!(upcoming(240, 0), [s(300)]);
        assert_eq!((upcoming(0, 3), upcoming(300, 0)), (vec![], vec![]));
        assert_eq!(plan.done(3, s(0)).as_deref(), Some("ran 3 of 3 times"));
        assert_eq!(plan.done(2, s(300)), None);
        assert_eq!(plan.done(2, s(301)).as_deref(), Some("ended at 1970-01-01T00:05:00+00:00"));
    }

    #[test]
    fn each_run_keeps_its_jitter_in_all_versions() {
        let timing = Timing { jitter: Duration::from_secs(3600), ..Timing::default() };
        let later = |n: i64| plan(timing, "backup").start_of(s(n * 60)).since(s(n * 60)).as_millis();
        assert_eq!([1, 2, 3].map(later), JITTER, "a change moves the runs of all who have a jitter");
    }

    const JITTER: [u128; 3] = [3_527_069, 1_113_030, 2_567_961];

    #[test]
    fn a_task_that_was_due_once_is_done_when_it_ran_or_could_have() {
        let trigger = Trigger::At(s(600));
        let timing = Timing { delay: Duration::from_secs(10), jitter: Duration::from_secs(5), ..Timing::default() };
        let once = Plan { trigger: &trigger, ..plan(timing, "a") };
        assert_eq!((once.done(0, s(599)), once.done(0, s(615))), (None, None));
        let passed = once.done(0, s(615).plus(MILLISECOND));
        assert_eq!(passed.as_deref(), Some("was due once, at 1970-01-01T00:10:00+00:00, which has passed"));
        let berlin = Plan { zone: Tz::Europe__Berlin, ..once };
        assert_eq!(berlin.done(1, s(600)).as_deref(), Some("ran once, at 1970-01-01T01:10:00+01:00"));
    }

    #[test]
    fn a_schedule_is_done_once_its_last_run_has_started() {
        let yearly = Trigger::Cron(super::super::Crontab::parse("0 0 1 1 *").unwrap());
        let (new_year, end) = (s(365 * 86_400), s(400 * 86_400));
        let timing = Timing {
            end: Some(end),
            delay: Duration::from_secs(10),
            jitter: Duration::from_secs(5),
            ..Timing::default()
        };
        let bound = Plan { trigger: &yearly, ..plan(timing, "a") };

        let could_start = new_year.plus(Duration::from_secs(15));
        assert_eq!((bound.done(1, new_year), bound.done(1, could_start)), (None, None));
        let over = bound.done(1, could_start.plus(MILLISECOND));
        assert_eq!(over.as_deref(), Some("is not due any more before it ends at 1971-02-05T00:00:00+00:00"));
        let endless = Plan { timing: Timing { end: None, ..timing }, ..bound };
        assert_eq!(endless.done(1, end), None);
    }

    #[test]
    fn a_zone_makes_another_schedule_of_days_from_a_start_and_not_of_other_intervals() {
        let start = Timing { start: Some(s(0)), ..Timing::default() };
        let identity = |hours: u64, timing, zone| {
            let every = Trigger::Every(Duration::from_secs(hours * 3600));
            Plan { trigger: &every, zone, ..plan(timing, "a") }.identity()
        };

        let bound = "from 1970-01-01T00:00:00.000Z";
        assert_eq!(identity(48, start, Tz::Europe__Berlin), format!("every 172800000ms Europe/Berlin {bound}"));
        assert_eq!(identity(48, start, Tz::UTC), format!("every 172800000ms {bound}"));
        assert_eq!(identity(36, start, Tz::Europe__Berlin), format!("every 129600000ms {bound}"));
        assert_eq!(identity(48, Timing::default(), Tz::Europe__Berlin), "every 172800000ms");
    }

    #[test]
    fn a_change_of_due_instants_changes_the_identity_and_a_change_of_start_delays_does_not() {
        let usual = plan(Timing::default(), "a");
        let bound = plan(Timing { end: Some(s(60)), ..Timing::default() }, "a");
        let later = plan(Timing { delay: Duration::from_secs(1), times: Some(3), ..Timing::default() }, "a");

        assert_eq!(usual.identity(), "every 60000ms");
        assert_eq!(bound.identity(), "every 60000ms until 1970-01-01T00:01:00.000Z");
        assert_eq!(later.identity(), usual.identity());
        let daily = Trigger::Cron(super::super::Crontab::parse("0 3 * * *").unwrap());
        let [berlin, utc] =
            [Tz::Europe__Berlin, Tz::UTC].map(|zone| Plan { trigger: &daily, zone, ..usual }.identity());
        assert_eq!((berlin.as_str(), utc.as_str()), ("cron 0 3 * * * Europe/Berlin", "cron 0 3 * * * UTC"));
    }
}

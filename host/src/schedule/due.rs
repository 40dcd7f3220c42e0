//! What a task's schedule has come to between two looks at the clock. Pure, and bounded however long nobody looked.

use std::collections::VecDeque;
use std::time::Duration;

use chrono_tz::Tz;

use super::{CatchUp, Trigger};
use crate::time::Timestamp;

/// So many instants of a crontab are gone through to count what was missed, so that a look stays short. A crontab of
/// every minute comes to it after a week, one of every second after three hours.
const COUNTED: u64 = 10_000;

/// Whatever grace is asked for, what is later than this was missed: it bounds the instants that are on time.
const LONGEST_GRACE: Duration = Duration::from_secs(60);

/// What is to be done about a task now, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The instants to make runs for, oldest first.
    pub fire: Vec<Timestamp>,
    /// How many instants are left out because they were missed.
    pub left_out: u64,
    /// Whether `left_out` is only the least that it can be: there were too many to count.
    pub uncounted: bool,
    /// The cursor for the next look. Never before the one that was given.
    pub cursor: Timestamp,
    /// The first instant that is due after that; `None` if there is none.
    pub next: Option<Timestamp>,
    /// How far the clock is behind the cursor. More than zero after it was set back: nothing is due until it has caught
    /// up, because those instants were dealt with. Worth a warning if it is much.
    pub behind: Duration,
}

/// How one looks at a task's schedule.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The last instant that was dealt with; `None` when the task is seen for the first time.
    pub cursor: Option<Timestamp>,
    /// The time it is.
    pub now: Timestamp,
    /// How late an instant may be and still be on time, at most a minute. What is later was missed.
    pub grace: Duration,
}

impl Trigger {
    /// Which instants since the last look are to be run now.
    ///
    /// What is on time is run in any case, what was missed as `catch_up` has it. A task that is seen for the first time
    /// starts from now and has missed nothing, except that a [`Trigger::At`] in the past is an instant that was missed.
    /// No instant up to the cursor is ever given again, wherever the clock is set.
    pub fn due(&self, zone: Tz, look: Look, catch_up: CatchUp) -> Due {
        let Look { cursor, now, grace } = look;
        let cursor = match (cursor, self) {
            (Some(cursor), _) => cursor,
            (None, Self::At(at)) if *at <= now => at.minus(Duration::from_millis(1)),
            (None, _) => now,
        };
        let end = cursor.max(now);
        let nothing =
            Due { cursor: end, next: self.next_after(zone, end), behind: cursor.since(now), ..Due::default() };
        if now <= cursor {
            return nothing;
        }
        // Missed is up to and with this instant; at the end of the numbers, too, it is no more than `now`.
        let missed_until = now.minus(grace.min(LONGEST_GRACE)).minus(Duration::from_millis(1)).clamp(cursor, now);
        let wanted = match catch_up {
            CatchUp::None => 0,
            CatchUp::Latest => 1,
            CatchUp::All(most) => most as usize,
        };
        let missed = match self {
            Self::OnDemand | Self::OnStart | Self::After(_) | Self::Pace(_) => return nothing,
            Self::Every(step) => every(*step, cursor, missed_until, wanted),
            Self::Cron(_) | Self::At(_) => self.walk(zone, cursor, missed_until, wanted),
        };
        let mut fire: Vec<Timestamp> = missed.latest.into();
        let left_out = missed.count - fire.len() as u64;
        let mut at = missed_until;
        while let Some(on_time) = self.next_after(zone, at).filter(|next| *next <= now) {
            fire.push(on_time);
            at = on_time;
        }
        Due { fire, left_out, uncounted: missed.uncounted, ..nothing }
    }

    /// Instants in `(from, to]`: all of them gone through, or the latest found if they are too many.
    fn walk(&self, zone: Tz, from: Timestamp, to: Timestamp, wanted: usize) -> Missed {
        let mut missed = Missed::default();
        let mut at = from;
        while let Some(next) = self.next_until(zone, at, to) {
            if missed.count == COUNTED {
                missed.uncounted = true;
                missed.latest.clear();
                let mut to = to;
                while missed.latest.len() < wanted
                    && let Some(last) = self.last_until(zone, from, to)
                {
                    missed.latest.push_front(last);
                    to = last.minus(Duration::from_millis(1));
                }
                return missed;
            }
            missed.count += 1;
            missed.latest.push_back(next);
            if missed.latest.len() > wanted {
                missed.latest.pop_front();
            }
            at = next;
        }
        missed
    }

    fn next_until(&self, zone: Tz, after: Timestamp, to: Timestamp) -> Option<Timestamp> {
        self.next_after(zone, after).filter(|next| *next <= to)
    }

    /// The last instant in `(from, to]`, without going through those before: look back ever further until there is one,
    /// then halve what may hide a later one.
    fn last_until(&self, zone: Tz, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let mut nothing_after = to;
        let mut window = Duration::from_secs(60);
        let mut last = loop {
            let start = to.minus(window).max(from);
            if let Some(found) = self.next_until(zone, start, to) {
                break found;
            }
            if start == from {
                return None;
            }
            nothing_after = start;
            window *= 2;
        };
        while let Some(later) = self.next_until(zone, last, to) {
            last = later;
            let middle = last.plus(nothing_after.since(last) / 2);
            match self.next_until(zone, middle, to) {
                Some(found) => last = found,
                None => nothing_after = middle,
            }
        }
        Some(last)
    }
}

/// Instants that were missed.
#[derive(Default)]
struct Missed {
    count: u64,
    uncounted: bool,
    /// The latest of them, as many as are wanted, oldest first.
    latest: VecDeque<Timestamp>,
}

/// Multiples of `step` in `(from, to]`, counted without going through them.
fn every(step: Duration, from: Timestamp, to: Timestamp, wanted: usize) -> Missed {
    let Some(step) = i64::try_from(step.as_millis()).ok().filter(|step| *step > 0) else { return Missed::default() };
    let (before, last) = (from.as_millis().div_euclid(step), to.as_millis().div_euclid(step));
    let count = u64::try_from(i128::from(last) - i128::from(before)).unwrap_or(0);
    let first = last - i64::try_from(count.min(wanted as u64)).unwrap_or(0) + 1;
    let latest = (first..=last).filter_map(|n| n.checked_mul(step)).map(Timestamp::from_millis).collect();
    Missed { count, uncounted: false, latest }
}

#[cfg(test)]
mod tests;

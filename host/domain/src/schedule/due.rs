//! Decides which runs of a task have come due between two looks at the clock. Pure, and bounded, however long the last
//! look is ago.

use std::collections::VecDeque;
use std::time::Duration;

use super::interval::Interval;
use super::plan::MILLISECOND;
use super::{CatchUp, Plan, Trigger};
use crate::time::Timestamp;

/// The most runs that one look makes, so that a look stays short. The next look makes the following ones.
const MOST_RUNS: u64 = 10_000;

/// The most missed instants of a crontab that are stepped through one by one. Earlier ones are counted by days
/// ([`Crontab::count`](super::Crontab)).
const ONE_BY_ONE: u64 = 2_000;

/// The most days of an interval that are stepped through: half a century. They have to be, because a zone may have left
/// out some of them.
const MOST_DAYS: i64 = 50 * 366;

/// The longest grace. Later instants were missed, whatever grace the caller asks for, which bounds the number of
/// instants that are on time.
const LONGEST_GRACE: Duration = Duration::from_secs(60);

/// A stored instant that is further ahead of now than this was written by a wrong clock. People set clocks back to mend
/// a wrong zone or a wrong date, which is hours or a day. A schedule that waited for longer would look dead.
pub const IMPLAUSIBLE: Duration = Duration::from_secs(2 * 24 * 3600);

/// Returns `cursor` if a clock that was set back for a good reason may have left it ahead of `now`.
pub fn plausible(cursor: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    cursor.filter(|cursor| cursor.since(now) <= IMPLAUSIBLE)
}

/// The runs that a task is due for now, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The instants to make runs for, oldest first.
    pub fire: Vec<Timestamp>,
    /// The number of instants at the front of `fire` that were missed and are made up for.
    pub made_up: usize,
    /// The number of instants that are left out because they were missed.
    pub left_out: u64,
    /// Whether `left_out` is only a lower bound, because there were too many to count.
    pub uncounted: bool,
    /// The first missed instant, if there is one.
    pub missed_since: Option<Timestamp>,
    /// The last instant that is left out, if there is one.
    pub left_out_until: Option<Timestamp>,
    /// The cursor for the next look. Never before the previous one, unless that was [implausible](IMPLAUSIBLE).
    pub cursor: Timestamp,
    /// The start of the next run; `None` if no run will follow. If runs are made now, they may be the last ones: the
    /// next look tells.
    pub next: Option<Timestamp>,
    /// The time by which the clock is behind the cursor, more than zero after the clock was set back. Then no instant
    /// is due until the clock has caught up, because those instants were dealt with. A large value is worth a warning.
    pub behind: Duration,
}

/// The arguments of a look at a task's schedule.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The last instant that was dealt with; `None` when the task is seen for the first time.
    pub cursor: Option<Timestamp>,
    /// The current time.
    pub now: Timestamp,
    /// The longest time, up to a minute, by which a run may be late and still be on time. Later ones were missed.
    pub grace: Duration,
}

impl Plan<'_> {
    /// Returns the instants since the last look whose runs must be made now, after `fired` earlier runs. An instant is
    /// dealt with at the start of its run and in order. Overlap and pauses are settled at that time.
    ///
    /// Instants that are on time always get a run; those that were missed are treated by `catch_up`. A task that is
    /// seen for the first time starts from now and has missed nothing, except that a [`Trigger::At`] in the past is a
    /// missed instant. No instant up to the cursor is returned again, however the clock is set, unless the cursor is
    /// [implausible](IMPLAUSIBLE). In that case the schedule goes on from now.
    pub fn due(&self, look: Look, fired: u64) -> Due {
        let Look { cursor, now, grace } = look;
        let cursor = match (cursor, self.trigger) {
            (Some(cursor), _) => plausible(Some(cursor), now).unwrap_or(now),
            (None, Trigger::At(at)) if *at <= now => at.minus(MILLISECOND),
            (None, _) => now,
        };
        // By this instant only the jitter can delay the runs.
        let then = now.minus(self.fixed());
        let from = self.timing.start.map_or(cursor, |start| cursor.max(start.minus(MILLISECOND)));
        let to = self.timing.end.map_or(then, |end| then.min(end));
        let nothing = Due { cursor: cursor.max(then), behind: cursor.since(now), ..Due::default() };
        if self.left(fired) == Some(0) {
            return nothing;
        }
        if to <= from {
            return Due { next: self.next_start(nothing.cursor), ..nothing };
        }
        let reached = self.reached(from, to, now, grace.min(LONGEST_GRACE));
        let Reached { mut missed, on_time, until } = reached;
        if let Some(within) = self.timing.catch_up_within {
            missed.latest.retain(|at| *at >= now.minus(within));
        }
        let left_out = missed.count - missed.latest.len() as u64;
        let missed_since = if missed.count > 0 { self.next_after(from) } else { None };
        let mut made_up = missed.latest.len();
        let mut fire: Vec<Timestamp> = missed.latest.into();
        fire.extend(on_time);
        if let Some(left) = self.left(fired).and_then(|left| usize::try_from(left).ok()) {
            fire.truncate(left);
            made_up = made_up.min(left);
        }
        let cursor = until.unwrap_or(nothing.cursor);
        let next = self.next_start(cursor);
        // The instants that get a run come after those that are left out.
        let before_runs = fire.first().map_or(cursor.min(to), |first| first.minus(MILLISECOND));
        let left_out_until = if left_out > 0 { self.last_until(from, before_runs) } else { None };
        let uncounted = missed.uncounted;
        Due { fire, made_up, left_out, uncounted, missed_since, left_out_until, cursor, next, ..nothing }
    }

    /// Returns the start of the first run that is due after `cursor`.
    fn next_start(&self, cursor: Timestamp) -> Option<Timestamp> {
        self.next_after(cursor).map(|at| self.start_of(at))
    }

    /// Returns those instants in `(from, to]` whose runs should have started by `now`, up to the first that has not.
    fn reached(&self, from: Timestamp, to: Timestamp, now: Timestamp, grace: Duration) -> Reached {
        let wanted = match self.catch_up {
            CatchUp::None => 0,
            CatchUp::Latest => 1,
            CatchUp::All(most) => most as usize,
        };
        // Instants up to and with this one were missed, whatever their jitter is. Even at the end of the number range
        // it is no more than `to`.
        let earlier = self.fixed() + self.timing.jitter + grace + MILLISECOND;
        let missed_until = now.minus(earlier).clamp(from, to);
        let missed = match self.trigger {
            // Triggers that depend on earlier runs are decided by the scheduler.
            Trigger::OnDemand | Trigger::OnStart | Trigger::After(_) | Trigger::Pace(_) => Missed::default(),
            Trigger::Every(_) => self.interval().map_or_else(Missed::default, |all| match all.is_on_calendar() {
                true => days(all, from, missed_until, wanted),
                false => every(all, from, missed_until, wanted),
            }),
            Trigger::Cron(_) | Trigger::At(_) => self.walk(from, missed_until, wanted),
        };
        let mut reached = Reached { missed, on_time: Vec::new(), until: None };
        let (mut at, mut seen) = (missed_until, 0);
        while let Some(next) = self.next_until(at, to) {
            let start = self.start_of(next);
            if start > now || seen == MOST_RUNS {
                reached.until = Some(next.minus(MILLISECOND));
                break;
            }
            // A run that follows one that is on time is on time too, because it waited for its turn.
            if start < now.minus(grace) && reached.on_time.is_empty() {
                reached.missed.add(next, wanted);
            } else {
                reached.on_time.push(next);
            }
            (at, seen) = (next, seen + 1);
        }
        reached
    }
}

/// The instants that were reached since the last look.
struct Reached {
    missed: Missed,
    on_time: Vec<Timestamp>,
    /// The new cursor, if an instant has not been reached yet, or if there was too much for one look.
    until: Option<Timestamp>,
}

impl Plan<'_> {
    /// Collects instants in `(from, to]`: steps through all of them, or finds the latest ones if there are too many.
    fn walk(&self, from: Timestamp, to: Timestamp, wanted: usize) -> Missed {
        let mut missed = Missed::default();
        let mut at = from;
        while let Some(next) = self.next_until(at, to) {
            if missed.count == ONE_BY_ONE {
                match self.trigger {
                    Trigger::Cron(crontab) => {
                        let rest = crontab.count(self.zone, at, to);
                        missed.count += rest.instants;
                        missed.uncounted = !rest.complete;
                    }
                    _ => missed.uncounted = true,
                }
                missed.latest.clear();
                let mut to = to;
                while missed.latest.len() < wanted
                    && let Some(last) = self.last_until(from, to)
                {
                    missed.latest.push_front(last);
                    to = last.minus(MILLISECOND);
                }
                return missed;
            }
            missed.add(next, wanted);
            at = next;
        }
        missed
    }

    fn next_until(&self, after: Timestamp, to: Timestamp) -> Option<Timestamp> {
        self.unbounded_after(after).filter(|next| *next <= to)
    }

    /// Returns the last instant in `(from, to]` without stepping through those before it. It looks back ever further
    /// until it finds one, then halves the window that may hide a later one.
    fn last_until(&self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let mut nothing_after = to;
        let mut window = Duration::from_secs(60);
        let mut last = loop {
            let start = to.minus(window).max(from);
            if let Some(found) = self.next_until(start, to) {
                break found;
            }
            if start == from {
                return None;
            }
            nothing_after = start;
            window *= 2;
        };
        while let Some(later) = self.next_until(last, to) {
            last = later;
            let middle = last.plus(nothing_after.since(last) / 2);
            match self.next_until(middle, to) {
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
    /// The latest of them, as many as the caller wants, oldest first.
    latest: VecDeque<Timestamp>,
}

impl Missed {
    /// Adds one instant, later than all before.
    fn add(&mut self, at: Timestamp, wanted: usize) {
        self.count += 1;
        self.latest.push_back(at);
        if self.latest.len() > wanted {
            self.latest.pop_front();
        }
    }
}

/// Returns the days of an interval in `(from, to]`. It steps through them, because two of them are the same instant in
/// a zone that left out a day.
fn days(all: Interval, from: Timestamp, to: Timestamp, wanted: usize) -> Missed {
    let mut missed = Missed::default();
    let (before, last) = (all.number_until(from), all.number_until(to));
    let first = before.saturating_add(1).max(last.saturating_sub(MOST_DAYS));
    missed.uncounted = first > before.saturating_add(1);
    let instants = (first..=last).filter_map(|number| all.at(number)).filter(|at| *at > from);
    let mut latest = None;
    for at in instants {
        if latest.replace(at) != Some(at) {
            missed.add(at, wanted);
        }
    }
    missed
}

/// Returns the instants of an interval in `(from, to]`, counted without stepping through them.
fn every(all: Interval, from: Timestamp, to: Timestamp, wanted: usize) -> Missed {
    let (before, last) = (all.number_until(from), all.number_until(to));
    let count = u64::try_from(i128::from(last) - i128::from(before)).unwrap_or(0);
    let first = last - i64::try_from(count.min(wanted as u64)).unwrap_or(0) + 1;
    Missed { count, uncounted: false, latest: (first..=last).filter_map(|number| all.at(number)).collect() }
}

#[cfg(test)]
mod sums;
#[cfg(test)]
mod tests;

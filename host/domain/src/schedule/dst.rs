//! Computes the instants of crontabs in a zone whose clocks are set forward and back, by the rule of Vixie's cron,
//! which cronie keeps.
//!
//! Jobs whose minute or hour begins with `*` follow the clock. Fixed-time jobs that fall into a gap of less than three
//! hours run once right after it, and are not repeated when the clock is set back by up to three hours. A larger change
//! (a country that moves over the date line) is a new clock: skipped times are not made up for, and repeated times run
//! again.
//!
//! cronie wakes up every minute and keeps a *virtual* minute that trails or leads the clock's. This module computes the
//! same from one change of the clock to the next, and leaps over the time in which nothing is due. A crontab with
//! seconds is treated as cronie would if it woke up every second, which is why there are *ticks* here.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::calendar::{Calendar, FIRST_SECOND};

/// Seconds between two samples of a zone's offset. No zone changes twice within that time (a test holds that against
/// all zones), and all clocks that were set back by up to three hours have caught up after it.
pub(super) const PROBE: i64 = 6 * 3600;

/// The distance in seconds up to which changes of the clock are searched, ahead of now and before the next match. It is
/// more than all offsets and changes together, so that a clock in between shows neither a minute before nor one after.
const HORIZON: i64 = 3 * 24 * 3600;

/// A change by more than this many seconds is a new clock.
const LARGE: i64 = 180 * 60;

/// A clock that is ahead by at most this many seconds is treated as a late wake-up, and every job's minutes are stepped
/// through.
const SMALL: i64 = 5 * 60;

/// The job whose instants are computed.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) calendar: &'a Calendar,
    /// Whether the job follows the clock.
    pub(super) wild: bool,
    /// Whether a time that fell into a gap runs right after it. A job that follows the clock makes up for a gap only if
    /// it is small.
    pub(super) makes_up: bool,
}

impl Job<'_> {
    /// Returns the seconds from one wake-up to the next.
    fn tick(&self) -> i64 {
        if self.calendar.seconds() == FIRST_SECOND { 60 } else { 1 }
    }

    /// Returns the tick that a clock with this offset shows.
    fn shown(&self, second: i64, offset: i64) -> i64 {
        (second + offset).div_euclid(self.tick())
    }

    fn matches(&self, tick: i64) -> bool {
        self.calendar.contains(tick * self.tick())
    }

    /// Returns the first tick after `tick` that matches.
    fn next_after(&self, tick: i64) -> Option<i64> {
        let last_second = tick.checked_add(1)?.checked_mul(self.tick())?.checked_sub(1)?;
        Some(self.calendar.next_after(last_second)?.div_euclid(self.tick()))
    }
}

/// The state of cron at one instant.
struct Walk<'a> {
    job: Job<'a>,
    zone: Tz,
    /// The instant, in seconds since the Unix epoch; everything up to and including it has been dealt with.
    now: i64,
    /// The zone's offset from UTC in seconds, at `now`.
    offset: i64,
    /// The tick that the clock shows.
    clock: i64,
    /// The last tick that fixed-time jobs were run for. It is ahead of `clock` for a while after the clock was set
    /// back.
    virtually: i64,
}

/// Returns the first instant after `after` at which a job runs, in seconds since the Unix epoch.
///
/// Returns `None` if there is no such instant in chrono's calendar.
pub(super) fn next_after(job: Job<'_>, zone: Tz, after: i64) -> Option<i64> {
    let mut walk = Walk::at(job, zone, after)?;
    loop {
        let dealt_with = if job.wild { walk.clock } else { walk.virtually };
        let due = job.next_after(dealt_with)? * job.tick() - walk.offset;
        let until = due.min(walk.now + HORIZON);
        if let Some(change) = next_change(zone, walk.now, until)? {
            if walk.pass(change)? {
                return Some(change);
            }
        } else if due == until {
            return Some(due);
        } else {
            walk.advance(until.max(due - HORIZON))?;
        }
    }
}

/// The number of instants that were counted; `complete` if there are no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) instants: u64,
    pub(super) complete: bool,
}

/// Counts the instants in `(after, to]`, in seconds since the Unix epoch.
///
/// While no clock is set, it counts days of the calendar; around a change it counts instants one by one, at most `most`
/// of them.
pub(super) fn count(job: Job<'_>, zone: Tz, after: i64, to: i64, most: u64) -> Count {
    let mut count = Count { instants: 0, complete: false };
    let _ = count_into(&mut count, job, zone, (after, to), most);
    count
}

/// Returns `None` if chrono's calendar ends, or if there are too many instants around changes.
fn count_into(count: &mut Count, job: Job<'_>, zone: Tz, (after, to): (i64, i64), most: u64) -> Option<()> {
    let (mut at, mut left) = (after, most);
    while at < to {
        // A job that follows the clock is as usual right after the clock was set. Any other job has caught up after a
        // probe.
        let behind = if job.wild { None } else { next_change(zone, at - PROBE, at)? };
        let until = match behind {
            Some(change) => change + PROBE,
            None => match next_change(zone, at, to)? {
                Some(change) if change == at + 1 => {
                    if job.wild {
                        change
                    } else {
                        change + PROBE
                    }
                }
                change => {
                    let until = change.map_or(to, |change| change - 1);
                    let offset = offset(zone, at)?;
                    count.instants += job.calendar.count(at + offset, until + offset);
                    at = until;
                    continue;
                }
            },
        };
        let until = until.min(to);
        while let Some(next) = next_after(job, zone, at).filter(|next| *next <= until) {
            left = left.checked_sub(1)?;
            count.instants += 1;
            at = next;
        }
        at = until;
    }
    count.complete = true;
    Some(())
}

impl<'a> Walk<'a> {
    /// Creates the state at `now`, as if cron had been up for a while.
    fn at(job: Job<'a>, zone: Tz, now: i64) -> Option<Self> {
        let offset = offset(zone, now)?;
        let clock = job.shown(now, offset);
        let mut walk = Self { job, zone, now, offset, clock, virtually: clock };
        let before = now - PROBE;
        if let Some(change) = next_change(zone, before, now)? {
            walk.advance(before)?;
            walk.virtually = walk.clock;
            walk.pass(change)?;
            walk.advance(now)?;
        }
        Some(walk)
    }

    /// Advances to `to`, an instant up to which nothing happens.
    fn advance(&mut self, to: i64) -> Option<()> {
        self.now = to;
        self.offset = offset(self.zone, to)?;
        self.clock = self.job.shown(to, self.offset);
        self.virtually = self.virtually.max(self.clock);
        Some(())
    }

    /// Advances to `change`, the instant at which the clock is set. Returns whether the job runs then.
    fn pass(&mut self, change: i64) -> Option<bool> {
        let job = self.job;
        let shown = job.shown(change - 1, self.offset);
        self.virtually = self.virtually.max(shown);
        self.now = change;
        self.offset = offset(self.zone, change)?;
        self.clock = job.shown(change, self.offset);
        if self.clock == shown {
            return Some(false); // by less than a tick: cron sees no new minute yet
        }
        let ahead = (self.clock - self.virtually) * job.tick();
        let runs = if ahead.abs() > LARGE {
            job.matches(self.clock)
        } else if ahead <= 0 {
            return Some(job.wild && job.matches(self.clock));
        } else if !job.makes_up || (job.wild && ahead > SMALL) {
            job.matches(self.clock)
        } else {
            job.next_after(self.virtually).is_some_and(|missed| missed <= self.clock)
        };
        self.virtually = self.clock;
        Some(runs)
    }
}

/// Returns the first instant after `from`, and up to `until`, at which a zone's clocks are set, in seconds since the
/// Unix epoch.
///
/// The outer `None` is the end of chrono's calendar.
pub(super) fn next_change(zone: Tz, from: i64, until: i64) -> Option<Option<i64>> {
    let before = offset(zone, from)?;
    let mut low = from;
    while low < until {
        let mut high = until.min(low + PROBE);
        if offset(zone, high)? == before {
            low = high;
            continue;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if offset(zone, middle)? == before {
                low = middle;
            } else {
                high = middle;
            }
        }
        return Some(Some(high));
    }
    Some(None)
}

/// Returns a zone's offset from UTC at an instant, in seconds, positive in the east.
pub(super) fn offset(zone: Tz, second: i64) -> Option<i64> {
    let utc = DateTime::from_timestamp(second, 0)?.naive_utc();
    Some(i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()))
}

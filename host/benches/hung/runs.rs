//! Reads from the store of the host how the runs of a level went.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The store's figures about the runs of one level, in milliseconds.
pub(crate) struct Runs {
    /// The time from the instant at which a short run was due to the start of its guest.
    pub(crate) late: Vec<f64>,
    /// The part of that since the claim, including the claim's commit: the rest of the delay that the store does not
    /// explain.
    pub(crate) since_claim: Vec<f64>,
    /// The time from there to its end: it takes a lock and releases it.
    pub(crate) took: Vec<f64>,
    /// The time after their deadlines at which the hung ones ended.
    pub(crate) hung: Vec<f64>,
    /// Whether all of these ended as they should.
    pub(crate) hung_well: bool,
    /// The short runs in the order in which they were due.
    pub(crate) short: Vec<Short>,
}

/// The parts of one short run's delay, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short {
    /// When it was due, from the first arrival of a hung one.
    pub(crate) due: f64,
    /// The time until it was claimed.
    pub(crate) claimed: f64,
    /// The time from there until its guest started.
    pub(crate) started: f64,
    /// The time from there until it ended.
    pub(crate) ended: f64,
    /// The time for which its guest waited for turns, before its start and after.
    pub(crate) queued: f64,
    /// Processor time of its guest.
    pub(crate) guest: f64,
}

impl Short {
    /// Returns whether it started or ended late enough to ask for the reason.
    pub(crate) fn is_late(&self) -> bool {
        self.claimed + self.started > 20.0 || self.ended > 25.0
    }
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due, claimed, started, ended, queued, guest } = self;
        write!(
            f,
            "  due at {due:.0}: claimed after {claimed:.0}, started after {started:.0}, ended after {ended:.0} ms; \
             {queued:.1} ms in queues, {guest:.2} ms of its own"
        )
    }
}

fn millis(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Runs {
    /// Counts the hung runs due at `from` or later that have ended.
    pub(crate) fn ended(database: &Path, from: SystemTime) -> i64 {
        let store = rusqlite::Connection::open(database).unwrap();
        let query = "SELECT count(*) FROM runs r JOIN attempts a ON a.run = r.id JOIN tasks t ON t.id = r.task \
                     WHERE r.due_at >= ?1 AND t.name NOT LIKE 'tick%' AND a.ended_at IS NOT NULL";
        store.query_row(query, [millis(from)], |row| row.get(0)).unwrap()
    }

    /// Reads the runs that were due from `from` to `to`; the hung ones had `deadline`.
    pub(crate) fn read(database: &Path, from: SystemTime, to: SystemTime, deadline: Duration) -> Self {
        let store = rusqlite::Connection::open(database).unwrap();
        let mut query = store
            .prepare(
                "SELECT t.name LIKE 'tick%', r.due_at, r.claimed_at, a.started_at, a.ended_at, a.message, \
                 a.queued_us, a.guest_us FROM runs r \
                 JOIN attempts a ON a.run = r.id JOIN tasks t ON t.id = r.task WHERE r.due_at >= ?1 AND r.due_at < ?2 ORDER BY r.due_at",
            )
            .unwrap();
        let mut runs = Self {
            late: Vec::new(),
            since_claim: Vec::new(),
            took: Vec::new(),
            hung: Vec::new(),
            hung_well: true,
            short: Vec::new(),
        };
        let mut rows = query.query([millis(from), millis(to)]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let number = |column: usize| row.get::<_, i64>(column).unwrap() as f64;
            if row.get(0).unwrap() {
                runs.late.push(number(3) - number(1));
                runs.since_claim.push(number(3) - number(2));
                runs.took.push(number(4) - number(3));
                runs.short.push(Short {
                    due: number(1) - millis(from) as f64,
                    claimed: number(2) - number(1),
                    started: number(3) - number(2),
                    ended: number(4) - number(3),
                    queued: number(6) / 1e3,
                    guest: number(7) / 1e3,
                });
            } else {
                runs.hung.push(number(4) - number(2) - deadline.as_secs_f64() * 1e3);
                let said: String = row.get(5).unwrap();
                runs.hung_well &= said.contains("at its deadline");
            }
        }
        runs
    }
}

//! Fills a store in SQLite with finished runs, in SQL, with everything that a host would have written about them.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Transaction, params};

use sexton_domain::labels::Labels;
use sexton_domain::run::Cause;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::{NewRun, Store};

/// The tenants, and the tasks of each.
pub(crate) const TENANTS: usize = 50;
const TASKS: usize = 20;

/// The time over which the runs were made.
const DAYS: i64 = 20;

/// The labels that runs have, a set each.
const SETS: [&[&str]; 4] =
    [&["env=prod", "team=web"], &["env=test", "team=web"], &["env=prod", "team=ops"], &["team=ink"]];

/// The runs of each tenant that wait.
const WAITING: usize = 20;

/// Returns the name of a tenant. The first is the default one, which every host has.
pub(crate) fn tenant(nth: usize) -> Name {
    if nth == 0 { Name::default_tenant() } else { Name::new(&format!("tenant-{nth}")).unwrap() }
}

/// Returns the names of the tasks of each tenant.
pub(crate) fn tasks() -> Vec<Name> {
    (0..TASKS).map(|task| Name::new(&format!("task-{task}")).unwrap()).collect()
}

/// Puts `runs` runs into the file at `path`, which a host has created and closed.
pub(crate) fn sqlite(path: &Path, runs: usize) {
    let mut conn = Connection::open(path).unwrap();
    let tx = conn.transaction().unwrap();
    names(&tx);
    let (first, fence): (i64, i64) =
        tx.query_row("SELECT run, fence FROM counters", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let runs = i64::try_from(runs).unwrap();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    // `nth` is the place of a run among those of its tenant. The remainders are of primes, so that the tasks, the ends,
    // the labels and the others do not depend on each other.
    let step = DAYS * 86_400_000 / runs;
    let made = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {runs} - 1), \
         made AS (SELECT n, n % {TENANTS} AS tenant, n / {TENANTS} AS nth, \
         {now} - {step} * ({runs} - n) - 60000 AS at FROM numbers) "
    );
    let insert = format!(
        "{made} INSERT INTO runs (id, tenant, task, state, cause, attempt, failures, bytes, due_at, run_at, created_at, \
         claimed_at, ended_at, fence, outcome, host, schedule, dedup, labels, message) \
         SELECT {first} + n + 1, tenant + 1, tenant * {TASKS} + nth % {TASKS} + 1, iif(nth % 997 = 500, 3, 2), \
         iif(nth % 7 < 5 OR nth % 31 = 0 OR nth % 29 = 1, 0, 2), 1, nth % 997 = 500, 0, at, at, at, at + 3, \
         at + iif(nth % 1009 = 11, 20000, 8), {fence} + n + 1, \
         CASE WHEN nth % 997 <> 500 THEN 0 WHEN nth % 3 = 0 THEN 5 ELSE 7 END, \
         iif(nth % 9973 = 5, 'rare', 'box-' || nth % 3), iif(nth % 31 = 0, 'monday', NULL), \
         CASE WHEN nth % 31 = 0 THEN 'added:monday:' || at WHEN nth % 29 = 1 THEN 'chain:nightly:' || nth || '@' || at END, \
         iif(nth % 17 = 3, tenant * {sets} + nth / 17 % {sets} + 1, NULL), \
         iif(nth % 997 = 500, 'the disk is full at sector ' || n, NULL) FROM made",
        sets = SETS.len(),
    );
    assert_eq!(tx.execute(&insert, []).unwrap() as i64, runs);
    about_attempts(&tx, first);
    tx.execute("UPDATE counters SET run = run + ?1, fence = fence + ?1", [runs]).unwrap();
    tx.commit().unwrap();
    conn.execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
}

/// Writes the tenants, their tasks and their sets of labels, by the numbers that the runs have.
fn names(tx: &Transaction<'_>) {
    tx.execute_batch("DELETE FROM tasks; DELETE FROM tenants;").unwrap();
    let task = "INSERT INTO tasks (id, tenant, name, paused, waiting, running, succeeded, failed, cancelled, bytes) \
                VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0, 0)";
    for nth in 0..TENANTS {
        let name = tenant(nth);
        tx.execute("INSERT INTO tenants (id, name) VALUES (?1, ?2)", params![nth as i64 + 1, name.as_str()]).unwrap();
        for (place, of_tenant) in tasks().iter().enumerate() {
            let id = (nth * TASKS + place + 1) as i64;
            tx.execute(task, params![id, name.as_str(), of_tenant.as_str()]).unwrap();
        }
        for (place, labels) in SETS.iter().enumerate() {
            let id = (nth * SETS.len() + place + 1) as i64;
            let set = "INSERT INTO label_sets (id, tenant, labels) VALUES (?1, ?2, ?3)";
            tx.execute(set, params![id, nth as i64 + 1, labels.join("\n")]).unwrap();
            for label in *labels {
                let of_set = "INSERT INTO labels_of_sets (tenant, label, label_set) VALUES (?1, ?2, ?3)";
                tx.execute(of_set, params![nth as i64 + 1, label, id]).unwrap();
            }
        }
    }
}

/// Writes the attempts of the runs after `first`, logs of a tenth of them and of all that failed, and the sums of tasks.
fn about_attempts(tx: &Transaction<'_>, first: i64) {
    tx.execute(
        "INSERT INTO attempts (run, attempt, outcome, started_at, ended_at, fuel, peak_memory, guest_us, host_us, host_calls, \
         host, queued_us, message) SELECT id, 1, outcome, claimed_at, ended_at, 1000, 1114112, 20, 10, 1, host, 3000, message \
         FROM runs WHERE id > ?1",
        [first],
    )
    .unwrap();
    tx.execute(
        "INSERT INTO logs (run, attempt, log, log_cut, stdout, stdout_cut, stderr, stderr_cut) \
         SELECT id, 1, '{\"at\":\"2027-01-01T00:00:00.000Z\",\"level\":\"info\",\"message\":\"read sector ' || id || \
         ' of the volume, which took no longer than usual\"}' || char(10), 0, '', 0, '', 0 \
         FROM runs WHERE id > ?1 AND (id % 11 = 0 OR outcome <> 0)",
        [first],
    )
    .unwrap();
    let sums = "UPDATE tasks SET (succeeded, failed, latest_success, latest_success_at) = \
                (SELECT count(*) FILTER (WHERE state = 2), count(*) FILTER (WHERE state = 3), \
                 max(id) FILTER (WHERE state = 2), max(ended_at) FILTER (WHERE state = 2) FROM runs WHERE task = tasks.id)";
    tx.execute(sums, []).unwrap();
}

/// Makes runs that wait, with labels. No host has a plugin that could run them.
pub(crate) async fn waiting(store: &dyn Store) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let now = Timestamp::from_millis(i64::try_from(now).unwrap());
    for nth in 0..TENANTS {
        let runs = (0..WAITING).map(|place| {
            let task = TaskKey { tenant: tenant(nth), task: tasks().swap_remove(place % TASKS) };
            let labels = Labels::read(SETS[place % SETS.len()]).unwrap();
            NewRun { labels, ..NewRun::of(task, now, Cause::Demand) }
        });
        store.enqueue(runs.collect(), now).await.unwrap();
    }
}

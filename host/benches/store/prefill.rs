//! Fills a store with finished runs, in SQL, with everything that a host would have written about them: the run, its
//! attempt, and the sums of its task.
//!
//! Half of them belong to the measured task, half to another, because a task may keep a million runs and must have room
//! for more.

use std::path::Path;

use rusqlite::{Connection, params};
use sexton_testkit::postgres::Cluster;

/// The tasks of the runs, in turn.
const TASKS: [&str; 2] = ["noop", "older"];

/// Puts `runs` runs into the SQLite file at `path`, which a host has created and closed.
pub(crate) fn sqlite(path: &Path, runs: usize) {
    let mut conn = Connection::open(path).unwrap();
    let runs = i64::try_from(runs).unwrap();
    let tx = conn.transaction().unwrap();
    for task in TASKS {
        // A host that has looked at its plugins may have created it.
        let make = "INSERT INTO tasks (tenant, name, paused, waiting, running, succeeded, failed, cancelled, bytes) \
                    SELECT 'default', ?1, 0, 0, 0, 0, 0, 0, 0 \
                    WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE tenant = 'default' AND name = ?1)";
        tx.execute(make, [task]).unwrap();
    }
    let (first, fence): (i64, i64) =
        tx.query_row("SELECT run, fence FROM counters", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let id = |name| {
        let sql = "SELECT id FROM tasks WHERE tenant = 'default' AND name = ?1";
        tx.query_row(sql, [name], |row| row.get::<_, i64>(0)).unwrap()
    };
    let now = "CAST(1000 * unixepoch('subsec') AS INTEGER)";
    let numbers = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)";
    // One every 10 ms until now.
    let filled = tx.execute(
        &format!(
            "{numbers} INSERT INTO runs (id, task, state, cause, attempt, failures, bytes, due_at, run_at, created_at, \
             claimed_at, ended_at, fence, outcome, host) SELECT ?2 + n, CASE n % 2 WHEN 0 THEN ?4 ELSE ?5 END, 2, 2, 1, 0, 0, \
             at, at, at, at + 3, at + 4, ?3 + n, 0, 'filler' FROM (SELECT n, {now} - 10 * (?1 - n) - 10 AS at FROM numbers)"
        ),
        params![runs, first, fence, id(TASKS[0]), id(TASKS[1])],
    );
    assert_eq!(filled.unwrap() as i64, runs);
    tx.execute(
        "INSERT INTO attempts (run, attempt, outcome, started_at, ended_at, fuel, peak_memory, guest_us, host_us, host_calls, \
         host, queued_us) SELECT id, 1, 0, claimed_at, ended_at, 1000, 1114112, 20, 10, 1, host, 3000 FROM runs WHERE id > ?1",
        [first],
    )
    .unwrap();
    let sums = "UPDATE tasks SET (succeeded, latest_success, latest_success_at) = \
                (SELECT count(*), max(id), max(ended_at) FROM runs WHERE task = tasks.id AND state = 2)";
    tx.execute(sums, []).unwrap();
    tx.execute("UPDATE counters SET run = run + ?1, fence = fence + ?1", [runs]).unwrap();
    tx.commit().unwrap();
    conn.execute_batch("ANALYZE; PRAGMA wal_checkpoint(TRUNCATE);").unwrap();
}

/// Does the same in a schema of a PostgreSQL database, whose hosts have stopped.
pub(crate) fn postgres(cluster: &Cluster, schema: &str, runs: usize) {
    let [noop, older] = TASKS;
    let fill = format!(
        "SET statement_timeout = 0;
         INSERT INTO tasks (tenant, name) VALUES ('default', '{noop}'), ('default', '{older}') ON CONFLICT DO NOTHING;
         -- One every 10 ms until now, of today: days are partitions, and a host makes only those that it needs.
         INSERT INTO runs (id, over_at, task, state, cause, attempt, outcome, due_at, run_at, created_at, claimed_at, fence, host)
         SELECT nextval('run_ids'), at + 4, task.id, 2, 2, 1, 0, at, at, at, at + 3, nextval('fences'), 'filler'
         FROM (SELECT n, greatest(today, now - 10 * ({runs} - n) - 10) AS at
               FROM generate_series(1, {runs}) AS n,
                    (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now,
                            (extract(epoch FROM date_trunc('day', now(), 'UTC')) * 1000)::bigint AS today) AS clock
               ORDER BY n) AS made
         JOIN tasks AS task ON task.tenant = 'default'
            AND task.name = CASE made.n % 2 WHEN 0 THEN '{noop}' ELSE '{older}' END;
         INSERT INTO attempts (run, attempt, over_at, fence, outcome, started_at, ended_at, fuel, peak_memory, guest_us, host_us,
            queued_us, lock_wait_us, host_calls, bytes_in, bytes_out, host)
         SELECT id, 1, over_at, fence, 0, claimed_at, over_at, 1000, 1114112, 20, 10, 3000, 0, 1, 0, 0, host
         FROM runs WHERE host = 'filler';
         INSERT INTO tally (task, shard, succeeded, latest_success, latest_success_at)
         SELECT task, 0, count(*), max(id), max(over_at) FROM runs WHERE host = 'filler' GROUP BY task
         ON CONFLICT (task, shard) DO UPDATE SET succeeded = tally.succeeded + excluded.succeeded,
            latest_success = greatest(tally.latest_success, excluded.latest_success),
            latest_success_at = greatest(tally.latest_success_at, excluded.latest_success_at);"
    );
    cluster.psql_in(schema, &fill);
}

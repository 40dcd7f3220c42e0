//! The tables, and the migrations of older files to them.
//!
//! A file's `user_version` is the number of migrations that were done on it. A released migration is never changed; a
//! further one is added.
//!
//! Instants are milliseconds since the Unix epoch, in columns that end in `_at` or `_until`. The numbers that stand for
//! words (`state`, `cause`, ...) are in `store/codes.rs`.

use rusqlite::Connection;

use super::rows::to_sql;

/// Marks the file as this program's, among all SQLite databases: "SXTN".
pub(super) const APPLICATION_ID: i32 = 0x5358_544e;

/// All migrations, in their order.
const MIGRATIONS: [&str; 15] = [
    FIRST,
    SUPERVISION,
    CACHE_BY_TASK,
    SCHEDULES,
    PAUSES,
    POLICIES,
    ADDED,
    PACE,
    HOSTS,
    TRANSFER,
    PUBLISHED,
    BEGUN,
    IDENTITY,
    BACKLOG,
    LOSSES,
];

/// The schema's number that this program works on.
pub(super) const VERSION: usize = MIGRATIONS.len();

/// The first schema whose files have an identity ([`IDENTITY`]).
pub(super) const IDENTITY_SINCE: usize = 13;

/// Migrates a file from schema `from` to [`VERSION`]. Each migration is a transaction, so that one that is cut short by
/// a crash or a full disk has not happened.
pub(super) fn migrate(conn: &mut Connection, from: usize) -> rusqlite::Result<()> {
    for (done, migration) in MIGRATIONS.iter().enumerate().skip(from) {
        let tx = conn.transaction()?;
        tx.execute_batch(migration)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", to_sql(done + 1))?;
        tx.commit()?;
    }
    Ok(())
}

/// The tenant and name of a task are one number in `runs`: that of its row in `tasks`. So every key of a run carries
/// its tenant, at eight bytes.
const FIRST: &str = "
-- The greatest numbers given out. Run ids and fences are never given out again, whatever is deleted.
CREATE TABLE counters (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run INTEGER NOT NULL,
    fence INTEGER NOT NULL -- of claims and locks; versions of cache entries too
) STRICT;
INSERT INTO counters VALUES (1, 0, 0);

-- A row for each task that ever had a run or a state, with sums over its runs, so that these need not be counted.
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    cursor_at INTEGER,
    paused INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    running INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    bytes INTEGER NOT NULL, -- of the runs that are over
    latest_success INTEGER, -- a run
    latest_success_at INTEGER,
    UNIQUE (tenant, name)
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    task INTEGER NOT NULL, -- in tasks
    state INTEGER NOT NULL,
    cause INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    bytes INTEGER NOT NULL, -- in inputs, outputs and logs; 0 if there are none
    due_at INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    claimed_at INTEGER,
    ended_at INTEGER,
    fence INTEGER, -- of the latest claim
    lease_until INTEGER, -- only while running
    outcome INTEGER, -- of the latest attempt that is over
    parent INTEGER, -- the run that enqueued it
    host TEXT,
    dedup TEXT,
    message TEXT,
    cancel TEXT -- the reason, if an end of the running attempt was requested
) STRICT;
CREATE INDEX runs_of_task ON runs (task, id);
CREATE INDEX runs_waiting ON runs (task, run_at, id) WHERE state = 0;
CREATE INDEX runs_retrying ON runs (task) WHERE state = 0 AND attempt > 0;
CREATE INDEX runs_running ON runs (id) WHERE state = 1;
CREATE UNIQUE INDEX runs_dedup ON runs (task, dedup) WHERE dedup IS NOT NULL;

-- Large values are kept apart, and only if they exist, because a claim and a finish rewrite the run's row.
CREATE TABLE inputs (
    run INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE outputs (
    run INTEGER PRIMARY KEY,
    content_type TEXT,
    body BLOB NOT NULL
) STRICT;

-- The key keeps an attempt's end from being written twice.
CREATE TABLE attempts (
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    fuel INTEGER NOT NULL,
    peak_memory INTEGER NOT NULL, -- bytes
    guest_us INTEGER NOT NULL,
    host_us INTEGER NOT NULL,
    host_calls INTEGER NOT NULL,
    host TEXT NOT NULL,
    message TEXT,
    PRIMARY KEY (run, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE logs (
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    backtrace TEXT,
    log TEXT NOT NULL,
    log_cut INTEGER NOT NULL,
    stdout TEXT NOT NULL,
    stdout_cut INTEGER NOT NULL,
    stderr TEXT NOT NULL,
    stderr_cut INTEGER NOT NULL,
    PRIMARY KEY (run, attempt)
) STRICT;

CREATE TABLE locks (
    tenant TEXT NOT NULL,
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    run INTEGER NOT NULL,
    claim INTEGER NOT NULL, -- the fence of the run's claim
    mode INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    since_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, name, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX locks_of_run ON locks (run);

CREATE TABLE entries (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    set_at INTEGER NOT NULL,
    expires_at INTEGER,
    value BLOB NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT;
CREATE INDEX entries_expiring ON entries (expires_at) WHERE expires_at IS NOT NULL;
-- Bytes of keys and values, including expired ones until they are deleted.
CREATE TABLE cache_usage (
    tenant TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Facts beyond single runs that supervision needs, and the accounts of attempts.
const SUPERVISION: &str = "
ALTER TABLE attempts ADD COLUMN queued_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN lock_wait_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN bytes_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN bytes_out INTEGER NOT NULL DEFAULT 0;
-- Runs of the task that failed since one succeeded.
ALTER TABLE tasks ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
-- Attempts at them that crashed since one ended as its guest wished.
ALTER TABLE tasks ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
-- Nothing of the task starts by itself before then, because it crashed again and again.
ALTER TABLE tasks ADD COLUMN held_until INTEGER;
-- Since when it is paused, and why, unless a person paused it.
ALTER TABLE tasks ADD COLUMN paused_at INTEGER;
ALTER TABLE tasks ADD COLUMN paused_why TEXT;
";

/// The task that wrote each entry, and the bytes of its entries.
const CACHE_BY_TASK: &str = "
-- In tasks: the one whose run wrote it last. Null if a person did, or if it is unknown.
ALTER TABLE entries ADD COLUMN writer INTEGER;
-- Bytes of keys and values, including expired ones until they are deleted. A part of the sum in cache_usage.
CREATE TABLE cache_usage_of_tasks (
    task INTEGER PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT;
";

/// State of schedules that do not depend on the clock alone, and runs that must start in time or go past limits.
const SCHEDULES: &str = "
-- Runs that the task's schedule has made.
ALTER TABLE tasks ADD COLUMN fired INTEGER NOT NULL DEFAULT 0;
-- The memory of its trigger, in its own words.
ALTER TABLE tasks ADD COLUMN memory TEXT;
-- How it was made, for people.
ALTER TABLE runs ADD COLUMN note TEXT;
-- A first attempt starts by then or never.
ALTER TABLE runs ADD COLUMN start_by_at INTEGER;
-- It starts although its task is paused, held back or at its limit.
ALTER TABLE runs ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_starting_by ON runs (start_by_at) WHERE state = 0 AND start_by_at IS NOT NULL;
CREATE INDEX runs_forced ON runs (run_at, id) WHERE state = 0 AND forced = 1;
";

/// Pauses of a tenant or of all.
const PAUSES: &str = "
CREATE TABLE pauses (
    tenant TEXT PRIMARY KEY, -- '' stands for all
    since_at INTEGER NOT NULL,
    why TEXT
) STRICT, WITHOUT ROWID;
";

/// The schedule whose instants the task has dealt with, and a description of those that it left out.
const POLICIES: &str = "
ALTER TABLE tasks ADD COLUMN schedule TEXT;
ALTER TABLE tasks ADD COLUMN left_out TEXT;
";

/// Schedules that are added while hosts run.
const ADDED: &str = "
-- The greatest version (or id) given out in schedules.
ALTER TABLE counters ADD COLUMN schedules INTEGER NOT NULL DEFAULT 0;
CREATE TABLE schedules (
    id INTEGER PRIMARY KEY,
    version INTEGER NOT NULL, -- greater after every change by people; hosts look for greater ones than they know
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    task TEXT NOT NULL,
    definition TEXT NOT NULL, -- JSON
    data BLOB, -- the input of its runs; null: the task's
    created_at INTEGER NOT NULL,
    cursor_at INTEGER NOT NULL,
    fired INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    finished_at INTEGER, -- since then nothing more will be due
    deleted INTEGER NOT NULL DEFAULT 0, -- stays for a while, so that other hosts hear of it
    UNIQUE (tenant, key)
) STRICT;
CREATE UNIQUE INDEX schedules_version ON schedules (version);
CREATE INDEX schedules_of_task ON schedules (tenant, task, key) WHERE deleted = 0;
CREATE INDEX schedules_over ON schedules (deleted, finished_at) WHERE finished_at IS NOT NULL;
-- The key of the schedule that made the run.
ALTER TABLE runs ADD COLUMN schedule TEXT;
CREATE INDEX runs_of_schedule ON runs (schedule) WHERE state < 2 AND schedule IS NOT NULL;
";

/// The latest failure, on which a pace depends.
const PACE: &str = "
-- When the latest failed run ended.
ALTER TABLE tasks ADD COLUMN latest_failure_at INTEGER;
";

/// The known hosts.
const HOSTS: &str = "
CREATE TABLE hosts (
    name TEXT PRIMARY KEY,
    instance INTEGER NOT NULL, -- names a life of the host: a later one has another
    version TEXT NOT NULL,
    address TEXT NOT NULL,
    labels TEXT NOT NULL, -- separated by spaces
    slots INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    plugins INTEGER NOT NULL,
    draining INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    alive_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

/// The move into this store that is in progress; no rows if there is none.
const TRANSFER: &str = "
CREATE TABLE transfer (
    kind TEXT PRIMARY KEY, -- of records
    source TEXT NOT NULL, -- the store that has them
    reached TEXT -- the key of the last one that was moved, as JSON; null: none was
) STRICT, WITHOUT ROWID;
";

/// Published plugins.
const PUBLISHED: &str = "
-- The greatest version given out in published.
ALTER TABLE counters ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
CREATE TABLE published (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    version INTEGER NOT NULL, -- greater after every change; hosts look for greater ones than they know
    digest TEXT NOT NULL, -- in components
    size INTEGER NOT NULL, -- bytes of the component
    manifest TEXT NOT NULL,
    host TEXT NOT NULL, -- that published it
    published_at INTEGER NOT NULL,
    withdrawn_at INTEGER, -- the row stays for a while, so that other hosts hear of it
    PRIMARY KEY (tenant, plugin)
) STRICT;
CREATE UNIQUE INDEX published_version ON published (version);
CREATE INDEX published_digest ON published (digest);
CREATE TABLE components (
    digest TEXT PRIMARY KEY, -- SHA-256, in hex
    size INTEGER NOT NULL,
    kept_at INTEGER NOT NULL -- when it was published last
) STRICT, WITHOUT ROWID;
CREATE TABLE component_parts (
    digest TEXT NOT NULL,
    part INTEGER NOT NULL, -- from 0
    body BLOB NOT NULL,
    PRIMARY KEY (digest, part)
) STRICT;
";

/// Finds the latest run of a task that has begun at once, however many wait or were skipped since.
const BEGUN: &str = "
CREATE INDEX runs_begun ON runs (task, id) WHERE attempt > 0;
";

/// The identity of a store file: see `epoch.rs`.
const IDENTITY: &str = "
CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    store TEXT NOT NULL, -- an id that nothing else has
    epoch INTEGER NOT NULL, -- grows each time that the log begins anew
    cookie INTEGER NOT NULL, -- SQLite's schema_version and
    version INTEGER NOT NULL, -- the user_version, as they were when the epoch was set
    copied_at INTEGER, -- in a copy that no host has used yet
    knows_all INTEGER NOT NULL -- whether such a copy knows all numbers that were given out after it was made
) STRICT;
INSERT INTO identity VALUES (1, lower(hex(randomblob(8))), 1, 0, 0, NULL, 0);
";

/// Indexes the runs that wait because tasks asked for them.
const BACKLOG: &str = "
CREATE INDEX runs_asked_for ON runs (task, bytes) WHERE state = 0 AND cause = 3;
";

/// Facts that decide about a run whose host died.
const LOSSES: &str = "
-- The limit on attempts, as the latest claim knew it; null if no claim has stored it.
ALTER TABLE runs ADD COLUMN attempts_limit INTEGER;
-- The task is paused after so many failed runs in a row, as the same claim knew it; null if it never is.
ALTER TABLE runs ADD COLUMN pause_after INTEGER;
-- How often its host died while it was running.
ALTER TABLE runs ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
-- Since when it is held back as a suspect. Its run_at is then the latest possible instant.
ALTER TABLE runs ADD COLUMN suspected_at INTEGER;
-- Deaths that are taken back if the same life of the host announces itself again.
CREATE TABLE presumed_deaths (
    host TEXT NOT NULL,
    instance INTEGER NOT NULL,
    run INTEGER NOT NULL,
    fence INTEGER NOT NULL, -- of the claim that was lost
    PRIMARY KEY (host, instance, run, fence)
) STRICT, WITHOUT ROWID;
";

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::*;
    use crate::supervision::{Pause, Standing};

    #[test]
    fn a_file_of_the_first_schema_keeps_its_tasks() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(FIRST).unwrap();
        let tasks = "INSERT INTO tasks VALUES (1, 'default', 'a', 7, 1, 2, 0, 0, 0, 0, 0, NULL, NULL), \
                     (2, 'default', 'b', NULL, 0, 0, 0, 0, 5, 0, 0, NULL, NULL)";
        conn.execute_batch(tasks).unwrap();

        migrate(&mut conn, 1).unwrap();

        let ledger = Ledger::load(&conn).unwrap();
        let found: Vec<_> = ledger.tasks().map(|(_, row)| (row.paused.clone(), row.standing, row.runs)).collect();
        let fresh = Standing::default();
        assert_eq!(found, [(Some(Pause::default()), fresh, [2, 0, 0, 0, 0]), (None, fresh, [0, 0, 0, 5, 0])]);
    }

    #[test]
    fn entries_of_an_older_file_belong_to_no_task() {
        let mut conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(FIRST).unwrap();
        conn.execute_batch("INSERT INTO entries VALUES ('default', 'k', 1, 0, NULL, x'00')").unwrap();

        migrate(&mut conn, 1).unwrap();

        let writer = conn.query_row("SELECT writer FROM entries", [], |row| row.get::<_, Option<i64>>(0)).unwrap();
        let counted =
            conn.query_row("SELECT count(*) FROM cache_usage_of_tasks", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((writer, counted), (None, 0));
    }
}

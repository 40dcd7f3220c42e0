//! The tables, and the migrations of older databases to them.
//!
//! Migrations have the numbers that they have for SQLite (`store/sqlite/schema.rs`): the first here does what the first
//! eight do there. A released one is never changed; a further one is added. Each is a transaction, and says which older
//! programs can work on its result, so that hosts of two versions can share a database for a while.
//!
//! Names that guests choose (locks, cache keys) are bytes: PostgreSQL's texts cannot hold every string.
//!
//! Instants are milliseconds since the Unix epoch, in columns that end in `_at` or `_until`. The numbers that stand for
//! words (`state`, `cause`, ...) are in `store/codes.rs`.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::errors::translate;
use crate::store::{Result, StoreError};

/// A migration: its number, the oldest schema whose programs can still work on its result, and its statements.
struct Migration {
    number: i32,
    serves: i32,
    text: &'static str,
}

/// All migrations, in their order.
const MIGRATIONS: [Migration; 7] = [
    Migration { number: 8, serves: 8, text: FIRST },
    Migration { number: 9, serves: 8, text: HOSTS },
    Migration { number: 10, serves: 8, text: TRANSFER },
    Migration { number: 11, serves: 8, text: PUBLISHED },
    Migration { number: 12, serves: 8, text: BEGUN },
    // Migration 13 of SQLite is about files.
    Migration { number: 14, serves: 8, text: BACKLOG },
    Migration { number: 15, serves: 8, text: LOSSES },
];

/// The schema's version that this program works on.
pub(super) const VERSION: i32 = MIGRATIONS[MIGRATIONS.len() - 1].number;

/// The value of `runs.over_at` and `attempts.over_at` while the run is not over: later than any instant, so that these
/// rows are a partition of their own.
pub(super) const NOT_OVER: i64 = i64::MAX;

/// Migrates the schema `name` of the database to [`VERSION`], and creates it if it does not exist.
///
/// Several hosts may do so at once: the row with the version is locked.
///
/// # Errors
///
/// [`StoreError::Unusable`] if the schema is newer than this program, and does not serve it.
pub(super) async fn migrate(client: &mut Client, name: &str) -> Result<()> {
    let quoted = format!("\"{name}\"");
    // Of two hosts that create these at once, the second finds them, or an error says that the first was quicker.
    for make in [
        format!("CREATE SCHEMA IF NOT EXISTS {quoted}"),
        "CREATE TABLE IF NOT EXISTS meta (id int PRIMARY KEY CHECK (id = 1), version int NOT NULL, serves int NOT NULL)"
            .to_owned(),
        "INSERT INTO meta VALUES (1, 0, 0) ON CONFLICT DO NOTHING".to_owned(),
    ] {
        match client.batch_execute(&make).await {
            Err(e) if e.code().is_some_and(quicker) => {}
            Err(e) if e.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) && make.starts_with("CREATE SCHEMA") => {
                // Another user, who is allowed to, may have created it.
                tracing::debug!(error = %e, "Cannot make the schema");
            }
            done => done.map_err(|e| translate(&e))?,
        }
    }
    let tx = client.transaction().await.map_err(|e| translate(&e))?;
    let row = tx.query_one("SELECT version, serves FROM meta FOR UPDATE", &[]).await.map_err(|e| translate(&e))?;
    let (version, serves): (i32, i32) = (row.get(0), row.get(1));
    if version > VERSION && serves > VERSION {
        return Err(StoreError::Unusable(format!(
            "schema `{name}` of the database has version {version}, and this sexton knows versions up to {VERSION}: use the \
             newer sexton that made it"
        )));
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > version) {
        let text = migration.text.replace("NOT_OVER", &NOT_OVER.to_string());
        tx.batch_execute(&text).await.map_err(|e| translate(&e))?;
        tx.execute("UPDATE meta SET version = $1, serves = $2", &[&migration.number, &migration.serves])
            .await
            .map_err(|e| translate(&e))?;
    }
    tx.commit().await.map_err(|e| translate(&e))
}

/// Returns whether an error says that another host has just created the same.
fn quicker(code: &SqlState) -> bool {
    [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_SCHEMA, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT]
        .contains(code)
}

/// Runs and attempts are partitioned by the instant at which the run was over: those of runs that are not over are one
/// partition, which stays small however long the history is; the others are one a day (`partitions.rs`), so that old
/// history is deleted by dropping a table.
///
/// Live tables keep the pages that they needed at most: giving them back would hold up all transactions for a moment,
/// again and again, and the next burst needs them anyway.
const FIRST: &str = "
CREATE SEQUENCE run_ids;
CREATE SEQUENCE fences; -- of claims and locks; versions of cache entries too
CREATE SEQUENCE opened; -- how often the database was opened: see `tally.shard`

-- A row for each task that ever had a run or a state. A transaction that claims or admits its runs holds its lock.
CREATE TABLE tasks (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    tenant text COLLATE \"C\" NOT NULL,
    name text COLLATE \"C\" NOT NULL,
    cursor_at bigint,
    fired bigint NOT NULL DEFAULT 0,
    memory text,
    schedule text,
    left_out text,
    paused boolean NOT NULL DEFAULT false,
    paused_at bigint,
    paused_why text,
    failures int NOT NULL DEFAULT 0,
    crashes int NOT NULL DEFAULT 0,
    held_until bigint,
    UNIQUE (tenant, name)
);

-- Sums over the runs of a task, each of which is a sum over all shards. Each lane that writes runs has a shard of its
-- own, so that none waits for another's commit.
CREATE TABLE tally (
    task bigint NOT NULL,
    shard smallint NOT NULL,
    waiting bigint NOT NULL DEFAULT 0,
    running bigint NOT NULL DEFAULT 0,
    succeeded bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0, -- of the runs that are over
    latest_success bigint, -- a run
    latest_success_at bigint,
    latest_failure_at bigint,
    PRIMARY KEY (task, shard)
) WITH (fillfactor = 50);

CREATE TABLE runs (
    id bigint NOT NULL,
    over_at bigint NOT NULL DEFAULT NOT_OVER,
    task bigint NOT NULL, -- in tasks
    state smallint NOT NULL,
    cause smallint NOT NULL,
    forced boolean NOT NULL DEFAULT false, -- it starts although its task is paused, held back or at its limit
    attempt int NOT NULL DEFAULT 0,
    failures int NOT NULL DEFAULT 0,
    outcome smallint, -- of the latest attempt that is over
    bytes bigint NOT NULL DEFAULT 0, -- of input, output and logs; 0 if there are none
    due_at bigint NOT NULL,
    run_at bigint NOT NULL,
    created_at bigint NOT NULL,
    claimed_at bigint,
    fence bigint, -- of the latest claim
    lease_until bigint, -- only while running
    start_by_at bigint, -- a first attempt starts by then or never
    parent bigint, -- the run that enqueued it
    host text,
    dedup text,
    schedule text, -- the key of the added schedule that made it
    message text,
    note text, -- how it was made, for people
    cancel text, -- the reason, if an end of the running attempt was requested
    input bytea,
    content_type text,
    output bytea,
    PRIMARY KEY (id, over_at)
) PARTITION BY RANGE (over_at);
CREATE TABLE runs_live PARTITION OF runs FOR VALUES FROM (NOT_OVER) TO (MAXVALUE)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0, vacuum_truncate = off);
CREATE TABLE runs_over PARTITION OF runs DEFAULT;
-- Newest first. With `id` itself the planner would look for single runs here, too, and go through the whole index.
CREATE INDEX runs_of_task ON runs (task, (-id));
CREATE INDEX runs_waiting ON runs_live (task, run_at, id) WHERE state = 0;
CREATE INDEX runs_retrying ON runs_live (task) WHERE state = 0 AND attempt > 0;
CREATE INDEX runs_running ON runs_live (id) WHERE state = 1;
CREATE INDEX runs_starting_by ON runs_live (start_by_at) WHERE start_by_at IS NOT NULL;
CREATE INDEX runs_forced ON runs_live (run_at, id) WHERE forced;
CREATE INDEX runs_of_schedule ON runs_live (schedule) WHERE schedule IS NOT NULL;

-- At most one run of a task has a given key, for as long as the run is kept.
CREATE TABLE run_keys (
    task bigint NOT NULL,
    key text NOT NULL,
    run bigint NOT NULL,
    PRIMARY KEY (task, key)
);

-- The key keeps an attempt's end from being written twice.
CREATE TABLE attempts (
    run bigint NOT NULL,
    attempt int NOT NULL,
    over_at bigint NOT NULL DEFAULT NOT_OVER, -- as the run's
    fence bigint NOT NULL, -- of the claim that wrote it
    outcome smallint NOT NULL,
    started_at bigint NOT NULL,
    ended_at bigint NOT NULL,
    fuel bigint NOT NULL,
    peak_memory bigint NOT NULL, -- bytes
    guest_us bigint NOT NULL,
    host_us bigint NOT NULL,
    queued_us bigint NOT NULL,
    lock_wait_us bigint NOT NULL,
    host_calls bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    host text NOT NULL,
    message text,
    backtrace text,
    log text,
    log_cut boolean NOT NULL DEFAULT false,
    stdout text,
    stdout_cut boolean NOT NULL DEFAULT false,
    stderr text,
    stderr_cut boolean NOT NULL DEFAULT false,
    PRIMARY KEY (run, attempt, over_at)
) PARTITION BY RANGE (over_at);
CREATE TABLE attempts_live PARTITION OF attempts FOR VALUES FROM (NOT_OVER) TO (MAXVALUE) WITH (vacuum_truncate = off);
CREATE TABLE attempts_over PARTITION OF attempts DEFAULT;

CREATE TABLE locks (
    tenant text COLLATE \"C\" NOT NULL,
    kind smallint NOT NULL,
    name bytea NOT NULL,
    run bigint NOT NULL,
    claim bigint NOT NULL, -- the fence of the run's claim
    mode smallint NOT NULL,
    fence bigint NOT NULL,
    since_at bigint NOT NULL,
    PRIMARY KEY (tenant, kind, name, run)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX locks_of_run ON locks (run);
-- A row for each name that was locked recently. A transaction that takes the lock, or queues for it, holds the row's
-- lock.
CREATE TABLE lock_names (
    tenant text COLLATE \"C\" NOT NULL,
    kind smallint NOT NULL,
    name bytea NOT NULL,
    PRIMARY KEY (tenant, kind, name)
);
-- Runs that wait for a lock, on all hosts, in the order in which they came.
CREATE TABLE lock_waits (
    tenant text COLLATE \"C\" NOT NULL,
    kind smallint NOT NULL,
    name bytea NOT NULL,
    ticket bigint NOT NULL,
    run bigint NOT NULL,
    claim bigint NOT NULL,
    mode smallint NOT NULL,
    since_at bigint NOT NULL,
    PRIMARY KEY (tenant, kind, name, ticket)
);
CREATE INDEX lock_waits_of_run ON lock_waits (run);

CREATE TABLE entries (
    tenant text COLLATE \"C\" NOT NULL,
    key bytea NOT NULL,
    version bigint NOT NULL,
    set_at bigint NOT NULL,
    expires_at bigint,
    writer bigint, -- in tasks: the one whose run wrote it last; null if a person did
    value bytea NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX entries_expiring ON entries (expires_at) WHERE expires_at IS NOT NULL;
-- Bytes of keys and values, including expired ones until they are deleted. A transaction that writes a tenant's entries
-- holds the row's lock.
CREATE TABLE cache_usage (
    tenant text COLLATE \"C\" PRIMARY KEY,
    bytes bigint NOT NULL
) WITH (fillfactor = 50);
CREATE TABLE cache_usage_of_tasks (
    task bigint PRIMARY KEY,
    bytes bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE pauses (
    tenant text COLLATE \"C\" PRIMARY KEY, -- '' stands for all
    since_at bigint NOT NULL,
    why text
);

-- The greatest version (or id) given out in schedules: hosts look for greater ones than they know, so it must not be
-- visible before all that are smaller.
CREATE TABLE counters (
    id int PRIMARY KEY CHECK (id = 1),
    schedules bigint NOT NULL
);
INSERT INTO counters VALUES (1, 0);
CREATE TABLE schedules (
    id bigint PRIMARY KEY,
    version bigint NOT NULL,
    tenant text COLLATE \"C\" NOT NULL,
    key text COLLATE \"C\" NOT NULL,
    task text COLLATE \"C\" NOT NULL,
    definition text NOT NULL, -- JSON
    data bytea, -- the input of its runs; null: the task's
    created_at bigint NOT NULL,
    cursor_at bigint NOT NULL,
    fired bigint NOT NULL DEFAULT 0,
    skipped bigint NOT NULL DEFAULT 0,
    finished_at bigint, -- since then nothing more will be due
    deleted boolean NOT NULL DEFAULT false, -- stays for a while, so that other hosts hear of it
    UNIQUE (tenant, key)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX schedules_version ON schedules (version);
CREATE INDEX schedules_of_task ON schedules (tenant, task, key) WHERE NOT deleted;
CREATE INDEX schedules_over ON schedules (deleted, finished_at) WHERE finished_at IS NOT NULL;
";

/// The hosts that share the database.
const HOSTS: &str = "
CREATE TABLE hosts (
    name text COLLATE \"C\" PRIMARY KEY,
    instance bigint NOT NULL, -- names a life of the host: a later one has another
    version text NOT NULL,
    address text NOT NULL,
    labels text NOT NULL, -- separated by spaces
    slots int NOT NULL,
    attempts int NOT NULL,
    plugins int NOT NULL,
    draining boolean NOT NULL DEFAULT false,
    started_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    alive_until bigint NOT NULL
);
";

/// The move into this store that is in progress; no rows if there is none.
const TRANSFER: &str = "
CREATE TABLE transfer (
    kind text COLLATE \"C\" PRIMARY KEY, -- of records
    source text NOT NULL, -- the store that has them
    reached text -- the key of the last one that was moved, as JSON; null: none was
);
";

/// Finds the latest run of a task that has begun at once, however many wait. Nearly all that are over have begun.
const BEGUN: &str = "
CREATE INDEX runs_begun ON runs_live (task, (-id)) WHERE attempt > 0;
";

/// Indexes the runs that wait because tasks asked for them.
const BACKLOG: &str = "
CREATE INDEX runs_asked_for ON runs_live (task) INCLUDE (bytes) WHERE state = 0 AND cause = 3;
";

/// Published plugins.
const PUBLISHED: &str = "
-- The greatest version given out in published; as for schedules.
ALTER TABLE counters ADD COLUMN published bigint NOT NULL DEFAULT 0;
CREATE TABLE published (
    tenant text COLLATE \"C\" NOT NULL,
    plugin text COLLATE \"C\" NOT NULL,
    version bigint NOT NULL, -- greater after every change; hosts look for greater ones than they know
    digest text COLLATE \"C\" NOT NULL, -- in components
    size bigint NOT NULL, -- bytes of the component
    manifest text NOT NULL,
    host text NOT NULL, -- that published it
    published_at bigint NOT NULL,
    withdrawn_at bigint, -- the row stays for a while, so that other hosts hear of it
    PRIMARY KEY (tenant, plugin)
);
CREATE UNIQUE INDEX published_version ON published (version);
CREATE INDEX published_digest ON published (digest);
CREATE TABLE components (
    digest text COLLATE \"C\" PRIMARY KEY, -- SHA-256, in hex
    size bigint NOT NULL,
    kept_at bigint NOT NULL -- when it was published last
);
CREATE TABLE component_parts (
    digest text COLLATE \"C\" NOT NULL,
    part int NOT NULL, -- from 0
    body bytea NOT NULL,
    PRIMARY KEY (digest, part)
);
";

/// Facts that decide about a run whose host died. An older program leaves a run alone that is held back, because its
/// `run_at` never comes.
const LOSSES: &str = "
-- The limit on attempts, as the latest claim knew it; null if no claim has stored it.
ALTER TABLE runs ADD COLUMN attempts_limit int;
-- The task is paused after so many failed runs in a row, as the same claim knew it; null if it never is.
ALTER TABLE runs ADD COLUMN pause_after int;
-- How often its host died while it was running.
ALTER TABLE runs ADD COLUMN deaths int NOT NULL DEFAULT 0;
-- Since when it is held back as a suspect. Its run_at is then the latest possible instant.
ALTER TABLE runs ADD COLUMN suspected_at bigint;
-- Deaths that are taken back if the same life of the host announces itself again.
CREATE TABLE presumed_deaths (
    host text COLLATE \"C\" NOT NULL,
    instance bigint NOT NULL,
    run bigint NOT NULL,
    fence bigint NOT NULL, -- of the claim that was lost
    PRIMARY KEY (host, instance, run, fence)
);
";

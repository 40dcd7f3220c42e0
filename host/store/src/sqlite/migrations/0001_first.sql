-- The tenant and name of a task are one number in `runs`: that of its row in `tasks`. So every key of a run carries
-- its tenant, at eight bytes.

-- The greatest numbers given out. Run ids and fences are never given out again, whatever is deleted.
CREATE TABLE counters (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    run INTEGER NOT NULL,
    fence INTEGER NOT NULL -- of claims and locks; versions of cache entries too
) STRICT;
INSERT INTO counters VALUES (1, 0, 0);

-- A row for each task that ever had a run or a state, with sums over its runs, so that they need not be counted.
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

-- Bodies may be large, so they have tables of their own, and a row only if there is a body: a claim and a finish
-- rewrite the run's row.
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

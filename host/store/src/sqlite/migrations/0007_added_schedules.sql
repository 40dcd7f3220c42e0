-- Schedules that are added while hosts run.

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

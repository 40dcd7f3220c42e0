-- Answers to questions about runs: which began last, which came of a run, which belong to a backfill, and which are
-- forgotten.

-- The run whose latest attempt began last, and when.
ALTER TABLE tasks ADD COLUMN latest_begun INTEGER;
ALTER TABLE tasks ADD COLUMN latest_begun_at INTEGER;
-- Finds the runs that came of a run. Reads the table once when it is made.
CREATE INDEX runs_of_parent ON runs (parent) WHERE parent IS NOT NULL;
-- Of a run that belongs to a backfill: the most runs of the task's backfills that may be going at once. A run that waits
-- for its turn has the run_at 9223372036854775806.
ALTER TABLE runs ADD COLUMN at_once INTEGER;
CREATE INDEX runs_backfilling ON runs (task, run_at, id) WHERE state < 2 AND at_once IS NOT NULL;
-- The latest instant of the task's schedule whose run was deleted. Of those deleted before this column only the first run
-- that is kept tells anything: all instants before it may have had one.
ALTER TABLE tasks ADD COLUMN forgotten_until INTEGER;
UPDATE tasks SET forgotten_until = coalesce(
    (SELECT min(r.due_at, r.created_at) - 1 FROM runs r WHERE r.task = tasks.id ORDER BY r.id LIMIT 1), cursor_at)
    WHERE fired > 0;

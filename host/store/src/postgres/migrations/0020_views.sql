-- Answers to questions about runs: which began last, which came of a run, which belong to a backfill, and which are
-- forgotten.

-- The run whose latest attempt began last, and when; of the runs that this shard's lane has claimed.
ALTER TABLE tally ADD COLUMN latest_begun bigint;
ALTER TABLE tally ADD COLUMN latest_begun_at bigint;
-- Finds the runs that came of a run. Reads the tables of all days once when it is made, and hosts of an older program
-- write no runs in that time: some seconds for ten million runs, few of which have a parent.
CREATE INDEX runs_of_parent ON runs (parent, id) WHERE parent IS NOT NULL;
-- Of a run that belongs to a backfill: the most runs of the task's backfills that may be going at once. A run that waits
-- for its turn has the run_at 9223372036854775806. A host of an older program forgets that a run that it ends belonged
-- to a backfill.
ALTER TABLE runs ADD COLUMN at_once int;
CREATE INDEX runs_backfilling ON runs_live (task, run_at, id) WHERE at_once IS NOT NULL;
-- The latest instant of the task's schedule whose run was deleted, by this shard's lane. Of those deleted before this
-- column only the first run that is kept tells anything: all instants before it may have had one. A host of an older
-- program does not note what it deletes.
ALTER TABLE tally ADD COLUMN forgotten_until bigint;
UPDATE tally y SET forgotten_until = coalesce(
    (SELECT least(r.due_at, r.created_at) - 1 FROM runs r WHERE r.task = y.task ORDER BY -r.id DESC LIMIT 1), t.cursor_at)
    FROM tasks t WHERE t.id = y.task AND t.fired > 0;

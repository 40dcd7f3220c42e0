-- Answers to questions about runs: which began last, which came of a run, and which belong to a backfill.

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

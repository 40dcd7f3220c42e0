-- Facts for schedules that depend on more than the clock, for runs that start by an instant or never, and for runs
-- that start past all limits.

-- Runs that the task's schedule has made.
ALTER TABLE tasks ADD COLUMN fired INTEGER NOT NULL DEFAULT 0;
-- The state of its trigger, in the trigger's own format.
ALTER TABLE tasks ADD COLUMN memory TEXT;
-- How it was made, for people.
ALTER TABLE runs ADD COLUMN note TEXT;
-- A first attempt starts by then or never.
ALTER TABLE runs ADD COLUMN start_by_at INTEGER;
-- It starts although its task is paused, held back or at its limit.
ALTER TABLE runs ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_starting_by ON runs (start_by_at) WHERE state = 0 AND start_by_at IS NOT NULL;
CREATE INDEX runs_forced ON runs (run_at, id) WHERE state = 0 AND forced = 1;

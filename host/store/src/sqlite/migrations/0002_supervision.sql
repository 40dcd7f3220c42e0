-- Facts that supervision needs beyond single runs, and the accounts of attempts.

ALTER TABLE attempts ADD COLUMN queued_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN lock_wait_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN bytes_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN bytes_out INTEGER NOT NULL DEFAULT 0;
-- Runs of the task that failed since one succeeded.
ALTER TABLE tasks ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
-- Attempts at them that crashed since one ended as its guest wished.
ALTER TABLE tasks ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
-- No run of the task starts by itself before then, because the task crashed again and again.
ALTER TABLE tasks ADD COLUMN held_until INTEGER;
-- Since when the task is paused, and why, unless a person paused it.
ALTER TABLE tasks ADD COLUMN paused_at INTEGER;
ALTER TABLE tasks ADD COLUMN paused_why TEXT;

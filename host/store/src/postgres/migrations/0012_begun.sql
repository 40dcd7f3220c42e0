-- Finds the latest run of a task that has begun at once, however many wait. Nearly all that are over have begun.

CREATE INDEX runs_begun ON runs_live (task, (-id)) WHERE attempt > 0;

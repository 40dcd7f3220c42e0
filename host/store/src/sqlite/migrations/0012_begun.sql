-- Finds the latest run of a task that has begun at once, however many wait or were skipped since.

CREATE INDEX runs_begun ON runs (task, id) WHERE attempt > 0;

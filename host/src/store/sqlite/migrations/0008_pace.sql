-- The fact by which a pace adapts.

-- When the latest run that failed ended.
ALTER TABLE tasks ADD COLUMN latest_failure_at INTEGER;

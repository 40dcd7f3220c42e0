-- The fact by which a pace adapts.

-- When the latest failed run ended.
ALTER TABLE tasks ADD COLUMN latest_failure_at INTEGER;

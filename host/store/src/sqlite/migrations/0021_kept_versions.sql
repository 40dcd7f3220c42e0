-- Earlier versions of cache entries.

-- The number of earlier versions to keep; null: none.
ALTER TABLE entries ADD COLUMN keep INTEGER CHECK (keep BETWEEN 1 AND 100);
-- Their bytes, keys included, are a part of those in cache_usage and cache_usage_of_tasks.
CREATE TABLE entry_versions (
    version INTEGER PRIMARY KEY, -- no two entries have the same, because all are from one counter
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    expires_at INTEGER,
    writer INTEGER, -- in tasks: the one whose run wrote it; null if a person did
    value BLOB NOT NULL
) STRICT;
CREATE INDEX entry_versions_of_key ON entry_versions (tenant, key, version);
CREATE INDEX entry_versions_expiring ON entry_versions (expires_at) WHERE expires_at IS NOT NULL;

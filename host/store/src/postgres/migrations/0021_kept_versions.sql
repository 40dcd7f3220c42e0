-- Earlier versions of cache entries. An older program writes an entry without them. If it deletes an entry, rows may be
-- left over here; they belong to no entry, because an entry that it writes anew has no `keep`.

-- The number of earlier versions to keep; null: none.
ALTER TABLE entries ADD COLUMN keep int;
ALTER TABLE entries ADD CONSTRAINT keep_known CHECK (keep BETWEEN 1 AND 100) NOT VALID;
-- Their bytes, keys included, are a part of those in cache_usage and cache_usage_of_tasks.
CREATE TABLE entry_versions (
    version bigint PRIMARY KEY, -- no two entries have the same, because all are from one sequence
    tenant text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    set_at bigint NOT NULL,
    expires_at bigint,
    writer bigint, -- in tasks: the one whose run wrote it; null if a person did
    value bytea NOT NULL
);
CREATE INDEX entry_versions_of_key ON entry_versions (tenant, key, version);
CREATE INDEX entry_versions_expiring ON entry_versions (expires_at) WHERE expires_at IS NOT NULL;

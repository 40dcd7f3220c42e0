-- Pauses of a tenant or of all.

CREATE TABLE pauses (
    tenant TEXT PRIMARY KEY, -- '' stands for all
    since_at INTEGER NOT NULL,
    why TEXT
) STRICT, WITHOUT ROWID;

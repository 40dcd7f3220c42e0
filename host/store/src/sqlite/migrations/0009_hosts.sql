-- The hosts that have announced themselves.

CREATE TABLE hosts (
    name TEXT PRIMARY KEY,
    instance INTEGER NOT NULL, -- names a life of the host: a later one has another
    version TEXT NOT NULL,
    address TEXT NOT NULL,
    labels TEXT NOT NULL, -- separated by spaces
    slots INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    plugins INTEGER NOT NULL,
    draining INTEGER NOT NULL DEFAULT 0,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    alive_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

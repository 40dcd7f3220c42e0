-- The identity of the store in this file, and its progress: see `epoch.rs`.

CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    store TEXT NOT NULL, -- an id that nothing else has
    epoch INTEGER NOT NULL, -- grows each time that the log begins anew
    cookie INTEGER NOT NULL, -- SQLite's schema_version and
    version INTEGER NOT NULL, -- the user_version, as they were when the epoch was set
    copied_at INTEGER, -- in a copy that no host has used yet
    knows_all INTEGER NOT NULL -- whether such a copy knows all numbers that were given out after it was made
) STRICT;
INSERT INTO identity VALUES (1, lower(hex(randomblob(8))), 1, 0, 0, NULL, 0);

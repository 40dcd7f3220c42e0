-- The move into this store that is in progress; no rows if there is none.

CREATE TABLE transfer (
    kind TEXT PRIMARY KEY, -- of records
    source TEXT NOT NULL, -- the store that has them
    reached TEXT -- the key of the last one that was moved, as JSON; null: none was
) STRICT, WITHOUT ROWID;

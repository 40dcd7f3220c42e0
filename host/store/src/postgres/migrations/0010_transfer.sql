-- The move into this store that is in progress; no rows if there is none.

CREATE TABLE transfer (
    kind text COLLATE "C" PRIMARY KEY, -- of records
    source text NOT NULL, -- the store that has them
    reached text -- the key of the last one that was moved, as JSON; null: none was
);

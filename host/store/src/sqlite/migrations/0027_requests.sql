-- Requests of clients that may be repeated, and their answers.

CREATE TABLE requests (
    tenant TEXT NOT NULL,
    operation TEXT NOT NULL,
    key TEXT NOT NULL,
    digest BLOB NOT NULL, -- of what else the request says
    attempt INTEGER NOT NULL, -- drawn at random
    begun_at INTEGER NOT NULL,
    status INTEGER, -- of the answer; null: it is in progress
    location TEXT,
    body BLOB,
    PRIMARY KEY (tenant, operation, key),
    CONSTRAINT digest_whole CHECK (length(digest) = 32),
    CONSTRAINT answer_whole CHECK ((status IS NULL) = (body IS NULL))
) STRICT;
CREATE INDEX requests_begun ON requests (begun_at);

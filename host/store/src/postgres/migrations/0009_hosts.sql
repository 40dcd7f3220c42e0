-- The hosts that share the database.

CREATE TABLE hosts (
    name text COLLATE "C" PRIMARY KEY,
    instance bigint NOT NULL, -- names a life of the host: a later one has another
    version text NOT NULL,
    address text NOT NULL,
    labels text NOT NULL, -- separated by spaces
    slots int NOT NULL,
    attempts int NOT NULL,
    plugins int NOT NULL,
    draining boolean NOT NULL DEFAULT false,
    started_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    alive_until bigint NOT NULL
);

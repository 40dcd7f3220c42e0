-- Requests of clients that may be repeated, and their answers. An older program carries each request out.

CREATE TABLE requests (
    tenant text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    digest bytea NOT NULL, -- of what else the request says
    attempt bigint NOT NULL, -- drawn at random
    begun_at bigint NOT NULL,
    status smallint, -- of the answer; null: it is in progress
    location text,
    body bytea,
    PRIMARY KEY (tenant, operation, key),
    CONSTRAINT digest_whole CHECK (octet_length(digest) = 32),
    CONSTRAINT answer_whole CHECK ((status IS NULL) = (body IS NULL))
);
CREATE INDEX requests_begun ON requests (begun_at);

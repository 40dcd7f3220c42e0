-- Published plugins.

-- The greatest version given out in published; as for schedules.
ALTER TABLE counters ADD COLUMN published bigint NOT NULL DEFAULT 0;
CREATE TABLE published (
    tenant text COLLATE "C" NOT NULL,
    plugin text COLLATE "C" NOT NULL,
    version bigint NOT NULL, -- greater after every change; hosts look for greater ones than they know
    digest text COLLATE "C" NOT NULL, -- in components
    size bigint NOT NULL, -- bytes of the component
    manifest text NOT NULL,
    host text NOT NULL, -- that published it
    published_at bigint NOT NULL,
    withdrawn_at bigint, -- the row stays for a while, so that other hosts hear of it
    PRIMARY KEY (tenant, plugin)
);
CREATE UNIQUE INDEX published_version ON published (version);
CREATE INDEX published_digest ON published (digest);
CREATE TABLE components (
    digest text COLLATE "C" PRIMARY KEY, -- SHA-256, in hex
    size bigint NOT NULL,
    kept_at bigint NOT NULL -- when it was published last
);
CREATE TABLE component_parts (
    digest text COLLATE "C" NOT NULL,
    part int NOT NULL, -- from 0
    body bytea NOT NULL,
    PRIMARY KEY (digest, part)
);

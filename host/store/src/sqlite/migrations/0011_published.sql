-- Published plugins.

-- The greatest version given out in published.
ALTER TABLE counters ADD COLUMN published INTEGER NOT NULL DEFAULT 0;
CREATE TABLE published (
    tenant TEXT NOT NULL,
    plugin TEXT NOT NULL,
    version INTEGER NOT NULL, -- greater after every change; hosts look for greater ones than they know
    digest TEXT NOT NULL, -- in components
    size INTEGER NOT NULL, -- bytes of the component
    manifest TEXT NOT NULL,
    host TEXT NOT NULL, -- that published it
    published_at INTEGER NOT NULL,
    withdrawn_at INTEGER, -- the row stays for a while, so that other hosts hear of it
    PRIMARY KEY (tenant, plugin)
) STRICT;
CREATE UNIQUE INDEX published_version ON published (version);
CREATE INDEX published_digest ON published (digest);
CREATE TABLE components (
    digest TEXT PRIMARY KEY, -- SHA-256, in hex
    size INTEGER NOT NULL,
    kept_at INTEGER NOT NULL -- when it was published last
) STRICT, WITHOUT ROWID;
CREATE TABLE component_parts (
    digest TEXT NOT NULL,
    part INTEGER NOT NULL, -- from 0
    body BLOB NOT NULL,
    PRIMARY KEY (digest, part)
) STRICT;

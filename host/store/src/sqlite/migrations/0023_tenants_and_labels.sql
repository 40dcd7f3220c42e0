-- Tenants by number, and labels of runs.

CREATE TABLE tenants (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO tenants (name) SELECT DISTINCT tenant FROM tasks ORDER BY tenant;
-- In tenants. 0: an older program made the run, and pruning has not found it yet.
ALTER TABLE runs ADD COLUMN tenant INTEGER NOT NULL DEFAULT 0;
-- Each set of labels that runs of a tenant have. Many runs have the same, so that one number is all that a run needs.
CREATE TABLE label_sets (
    id INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL, -- in tenants
    labels TEXT NOT NULL, -- KEY=VALUE, a line each, in the order of the keys
    UNIQUE (tenant, labels)
) STRICT;
CREATE TABLE labels_of_sets (
    tenant INTEGER NOT NULL,
    label TEXT NOT NULL, -- KEY=VALUE
    label_set INTEGER NOT NULL, -- in label_sets
    PRIMARY KEY (tenant, label, label_set)
) STRICT, WITHOUT ROWID;
-- In label_sets; null: none.
ALTER TABLE runs ADD COLUMN labels INTEGER;

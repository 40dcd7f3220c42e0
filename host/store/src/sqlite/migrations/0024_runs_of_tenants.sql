-- Finds the runs of a tenant, by cause. Reads the table once when it is made.

CREATE INDEX runs_of_tenant ON runs (tenant, cause, id);

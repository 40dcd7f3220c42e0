-- Finds the runs of a tenant, by cause. Runs that are running have an index of their own, `runs_running`, so that a claim
-- writes nothing here. Reads the tables of all days once when it is made, and hosts of an older program write no runs in
-- that time.

CREATE INDEX runs_of_tenant ON runs (tenant, cause, (-id)) WHERE state <> 1;

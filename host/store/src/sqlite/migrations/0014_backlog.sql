-- Indexes the runs that wait because tasks asked for them.

CREATE INDEX runs_asked_for ON runs (task, bytes) WHERE state = 0 AND cause = 3;

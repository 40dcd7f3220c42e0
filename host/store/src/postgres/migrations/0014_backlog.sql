-- Indexes the runs that wait because tasks asked for them.

CREATE INDEX runs_asked_for ON runs_live (task) INCLUDE (bytes) WHERE state = 0 AND cause = 3;

-- Events: changes of runs, tasks, schedules, plugins and hosts, told to readers. A row has all events of a transaction.

CREATE TABLE events (
    last_id INTEGER PRIMARY KEY, -- the id of its last event; the others have the ids before it
    lines INTEGER NOT NULL CONSTRAINT lines_known CHECK (lines > 0), -- the number of its events, a line each
    told_at INTEGER NOT NULL, -- when the last of them happened
    body TEXT NOT NULL
) STRICT;

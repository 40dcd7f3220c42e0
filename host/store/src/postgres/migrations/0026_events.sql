-- Events: changes of runs, tasks, schedules, plugins and hosts, told to readers. A row has all events of a transaction.
-- An older program writes none.

CREATE TABLE events (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The id of its last event; the others have the ids before it. A reader sets it once the row is there to be seen, so
    -- that ids become visible in their order.
    last_id bigint,
    lines int NOT NULL CONSTRAINT lines_known CHECK (lines > 0), -- the number of its events, a line each
    told_at bigint NOT NULL, -- when the last of them happened
    body text NOT NULL
);
CREATE UNIQUE INDEX events_numbered ON events (last_id) WHERE last_id IS NOT NULL;
CREATE INDEX events_new ON events (place) WHERE last_id IS NULL;
-- The newest id. The row is locked while ids are given out.
CREATE TABLE event_ids (
    id int PRIMARY KEY CHECK (id = 1),
    newest bigint NOT NULL
);
INSERT INTO event_ids VALUES (1, 0);

-- Facts that decide about a run whose host died.

-- The limit on attempts, as the latest claim knew it; null if no claim has stored it.
ALTER TABLE runs ADD COLUMN attempts_limit INTEGER;
-- The task is paused after so many failed runs in a row, as the same claim knew it; null if it never is.
ALTER TABLE runs ADD COLUMN pause_after INTEGER;
-- How often its host died while it was running.
ALTER TABLE runs ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
-- Since when it is held back as a suspect. Its run_at is then the latest possible instant.
ALTER TABLE runs ADD COLUMN suspected_at INTEGER;
-- Deaths that are taken back if the same life of the host announces itself again.
CREATE TABLE presumed_deaths (
    host TEXT NOT NULL,
    instance INTEGER NOT NULL,
    run INTEGER NOT NULL,
    fence INTEGER NOT NULL, -- of the claim that was lost
    PRIMARY KEY (host, instance, run, fence)
) STRICT, WITHOUT ROWID;

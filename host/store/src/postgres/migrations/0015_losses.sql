-- Facts that decide about a run whose host died. An older program leaves a run alone that is held back, because its
-- `run_at` never comes.

-- The limit on attempts, as the latest claim knew it; null if no claim has stored it.
ALTER TABLE runs ADD COLUMN attempts_limit int;
-- The task is paused after so many failed runs in a row, as the same claim knew it; null if it never is.
ALTER TABLE runs ADD COLUMN pause_after int;
-- How often its host died while it was running.
ALTER TABLE runs ADD COLUMN deaths int NOT NULL DEFAULT 0;
-- Since when it is held back as a suspect. Its run_at is then the latest possible instant.
ALTER TABLE runs ADD COLUMN suspected_at bigint;
-- Deaths that are taken back if the same life of the host announces itself again.
CREATE TABLE presumed_deaths (
    host text COLLATE "C" NOT NULL,
    instance bigint NOT NULL,
    run bigint NOT NULL,
    fence bigint NOT NULL, -- of the claim that was lost
    PRIMARY KEY (host, instance, run, fence)
);

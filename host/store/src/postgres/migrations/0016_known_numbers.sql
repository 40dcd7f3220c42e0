-- Refuses numbers that stand for no word (`store/codes.rs`): a run in a state that no program knows would be neither
-- claimed nor over.
--
-- The constraints belong to the partitions, and not to `runs` and `attempts`: PostgreSQL would not let an older program
-- attach the tables of a day, which it creates without them. This program creates them with the constraints
-- (`partitions.rs`). Tables of days that exist already stay without, and are dropped with their days.
--
-- `NOT VALID` reads no rows, so the tables are locked for a moment only. 0017 reads them.

ALTER TABLE runs_live ADD CONSTRAINT numbers_known
    CHECK (state BETWEEN 0 AND 4 AND cause BETWEEN 0 AND 3 AND outcome BETWEEN 0 AND 10) NOT VALID;
ALTER TABLE runs_over ADD CONSTRAINT numbers_known
    CHECK (state BETWEEN 0 AND 4 AND cause BETWEEN 0 AND 3 AND outcome BETWEEN 0 AND 10) NOT VALID;
ALTER TABLE attempts_live ADD CONSTRAINT numbers_known CHECK (outcome BETWEEN 0 AND 10) NOT VALID;
ALTER TABLE attempts_over ADD CONSTRAINT numbers_known CHECK (outcome BETWEEN 0 AND 10) NOT VALID;
ALTER TABLE locks ADD CONSTRAINT numbers_known CHECK (kind BETWEEN 0 AND 1 AND mode BETWEEN 0 AND 1) NOT VALID;
ALTER TABLE lock_names ADD CONSTRAINT numbers_known CHECK (kind BETWEEN 0 AND 1) NOT VALID;
ALTER TABLE lock_waits ADD CONSTRAINT numbers_known CHECK (kind BETWEEN 0 AND 1 AND mode BETWEEN 0 AND 1) NOT VALID;

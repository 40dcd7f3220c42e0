-- Knows two outcomes more: 11 skipped, 12 idle (`store/codes.rs`). Older programs do not, and would refuse the rows that
-- have them.
--
-- The tables of days get the same constraint from `partitions.rs`, because an older program may still make some.
--
-- `NOT VALID` reads no rows, so the tables are locked for a moment only. 0019 reads them.

ALTER TABLE runs_live DROP CONSTRAINT numbers_known, ADD CONSTRAINT numbers_known
    CHECK (state BETWEEN 0 AND 4 AND cause BETWEEN 0 AND 3 AND outcome BETWEEN 0 AND 12) NOT VALID;
ALTER TABLE runs_over DROP CONSTRAINT numbers_known, ADD CONSTRAINT numbers_known
    CHECK (state BETWEEN 0 AND 4 AND cause BETWEEN 0 AND 3 AND outcome BETWEEN 0 AND 12) NOT VALID;
ALTER TABLE attempts_live DROP CONSTRAINT numbers_known, ADD CONSTRAINT numbers_known
    CHECK (outcome BETWEEN 0 AND 12) NOT VALID;
ALTER TABLE attempts_over DROP CONSTRAINT numbers_known, ADD CONSTRAINT numbers_known
    CHECK (outcome BETWEEN 0 AND 12) NOT VALID;

-- Refuses numbers that stand for no word (`store/codes.rs`): a run in a state that no program knows would be neither
-- claimed nor over.
--
-- SQLite checks a constraint only if a column that it names is written, so each column has its own: a claim writes the
-- state, and neither cause nor outcome. To add a constraint reads the table once, and writes no row anew.

ALTER TABLE runs ADD CONSTRAINT state_known CHECK (state BETWEEN 0 AND 4);
ALTER TABLE runs ADD CONSTRAINT cause_known CHECK (cause BETWEEN 0 AND 3);
ALTER TABLE runs ADD CONSTRAINT outcome_known CHECK (outcome BETWEEN 0 AND 10);
ALTER TABLE attempts ADD CONSTRAINT outcome_known CHECK (outcome BETWEEN 0 AND 10);
ALTER TABLE locks ADD CONSTRAINT kind_known CHECK (kind BETWEEN 0 AND 1);
ALTER TABLE locks ADD CONSTRAINT mode_known CHECK (mode BETWEEN 0 AND 1);

-- Knows two outcomes more: 11 skipped, 12 idle (`store/codes.rs`).

ALTER TABLE runs DROP CONSTRAINT outcome_known;
ALTER TABLE runs ADD CONSTRAINT outcome_known CHECK (outcome BETWEEN 0 AND 12);
ALTER TABLE attempts DROP CONSTRAINT outcome_known;
ALTER TABLE attempts ADD CONSTRAINT outcome_known CHECK (outcome BETWEEN 0 AND 12);

-- Reads the rows that were there before 0016, in a transaction of its own: other transactions read and write the tables
-- while that takes.

ALTER TABLE runs_live VALIDATE CONSTRAINT numbers_known;
ALTER TABLE runs_over VALIDATE CONSTRAINT numbers_known;
ALTER TABLE attempts_live VALIDATE CONSTRAINT numbers_known;
ALTER TABLE attempts_over VALIDATE CONSTRAINT numbers_known;
ALTER TABLE locks VALIDATE CONSTRAINT numbers_known;
ALTER TABLE lock_names VALIDATE CONSTRAINT numbers_known;
ALTER TABLE lock_waits VALIDATE CONSTRAINT numbers_known;

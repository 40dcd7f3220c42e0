-- Reads the rows that were there before 0018, in a transaction of its own: other transactions read and write the tables
-- while that takes.

ALTER TABLE runs_live VALIDATE CONSTRAINT numbers_known;
ALTER TABLE runs_over VALIDATE CONSTRAINT numbers_known;
ALTER TABLE attempts_live VALIDATE CONSTRAINT numbers_known;
ALTER TABLE attempts_over VALIDATE CONSTRAINT numbers_known;

-- The schedule that the task's cursor belongs to, and the text about instants that were left out.

ALTER TABLE tasks ADD COLUMN schedule TEXT;
ALTER TABLE tasks ADD COLUMN left_out TEXT;

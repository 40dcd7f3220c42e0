-- Types of added schedules, and schedules that tasks have added.

-- Leads to a task by a route; null: `task` is the task. `task` has the type, too, for older programs: they let the
-- schedule rest, because there is no such task.
ALTER TABLE schedules ADD COLUMN type TEXT;
-- The task that added it; null: a person did.
ALTER TABLE schedules ADD COLUMN added_by TEXT;
CREATE INDEX schedules_by_tasks ON schedules (tenant, key) WHERE added_by IS NOT NULL;

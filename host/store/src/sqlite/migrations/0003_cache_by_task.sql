-- The task that wrote each entry, and the bytes of its entries.

-- In tasks: the one whose run wrote it last; null if a person did, or a program that did not record it.
ALTER TABLE entries ADD COLUMN writer INTEGER;
-- Bytes of keys and values, expired ones included until they are deleted. They are a part of those in cache_usage.
CREATE TABLE cache_usage_of_tasks (
    task INTEGER PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT;

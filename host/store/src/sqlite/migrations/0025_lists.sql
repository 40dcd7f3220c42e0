-- Finds runs that a list filters by something that few runs have: an end other than a success, a long time, an added
-- schedule, or labels. Other runs cost nothing here. Reads the table once for each when it is made.

CREATE INDEX runs_remarkable ON runs (tenant, CASE WHEN state > 2 OR outcome <> 0 THEN coalesce(outcome, -1)
    WHEN ended_at - claimed_at >= 3600000 THEN 105 WHEN ended_at - claimed_at >= 600000 THEN 104
    WHEN ended_at - claimed_at >= 60000 THEN 103 WHEN ended_at - claimed_at >= 10000 THEN 102
    WHEN ended_at - claimed_at >= 1000 THEN 101 END, id)
    WHERE state >= 2 AND (state > 2 OR outcome <> 0 OR ended_at - claimed_at >= 1000);
CREATE INDEX runs_of_key ON runs (tenant, schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX runs_labelled ON runs (labels, id) WHERE labels IS NOT NULL;

-- Finds runs that a list filters by something that few runs have: an end other than a success, a long time, an added
-- schedule, or labels. Other runs cost nothing here. Reads the tables of all days once for each when it is made, and hosts
-- of an older program write no runs in that time.
--
-- Live runs of an added schedule have an index of their own, `runs_of_schedule`.

CREATE INDEX runs_remarkable ON runs (tenant, (CASE WHEN state > 2 OR outcome <> 0 THEN coalesce(outcome, -1)
    WHEN over_at - claimed_at >= 3600000 THEN 105 WHEN over_at - claimed_at >= 600000 THEN 104
    WHEN over_at - claimed_at >= 60000 THEN 103 WHEN over_at - claimed_at >= 10000 THEN 102
    WHEN over_at - claimed_at >= 1000 THEN 101 END), (-id))
    WHERE state >= 2 AND (state > 2 OR outcome <> 0 OR over_at - claimed_at >= 1000);
CREATE INDEX runs_of_key ON runs (tenant, schedule, (-id)) WHERE schedule IS NOT NULL AND state >= 2;
CREATE INDEX runs_labelled ON runs (labels, (-id)) WHERE labels IS NOT NULL AND state <> 1;

//! Records in the database itself what happens to runs, whatever hosts report: triggers keep every claim and every end.

use std::str::FromStr;

use anyhow::{Context, Result, anyhow};
use sexton_testkit::postgres::Cluster;

use crate::checker::{Change, Final, Row, Written};

/// The schema that the hosts use.
pub(crate) const SCHEMA: &str = "chaos";

/// Triggers that record every change of a run beyond its lease, with the host that made it. A row that moves to another
/// partition is deleted and inserted for a trigger.
const TRIGGERS: &str = "
CREATE TABLE public.chaos_audit (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at bigint NOT NULL,
    tx bigint NOT NULL,
    writer text NOT NULL,
    run bigint NOT NULL,
    old_state int, old_attempt int, old_fence bigint, old_host text, old_lease bigint,
    new_state int, new_attempt int, new_fence bigint, new_host text, new_lease bigint
);
CREATE FUNCTION public.chaos_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.state, OLD.attempt, OLD.fence) IS NOT DISTINCT FROM (NEW.state, NEW.attempt, NEW.fence) THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.chaos_audit (at, tx, writer, run, old_state, old_attempt, old_fence, old_host, old_lease,
                                    new_state, new_attempt, new_fence, new_host, new_lease)
    VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, txid_current(), session_user, coalesce(NEW.id, OLD.id),
            OLD.state, OLD.attempt, OLD.fence, OLD.host, OLD.lease_until,
            NEW.state, NEW.attempt, NEW.fence, NEW.host, NEW.lease_until);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_audit AFTER INSERT OR UPDATE OR DELETE ON runs FOR EACH ROW EXECUTE FUNCTION public.chaos_run();

CREATE TABLE public.chaos_written (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tx bigint NOT NULL, run bigint NOT NULL, attempt int NOT NULL, fence bigint NOT NULL, outcome int NOT NULL, gone int NOT NULL
);
CREATE FUNCTION public.chaos_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this record;
BEGIN
    IF TG_OP = 'DELETE' THEN this := OLD; ELSE this := NEW; END IF;
    INSERT INTO public.chaos_written (tx, run, attempt, fence, outcome, gone)
    VALUES (txid_current(), this.run, this.attempt, this.fence, this.outcome, (TG_OP = 'DELETE')::int);
    RETURN NULL;
END $$;
CREATE TRIGGER chaos_audit AFTER INSERT OR DELETE ON attempts FOR EACH ROW EXECUTE FUNCTION public.chaos_attempt();
";

/// The mutation: a run that is claimed again keeps its attempt and its fence, so that the earlier claim stays valid as
/// well. The row about that attempt makes room for the new one.
const BREAK_FENCE: &str = "
CREATE FUNCTION public.chaos_break() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 1 AND OLD.state <> 1 AND OLD.fence IS NOT NULL THEN
        NEW.fence := OLD.fence;
        NEW.attempt := OLD.attempt;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_break BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION public.chaos_break();
CREATE FUNCTION public.chaos_make_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        DELETE FROM chaos.attempts WHERE run = NEW.run AND attempt = NEW.attempt;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_make_room BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION public.chaos_make_room();
";

/// Creates a database user for each host, so that the database knows which of them writes.
pub(crate) fn make_users(cluster: &Cluster, names: &[&str]) -> Result<()> {
    let users = names.iter().map(|name| format!("CREATE ROLE {name} LOGIN SUPERUSER;"));
    query(cluster, &users.collect::<String>()).map(drop).context("cannot make users")
}

/// Begins to record what happens to runs. The tables of a host must exist.
pub(crate) fn begin(cluster: &Cluster) -> Result<()> {
    query(cluster, TRIGGERS).map(drop).context("cannot begin the audit")
}

/// Makes fences worthless from now on.
pub(crate) fn break_fence(cluster: &Cluster) -> Result<()> {
    query(cluster, BREAK_FENCE).map(drop).context("cannot break the fence")
}

/// Returns how many runs have not ended.
pub(crate) fn left(cluster: &Cluster) -> Result<u64> {
    Ok(query(cluster, "SELECT count(*) FROM runs WHERE state < 2")?.parse()?)
}

/// Returns the changes of runs.
pub(crate) fn changes(cluster: &Cluster) -> Result<Vec<Change>> {
    let sql = "SELECT at, tx, writer, run, old_state, old_attempt, old_fence, old_host, old_lease, \
               new_state, new_attempt, new_fence, new_host, new_lease FROM public.chaos_audit ORDER BY seq";
    rows(cluster, sql, |fields| {
        let (at, tx, writer, run) = (fields.must()?, fields.must()?, fields.next()?.to_owned(), fields.must()?);
        Ok(Change { at, tx, writer, run, before: row(fields)?, after: row(fields)? })
    })
}

/// Returns the rows that were written about attempts.
pub(crate) fn written(cluster: &Cluster) -> Result<Vec<Written>> {
    let sql = "SELECT tx, run, attempt, fence, outcome, gone FROM public.chaos_written ORDER BY seq";
    rows(cluster, sql, |fields| {
        Ok(Written {
            tx: fields.must()?,
            run: fields.must()?,
            attempt: fields.must()?,
            fence: fields.must()?,
            outcome: fields.must()?,
            gone: fields.must::<i64>()? == 1,
        })
    })
}

/// Returns the final rows of runs.
pub(crate) fn finals(cluster: &Cluster) -> Result<Vec<Final>> {
    let sql = "SELECT r.id, t.name, r.due_at, r.state FROM runs r JOIN tasks t ON t.id = r.task ORDER BY r.id";
    rows(cluster, sql, |fields| {
        let (run, task) = (fields.must()?, fields.next()?.to_owned());
        Ok(Final { run, task, due_at: fields.must()?, state: fields.must()? })
    })
}

/// Returns held locks and waits for them, in words.
pub(crate) fn locks(cluster: &Cluster) -> Result<Vec<String>> {
    let sql = "SELECT convert_from(name, 'UTF8') || ' is held by run ' || run FROM locks UNION ALL \
               SELECT convert_from(name, 'UTF8') || ' is waited for by run ' || run FROM lock_waits";
    Ok(query(cluster, sql)?.lines().map(str::to_owned).collect())
}

/// Returns the sum that attempts have counted in the cache.
pub(crate) fn counted(cluster: &Cluster) -> Result<i64> {
    let sql = "SELECT coalesce(sum(convert_from(value, 'UTF8')::bigint), 0) FROM entries WHERE convert_from(key, 'UTF8') LIKE 'count/%'";
    Ok(query(cluster, sql)?.parse()?)
}

fn query(cluster: &Cluster, sql: &str) -> Result<String> {
    cluster.try_psql_in(SCHEMA, sql).map_err(|why| anyhow!("the database says no: {why}"))
}

fn rows<T>(cluster: &Cluster, sql: &str, read: impl Fn(&mut Fields<'_>) -> Result<T>) -> Result<Vec<T>> {
    let text = query(cluster, sql)?;
    text.lines().map(|line| read(&mut Fields(line.split('|'))).with_context(|| format!("a row is `{line}`"))).collect()
}

/// Reads a row's state, attempt, fence, host and lease. Returns `None` if it has no state, because there was no row.
fn row(fields: &mut Fields<'_>) -> Result<Option<Row>> {
    let (state, attempt, fence) = (fields.may()?, fields.may()?, fields.may()?);
    let (host, lease_until) = (fields.next()?.to_owned(), fields.may()?);
    Ok(state.map(|state| Row { state, attempt: attempt.unwrap_or_default(), fence, host, lease_until }))
}

/// The columns of a row, one after the other. NULL is empty.
struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a str> {
        self.0.next().context("a column is missing")
    }

    fn may<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(&mut self) -> Result<Option<T>> {
        let text = self.next()?;
        if text.is_empty() { Ok(None) } else { Ok(Some(text.parse()?)) }
    }

    fn must<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(&mut self) -> Result<T> {
        self.may()?.context("a column is NULL")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inserted_and_deleted_rows_are_distinguished_from_changed_ones() {
        let read = |text: &str| {
            let mut fields = Fields(text.split('|'));
            (row(&mut fields).unwrap(), row(&mut fields).unwrap())
        };
        let running = Row { state: 1, attempt: 2, fence: Some(40), host: "a".to_owned(), lease_until: Some(i64::MIN) };

        assert_eq!(read("|||||1|2|40|a|-9223372036854775808"), (None, Some(running.clone())));
        assert_eq!(read("1|2|40|a|-9223372036854775808|||||"), (Some(running), None));
    }
}

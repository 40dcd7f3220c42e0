//! Lists runs: one statement reads the indexes that the rules choose, newest first, and looks at no more runs than it
//! may.
//!
//! A statement's text depends only on what it reads, not on the values of a filter, so that few are planned. It knows
//! no day before it is executed: then the partitions of days that are over before the list begins are left out.

use std::sync::atomic::Ordering;

use const_format::formatcp;
use tokio_postgres::types::ToSql;

use super::day::Day;
use super::errors::Step;
use super::labels;
use super::rows::{PAUSE_OF_MANY, RUN_COLUMNS, instant, run_info, to_sql};
use super::tx::{Ask, Tx};
use crate::RunInfo;
use crate::codes::{CAUSES, RUNNING, SUCCEEDED, WAITING};
use crate::labels::each;
use crate::lists::{Filter, ListRuns, RunPage};
use crate::rules::lists::{
    self as rules, FEW, Facts, LOOK, LOOK_FOR_TEXT, Looked, Named, Path, READ_FOR_TEXT, SETS, Values, Walk,
};
use crate::sql::{is_remarkable, matching, remark};
use sexton_domain::run::{RunId, RunState};
use sexton_domain::time::Timestamp;

/// See [`crate::lists::Lists::list_runs`].
pub(super) async fn list(tx: &Tx, list: &ListRuns) -> Step<RunPage> {
    let filter = &list.filter;
    let (tenants, facts, are_whole) = facts(tx, filter).await?;
    let walks = rules::walks(filter, &facts);
    if walks.is_empty() {
        return Ok(RunPage::default());
    }
    let (after, before) = range(tx, list).await?;
    let at_labels = rules::looks_at_labels(filter, &walks, are_whole);
    let looks = Looks { at_labels, at_texts: filter.text.is_some() };
    let reads = reads(&walks, filter, &tenants, looks);
    let values = Parameters::of(list, (after, before));
    let asked: Vec<_> = reads.iter().map(|read| values.of_page(read, looks)).collect();
    let asks: Vec<Ask<'_>> = reads.iter().zip(&asked).map(|(read, values)| (read.page.as_str(), &values[..])).collect();
    let rows = tx.pipeline(&asks).await?;
    let runs: Vec<RunInfo> = rows.iter().flatten().map(run_info).collect::<Step<_>>()?;
    // A page that is full ends with its last run, so that it does not matter how far the statements have looked.
    let looked = if runs.len() < list.limit { looked(tx, &reads, &values).await? } else { None };
    Ok(rules::page(runs, looked, list.limit))
}

/// Returns the last of the runs that statements have looked at, if there are others behind it.
async fn looked(tx: &Tx, reads: &[Read], values: &Parameters<'_>) -> Step<Option<Looked>> {
    let asked: Vec<_> = reads.iter().map(|read| values.of_bounds(read)).collect();
    let asks: Vec<Ask<'_>> =
        reads.iter().zip(&asked).map(|(read, values)| (read.bounds.as_str(), &values[..])).collect();
    let rows = tx.pipeline(&asks).await?;
    let each = rows.iter().flatten().map(|row| Looked { run: RunId(row.get(0)), made_at: instant(row, 1) });
    Ok(each.max_by_key(|looked| looked.run))
}

/// The parts of runs that statements look at beside the columns of their rows.
#[derive(Clone, Copy)]
struct Looks {
    /// The labels of all runs, because no walk has only runs with those of the filter.
    at_labels: bool,
    at_texts: bool,
}

/// A statement that reads a page of a list, and the one that tells how far it has looked.
pub(super) struct Read {
    pub(super) page: String,
    bounds: String,
    /// The pairs of a tenant and a key at which it reads.
    tenants: Vec<i64>,
    keys: Vec<i64>,
    /// Whether the second statement has the parameter [`KEY`].
    has_key: bool,
    /// Whether the first one has the labels of the filter.
    at_labels: bool,
}

/// The parameter with the key of an added schedule.
const KEY: usize = 7;

/// A part of a statement that reads one index.
struct Part {
    /// The table, or partition, that it reads as `x`.
    table: &'static str,
    which: String,
    /// Whether the index has `-id`, or `id`.
    is_backward: bool,
    /// Whether it reads at each tenant and key, `k`.
    is_keyed: bool,
    /// Whether the labels of its runs are looked at.
    at_labels: bool,
}

/// Returns the statements that read `walks`.
fn reads(walks: &[Walk], filter: &Filter, tenants: &[i64], looks: Looks) -> Vec<Read> {
    let runs = rules::states(filter).contains(&RunState::Running);
    let mut reads = Vec::new();
    for walk in walks {
        let mut parts = vec![Part { at_labels: looks.at_labels, ..part(walk, filter.begun) }];
        // The indexes of tenants and of labels have no runs that are running.
        let other = match walk.path {
            Path::Tenant | Path::Labels if runs => Some(running()),
            Path::Key => Some(live_of_key()),
            _ => None,
        };
        parts.extend(other.map(|other| Part { at_labels: !filter.labels.is_empty(), ..other }));
        let at_labels = parts.iter().any(|part| part.at_labels);
        let keys: Vec<i64> = match walk.path {
            Path::Waiting if walk.keys.is_empty() => (0..CAUSES.len() as i64).collect(),
            _ => walk.keys.clone(),
        };
        let tenants = match walk.path {
            Path::Tenant | Path::Remarkable | Path::Key => tenants,
            Path::Waiting if walk.keys.is_empty() => tenants,
            _ => &tenants[..1],
        };
        let pairs = tenants.iter().flat_map(|tenant| keys.iter().map(move |key| (*tenant, *key)));
        let (tenants, keys) = pairs.unzip();
        let has_key = walk.path == Path::Key;
        let (page, bounds) = (page(&parts, looks), bounds(&parts, looks));
        reads.push(Read { page, bounds, tenants, keys, has_key, at_labels });
    }
    reads
}

/// Returns the part that reads at the keys of a walk.
fn part(walk: &Walk, begun: bool) -> Part {
    let runs = |which: String| Part { table: "runs", which, is_backward: true, is_keyed: true, at_labels: false };
    match walk.path {
        Path::All => Part { is_backward: false, is_keyed: false, ..runs("true".to_owned()) },
        Path::Tenant => runs(formatcp!("x.tenant = k.tenant AND x.cause = k.key AND x.state <> {RUNNING}").to_owned()),
        Path::Tasks if begun => runs("x.task = k.key AND x.attempt > 0".to_owned()),
        Path::Tasks => runs("x.task = k.key".to_owned()),
        Path::Remarkable => {
            let (remark, is_one) = (remark("over_at"), is_remarkable("over_at"));
            runs(format!("x.tenant = k.tenant AND {remark} = k.key AND {is_one}").replace("r.", "x."))
        }
        Path::Key => {
            runs(formatcp!("x.tenant = k.tenant AND x.schedule = ${KEY} AND x.state >= {SUCCEEDED}").to_owned())
        }
        Path::Labels => runs(formatcp!("x.labels = k.key AND x.state <> {RUNNING}").to_owned()),
        Path::Running => running(),
        Path::Waiting => {
            let of = if walk.keys.is_empty() { "x.tenant = k.tenant AND x.cause = k.key" } else { "x.task = k.key" };
            Part { table: "runs_live", ..runs(format!("{of} AND x.state = {WAITING}")) }
        }
    }
}

fn running() -> Part {
    live(formatcp!("x.state = {RUNNING}").to_owned())
}

fn live_of_key() -> Part {
    live(formatcp!("x.schedule = ${KEY}").to_owned())
}

/// Returns a part that reads all runs that are not over and meet a condition.
fn live(which: String) -> Part {
    Part { table: "runs_live", which, is_backward: false, is_keyed: false, at_labels: false }
}

/// Columns of a run that a list needs.
const COLUMNS: &str = "x.id, x.tenant, x.task, x.state, x.due_at, x.run_at, x.created_at, x.claimed_at, x.over_at, \
     x.cause, x.attempt, x.failures, x.parent, x.host, x.outcome, x.cancel, x.message, x.note, x.forced, x.deaths, \
     x.suspected_at, x.at_once, x.schedule, x.dedup, x.labels, x.bytes, -x.id AS back";

/// Returns the runs that a part looks at, newest first. If texts are looked at, each with the bytes of those before it.
fn rows(part: &Part, looks: Looks) -> String {
    let Part { table, which, is_backward, is_keyed, .. } = part;
    let (range, order) = match is_backward {
        true => ("-x.id > $3::bigint AND -x.id < $4::bigint", "-x.id"),
        false => ("x.id < -($3::bigint) AND x.id > -($4::bigint)", "x.id DESC"),
    };
    // A parameter that a statement has must be in it.
    let keys = if *is_keyed { "" } else { "AND cardinality($1::bigint[]) = cardinality($2::bigint[])" };
    let before = match looks.at_texts {
        true => format!(", sum(x.bytes) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) - x.bytes AS bytes_before"),
        false => String::new(),
    };
    format!(
        "SELECT {COLUMNS}{before} FROM {table} x WHERE {which} {keys} AND {range} AND x.over_at >= $5::bigint \
         ORDER BY {order} LIMIT $6::bigint"
    )
}

/// Returns a part of a statement, read at each tenant and key if it has any.
fn at_keys(part: &Part, inner: &str) -> String {
    match part.is_keyed {
        true => format!(
            "(SELECT l.* FROM unnest($1::bigint[], $2::bigint[]) AS k(tenant, key) CROSS JOIN LATERAL ({inner}) l)"
        ),
        false => format!("({inner})"),
    }
}

/// The parameters of a page before those of [`matching`], and those behind them if labels and texts are looked at.
const LIMIT: usize = 8;
const LAST: usize = 20;

/// Returns the statement that reads a page. Its parameters are those of [`Parameters::of_page`].
fn page(parts: &[Part], looks: Looks) -> String {
    // The key of a schedule has a parameter that both statements have, before the limit.
    let parameter = |place: usize| match place {
        5 => format!("${KEY}"),
        place if place < 5 => format!("${}", LIMIT + 1 + place),
        place => format!("${}", LIMIT + place),
    };
    let mut matches = matching(parameter, "over_at");
    let mut last = LAST;
    let mut labels = String::new();
    if parts.iter().any(|part| part.at_labels) {
        last += 1;
        labels = format!(
            "(SELECT count(*) FROM unnest(${last}::text[]) AS j(label) JOIN labels_of_sets s \
             ON s.tenant = r.tenant AND s.label = j.label AND s.label_set = r.labels) = cardinality(${last}::text[]) AND "
        );
    }
    if looks.at_texts {
        let (plain, json) = (last + 1, last + 2);
        matches.push_str(&format!(
            " AND r.bytes_before < {READ_FOR_TEXT} \
             AND (strpos(lower(coalesce(r.cancel, r.message, '') COLLATE \"C\"), ${plain}::text) > 0 \
             OR EXISTS (SELECT 1 FROM attempts a WHERE a.run = r.id AND a.over_at = r.over_at \
             AND strpos(lower(a.log COLLATE \"C\"), ${json}::text) > 0))"
        ));
    }
    let each = parts.iter().map(|part| {
        let (rows, order) = (rows(part, looks), if part.is_backward { "r.back" } else { "r.id DESC" });
        let labels = if part.at_labels { labels.as_str() } else { "" };
        at_keys(
            part,
            &format!(
                "SELECT r.* FROM ({rows}) r JOIN tasks t ON t.id = r.task WHERE {labels}{matches} \
                 ORDER BY {order} LIMIT ${LIMIT}::bigint"
            ),
        )
    });
    let all = each.collect::<Vec<_>>().join(" UNION ALL ");
    format!(
        "SELECT {RUN_COLUMNS} FROM (SELECT u.* FROM ({all}) u ORDER BY u.back LIMIT ${LIMIT}::bigint) r \
         JOIN tasks t ON t.id = r.task {PAUSE_OF_MANY} ORDER BY r.back"
    )
}

/// Returns the statement that finds the last run that each part has looked at, if there may be others behind it: the
/// newest of these is the end of the page.
fn bounds(parts: &[Part], looks: Looks) -> String {
    let (run, made_at) = ("min(x.id)", "min(x.created_at)");
    let columns = match looks.at_texts {
        true => {
            let read = format!("x.bytes_before < {READ_FOR_TEXT}");
            format!(
                "{run} FILTER (WHERE {read}) AS run, {made_at} FILTER (WHERE {read}) AS made_at, \
                 count(*) >= $6::bigint OR coalesce(bool_or(NOT {read}), false) AS is_cut"
            )
        }
        false => format!("{run} AS run, {made_at} AS made_at, count(*) >= $6::bigint AS is_cut"),
    };
    let each = parts.iter().map(|part| at_keys(part, &format!("SELECT {columns} FROM ({}) x", rows(part, looks))));
    let all = each.collect::<Vec<_>>().join(" UNION ALL ");
    format!("SELECT f.run, f.made_at FROM ({all}) f WHERE f.is_cut ORDER BY f.run DESC LIMIT 1")
}

/// The values of a list's parameters.
pub(super) struct Parameters<'a> {
    /// The bounds of `-id`: only runs with a greater one than the first and a smaller one than the second are listed.
    from: i64,
    to: i64,
    /// The first day on which a run of the list can have been over.
    day: i64,
    look: i64,
    limit: i64,
    values: Values,
    labels: Vec<String>,
    text: &'a str,
    text_in_json: String,
}

impl<'a> Parameters<'a> {
    pub(super) fn of(list: &'a ListRuns, (after, before): (i64, i64)) -> Self {
        let (filter, text) = (&list.filter, list.filter.text.as_ref());
        Self {
            from: -before,
            to: -after,
            // A run is not over before it is made.
            day: rules::made_within(filter).0.map_or(i64::MIN, |since| Day::of(since).0),
            look: to_sql(if text.is_some() { LOOK_FOR_TEXT } else { LOOK }),
            limit: to_sql(list.limit),
            values: Values::of(filter, list.now),
            labels: each(&filter.labels).collect(),
            text: text.map_or("", |text| text.plain()),
            text_in_json: text.map(|text| text.in_json()).unwrap_or_default(),
        }
    }

    fn of_page<'p>(&'p self, read: &'p Read, looks: Looks) -> Vec<&'p (dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> =
            vec![&read.tenants, &read.keys, &self.from, &self.to, &self.day, &self.look, &self.values.key, &self.limit];
        let matched = &self.values;
        let matched: [&(dyn ToSql + Sync); LAST - LIMIT] = [
            &matched.tenant,
            &matched.states,
            &matched.causes,
            &matched.outcomes,
            &matched.tasks,
            &matched.chain,
            &matched.host,
            &matched.since,
            &matched.until,
            &matched.now,
            &matched.longer_than,
            &matched.attempts,
        ];
        all.extend(matched);
        if read.at_labels {
            all.push(&self.labels);
        }
        if looks.at_texts {
            all.push(&self.text);
            all.push(&self.text_in_json);
        }
        all
    }

    fn of_bounds<'p>(&'p self, read: &'p Read) -> Vec<&'p (dyn ToSql + Sync)> {
        let mut all: Vec<&(dyn ToSql + Sync)> =
            vec![&read.tenants, &read.keys, &self.from, &self.to, &self.day, &self.look];
        if read.has_key {
            all.push(&self.values.key);
        }
        all
    }
}

/// Returns the run after which, and that before which, those of the list were made.
async fn range(tx: &Tx, list: &ListRuns) -> Step<(i64, i64)> {
    let (since, until) = rules::made_within(&list.filter);
    let mut first = [None, None];
    for (place, instant) in [since, until].into_iter().enumerate() {
        if let Some(instant) = instant {
            first[place] = Some(first_made_at(tx, instant).await?);
        }
    }
    Ok(rules::range(list.before, first[0], first[1]))
}

/// Finds the first run that was made at `$2` or later, by halving: runs are numbered in the order in which they are
/// made. The run was not over before its day.
const FIRST_MADE_AT: &str = "WITH RECURSIVE part(low, high) AS ( \
     SELECT coalesce((SELECT id FROM runs WHERE over_at >= $1 ORDER BY id LIMIT 1), 1), \
     coalesce((SELECT id FROM runs WHERE over_at >= $1 ORDER BY id DESC LIMIT 1), 0) + 1 \
     UNION ALL \
     SELECT CASE WHEN r.created_at < $2 THEN r.id + 1 ELSE p.low END, \
     CASE WHEN r.created_at < $2 THEN p.high ELSE p.low + (p.high - p.low) / 2 END \
     FROM part p LEFT JOIN LATERAL (SELECT id, created_at FROM runs \
     WHERE over_at >= $1 AND id >= p.low + (p.high - p.low) / 2 ORDER BY id LIMIT 1) r ON true \
     WHERE p.low < p.high) SELECT max(low) FROM part";

/// Returns the first run that was made at `instant` or later, or a number greater than those of all runs.
async fn first_made_at(tx: &Tx, instant: Timestamp) -> Step<i64> {
    let row = tx.query_one(FIRST_MADE_AT, &[&Day::of(instant).0, &instant.as_millis()]).await?;
    Ok(row.get(0))
}

/// Reads the facts that decide how the list is read: the numbers of its tenant, of which 0 has the runs that an older
/// program made; the tasks and sets of labels; and whether runs of these sets have all labels.
async fn facts(tx: &Tx, filter: &Filter) -> Step<(Vec<i64>, Facts, bool)> {
    let tenant = match &filter.tenant {
        Some(tenant) => labels::tenant(tx, tenant).await?.unwrap_or(-1),
        None => -1,
    };
    let mut tenants = vec![tenant];
    tenants.extend((!tx.shared.all_have_tenants.load(Ordering::Relaxed)).then_some(0));
    let mut of_labels: Vec<Vec<i64>> = Vec::new();
    for label in each(&filter.labels) {
        let sql = "SELECT label_set FROM labels_of_sets WHERE tenant = $1 AND label = $2 \
                   ORDER BY label_set DESC LIMIT $3";
        let rows = tx.query(sql, &[&tenant, &label, &to_sql(SETS)]).await?;
        of_labels.push(rows.iter().map(|row| row.get(0)).collect());
    }
    let (sets, is_cut) = rules::sets_of(filter, &of_labels);
    let tasks = tasks(tx, filter).await?;
    let runs_of_tasks = match &tasks {
        Named::Few(tasks) => {
            let sql = "SELECT coalesce(sum(succeeded + failed + cancelled), 0)::bigint FROM tally WHERE task = ANY($1)";
            tx.query_one(sql, &[tasks]).await?.get(0)
        }
        Named::Any | Named::Many => 0,
    };
    Ok((tenants, Facts { tasks, sets, runs_of_tasks }, !is_cut))
}

/// Returns the tasks that a filter names.
async fn tasks(tx: &Tx, filter: &Filter) -> Step<Named> {
    if filter.task.is_none() && filter.chain.is_none() {
        return Ok(Named::Any);
    }
    let of_tenant = if filter.tenant.is_some() { "tenant = $1::text" } else { "$1::text IS NULL" };
    let sql = format!(
        "SELECT id FROM tasks WHERE {of_tenant} AND name >= $2::text AND name < $2::text || '~' \
         AND ($3::text IS NULL OR name LIKE $3 ESCAPE '\\') AND ($4::text[] IS NULL OR name = ANY($4)) LIMIT $5"
    );
    let links: Option<Vec<&str>> =
        filter.chain.as_ref().map(|chain| chain.tasks.iter().map(|task| task.as_str()).collect());
    let rows = tx
        .query(
            &sql,
            &[
                &filter.tenant.as_ref().map(|tenant| tenant.as_str()),
                &filter.task.as_ref().map_or("", |task| task.prefix()),
                &filter.task.as_ref().map(|task| task.like()),
                &links,
                &to_sql(FEW + 1),
            ],
        )
        .await?;
    Ok(rules::tasks(rows.iter().map(|row| row.get(0)).collect()))
}

/// Returns the statements that read a page of a list of the first tenant that names neither tasks nor labels, each with the
/// values of its parameters, for a test of their plans.
#[cfg(test)]
pub(super) fn pages(list: &ListRuns) -> Vec<(String, Vec<String>)> {
    let looks = Looks { at_labels: false, at_texts: false };
    let reads = reads(&rules::walks(&list.filter, &Facts::default()), &list.filter, &[1], looks);
    let parameters = Parameters::of(list, (0, i64::MAX));
    let values = |read: &Read| {
        let array =
            |numbers: &[i64]| format!("'{{{}}}'", numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
        let (values, null) = (&parameters.values, "NULL".to_owned());
        let text = |text: &Option<String>| text.as_ref().map_or(null.clone(), |text| format!("'{text}'"));
        let [from, to, day, look] =
            [parameters.from, parameters.to, parameters.day, parameters.look].map(|n| n.to_string());
        let [states, causes, outcomes] = [values.states, values.causes, values.outcomes].map(|bits| bits.to_string());
        let [since, until, now] = [values.since, values.until, values.now].map(|at| format!("'{at}'"));
        let day = format!("'{day}'");
        let limit = parameters.limit.to_string();
        let (tenant, tasks) = (text(&values.tenant), text(&values.tasks));
        let (key, longer_than) = (text(&values.key), values.longer_than.map_or(null.clone(), |ms| ms.to_string()));
        let (tenants, keys, attempts) = (array(&read.tenants), array(&read.keys), values.attempts.to_string());
        let own = [tenants, keys, from, to, day, look, key, limit, tenant, states, causes, outcomes, tasks];
        own.into_iter().chain([null.clone(), null.clone(), since, until, now, longer_than, attempts]).collect()
    };
    reads.iter().map(|read| (read.page.clone(), values(read))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_remarkable_runs_has_the_numbers_that_statements_ask_for() {
        let migration = include_str!("migrations/0025_lists.sql");
        let migration = migration.split_whitespace().collect::<Vec<_>>().join(" ");

        for part in [remark("over_at"), is_remarkable("over_at")] {
            assert!(migration.contains(&part.replace("r.", "")), "{part} is not in {migration}");
        }
    }
}

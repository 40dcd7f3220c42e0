//! Lists runs: reads the indexes that the rules choose side by side, newest first, until a page is full or enough was
//! looked at.

use const_format::formatcp;
use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Rows, params, params_from_iter};

use super::history;
use super::rows::to_sql;
use crate::codes::{RUNNING, WAITING};
use crate::labels::each;
use crate::lists::{Filter, ListRuns, RunPage, SearchText};
use crate::rules::lists::{
    self as rules, FEW, Facts, LOOK, LOOK_FOR_TEXT, Looked, Named, Path, READ_FOR_TEXT, SETS, Values, Walk,
};
use crate::sql::{MATCHING, is_remarkable, matching, remark};
use sexton_domain::run::RunId;
use sexton_domain::time::Timestamp;

/// The most waiting runs of a list that are read to be sorted. If there are more, they are looked for among the others.
const MOST_WAITING: usize = 20_000;

/// See [`crate::lists::Lists::list_runs`].
pub(super) fn list(conn: &Connection, list: &ListRuns) -> rusqlite::Result<RunPage> {
    let filter = &list.filter;
    let (tenants, facts, are_whole) = facts(conn, filter)?;
    let walks = rules::walks(filter, &facts);
    let (after, before) = range(conn, list)?;
    let labels = rules::looks_at_labels(filter, &walks, are_whole).then(|| json(filter));
    let base = Base { after, before, values: Values::of(filter, list.now), labels };
    let mut statements = Vec::new();
    for walk in walks {
        for source in sources(conn, &walk, &tenants, &base, filter)? {
            let statement = conn.prepare_cached(&sql(source.path, filter.begun, base.labels.is_some()))?;
            statements.push((statement, source));
        }
    }
    let streams = statements.iter_mut().map(|(statement, source)| Stream::open(statement, source, &base));
    let (hits, looked) = look(conn, streams.collect::<rusqlite::Result<Vec<_>>>()?, list)?;
    let mut runs = Vec::with_capacity(hits.len());
    for run in hits {
        runs.extend(history::run(conn, run)?);
    }
    Ok(rules::page(runs, looked, list.limit))
}

/// The parameters that all statements of a list have.
struct Base {
    /// Only runs after this one and before that one can be in the list.
    after: i64,
    before: i64,
    values: Values,
    /// The labels that each run must be looked at for, as a JSON array.
    labels: Option<String>,
}

/// A place at which an index is read.
struct Source {
    path: Path,
    tenant: i64,
    key: Value,
}

/// The parameters of [`sql`] before those of [`matching`]: the bounds, the tenant, and the key.
const BEFORE_MATCHING: usize = 4;

/// Returns the statement that reads an index, newest first, and says of each run whether it is in the list.
fn sql(path: Path, begun: bool, labels: bool) -> String {
    let matches = matching(|place| format!("?{}", BEFORE_MATCHING + 1 + place), "ended_at");
    let labels = match labels {
        false => String::new(),
        true => {
            let list = format!("?{}", BEFORE_MATCHING + MATCHING + 1);
            format!(
                " AND (SELECT count(*) FROM json_each({list}) j JOIN labels_of_sets s \
                 ON s.tenant = r.tenant AND s.label = j.value AND s.label_set = r.labels) = json_array_length({list})"
            )
        }
    };
    let select = format!("SELECT r.id, r.created_at, {matches}{labels}");
    let (index, which) = match path {
        Path::All => ("NOT INDEXED", "true".to_owned()),
        Path::Tenant => ("INDEXED BY runs_of_tenant", "r.tenant = ?3 AND r.cause = ?4".to_owned()),
        Path::Tasks if begun => ("INDEXED BY runs_begun", "r.task = ?4 AND r.attempt > 0".to_owned()),
        Path::Tasks => ("INDEXED BY runs_of_task", "r.task = ?4".to_owned()),
        Path::Remarkable => (
            "INDEXED BY runs_remarkable",
            format!("r.tenant = ?3 AND {} = ?4 AND {}", remark("ended_at"), is_remarkable("ended_at")),
        ),
        Path::Key => ("INDEXED BY runs_of_key", "r.tenant = ?3 AND r.schedule = ?4".to_owned()),
        Path::Labels => ("INDEXED BY runs_labelled", "r.labels = ?4".to_owned()),
        Path::Running => ("INDEXED BY runs_running", formatcp!("r.state = {RUNNING}").to_owned()),
        Path::Waiting => {
            // The numbers of the runs are read before, and sorted.
            return format!(
                "{select} FROM json_each(?4) w CROSS JOIN runs r ON r.id = w.value \
                 CROSS JOIN tasks t ON t.id = r.task WHERE r.id > ?1 AND r.id < ?2"
            );
        }
    };
    format!(
        "{select} FROM runs r {index} CROSS JOIN tasks t ON t.id = r.task \
         WHERE {which} AND r.id > ?1 AND r.id < ?2 ORDER BY r.id DESC"
    )
}

/// Returns the places at which a walk reads.
fn sources(
    conn: &Connection,
    walk: &Walk,
    tenants: &[i64],
    base: &Base,
    filter: &Filter,
) -> rusqlite::Result<Vec<Source>> {
    let one = |path, key| Source { path, tenant: tenants[0], key };
    let keys = || walk.keys.iter().map(|key| Value::Integer(*key));
    Ok(match walk.path {
        Path::All | Path::Tasks | Path::Labels | Path::Running => keys().map(|key| one(walk.path, key)).collect(),
        Path::Key => {
            let key = || Value::Text(base.values.key.clone().unwrap_or_default());
            tenants.iter().map(|tenant| Source { path: Path::Key, tenant: *tenant, key: key() }).collect()
        }
        Path::Tenant | Path::Remarkable => {
            let all = tenants.iter().flat_map(|tenant| keys().map(move |key| (*tenant, key)));
            all.map(|(tenant, key)| Source { path: walk.path, tenant, key }).collect()
        }
        Path::Waiting => match waiting(conn, walk, base, filter)? {
            Some(runs) => vec![one(Path::Waiting, Value::Text(runs))],
            // Of so many, most are among the newest runs.
            None if walk.keys.is_empty() => {
                let walk = Walk { path: Path::Tenant, keys: (0..crate::codes::CAUSES.len() as i64).collect() };
                sources(conn, &walk, tenants, base, filter)?
            }
            None => keys().map(|key| one(Path::Tasks, key)).collect(),
        },
    })
}

/// Returns the numbers of the waiting runs of the tenant, or of the tasks that the walk names, newest first, as a JSON
/// array; `None` if there are more than [`MOST_WAITING`].
fn waiting(conn: &Connection, walk: &Walk, base: &Base, filter: &Filter) -> rusqlite::Result<Option<String>> {
    let tasks = if walk.keys.is_empty() {
        conn.prepare_cached("SELECT id FROM tasks WHERE tenant = ?1 AND waiting > 0")?
            .query_map([filter.tenant.as_ref().map(|tenant| tenant.as_str())], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?
    } else {
        walk.keys.clone()
    };
    let mut found: Vec<i64> = Vec::new();
    let mut statement = conn.prepare_cached(formatcp!(
        "SELECT id FROM runs INDEXED BY runs_waiting WHERE state = {WAITING} AND task = ?1 LIMIT ?2"
    ))?;
    for task in tasks {
        let left = MOST_WAITING + 1 - found.len();
        for run in statement.query_map([task, to_sql(left)], |row| row.get(0))? {
            found.push(run?);
        }
        if found.len() > MOST_WAITING {
            return Ok(None);
        }
    }
    found.retain(|run| (base.after + 1..base.before).contains(run));
    found.sort_unstable_by_key(|run| std::cmp::Reverse(*run));
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    Ok(Some(format!("[{}]", found.join(","))))
}

/// A run that was looked at.
#[derive(Clone, Copy)]
struct Seen {
    run: i64,
    made_at: Timestamp,
    is_listed: bool,
}

/// An index that is being read, and the next run of it.
struct Stream<'s> {
    rows: Rows<'s>,
    next: Option<Seen>,
}

impl<'s> Stream<'s> {
    fn open(statement: &'s mut CachedStatement<'_>, source: &Source, base: &Base) -> rusqlite::Result<Self> {
        let values = &base.values;
        let text = |text: &Option<String>| Value::from(text.clone());
        let mut all = vec![base.after.into(), base.before.into(), source.tenant.into(), source.key.clone()];
        all.extend([
            text(&values.tenant),
            values.states.into(),
            values.causes.into(),
            values.outcomes.into(),
            text(&values.tasks),
            text(&values.key),
            text(&values.chain),
            text(&values.host),
            values.since.into(),
            values.until.into(),
            values.now.into(),
            values.longer_than.into(),
            values.attempts.into(),
        ]);
        all.extend(base.labels.clone().map(Value::from));
        let mut stream = Self { rows: statement.query(params_from_iter(all))?, next: None };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> rusqlite::Result<()> {
        self.next = match self.rows.next()? {
            None => None,
            Some(row) => Some(Seen {
                run: row.get(0)?,
                made_at: Timestamp::from_millis(row.get(1)?),
                // A condition on something that the run does not have is unknown, and not met.
                is_listed: row.get::<_, Option<bool>>(2)?.unwrap_or_default(),
            }),
        };
        Ok(())
    }
}

/// Looks at runs of all streams, newest first. Returns those that are in the list, and the last run that was looked at
/// if there are others behind it.
fn look(
    conn: &Connection,
    mut streams: Vec<Stream<'_>>,
    list: &ListRuns,
) -> rusqlite::Result<(Vec<RunId>, Option<Looked>)> {
    let text = list.filter.text.as_ref();
    let most = if text.is_some() { LOOK_FOR_TEXT } else { LOOK };
    let (mut hits, mut last, mut count, mut bytes) = (Vec::new(), None, 0, 0);
    while hits.len() < list.limit {
        let newest = streams
            .iter_mut()
            .filter(|stream| stream.next.is_some())
            .max_by_key(|stream| stream.next.map(|seen| seen.run));
        let Some((stream, seen)) = newest.and_then(|stream| stream.next.map(|seen| (stream, seen))) else {
            return Ok((hits, None));
        };
        if count == most || bytes >= READ_FOR_TEXT {
            return Ok((hits, last));
        }
        stream.advance()?;
        count += 1;
        last = Some(Looked { run: RunId(seen.run), made_at: seen.made_at });
        if !seen.is_listed {
            continue;
        }
        let is_found = match text {
            None => true,
            Some(text) => has_text(conn, seen.run, text, &mut bytes)?,
        };
        if is_found {
            hits.push(RunId(seen.run));
        }
    }
    Ok((hits, None))
}

/// Returns whether the message of a run, or one of its logs, has a text. Adds its bytes to those that were read.
fn has_text(conn: &Connection, run: i64, text: &SearchText, bytes: &mut i64) -> rusqlite::Result<bool> {
    let (found, read) = conn
        .prepare_cached(
            "SELECT instr(lower(coalesce(r.cancel, r.message, '')), ?2) > 0 OR EXISTS (SELECT 1 FROM logs l \
             WHERE l.run = r.id AND instr(lower(l.log), ?3) > 0), r.bytes FROM runs r WHERE r.id = ?1",
        )?
        .query_row(params![run, text.plain(), text.in_json()], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    *bytes += read;
    Ok(found)
}

/// Returns the run after which, and that before which, those of the list were made.
fn range(conn: &Connection, list: &ListRuns) -> rusqlite::Result<(i64, i64)> {
    let (since, until) = rules::made_within(&list.filter);
    let first = |instant: Option<Timestamp>| instant.map(|instant| first_made_at(conn, instant)).transpose();
    Ok(rules::range(list.before, first(since)?, first(until)?))
}

/// Returns the first run that was made at `instant` or later, or a number greater than those of all runs: by halving,
/// because runs are numbered in the order in which they are made.
fn first_made_at(conn: &Connection, instant: Timestamp) -> rusqlite::Result<i64> {
    let (mut low, mut high) = conn
        .prepare_cached("SELECT coalesce((SELECT min(id) FROM runs), 1), coalesce((SELECT max(id) FROM runs), 0) + 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    let mut statement = conn.prepare_cached("SELECT id, created_at FROM runs WHERE id >= ?1 ORDER BY id LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found =
            statement.query_row([middle], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional()?;
        match found {
            Some((run, made_at)) if made_at < instant.as_millis() => low = run + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Reads the facts that decide how the list is read: the numbers of its tenant, of which 0 has the runs that an older
/// program made; the tasks and sets of labels; and whether runs of these sets have all labels.
fn facts(conn: &Connection, filter: &Filter) -> rusqlite::Result<(Vec<i64>, Facts, bool)> {
    let mut tenants = vec![match &filter.tenant {
        Some(tenant) => conn
            .prepare_cached("SELECT id FROM tenants WHERE name = ?1")?
            .query_row([tenant.as_str()], |row| row.get(0))
            .optional()?
            .unwrap_or(-1),
        None => -1,
    }];
    let others: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM runs INDEXED BY runs_of_tenant WHERE tenant = 0)")?
        .query_row([], |row| row.get(0))?;
    tenants.extend(others.then_some(0));
    let mut of_labels: Vec<Vec<i64>> = Vec::new();
    for label in each(&filter.labels) {
        let sets = conn
            .prepare_cached(
                "SELECT label_set FROM labels_of_sets WHERE tenant = ?1 AND label = ?2 ORDER BY label_set DESC LIMIT ?3",
            )?
            .query_map(params![tenants[0], label, to_sql(SETS)], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        of_labels.push(sets);
    }
    let (sets, is_cut) = rules::sets_of(filter, &of_labels);
    let (tasks, runs_of_tasks) = tasks(conn, filter)?;
    Ok((tenants, Facts { tasks, sets, runs_of_tasks }, !is_cut))
}

/// Returns the tasks that a filter names, and the number of their runs that are over.
fn tasks(conn: &Connection, filter: &Filter) -> rusqlite::Result<(Named, i64)> {
    if filter.task.is_none() && filter.chain.is_none() {
        return Ok((Named::Any, 0));
    }
    let of_tenant = if filter.tenant.is_some() { "tenant = ?1" } else { "?1 IS NULL" };
    let prefix = filter.task.as_ref().map_or("", |task| task.prefix());
    let links = filter.chain.as_ref().map(|chain| {
        let names: Vec<String> = chain.tasks.iter().map(|task| format!("\"{task}\"")).collect();
        format!("[{}]", names.join(","))
    });
    let found = conn
        .prepare_cached(&format!(
            "SELECT id, succeeded + failed + cancelled FROM tasks WHERE {of_tenant} \
             AND name >= ?2 AND name < ?2 || '~' AND (?3 IS NULL OR name LIKE ?3 ESCAPE '\\') \
             AND (?4 IS NULL OR name IN (SELECT value FROM json_each(?4))) LIMIT ?5"
        ))?
        .query_map(
            params![
                filter.tenant.as_ref().map(|tenant| tenant.as_str()),
                prefix,
                filter.task.as_ref().map(|task| task.like()),
                links,
                to_sql(FEW + 1)
            ],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let runs = found.iter().map(|(_, runs)| runs).sum();
    Ok((rules::tasks(found.into_iter().map(|(task, _)| task).collect()), runs))
}

/// Returns the labels of a filter as a JSON array. Labels have no other characters that JSON has in a form of its own.
fn json(filter: &Filter) -> String {
    let labels = each(&filter.labels).map(|label| format!("\"{}\"", label.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("[{}]", labels.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the text of the migration that makes the indexes of lists, on one line and without blanks at brackets.
    fn migration() -> String {
        let text = include_str!("migrations/0025_lists.sql");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_index_is_read_in_its_order() {
        let mut conn = Connection::open_in_memory().unwrap();
        crate::sqlite::schema::migrate(&mut conn, 0).unwrap();
        let paths = [Path::All, Path::Tenant, Path::Tasks, Path::Remarkable, Path::Key, Path::Labels, Path::Running];

        for (path, begun, labels) in paths.into_iter().flat_map(|path| [(path, false, false), (path, true, true)]) {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", sql(path, begun, labels))).unwrap();
            let (mut rows, mut plan) = (statement.raw_query(), String::new());
            while let Some(row) = rows.next().unwrap() {
                plan.push_str(&row.get::<_, String>(3).unwrap());
                plan.push('\n');
            }
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN r\n"), "{path:?}: {plan}");
        }
    }

    #[test]
    fn the_index_of_remarkable_runs_has_the_numbers_that_statements_ask_for() {
        for part in [remark("ended_at"), is_remarkable("ended_at")] {
            let part = part.replace("r.", "");
            assert!(migration().contains(&part), "{part} is not in {}", migration());
        }
    }
}

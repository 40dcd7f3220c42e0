//! Reads views over several runs.

use async_trait::async_trait;
use const_format::formatcp;
use tokio_postgres::Row;

use crate::Result;
use crate::codes::{CANCELLED, DEMAND, FAILED, SKIPPED_OUTCOME};
use crate::rules::runs::{CONTINUES, child_kind};
use crate::runs::SKIPPED;
use crate::views::{Child, MESSAGE, RunTimes, Views, Window};
use sexton_domain::run::RunId;
use sexton_domain::task::TaskKey;
use sexton_domain::time::Timestamp;

use super::day::Day;
use super::errors::Step;
use super::rows::{cause, instant, maybe_instant, outcome, over_at, state, task_key, to_sql};
use super::tx::Tx;
use super::{PostgresStore, read};

#[async_trait]
impl Views for PostgresStore {
    async fn window(&self, task: TaskKey, since: Timestamp, limit: usize) -> Result<Window> {
        read!(self, |tx| window(tx, &task, since, limit))
    }

    async fn children(&self, run: RunId, limit: usize) -> Result<Vec<Child>> {
        read!(self, |tx| children(tx, run, limit))
    }
}

/// Whether a run was skipped. Before the outcome `skipped` was known, the message said so.
const WAS_SKIPPED: &str = formatcp!(
    "coalesce(r.outcome = {SKIPPED_OUTCOME}, false) \
     OR r.state = {CANCELLED} AND coalesce(r.message, '') LIKE '{SKIPPED}%'"
);

/// The most runs of a window that are read with one statement. A window is read in pages, because the end of one, the
/// first older run, cannot be put into a statement that reads by index.
const PAGE: usize = 1000;

/// Reads a page of a task's runs, newest first, by index, in the partitions of the days that can have any: a run is not
/// over before it is made. The days are whole ones, so that no row of them is read and left out. The first attempt's
/// start is looked up only for a run that was tried again.
const WINDOW: &str = formatcp!(
    "SELECT r.id, r.state, r.cause, r.due_at, r.created_at, \
     CASE WHEN r.attempt > 1 THEN (SELECT a.started_at FROM attempts a WHERE a.run = r.id AND a.attempt = 1 \
     AND a.over_at = r.over_at) ELSE r.claimed_at END, r.claimed_at, r.over_at, r.outcome, \
     CASE WHEN r.state = {FAILED} THEN left(r.message, {MESSAGE}) END, \
     {WAS_SKIPPED}, \
     r.at_once IS NOT NULL OR (r.parent IS NOT NULL AND r.cause = {DEMAND}) \
     FROM tasks t CROSS JOIN LATERAL (SELECT * FROM runs WHERE task = t.id AND over_at >= $3 AND -id > -$5::bigint \
     ORDER BY -id LIMIT $4) r WHERE t.tenant = $1 AND t.name = $2 ORDER BY r.id DESC"
);

async fn window(tx: &Tx, task: &TaskKey, since: Timestamp, limit: usize) -> Step<Window> {
    let (mut window, mut before) = (Window::default(), i64::MAX);
    loop {
        let page = PAGE.min((limit - window.runs.len()).saturating_add(1));
        let (day, page_size) = (Day::of(since).0, to_sql(page));
        let rows = tx.query(WINDOW, &[&task.tenant.as_str(), &task.task.as_str(), &day, &page_size, &before]).await?;
        for row in &rows {
            let run = times(row)?;
            // Runs are numbered in the order in which they are made, so that those before it were made earlier.
            if run.created_at < since {
                return Ok(window);
            }
            if window.runs.len() == limit {
                return Ok(Window { cut: true, ..window });
            }
            before = run.run.0;
            window.runs.push(run);
        }
        if rows.len() < page {
            return Ok(window);
        }
    }
}

/// Returns the statement that reads a page of a window, with its parameters in place, for a test of its plan.
#[cfg(test)]
pub(super) fn page_of_window(task: &TaskKey, since: Timestamp, before: i64) -> String {
    let parameters = [
        format!("'{}'", task.tenant),
        format!("'{}'", task.task),
        Day::of(since).0.to_string(),
        PAGE.to_string(),
        before.to_string(),
    ];
    let place = |sql: String, (n, value): (usize, &String)| sql.replace(&format!("${}", n + 1), value);
    parameters.iter().enumerate().fold(WINDOW.to_owned(), place)
}

fn times(row: &Row) -> Step<RunTimes> {
    Ok(RunTimes {
        run: RunId(row.get(0)),
        state: state(row, 1)?,
        cause: cause(row, 2)?,
        due_at: instant(row, 3),
        created_at: instant(row, 4),
        started_at: maybe_instant(row, 5),
        claimed_at: maybe_instant(row, 6),
        ended_at: over_at(row, 7),
        outcome: row.get::<_, Option<i16>>(8).map(|_| outcome(row, 8)).transpose()?,
        message: row.get(9),
        skipped: row.get(10),
        belated: row.get(11),
    })
}

async fn children(tx: &Tx, run: RunId, limit: usize) -> Step<Vec<Child>> {
    let rows = tx
        .query(
            formatcp!(
                "SELECT r.id, t.tenant, t.name, r.state, r.cause, coalesce(r.dedup LIKE '{CONTINUES}%', false), \
                 r.created_at FROM (SELECT * FROM runs WHERE parent = $1 ORDER BY id LIMIT $2) r \
                 JOIN tasks t ON t.id = r.task ORDER BY r.id"
            ),
            &[&run.0, &to_sql(limit)],
        )
        .await?;
    rows.iter().map(child).collect()
}

fn child(row: &Row) -> Step<Child> {
    Ok(Child {
        run: RunId(row.get(0)),
        task: task_key(row, 1)?,
        state: state(row, 3)?,
        kind: child_kind(cause(row, 4)?, row.get(5)),
        created_at: instant(row, 6),
    })
}

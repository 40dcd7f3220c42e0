//! Requests that may be repeated, and their answers.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::Result;
use crate::requests::{BeginRequest, Begun, KEPT, RepeatableRequest, RequestAnswer, Requests};
use crate::rules::requests::{self as rules, Kept};
use sexton_domain::time::Timestamp;

use super::SqliteStore;
use super::prune::PIECE;
use super::rows::{instant, to_sql};

#[async_trait]
impl Requests for SqliteStore {
    async fn begin_request(&self, new: BeginRequest) -> Result<Begun> {
        self.write(move |w| Ok(begin(&w.conn, &new)?)).await
    }

    async fn end_request(&self, request: RepeatableRequest, attempt: i64, answer: Option<RequestAnswer>) -> Result<()> {
        self.write(move |w| Ok(end(&w.conn, &request, attempt, answer.as_ref())?)).await
    }
}

/// See [`Requests::begin_request`].
fn begin(conn: &Connection, new: &BeginRequest) -> rusqlite::Result<Begun> {
    let BeginRequest { request: RepeatableRequest { tenant, operation, key }, digest, attempt, now } = new;
    let kept = conn
        .prepare_cached(
            "SELECT digest, attempt, begun_at, status, location, body FROM requests \
             WHERE tenant = ?1 AND operation = ?2 AND key = ?3",
        )?
        .query_row(params![tenant.as_str(), operation, key], kept)
        .optional()?;
    let begun = rules::begin(kept, new);
    if begun == Begun::New {
        conn.prepare_cached(
            "INSERT OR REPLACE INTO requests (tenant, operation, key, digest, attempt, begun_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![tenant.as_str(), operation, key, digest, attempt, now.as_millis()])?;
    }
    Ok(begun)
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let answer = match row.get(3)? {
        Some(status) => Some(RequestAnswer { status, location: row.get(4)?, body: row.get(5)? }),
        None => None,
    };
    Ok(Kept { digest: row.get(0)?, attempt: row.get(1)?, begun_at: instant(row, 2)?, answer })
}

/// See [`Requests::end_request`].
fn end(
    conn: &Connection,
    request: &RepeatableRequest,
    attempt: i64,
    answer: Option<&RequestAnswer>,
) -> rusqlite::Result<()> {
    let RepeatableRequest { tenant, operation, key } = request;
    let ended = match answer {
        Some(RequestAnswer { status, location, body }) => conn
            .prepare_cached(
                "UPDATE requests SET status = ?5, location = ?6, body = ?7 \
                 WHERE tenant = ?1 AND operation = ?2 AND key = ?3 AND attempt = ?4",
            )?
            .execute(params![tenant.as_str(), operation, key, attempt, status, location, body]),
        None => conn
            .prepare_cached(
                "DELETE FROM requests WHERE tenant = ?1 AND operation = ?2 AND key = ?3 AND attempt = ?4 \
                 AND status IS NULL",
            )?
            .execute(params![tenant.as_str(), operation, key, attempt]),
    };
    ended.map(drop)
}

/// Deletes a piece of the requests whose time is over. Returns their number.
pub(super) fn prune(conn: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE begun_at <= ?1 LIMIT ?2)",
    )?
    .execute(params![now.minus(KEPT).as_millis(), to_sql(PIECE)])
}

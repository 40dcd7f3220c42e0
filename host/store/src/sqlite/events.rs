//! Reads events, and deletes old ones. The writer writes them with its commits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use rusqlite::{Connection, params};
use tokio::sync::Notify;

use super::SqliteStore;
use super::rows::{number, to_sql};
use crate::Result;
use crate::events::{EventFilter, EventPage, EventRetention, Events};
use crate::rules::events::{self as rules, PIECE, ROWS, Row};
use sexton_domain::time::Timestamp;

#[async_trait]
impl Events for SqliteStore {
    fn record_events(&self, on: bool) {
        self.board.recording.store(on, Ordering::Relaxed);
    }

    fn records_events(&self) -> bool {
        self.board.recording.load(Ordering::Relaxed)
    }

    async fn events(&self, after: u64, filter: EventFilter, limit: usize) -> Result<EventPage> {
        let (newest, rows) = self.read(move |conn| Ok((newest(conn)?, rows(conn, after)?))).await?;
        Ok(rules::page(after, newest, &rows, &filter, limit))
    }

    async fn newest_event(&self) -> Result<u64> {
        self.read(newest).await
    }

    async fn prune_events(&self, keep: EventRetention, now: Timestamp) -> Result<u64> {
        if !self.read(move |conn| has_surplus(conn, keep, now)).await? {
            return Ok(0);
        }
        self.write(move |w| Ok(prune(&w.conn, keep, now)? as u64)).await
    }

    fn events_hint(&self) -> Arc<Notify> {
        self.board.hints.events.clone()
    }
}

fn newest(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached("SELECT coalesce(max(last_id), 0) FROM events")?.query_row([], |row| number(row, 0))
}

fn rows(conn: &Connection, after: u64) -> rusqlite::Result<Vec<Row>> {
    conn.prepare_cached("SELECT last_id, lines, body FROM events WHERE last_id > ?1 ORDER BY last_id LIMIT ?2")?
        .query_map([to_sql(after), ROWS], |row| {
            Ok(Row { last_id: number(row, 0)?, lines: number(row, 1)?, body: row.get(2)? })
        })?
        .collect()
}

/// Selects the rows to delete among the oldest. The newest row stays, because it has the newest id. The parameters are
/// the instant and the id up to which rows are too old, and the number of rows to look at.
const SURPLUS: &str = "SELECT last_id FROM (SELECT last_id, told_at FROM events ORDER BY last_id LIMIT ?3) \
     WHERE (told_at < ?1 OR last_id <= ?2) AND last_id < (SELECT max(last_id) FROM events)";

/// Returns the first two parameters of [`SURPLUS`].
fn bounds(conn: &Connection, keep: EventRetention, now: Timestamp) -> rusqlite::Result<(i64, i64)> {
    Ok((now.minus(keep.age).as_millis(), to_sql(newest(conn)?.saturating_sub(keep.events))))
}

fn has_surplus(conn: &Connection, keep: EventRetention, now: Timestamp) -> rusqlite::Result<bool> {
    let (before, up_to) = bounds(conn, keep, now)?;
    conn.prepare_cached(SURPLUS)?.exists(params![before, up_to, PIECE])
}

fn prune(conn: &Connection, keep: EventRetention, now: Timestamp) -> rusqlite::Result<usize> {
    let (before, up_to) = bounds(conn, keep, now)?;
    conn.prepare_cached(&format!("DELETE FROM events WHERE last_id IN ({SURPLUS})"))?
        .execute(params![before, up_to, PIECE])
}

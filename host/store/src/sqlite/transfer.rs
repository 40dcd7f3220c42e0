//! This store as one end of a move: see [`crate::transfer`].

mod giving;
mod taking;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::errors::{Step, translate};
use super::writer::Writing;
use super::{SqliteOptions, SqliteStore, open};
use crate::transfer::{Bound, Counters, Key, Kind, Page, Progress, Transfer, half_moved};
use crate::{Result, StoreError};
use sexton_domain::time::Timestamp;

impl SqliteStore {
    /// Opens the store at `path` as one end of a move, even one with an incomplete move into it, which hosts are
    /// refused. It is created if it does not exist. Blocks.
    ///
    /// # Errors
    ///
    /// The same as for [`SqliteStore::open`].
    pub fn open_to_move(path: impl AsRef<Path>) -> Result<Arc<Self>> {
        let options = SqliteOptions::default();
        let opened = open::open(path.as_ref(), &options)?;
        Self::start(path.as_ref(), opened, &options)
    }
}

/// Refuses a file that has only a part of what is being moved into it.
pub(super) fn refuse_half_moved(conn: &Connection, path: &Path) -> Result<()> {
    match moving(conn).map_err(|e| translate(&e, path))?.first() {
        Some((_, source, _)) => Err(half_moved(&format!("`{}`", path.display()), source)),
        None => Ok(()),
    }
}

#[async_trait]
impl Transfer for SqliteStore {
    /// Returns no hosts: while another process uses the file, it cannot be opened.
    async fn in_use_by(&self, _: Timestamp) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn is_empty(&self) -> Result<bool> {
        let parts = Kind::ALL.map(|kind| format!("NOT EXISTS (SELECT 1 FROM {kind})")).join(" AND ");
        self.read(move |conn| conn.query_row(&format!("SELECT {parts}"), [], |row| row.get(0))).await
    }

    async fn count(&self, kind: Kind) -> Result<u64> {
        let count = move |conn: &Connection| {
            conn.query_row(&format!("SELECT count(*) FROM {kind}"), [], |row| row.get::<_, i64>(0))
        };
        Ok(self.read(count).await?.unsigned_abs())
    }

    async fn page(&self, kind: Kind, after: Option<Key>, bound: Bound) -> Result<Page> {
        self.read(move |conn| giving::page(conn, kind, after.as_ref(), bound)).await
    }

    async fn counters(&self) -> Result<Counters> {
        self.read(|conn| {
            conn.query_row("SELECT run, fence, schedules, published FROM counters", [], |row| {
                Ok(Counters { run: row.get(0)?, fence: row.get(1)?, schedule: row.get(2)?, plugin: row.get(3)? })
            })
        })
        .await
    }

    async fn moving(&self) -> Result<Option<Progress>> {
        Progress::of_rows(self.read(moving).await?)
    }

    async fn begin_move(&self, source: &str, counters: Counters) -> Result<()> {
        let source = source.to_owned();
        self.write(move |w| {
            for kind in Kind::ALL {
                w.conn
                    .prepare_cached("INSERT OR IGNORE INTO transfer (kind, source) VALUES (?1, ?2)")?
                    .execute([kind.as_str(), &source])?;
            }
            count_on(w, counters)
        })
        .await
    }

    async fn take(&self, page: Page) -> Result<()> {
        self.write(move |w| {
            let Some(last) = page.last() else { return Ok(()) };
            note_progress(&w.conn, page.kind(), &last)?;
            taking::take(w, &page)
        })
        .await
    }

    async fn end_move(&self, counters: Counters) -> Result<()> {
        self.write(move |w| {
            w.conn.execute("DELETE FROM transfer", [])?;
            count_on(w, counters)
        })
        .await
    }
}

/// Returns the rows of a move that was begun.
fn moving(conn: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    conn.prepare_cached("SELECT kind, source, reached FROM transfer")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// Notes that all records of a kind up to the one with key `last` were moved.
fn note_progress(conn: &Connection, kind: Kind, last: &Key) -> Step<()> {
    let last = serde_json::to_string(last).expect("a key is numbers and texts");
    let begun = conn
        .prepare_cached("UPDATE transfer SET reached = ?2 WHERE kind = ?1")?
        .execute(params![kind.as_str(), last])?;
    match begun {
        0 => Err(StoreError::Other("nothing is being moved into this store".into()).into()),
        _ => Ok(()),
    }
}

/// Makes all numbers that are given out from now on greater than `counters`.
fn count_on(w: &mut Writing, counters: Counters) -> Step<()> {
    w.ledger.note_numbers(counters.run, counters.fence);
    w.conn
        .prepare_cached("UPDATE counters SET schedules = max(schedules, ?1), published = max(published, ?2)")?
        .execute([counters.schedule, counters.plugin])?;
    Ok(())
}

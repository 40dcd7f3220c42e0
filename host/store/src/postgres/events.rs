//! Numbers events, reads them, and deletes old ones. Each transaction writes its own with its commit (`tx`).
//!
//! A row has no ids when it is written, because ids that were drawn before a commit become visible out of order: a
//! reader would skip a transaction that commits late. Readers number the rows that they see, in a transaction that
//! holds the row of `event_ids`, so that no writer waits for another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use const_format::formatcp;
use tokio::sync::Notify;

use crate::Result;
use crate::events::{EventFilter, EventPage, EventRetention, Events};
use crate::rules::events::{self as rules, PIECE, ROWS};
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::rows::{number, to_sql};
use super::tx::{Ask, Tx};
use super::tx_actions::act;
use super::{PostgresStore, read};

/// The rows that are numbered in one transaction.
const NUMBERED: i64 = 1000;

#[async_trait]
impl Events for PostgresStore {
    fn record_events(&self, on: bool) {
        self.shared.recording.store(on, Ordering::Relaxed);
    }

    fn records_events(&self) -> bool {
        self.shared.recording.load(Ordering::Relaxed)
    }

    async fn events(&self, after: u64, filter: EventFilter, limit: usize) -> Result<EventPage> {
        self.number_events().await?;
        let (newest, rows) = read!(self, |tx| look(tx, after))?;
        Ok(rules::page(after, newest, &rows, &filter, limit))
    }

    async fn newest_event(&self) -> Result<u64> {
        self.number_events().await?;
        read!(self, |tx| newest(tx))
    }

    async fn prune_events(&self, keep: EventRetention, now: Timestamp) -> Result<u64> {
        self.number_events().await?;
        match read!(self, |tx| has_surplus(tx, keep, now))? {
            true => act!(self.numbering, [], |tx| prune(tx, keep, now)),
            false => Ok(0),
        }
    }

    fn events_hint(&self) -> Arc<Notify> {
        self.shared.hints.events.clone()
    }
}

impl PostgresStore {
    /// Gives ids to all events that are there and have none.
    async fn number_events(&self) -> Result<()> {
        while read!(self, |tx| has_new(tx))? {
            if act!(self.numbering, [], |tx| number_new(tx))? < NUMBERED {
                break;
            }
        }
        Ok(())
    }
}

async fn has_new(tx: &Tx) -> Step<bool> {
    Ok(tx.query_one("SELECT EXISTS (SELECT FROM events WHERE last_id IS NULL)", &[]).await?.get(0))
}

/// Numbers the first rows that have no ids. The row of `event_ids` is locked by the statement before it, so that
/// this statement finds the ids that the last transaction has given out.
const NUMBER: &str = formatcp!(
    "WITH fresh AS (SELECT place, lines FROM events WHERE last_id IS NULL ORDER BY place LIMIT {NUMBERED}), \
     summed AS (SELECT place, sum(lines) OVER (ORDER BY place) AS up_to FROM fresh), \
     numbered AS (UPDATE events e SET last_id = i.newest + s.up_to FROM summed s, event_ids i \
     WHERE e.place = ANY (ARRAY[s.place]) RETURNING e.last_id), \
     counted AS (SELECT count(*) AS rows, max(last_id) AS newest FROM numbered) \
     UPDATE event_ids i SET newest = coalesce(c.newest, i.newest) FROM counted c RETURNING c.rows"
);

/// Returns the number of rows that it has numbered.
async fn number_new(tx: &mut Tx) -> Step<i64> {
    let asks: [Ask<'_>; 2] = [("SELECT newest FROM event_ids FOR UPDATE", &[]), (NUMBER, &[])];
    let rows = tx.pipeline(&asks).await?;
    Ok(rows[1].first().map_or(0, |row| row.get(0)))
}

/// Selects the newest id.
const NEWEST: &str = "SELECT newest FROM event_ids";

async fn newest(tx: &Tx) -> Step<u64> {
    Ok(number(&tx.query_one(NEWEST, &[]).await?, 0))
}

/// Returns the newest id, and the first rows that end after the id `after`.
async fn look(tx: &Tx, after: u64) -> Step<(u64, Vec<rules::Row>)> {
    let after = to_sql(after);
    let sql = "SELECT last_id, lines::bigint, body FROM events WHERE last_id > $1 ORDER BY last_id LIMIT $2";
    let rows = tx.pipeline(&[(NEWEST, &[]), (sql, &[&after, &ROWS])]).await?;
    let newest = rows[0].first().map_or(0, |row| number(row, 0));
    let each =
        rows[1].iter().map(|row| rules::Row { last_id: number(row, 0), lines: number(row, 1), body: row.get(2) });
    Ok((newest, each.collect()))
}

/// Selects the rows to delete among the oldest. The parameters are the instant before which rows are too old, the
/// number of events to keep, and the number of rows to look at.
const SURPLUS: &str = "SELECT o.place FROM (SELECT place, told_at, last_id FROM events WHERE last_id IS NOT NULL \
     ORDER BY last_id LIMIT $3) o, event_ids i WHERE o.told_at < $1 OR o.last_id <= i.newest - $2";

async fn has_surplus(tx: &Tx, keep: EventRetention, now: Timestamp) -> Step<bool> {
    let (before, kept) = (now.minus(keep.age).as_millis(), to_sql(keep.events));
    Ok(tx.query_opt(SURPLUS, &[&before, &kept, &PIECE]).await?.is_some())
}

async fn prune(tx: &mut Tx, keep: EventRetention, now: Timestamp) -> Step<u64> {
    let (before, kept) = (now.minus(keep.age).as_millis(), to_sql(keep.events));
    let sql = formatcp!("DELETE FROM events e USING ({SURPLUS}) s WHERE e.place = s.place");
    tx.execute(sql, &[&before, &kept, &PIECE]).await
}

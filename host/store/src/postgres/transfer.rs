//! This store as one end of a move: see [`crate::transfer`].

mod giving;
mod taking;

use std::sync::Arc;

use async_trait::async_trait;

use crate::hosts::Hosts;
use crate::transfer::{Bound, Counters, End, Key, Kind, Page, Progress, Transfer, half_moved};
use crate::{Result, Store, StoreError};
use sexton_domain::time::Timestamp;

use super::connect::Connector;
use super::errors::{Step, translate};
use super::tx::Tx;
use super::tx_actions::act;
use super::{PostgresOptions, PostgresStore, read};

impl PostgresStore {
    /// Opens the store as one end of a move, even one with an incomplete move into it, which hosts are refused. A
    /// source must exist; a destination is created.
    ///
    /// # Errors
    ///
    /// The same as for [`PostgresStore::open`].
    pub async fn open_to_move(options: &PostgresOptions, end: End) -> Result<Arc<Self>> {
        if end == End::Source {
            must_be_there(options).await?;
        }
        Self::start(options).await
    }
}

/// Refuses a schema without a store in it.
async fn must_be_there(options: &PostgresOptions) -> Result<()> {
    const META: &str =
        "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = $1::text AND tablename = 'meta')";
    let client = Connector::new(options)?.connect().await?;
    let row = client.query_one(META, &[&options.schema]).await.map_err(|e| translate(&e))?;
    match row.get(0) {
        true => Ok(()),
        false => Err(StoreError::Unusable(format!(
            "{} has no Sexton store: name the schema that has one, like the host's `[store] schema`",
            named(options)
        ))),
    }
}

/// Refuses a store that has only a part of what is being moved into it.
pub(super) async fn refuse_half_moved(store: &PostgresStore, options: &PostgresOptions) -> Result<()> {
    match read!(store, |tx| moving(tx))?.first() {
        Some((_, source, _)) => Err(half_moved(&named(options), source)),
        None => Ok(()),
    }
}

fn named(options: &PostgresOptions) -> String {
    format!("schema `{}` of `{}`", options.schema, options.url)
}

#[async_trait]
impl Transfer for PostgresStore {
    async fn in_use_by(&self, now: Timestamp) -> Result<Vec<String>> {
        let now = self.time().await?.unwrap_or(now);
        let hosts = self.hosts().await?;
        Ok(hosts.into_iter().filter(|host| host.alive_until > now).map(|host| host.host.name).collect())
    }

    async fn is_empty(&self) -> Result<bool> {
        let parts = Kind::ALL.map(|kind| format!("NOT EXISTS (SELECT 1 FROM {kind})")).join(" AND ");
        let sql = format!("SELECT {parts}");
        let row = read!(self, |tx| tx.query_one(&sql, &[]))?;
        Ok(row.get(0))
    }

    async fn count(&self, kind: Kind) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {kind}");
        let row = read!(self, |tx| tx.query_one(&sql, &[]))?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    async fn page(&self, kind: Kind, after: Option<Key>, bound: Bound) -> Result<Page> {
        read!(self, |tx| giving::page(tx, kind, after.as_ref(), bound))
    }

    async fn counters(&self) -> Result<Counters> {
        read!(self, |tx| greatest_numbers(tx))
    }

    async fn moving(&self) -> Result<Option<Progress>> {
        Progress::of_rows(read!(self, |tx| moving(tx))?)
    }

    async fn begin_move(&self, source: &str, counters: Counters) -> Result<()> {
        let source = source.to_owned();
        act!(self.acts, [source], |tx| begin(tx, &source, counters))
    }

    async fn take(&self, page: Page) -> Result<()> {
        let page = Arc::new(page.without_nuls());
        act!(self.acts, [page], |tx| take(tx, &page))
    }

    async fn end_move(&self, counters: Counters) -> Result<()> {
        act!(self.acts, [], |tx| end(tx, counters))
    }
}

/// Returns the rows of a move that was begun.
async fn moving(tx: &Tx) -> Step<Vec<(String, String, Option<String>)>> {
    let rows = tx.query("SELECT kind, source, reached FROM transfer", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

async fn begin(tx: &Tx, source: &str, counters: Counters) -> Step<()> {
    let kinds = Kind::ALL.map(Kind::as_str).to_vec();
    tx.execute(
        "INSERT INTO transfer (kind, source) SELECT kind, $2::text FROM unnest($1::text[]) AS n(kind) ON CONFLICT DO NOTHING",
        &[&kinds, &source],
    )
    .await?;
    count_on(tx, counters).await
}

async fn end(tx: &Tx, counters: Counters) -> Step<()> {
    tx.execute("DELETE FROM transfer", &[]).await?;
    count_on(tx, counters).await
}

async fn take(tx: &mut Tx, page: &Page) -> Step<()> {
    let Some(last) = page.last() else { return Ok(()) };
    let last = serde_json::to_string(&last).expect("a key is numbers and texts");
    // The row's lock makes another transaction with the same page wait for this commit: then it finds all records.
    let begun = tx.execute("UPDATE transfer SET reached = $2 WHERE kind = $1", &[&page.kind().as_str(), &last]).await?;
    if begun == 0 {
        return Err(StoreError::Other("nothing is being moved into this store".into()).into());
    }
    taking::take(tx, page).await
}

/// Returns the greatest numbers that were given out.
async fn greatest_numbers(tx: &Tx) -> Step<Counters> {
    let given = |sequence: &str| {
        format!("(SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence})")
    };
    let sql = format!("SELECT {}, {}, schedules, published FROM counters", given("run_ids"), given("fences"));
    let row = tx.query_one(&sql, &[]).await?;
    Ok(Counters { run: row.get(0), fence: row.get(1), schedule: row.get(2), plugin: row.get(3) })
}

/// Makes all numbers that are given out from now on greater than `counters`.
async fn count_on(tx: &Tx, counters: Counters) -> Step<()> {
    let greatest = greatest_numbers(tx).await?.or_greater(counters);
    for (sequence, last) in [("run_ids", greatest.run), ("fences", greatest.fence)] {
        // A sequence that has given out nothing is left at its beginning: there is no 0 in it.
        if last > 0 {
            tx.query_one(&format!("SELECT setval('{sequence}', $1)"), &[&last]).await?;
        }
    }
    tx.execute("UPDATE counters SET schedules = $1, published = $2", &[&greatest.schedule, &greatest.plugin]).await?;
    Ok(())
}

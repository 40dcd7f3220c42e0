//! Published plugins: a row for each name, and their components, in parts.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio_postgres::Row;

use crate::Result;
use crate::events::EventKind;
use crate::published::{PluginKey, Plugins, Publish, PublishedPlugin, TOLD_FOR, parts};
use crate::rules::events::NewEvent;
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::rows::{instant, name, number, to_sql};
use super::tx::Tx;
use super::tx_actions::act;
use super::{PostgresStore, read};

#[async_trait]
impl Plugins for PostgresStore {
    async fn publish(&self, plugin: Publish) -> Result<u64> {
        let plugin = Arc::new(plugin);
        let kept = Arc::clone(&plugin);
        act!(self.acts, [kept], |tx| keep(tx, &kept))?;
        for part in 0..plugin.parts() {
            let kept = Arc::clone(&plugin);
            act!(self.acts, [kept], |tx| keep_part(tx, &kept, part))?;
        }
        act!(self.acts, [plugin], |tx| publish(tx, &plugin))
    }

    async fn published_since(&self, version: u64, limit: usize) -> Result<Vec<PublishedPlugin>> {
        read!(self, |tx| list(tx, version, limit))
    }

    async fn component(&self, digest: &str, size: u64) -> Result<Option<Vec<u8>>> {
        let mut bytes: Option<Vec<u8>> = None;
        for part in 0..parts(size) {
            let body: Option<Vec<u8>> = read!(self, |tx| part_of(tx, digest, part))?;
            let Some(body) = body else { break };
            bytes.get_or_insert_default().extend_from_slice(&body);
        }
        Ok(bytes)
    }

    async fn withdraw(&self, key: PluginKey, version: u64, now: Timestamp) -> Result<bool> {
        act!(self.acts, [key], |tx| withdraw(tx, &key, version, now))
    }

    fn plugins_hint(&self) -> Arc<Notify> {
        self.shared.hints.plugins.clone()
    }
}

/// Announces a component before its parts are written, so that it is not deleted for a while.
async fn keep(tx: &Tx, plugin: &Publish) -> Step<()> {
    tx.execute(
        "INSERT INTO components (digest, size, kept_at) VALUES ($1, $2, $3) \
         ON CONFLICT (digest) DO UPDATE SET kept_at = greatest(components.kept_at, excluded.kept_at)",
        &[&plugin.digest, &to_sql(plugin.component.len()), &plugin.now.as_millis()],
    )
    .await
    .map(drop)
}

/// Writes a part, even over an existing one, which may be damaged.
async fn keep_part(tx: &Tx, plugin: &Publish, part: usize) -> Step<()> {
    tx.execute(
        "INSERT INTO component_parts (digest, part, body) VALUES ($1, $2, $3) ON CONFLICT (digest, part) DO UPDATE \
         SET body = excluded.body WHERE component_parts.body <> excluded.body",
        &[&plugin.digest, &place(part), &plugin.part(part)],
    )
    .await
    .map(drop)
}

/// See [`Plugins::publish`].
async fn publish(tx: &mut Tx, plugin: &Publish) -> Step<u64> {
    let Publish { key, manifest, digest, component, host, now } = plugin;
    let (tenant, name) = (key.tenant.as_str(), key.plugin.as_str());
    let same = tx
        .query_opt(
            "SELECT version FROM published WHERE tenant = $1 AND plugin = $2 AND digest = $3 AND manifest = $4 \
             AND host = $5 AND withdrawn_at IS NULL",
            &[&tenant, &name, digest, manifest, host],
        )
        .await?;
    if let Some(row) = same {
        return Ok(number(&row, 0));
    }
    let version = next_version(tx).await?;
    tx.execute(
        "INSERT INTO published (tenant, plugin, version, digest, size, manifest, host, published_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant, plugin) DO UPDATE SET version = excluded.version, \
         digest = excluded.digest, size = excluded.size, manifest = excluded.manifest, host = excluded.host, \
         published_at = excluded.published_at, withdrawn_at = NULL",
        &[&tenant, &name, &version, digest, &to_sql(component.len()), manifest, host, &now.as_millis()],
    )
    .await?;
    tx.events.tell(NewEvent::of_named(EventKind::PluginPublished, *now, &key.tenant, &key.plugin));
    tx.hints.plugins = true;
    Ok(version.unsigned_abs())
}

/// Draws a version that is greater than all before. The next one is drawn only after this transaction is committed, so
/// versions become visible in their order.
async fn next_version(tx: &Tx) -> Step<i64> {
    let row = tx.query_one("UPDATE counters SET published = published + 1 RETURNING published", &[]).await?;
    Ok(row.get(0))
}

/// See [`Plugins::published_since`].
async fn list(tx: &Tx, version: u64, limit: usize) -> Step<Vec<PublishedPlugin>> {
    let rows = tx
        .query(
            "SELECT tenant, plugin, version, manifest, digest, size, host, published_at, withdrawn_at IS NOT NULL \
             FROM published WHERE version > $1 ORDER BY version LIMIT $2",
            &[&to_sql(version), &to_sql(limit)],
        )
        .await?;
    rows.iter().map(published).collect()
}

fn published(row: &Row) -> Step<PublishedPlugin> {
    Ok(PublishedPlugin {
        key: PluginKey { tenant: name(row, 0)?, plugin: name(row, 1)? },
        version: number(row, 2),
        manifest: row.get(3),
        digest: row.get(4),
        size: number(row, 5),
        host: row.get(6),
        published_at: instant(row, 7),
        withdrawn: row.get(8),
    })
}

async fn part_of(tx: &Tx, digest: &str, part: usize) -> Step<Option<Vec<u8>>> {
    let row = tx
        .query_opt("SELECT body FROM component_parts WHERE digest = $1 AND part = $2", &[&digest, &place(part)])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Converts a part's number to the table's type.
fn place(part: usize) -> i32 {
    i32::try_from(part).unwrap_or(i32::MAX)
}

/// See [`Plugins::withdraw`].
async fn withdraw(tx: &mut Tx, key: &PluginKey, version: u64, now: Timestamp) -> Step<bool> {
    let (tenant, name) = (key.tenant.as_str(), key.plugin.as_str());
    let there = "tenant = $1 AND plugin = $2 AND version = $3 AND withdrawn_at IS NULL";
    let found =
        tx.query_opt(&format!("SELECT 1 FROM published WHERE {there}"), &[&tenant, &name, &to_sql(version)]).await?;
    if found.is_none() {
        return Ok(false);
    }
    // `publish` locks in the same order: the counter first.
    let next = next_version(tx).await?;
    let withdrawn = tx
        .execute(
            &format!(
                "UPDATE published SET version = $4, digest = '', size = 0, manifest = '', withdrawn_at = $5 WHERE {there}"
            ),
            &[&tenant, &name, &to_sql(version), &next, &now.as_millis()],
        )
        .await?;
    if withdrawn > 0 {
        tx.events.tell(NewEvent::of_named(EventKind::PluginWithdrawn, now, &key.tenant, &key.plugin));
        tx.hints.plugins = true;
    }
    Ok(withdrawn > 0)
}

/// Deletes what is no longer needed: rows of plugins that were withdrawn long ago, and a component that no plugin has.
/// Returns the number of rows.
///
/// A host announces a component before it publishes it ([`keep`]), so the component is not deleted in between.
pub(super) async fn prune(tx: &Tx, now: Timestamp) -> Step<u64> {
    let before = now.minus(TOLD_FOR).as_millis();
    let rows = tx.execute("DELETE FROM published WHERE withdrawn_at < $1", &[&before]).await?;
    let component = tx
        .query_opt(
            "DELETE FROM components WHERE digest = (SELECT c.digest FROM components c WHERE c.kept_at < $1 \
             AND NOT EXISTS (SELECT 1 FROM published p WHERE p.digest = c.digest) LIMIT 1) AND kept_at < $1 RETURNING digest",
            &[&before],
        )
        .await?;
    let Some(row) = component else { return Ok(rows) };
    tx.execute("DELETE FROM component_parts WHERE digest = $1", &[&row.get::<_, &str>(0)]).await?;
    Ok(rows + 1)
}

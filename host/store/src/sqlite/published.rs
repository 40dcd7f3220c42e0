//! Published plugins: a row for each name, and their components, in parts.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Notify;

use super::SqliteStore;
use super::errors::Step;
use super::rows::{instant, name, number, to_sql};
use super::writer::Writing;
use crate::Result;
use crate::events::EventKind;
use crate::published::{PluginKey, Plugins, Publish, PublishedPlugin, TOLD_FOR, parts};
use crate::rules::events::NewEvent;
use sexton_domain::time::Timestamp;

#[async_trait]
impl Plugins for SqliteStore {
    async fn publish(&self, plugin: Publish) -> Result<u64> {
        let plugin = Arc::new(plugin);
        let kept = Arc::clone(&plugin);
        self.write(move |w| Ok(keep(&w.conn, &kept)?)).await?;
        for part in 0..plugin.parts() {
            let kept = Arc::clone(&plugin);
            self.write(move |w| Ok(keep_part(&w.conn, &kept, part)?)).await?;
        }
        self.write(move |w| publish(w, &plugin)).await
    }

    async fn published_since(&self, version: u64, limit: usize) -> Result<Vec<PublishedPlugin>> {
        self.read(move |conn| list(conn, version, limit)).await
    }

    async fn component(&self, digest: &str, size: u64) -> Result<Option<Vec<u8>>> {
        let digest = digest.to_owned();
        self.read(move |conn| component(conn, &digest, size)).await
    }

    async fn withdraw(&self, key: PluginKey, version: u64, now: Timestamp) -> Result<bool> {
        self.write(move |w| withdraw(w, &key, version, now)).await
    }

    fn plugins_hint(&self) -> Arc<Notify> {
        self.board.hints.plugins.clone()
    }
}

/// Announces a component before its parts are written, so that it is not deleted for a while.
fn keep(conn: &Connection, plugin: &Publish) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO components (digest, size, kept_at) VALUES (?1, ?2, ?3) \
         ON CONFLICT (digest) DO UPDATE SET kept_at = max(components.kept_at, excluded.kept_at)",
    )?
    .execute(params![plugin.digest, to_sql(plugin.component.len()), plugin.now.as_millis()])
    .map(drop)
}

/// Writes a part, even over an existing one, which may be damaged.
fn keep_part(conn: &Connection, plugin: &Publish, part: usize) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO component_parts (digest, part, body) VALUES (?1, ?2, ?3) ON CONFLICT (digest, part) DO UPDATE \
         SET body = excluded.body WHERE component_parts.body <> excluded.body",
    )?
    .execute(params![plugin.digest, to_sql(part), plugin.part(part)])
    .map(drop)
}

/// See [`Plugins::publish`].
fn publish(w: &mut Writing, plugin: &Publish) -> Step<u64> {
    let Publish { key, manifest, digest, component, host, now } = plugin;
    let (tenant, name) = (key.tenant.as_str(), key.plugin.as_str());
    let same = w
        .conn
        .prepare_cached(
            "SELECT version FROM published WHERE tenant = ?1 AND plugin = ?2 AND digest = ?3 AND manifest = ?4 \
             AND host = ?5 AND withdrawn_at IS NULL",
        )?
        .query_row(params![tenant, name, digest, manifest, host], |row| number(row, 0))
        .optional()?;
    if let Some(version) = same {
        return Ok(version);
    }
    let version = next_version(&w.conn)?;
    w.conn
        .prepare_cached(
            "INSERT INTO published (tenant, plugin, version, digest, size, manifest, host, published_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (tenant, plugin) DO UPDATE SET version = ?3, digest = ?4, \
             size = ?5, manifest = ?6, host = ?7, published_at = ?8, withdrawn_at = NULL",
        )?
        .execute(params![tenant, name, version, digest, to_sql(component.len()), manifest, host, now.as_millis()])?;
    w.events.tell(NewEvent::of_named(EventKind::PluginPublished, *now, &key.tenant, &key.plugin));
    w.hints.plugins = true;
    Ok(version.unsigned_abs())
}

/// Draws a version that is greater than all before.
fn next_version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("UPDATE counters SET published = published + 1 RETURNING published")?
        .query_row([], |row| row.get(0))
}

/// See [`Plugins::published_since`].
fn list(conn: &Connection, version: u64, limit: usize) -> rusqlite::Result<Vec<PublishedPlugin>> {
    conn.prepare_cached(
        "SELECT tenant, plugin, version, manifest, digest, size, host, published_at, withdrawn_at IS NOT NULL \
         FROM published WHERE version > ?1 ORDER BY version LIMIT ?2",
    )?
    .query_map([to_sql(version), to_sql(limit)], published)?
    .collect()
}

fn published(row: &Row<'_>) -> rusqlite::Result<PublishedPlugin> {
    Ok(PublishedPlugin {
        key: PluginKey { tenant: name(row, 0)?, plugin: name(row, 1)? },
        version: number(row, 2)?,
        manifest: row.get(3)?,
        digest: row.get(4)?,
        size: number(row, 5)?,
        host: row.get(6)?,
        published_at: instant(row, 7)?,
        withdrawn: row.get(8)?,
    })
}

/// See [`Plugins::component`].
fn component(conn: &Connection, digest: &str, size: u64) -> rusqlite::Result<Option<Vec<u8>>> {
    let mut statement =
        conn.prepare_cached("SELECT body FROM component_parts WHERE digest = ?1 AND part < ?2 ORDER BY part")?;
    let mut rows = statement.query(params![digest, to_sql(parts(size))])?;
    let mut bytes: Option<Vec<u8>> = None;
    while let Some(row) = rows.next()? {
        bytes.get_or_insert_default().extend_from_slice(row.get_ref(0)?.as_blob()?);
    }
    Ok(bytes)
}

/// See [`Plugins::withdraw`].
fn withdraw(w: &mut Writing, key: &PluginKey, version: u64, now: Timestamp) -> Step<bool> {
    let (tenant, name) = (key.tenant.as_str(), key.plugin.as_str());
    let there = w
        .conn
        .prepare_cached(
            "SELECT 1 FROM published WHERE tenant = ?1 AND plugin = ?2 AND version = ?3 AND withdrawn_at IS NULL",
        )?
        .exists(params![tenant, name, to_sql(version)])?;
    if !there {
        return Ok(false);
    }
    let version = next_version(&w.conn)?;
    w.conn
        .prepare_cached(
            "UPDATE published SET version = ?3, digest = '', size = 0, manifest = '', withdrawn_at = ?4 \
             WHERE tenant = ?1 AND plugin = ?2",
        )?
        .execute(params![tenant, name, version, now.as_millis()])?;
    w.events.tell(NewEvent::of_named(EventKind::PluginWithdrawn, now, &key.tenant, &key.plugin));
    w.hints.plugins = true;
    Ok(true)
}

/// Deletes what is no longer needed: rows of plugins that were withdrawn long ago, and a component that no plugin has.
/// Returns the number of rows.
pub(super) fn prune(conn: &Connection, now: Timestamp) -> rusqlite::Result<usize> {
    let before = now.minus(TOLD_FOR).as_millis();
    let rows = conn.prepare_cached("DELETE FROM published WHERE withdrawn_at < ?1")?.execute([before])?;
    let component = conn
        .prepare_cached(
            "DELETE FROM components WHERE digest = (SELECT digest FROM components c WHERE kept_at < ?1 \
             AND NOT EXISTS (SELECT 1 FROM published p WHERE p.digest = c.digest) LIMIT 1) RETURNING digest",
        )?
        .query_row([before], |row| row.get::<_, String>(0))
        .optional()?;
    let Some(digest) = component else { return Ok(rows) };
    conn.prepare_cached("DELETE FROM component_parts WHERE digest = ?1")?.execute([digest])?;
    Ok(rows + 1)
}

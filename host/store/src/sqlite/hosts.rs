//! The known hosts: this one, and those that had the file before under other names.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::loss;
use super::rows::instant;
use super::writer::Writing;
use crate::Result;
use crate::hosts::{Announced, Announcement, HostInfo, HostRecord, Hosts};
use crate::rules::events::{NewEvent, of_announcement};
use sexton_domain::time::Timestamp;

#[async_trait]
impl Hosts for SqliteStore {
    async fn announce(&self, announcement: Announcement) -> Result<Announced> {
        self.write(move |w| Ok(announce(w, &announcement)?)).await
    }

    async fn hosts(&self) -> Result<Vec<HostInfo>> {
        self.read(list).await
    }

    async fn set_draining(&self, host: &str, draining: bool) -> Result<bool> {
        let host = host.to_owned();
        self.write(move |w| Ok(set_draining(&w.conn, &host, draining)?)).await
    }

    async fn forget_hosts(&self, before: Timestamp) -> Result<u64> {
        self.write(move |w| Ok(forget(&w.conn, before)? as u64)).await
    }
}

/// Writes a host's row over one of the same life, or over any if the new life takes it over.
const ANNOUNCE: &str = "INSERT INTO hosts (name, instance, version, address, labels, slots, attempts, plugins, draining, started_at, \
     seen_at, alive_until) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, ?9, ?10, ?11) \
     ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, version = excluded.version, address = excluded.address, \
     labels = excluded.labels, slots = excluded.slots, attempts = excluded.attempts, plugins = excluded.plugins, \
     draining = hosts.draining AND NOT ?12, started_at = excluded.started_at, seen_at = excluded.seen_at, \
     alive_until = excluded.alive_until WHERE ?12 OR hosts.instance = excluded.instance RETURNING draining";

/// See [`Hosts::announce`].
fn announce(w: &mut Writing, announcement: &Announcement) -> rusqlite::Result<Announced> {
    let Announcement { host, takes_over, alive_until, now } = announcement;
    let draining = w
        .conn
        .prepare_cached(ANNOUNCE)?
        .query_row(
            params![
                host.name,
                host.instance,
                host.version,
                host.address,
                host.labels_as_text(),
                host.slots,
                host.attempts,
                host.plugins,
                host.started_at.as_millis(),
                now.as_millis(),
                alive_until.as_millis(),
                takes_over
            ],
            |row| row.get(0),
        )
        .optional()?;
    match (takes_over, draining) {
        (true, _) => loss::confirm(&w.conn, &host.name)?,
        (false, Some(_)) => loss::retract_deaths(w, &host.name, host.instance, *now)?,
        (false, None) => {}
    }
    if let Some(kind) = of_announcement(announcement).filter(|_| draining.is_some()) {
        w.events.tell(NewEvent::of_host(kind, *now, &host.name));
    }
    Ok(match draining {
        Some(draining) => Announced { draining, replaced: false },
        None => Announced { draining: false, replaced: true },
    })
}

/// See [`Hosts::hosts`].
fn list(conn: &Connection) -> rusqlite::Result<Vec<HostInfo>> {
    conn.prepare_cached(
        "SELECT name, instance, version, address, labels, slots, attempts, plugins, started_at, draining, seen_at, \
         alive_until FROM hosts ORDER BY name",
    )?
    .query_map([], info)?
    .collect()
}

fn info(row: &Row<'_>) -> rusqlite::Result<HostInfo> {
    Ok(HostInfo {
        host: HostRecord {
            name: row.get(0)?,
            instance: row.get(1)?,
            version: row.get(2)?,
            address: row.get(3)?,
            labels: HostRecord::labels_of_text(row.get_ref(4)?.as_str()?),
            slots: row.get(5)?,
            attempts: row.get(6)?,
            plugins: row.get(7)?,
            started_at: instant(row, 8)?,
        },
        draining: row.get(9)?,
        seen_at: instant(row, 10)?,
        alive_until: instant(row, 11)?,
    })
}

/// See [`Hosts::set_draining`].
fn set_draining(conn: &Connection, host: &str, draining: bool) -> rusqlite::Result<bool> {
    let found =
        conn.prepare_cached("UPDATE hosts SET draining = ?2 WHERE name = ?1")?.execute(params![host, draining])?;
    Ok(found > 0)
}

/// See [`Hosts::forget_hosts`].
fn forget(conn: &Connection, before: Timestamp) -> rusqlite::Result<usize> {
    let gone = conn.prepare_cached("DELETE FROM hosts WHERE seen_at < ?1")?.execute([before.as_millis()])?;
    if gone > 0 {
        loss::confirm_unlisted(conn)?;
    }
    Ok(gone)
}

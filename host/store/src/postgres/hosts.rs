//! The hosts that share the database.

use async_trait::async_trait;
use tokio_postgres::Row;

use crate::Result;
use crate::hosts::{Announced, Announcement, HostInfo, HostRecord, Hosts};
use crate::rules::events::{NewEvent, of_announcement};
use sexton_domain::time::Timestamp;

use super::errors::Step;
use super::rows::{instant, small, to_int};
use super::tx::Tx;
use super::tx_actions::act;
use super::{PostgresStore, loss, read};

#[async_trait]
impl Hosts for PostgresStore {
    async fn announce(&self, announcement: Announcement) -> Result<Announced> {
        act!(self.holding, [announcement], |tx| announce(tx, &announcement))
    }

    async fn hosts(&self) -> Result<Vec<HostInfo>> {
        read!(self, |tx| list(tx))
    }

    async fn set_draining(&self, host: &str, draining: bool) -> Result<bool> {
        let host = host.to_owned();
        act!(self.holding, [host], |tx| set_draining(tx, &host, draining))
    }

    async fn forget_hosts(&self, before: Timestamp) -> Result<u64> {
        act!(self.holding, [], |tx| forget(tx, before))
    }
}

/// Writes a host's row over one of the same life, or over any if the new life takes it over.
const ANNOUNCE: &str = "INSERT INTO hosts (name, instance, version, address, labels, slots, attempts, plugins, started_at, seen_at, \
     alive_until) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
     ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, version = excluded.version, address = excluded.address, \
     labels = excluded.labels, slots = excluded.slots, attempts = excluded.attempts, plugins = excluded.plugins, \
     draining = hosts.draining AND NOT $12::boolean, started_at = excluded.started_at, seen_at = excluded.seen_at, \
     alive_until = excluded.alive_until WHERE $12::boolean OR hosts.instance = excluded.instance RETURNING draining";

/// See [`Hosts::announce`].
async fn announce(tx: &mut Tx, announcement: &Announcement) -> Step<Announced> {
    let Announcement { host, takes_over, alive_until, now } = announcement;
    let row = tx
        .query_opt(
            ANNOUNCE,
            &[
                &host.name,
                &host.instance,
                &host.version,
                &host.address,
                &host.labels_as_text(),
                &to_int(host.slots),
                &to_int(host.attempts),
                &to_int(host.plugins),
                &host.started_at.as_millis(),
                &now.as_millis(),
                &alive_until.as_millis(),
                takes_over,
            ],
        )
        .await?;
    match (takes_over, &row) {
        (true, _) => loss::confirm(tx, &host.name).await?,
        (false, Some(_)) => loss::retract_deaths(tx, &host.name, host.instance, *now).await?,
        (false, None) => {}
    }
    if let Some(kind) = of_announcement(announcement).filter(|_| row.is_some()) {
        tx.events.tell(NewEvent::of_host(kind, *now, &host.name));
    }
    Ok(match row {
        Some(row) => Announced { draining: row.get(0), replaced: false },
        None => Announced { draining: false, replaced: true },
    })
}

/// See [`Hosts::hosts`].
async fn list(tx: &Tx) -> Step<Vec<HostInfo>> {
    let rows = tx
        .query(
            "SELECT name, instance, version, address, labels, slots, attempts, plugins, started_at, draining, seen_at, \
             alive_until FROM hosts ORDER BY name",
            &[],
        )
        .await?;
    Ok(rows.iter().map(info).collect())
}

fn info(row: &Row) -> HostInfo {
    HostInfo {
        host: HostRecord {
            name: row.get(0),
            instance: row.get(1),
            version: row.get(2),
            address: row.get(3),
            labels: HostRecord::labels_of_text(row.get(4)),
            slots: small(row, 5),
            attempts: small(row, 6),
            plugins: small(row, 7),
            started_at: instant(row, 8),
        },
        draining: row.get(9),
        seen_at: instant(row, 10),
        alive_until: instant(row, 11),
    }
}

/// See [`Hosts::set_draining`].
async fn set_draining(tx: &Tx, host: &str, draining: bool) -> Step<bool> {
    let found = tx.execute("UPDATE hosts SET draining = $2 WHERE name = $1", &[&host, &draining]).await?;
    Ok(found > 0)
}

/// See [`Hosts::forget_hosts`].
async fn forget(tx: &Tx, before: Timestamp) -> Step<u64> {
    let gone = tx.execute("DELETE FROM hosts WHERE seen_at < $1", &[&before.as_millis()]).await?;
    if gone > 0 {
        loss::confirm_unlisted(tx).await?;
    }
    Ok(gone)
}

//! The numbers of tenants, and the sets of labels that runs have.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{name, to_sql};
use crate::labels::{each, read, text_of};
use crate::leftovers::SETS;
use sexton_domain::labels::Labels;
use sexton_domain::task::Name;

/// Returns the numbers of all tenants.
pub(super) fn tenants(conn: &Connection) -> rusqlite::Result<HashMap<Name, i64>> {
    conn.prepare_cached("SELECT name, id FROM tenants")?
        .query_map([], |row| Ok((name(row, 0)?, row.get(1)?)))?
        .collect()
}

/// Gives a number to a tenant that has none.
pub(super) fn add_tenant(conn: &Connection, tenant: &Name) -> rusqlite::Result<i64> {
    conn.prepare_cached("INSERT INTO tenants (name) VALUES (?1) RETURNING id")?
        .query_row([tenant.as_str()], |row| row.get(0))
}

/// Returns the number of a set of labels, which is written if it is new.
pub(super) fn add_set(conn: &Connection, tenant: i64, set: &Labels) -> rusqlite::Result<i64> {
    let text = text_of(set);
    let known = conn
        .prepare_cached("SELECT id FROM label_sets WHERE tenant = ?1 AND labels = ?2")?
        .query_row(params![tenant, text], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let id: i64 = conn
        .prepare_cached("INSERT INTO label_sets (tenant, labels) VALUES (?1, ?2) RETURNING id")?
        .query_row(params![tenant, text], |row| row.get(0))?;
    let mut label = conn.prepare_cached("INSERT INTO labels_of_sets (tenant, label, label_set) VALUES (?1, ?2, ?3)")?;
    for text in each(set) {
        label.execute(params![tenant, text, id])?;
    }
    Ok(id)
}

/// Returns the next sets of labels after `after`, each with whether no run has it.
pub(super) fn page(conn: &Connection, after: i64) -> rusqlite::Result<Vec<(i64, bool)>> {
    conn.prepare_cached(
        "SELECT s.id, NOT EXISTS (SELECT 1 FROM runs r INDEXED BY runs_labelled WHERE r.labels = s.id) \
         FROM label_sets s WHERE s.id > ?1 ORDER BY s.id LIMIT ?2",
    )?
    .query_map([after, to_sql(SETS)], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

/// Deletes those of `sets` that no run has. Returns them.
pub(super) fn delete_unused(conn: &Connection, sets: &[i64]) -> rusqlite::Result<Vec<i64>> {
    let mut delete = conn.prepare_cached(
        "DELETE FROM label_sets WHERE id = ?1 AND NOT EXISTS \
         (SELECT 1 FROM runs r INDEXED BY runs_labelled WHERE r.labels = ?1) RETURNING tenant, labels",
    )?;
    let mut label =
        conn.prepare_cached("DELETE FROM labels_of_sets WHERE tenant = ?1 AND label = ?2 AND label_set = ?3")?;
    let mut deleted = Vec::new();
    for set in sets {
        let gone = delete.query_row([set], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).optional()?;
        let Some((tenant, text)) = gone else { continue };
        for text in each(&read(&text)) {
            label.execute(params![tenant, text, set])?;
        }
        deleted.push(*set);
    }
    Ok(deleted)
}

/// Gives their tenants to some of the runs that an older program made without. Returns their number.
pub(super) fn find_tenants(conn: &Connection, limit: usize) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "UPDATE runs SET tenant = found.tenant FROM (SELECT r.id AS run, n.id AS tenant \
         FROM runs r INDEXED BY runs_of_tenant CROSS JOIN tasks t ON t.id = r.task \
         CROSS JOIN tenants n ON n.name = t.tenant WHERE r.tenant = 0 LIMIT ?1) AS found WHERE runs.id = found.run",
    )?
    .execute([to_sql(limit)])
}

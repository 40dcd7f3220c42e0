//! The numbers of tenants, and the sets of labels that runs have. Both are kept in memory, and written by transactions
//! of their own, because a number that is kept in memory must not be rolled back.
//!
//! A set that no run has is deleted, but not before a day has passed since a host looked for it. A host looks again
//! after an hour, so that no host gives a run a number that is gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use const_format::formatcp;
use sha2::{Digest, Sha256};

use super::errors::Step;
use super::rows::to_sql;
use super::shared::TenantLabels;
use super::tx::Tx;
use crate::codes::RUNNING;
use crate::labels::{each, read, text_of};
use crate::leftovers::SETS;
use sexton_domain::labels::Labels;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The time for which a number that is kept in memory counts.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// The time for which a set stays that no run has and no host looks for.
const UNUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// The most sets whose numbers are kept in memory.
const MOST_KNOWN: usize = 4096;

/// The runs without tenants that get theirs in one transaction.
const PIECE: usize = 512;

/// Returns the numbers of `tenants`, in their order.
pub(super) async fn tenants(tx: &Tx, tenants: &[&Name]) -> Step<Vec<i64>> {
    let new: BTreeSet<&str> = {
        let known = tx.shared.tenants.known();
        tenants.iter().filter(|tenant| !known.contains_key(**tenant)).map(|tenant| tenant.as_str()).collect()
    };
    if !new.is_empty() {
        let names: Vec<&str> = new.into_iter().collect();
        let mut own = Tx::take(&tx.shared, 0, false).await?;
        own.reading();
        own.execute("INSERT INTO tenants (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", &[&names]).await?;
        let rows = own.query("SELECT name, id FROM tenants WHERE name = ANY($1)", &[&names]).await?;
        own.read();
        let ids: HashMap<&str, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut known = tx.shared.tenants.known();
        known.extend(tenants.iter().filter_map(|tenant| Some(((*tenant).clone(), *ids.get(tenant.as_str())?))));
    }
    let known = tx.shared.tenants.known();
    Ok(tenants.iter().map(|tenant| known[*tenant]).collect())
}

/// Returns the number of a tenant, if it has one.
pub(super) async fn tenant(tx: &Tx, tenant: &Name) -> Step<Option<i64>> {
    if let Some(id) = tx.shared.tenants.known().get(tenant) {
        return Ok(Some(*id));
    }
    let row = tx.query_opt("SELECT id FROM tenants WHERE name = $1", &[&tenant.as_str()]).await?;
    let id = row.map(|row| row.get(0));
    tx.shared.tenants.known().extend(id.map(|id| (tenant.clone(), id)));
    Ok(id)
}

/// Writes sets that are new, each with all its labels, and notes of all when they were looked for.
const ADD_SETS: &str = "WITH found AS (INSERT INTO label_sets AS s (tenant, digest, labels, used_at) \
     SELECT n.tenant, n.digest, n.labels, $4::bigint FROM unnest($1::bigint[], $2::bytea[], $3::text[]) \
     AS n(tenant, digest, labels) ON CONFLICT (tenant, digest) \
     DO UPDATE SET used_at = greatest(s.used_at, excluded.used_at) RETURNING id, tenant, digest), \
     labels AS (INSERT INTO labels_of_sets (tenant, label, label_set) SELECT f.tenant, m.label, f.id \
     FROM unnest($5::bigint[], $6::bytea[], $7::text[]) AS m(tenant, digest, label) \
     JOIN found f ON f.tenant = m.tenant AND f.digest = m.digest ON CONFLICT DO NOTHING) \
     SELECT id, tenant, digest FROM found";

/// Returns the numbers of sets of labels of tenants at `now`, in their order. No labels have none.
pub(super) async fn sets(tx: &Tx, wanted: &[(i64, &Labels)], now: Timestamp) -> Step<Vec<Option<i64>>> {
    if wanted.iter().all(|(_, labels)| labels.is_empty()) {
        return Ok(vec![None; wanted.len()]);
    }
    let mut found: HashMap<TenantLabels, i64> = HashMap::new();
    let mut new: BTreeMap<(i64, Vec<u8>), &Labels> = BTreeMap::new();
    {
        let known = tx.shared.label_sets.known();
        for (tenant, labels) in wanted.iter().filter(|(_, labels)| !labels.is_empty()) {
            let key = (*tenant, (*labels).clone());
            match known.get(&key) {
                Some((id, seen)) if now.since(*seen) < KEPT_FOR => drop(found.insert(key, *id)),
                _ => drop(new.insert((*tenant, digest(labels)), *labels)),
            }
        }
    }
    if !new.is_empty() {
        found.extend(add(tx, &new, now).await?);
    }
    let id = |(tenant, labels): &(i64, &Labels)| found.get(&(*tenant, (*labels).clone())).copied();
    Ok(wanted.iter().map(id).collect())
}

/// Writes sets, in the order in which all transactions do, and keeps their numbers in memory.
async fn add(tx: &Tx, new: &BTreeMap<(i64, Vec<u8>), &Labels>, now: Timestamp) -> Step<HashMap<TenantLabels, i64>> {
    let (tenants, digests): (Vec<i64>, Vec<&[u8]>) = new.keys().map(|(tenant, digest)| (*tenant, &digest[..])).unzip();
    let texts: Vec<String> = new.values().map(|labels| text_of(labels)).collect();
    let labels: Vec<(i64, &[u8], String)> = new
        .iter()
        .flat_map(|((tenant, digest), labels)| each(labels).map(move |label| (*tenant, &digest[..], label)))
        .collect();
    let of_labels: (Vec<i64>, Vec<&[u8]>) = labels.iter().map(|(tenant, digest, _)| (*tenant, *digest)).unzip();
    let each_label: Vec<&str> = labels.iter().map(|(.., label)| label.as_str()).collect();
    let mut own = Tx::take(&tx.shared, 0, false).await?;
    own.reading();
    let rows = own
        .query(ADD_SETS, &[&tenants, &digests, &texts, &now.as_millis(), &of_labels.0, &of_labels.1, &each_label])
        .await?;
    own.read();
    let ids: HashMap<(i64, Vec<u8>), i64> = rows.iter().map(|row| ((row.get(1), row.get(2)), row.get(0))).collect();
    let added = new.iter().filter_map(|(key, labels)| Some(((key.0, (*labels).clone()), *ids.get(key)?)));
    let added: HashMap<TenantLabels, i64> = added.collect();
    let mut known = tx.shared.label_sets.known();
    if known.len() >= MOST_KNOWN {
        known.clear();
    }
    known.extend(added.iter().map(|(key, id)| (key.clone(), (*id, now))));
    Ok(added)
}

fn digest(labels: &Labels) -> Vec<u8> {
    Sha256::digest(text_of(labels).as_bytes()).to_vec()
}

/// The condition for no run to have the set `s`. The index of labels has no runs that are running.
const IS_UNUSED: &str = formatcp!(
    "NOT EXISTS (SELECT 1 FROM runs r WHERE r.labels = s.id AND r.state <> {RUNNING}) \
     AND NOT EXISTS (SELECT 1 FROM runs_live r WHERE r.labels = s.id AND r.state = {RUNNING})"
);

/// Returns the next sets of labels after `after`, each with whether no run has it.
pub(super) async fn page(tx: &Tx, after: i64, now: Timestamp) -> Step<Vec<(i64, bool)>> {
    let rows = tx
        .query(
            formatcp!(
                "SELECT s.id, s.used_at < $2 AND {IS_UNUSED} \
                 FROM (SELECT id, used_at FROM label_sets WHERE id > $1 ORDER BY id LIMIT $3) s ORDER BY s.id"
            ),
            &[&after, &now.minus(UNUSED_FOR).as_millis(), &to_sql(SETS)],
        )
        .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Deletes those of `sets` that no run has.
pub(super) async fn delete_unused(tx: &mut Tx, sets: &[i64], now: Timestamp) -> Step<()> {
    let gone = tx
        .query(
            formatcp!(
                "DELETE FROM label_sets s WHERE s.id = ANY($1) AND s.used_at < $2 AND {IS_UNUSED} \
                 RETURNING s.id, s.tenant, s.labels"
            ),
            &[&sets, &now.minus(UNUSED_FOR).as_millis()],
        )
        .await?;
    let (mut ids, mut tenants, mut labels): (Vec<i64>, Vec<i64>, Vec<String>) = Default::default();
    for row in &gone {
        for label in each(&read(row.get(2))) {
            ids.push(row.get(0));
            tenants.push(row.get(1));
            labels.push(label);
        }
    }
    tx.execute(
        "DELETE FROM labels_of_sets l USING unnest($1::bigint[], $2::text[], $3::bigint[]) AS n(tenant, label, id) \
         WHERE l.tenant = n.tenant AND l.label = n.label AND l.label_set = n.id",
        &[&tenants, &labels, &ids],
    )
    .await?;
    Ok(())
}

/// Selects runs that an older program made, and that have no tenant.
const WITHOUT_TENANT: &str = formatcp!("SELECT id, over_at, task FROM runs WHERE tenant = 0 AND state <> {RUNNING}");

/// Returns whether there are runs without a tenant, and notes that for lists.
pub(super) async fn are_without_tenant(tx: &Tx) -> Step<bool> {
    let is = tx.query_opt(formatcp!("{WITHOUT_TENANT} LIMIT 1"), &[]).await?.is_some();
    tx.shared.all_have_tenants.store(!is, Ordering::Relaxed);
    Ok(is)
}

/// Gives their tenants to some of the runs that have none. Returns their number.
pub(super) async fn find_tenants(tx: &mut Tx) -> Step<u64> {
    tx.execute("INSERT INTO tenants (name) SELECT DISTINCT tenant FROM tasks ON CONFLICT DO NOTHING", &[]).await?;
    tx.execute(
        formatcp!(
            "UPDATE runs r SET tenant = n.id FROM \
             (SELECT * FROM ({WITHOUT_TENANT} LIMIT $1) found ORDER BY id) c \
             JOIN tasks t ON t.id = c.task JOIN tenants n ON n.name = t.tenant \
             WHERE r.id = c.id AND r.over_at = c.over_at"
        ),
        &[&to_sql(PIECE)],
    )
    .await
}

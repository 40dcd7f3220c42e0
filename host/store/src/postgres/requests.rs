//! Requests that may be repeated, and their answers.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;

use crate::Result;
use crate::requests::{BeginRequest, Begun, KEPT, RepeatableRequest, RequestAnswer, Requests};
use crate::rules::requests::{self as rules, Kept};
use sexton_domain::time::Timestamp;

use super::PostgresStore;
use super::errors::Step;
use super::prune::PIECE;
use super::rows::{instant, to_sql};
use super::tx::Tx;
use super::tx_actions::act;

#[async_trait]
impl Requests for PostgresStore {
    async fn begin_request(&self, new: BeginRequest) -> Result<Begun> {
        let new = Arc::new(new);
        act!(self.acts, [new], |tx| begin(tx, &new))
    }

    async fn end_request(&self, request: RepeatableRequest, attempt: i64, answer: Option<RequestAnswer>) -> Result<()> {
        let ended = Arc::new((request, answer));
        act!(self.acts, [ended], |tx| end(tx, &ended.0, attempt, ended.1.as_ref()))
    }
}

/// Makes the row of a request, or locks the one that is there, and returns it.
const LOCK: &str = "INSERT INTO requests AS r (tenant, operation, key, digest, attempt, begun_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, operation, key) DO UPDATE SET attempt = r.attempt \
     RETURNING digest, attempt, begun_at, status, location, body";

/// See [`Requests::begin_request`].
async fn begin(tx: &Tx, new: &BeginRequest) -> Step<Begun> {
    let BeginRequest { request: RepeatableRequest { tenant, operation, key }, digest, attempt, now } = new;
    let (tenant, now) = (tenant.as_str(), now.as_millis());
    let row = tx.query_one(LOCK, &[&tenant, operation, key, digest, attempt, &now]).await?;
    let kept = kept(&row);
    let is_made = kept.attempt == *attempt;
    let begun = rules::begin(Some(kept), new);
    if begun == Begun::New && !is_made {
        tx.execute(
            "UPDATE requests SET digest = $4, attempt = $5, begun_at = $6, status = NULL, location = NULL, body = NULL \
             WHERE tenant = $1 AND operation = $2 AND key = $3",
            &[&tenant, operation, key, digest, attempt, &now],
        )
        .await?;
    }
    Ok(begun)
}

fn kept(row: &Row) -> Kept {
    let status: Option<i16> = row.get(3);
    let answer = status.map(|status| RequestAnswer {
        status: u16::try_from(status).unwrap_or_default(),
        location: row.get(4),
        body: row.get(5),
    });
    Kept { digest: row.get(0), attempt: row.get(1), begun_at: instant(row, 2), answer }
}

/// See [`Requests::end_request`].
async fn end(tx: &Tx, request: &RepeatableRequest, attempt: i64, answer: Option<&RequestAnswer>) -> Step<()> {
    let RepeatableRequest { tenant, operation, key } = request;
    let tenant = tenant.as_str();
    match answer {
        Some(RequestAnswer { status, location, body }) => {
            let status = i16::try_from(*status).unwrap_or(i16::MAX);
            tx.execute(
                "UPDATE requests SET status = $5, location = $6, body = $7 \
                 WHERE tenant = $1 AND operation = $2 AND key = $3 AND attempt = $4",
                &[&tenant, operation, key, &attempt, &status, location, body],
            )
            .await?;
        }
        None => {
            tx.execute(
                "DELETE FROM requests WHERE tenant = $1 AND operation = $2 AND key = $3 AND attempt = $4 \
                 AND status IS NULL",
                &[&tenant, operation, key, &attempt],
            )
            .await?;
        }
    }
    Ok(())
}

/// Deletes a piece of the requests whose time is over. Returns their number.
pub(super) async fn prune(tx: &Tx, now: Timestamp) -> Step<u64> {
    // Rows that another host is deleting, or taking over, are left to it.
    tx.execute(
        "DELETE FROM requests WHERE (tenant, operation, key) IN (SELECT tenant, operation, key FROM requests \
         WHERE begun_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        &[&now.minus(KEPT).as_millis(), &to_sql(PIECE)],
    )
    .await
}

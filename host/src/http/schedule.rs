//! What a schedule means, before there is a task that has it.

use axum::Json;
use axum::extract::State;
use chrono_tz::Tz;
use serde::Deserialize;

use super::App;
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, Tenant};
use super::shapes::schedule::Explained;
use crate::schedule::{explain, given, words, zone};

/// Instants that are told, unless asked for otherwise.
const NEXT: usize = 5;

/// The query of an explanation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainQuery {
    schedule: String,
    zone: Option<String>,
    next: Option<usize>,
    from: Option<String>,
}

/// `GET /v1/schedule/explain`.
pub(super) async fn explain(
    State(app): State<App>,
    _: Tenant,
    ApiQuery(query): ApiQuery<ExplainQuery>,
) -> ApiResult<Json<Explained>> {
    let next = query.next.unwrap_or(NEXT);
    if !(1..=explain::MOST).contains(&next) {
        return Err(ApiError::bad("bad-query", format!("`next` is 1 to {}, not {next}", explain::MOST)));
    }
    let zone = match &query.zone {
        Some(named) => zone(named).map_err(|wrong| ApiError::bad("bad-zone", format!("`zone`: {wrong}")))?,
        None => Tz::UTC,
    };
    let now = app.clock.now();
    let from = match &query.from {
        Some(text) => {
            words::instant(text, zone, now).map_err(|wrong| ApiError::bad("bad-instant", format!("`from`: {wrong}")))?
        }
        None => now,
    };
    let given = given::read(&query.schedule, zone, from)
        .map_err(|wrong| ApiError::bad("bad-schedule", format!("`schedule`: {wrong}")))?;
    // A thousand instants take a while; other requests are not to wait for it.
    let explained = tokio::task::spawn_blocking(move || Explained::of(&given, zone, from, next)).await;
    explained.map(Json).map_err(|_| {
        ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "failed", "the schedule could not be worked out")
    })
}

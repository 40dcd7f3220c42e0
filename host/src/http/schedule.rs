//! Explains a schedule, before any task has it.

use axum::Json;
use axum::extract::State;
use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::IntoParams;

use sexton_domain::schedule::parse::{self, ParseContext};
use sexton_domain::schedule::{explain, instant_parser, zone};
use sexton_domain::task::{Name, TaskKey};

use super::api_state::App;
use super::api_types::schedule::Explained;
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, Tenant};

/// The default number of instants.
const NEXT: usize = 5;

/// The query of an explanation.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainQuery {
    schedule: String,
    zone: Option<String>,
    /// Whether a crontab has a field for seconds.
    seconds: Option<bool>,
    /// The task that would have the schedule, or `TASK/KEY` for a schedule that is added.
    task: Option<String>,
    start: Option<String>,
    next: Option<usize>,
    from: Option<String>,
}

/// `GET /v1/schedule/explain`.
pub(super) async fn explain(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    ApiQuery(query): ApiQuery<ExplainQuery>,
) -> ApiResult<Json<Explained>> {
    let next = query.next.unwrap_or(NEXT);
    if !(1..=explain::MOST).contains(&next) {
        return Err(ApiError::bad("bad-query", format!("`next` is 1 to {}, not {next}", explain::MOST)));
    }
    let zone = query.zone.as_deref().map(zone).transpose();
    let zone = zone.map_err(|wrong| ApiError::bad("bad-zone", format!("`zone`: {wrong}")))?;
    let now = app.clock.now();
    let instant = |field: &str, text: &Option<String>| {
        let read = text.as_deref().map(|text| instant_parser::instant(text, zone.unwrap_or(Tz::UTC), now)).transpose();
        read.map_err(|wrong| ApiError::bad("bad-instant", format!("`{field}`: {wrong}")))
    };
    let from = instant("from", &query.from)?.unwrap_or(now);
    let start = instant("start", &query.start)?;
    let name = query.task.as_deref().map(|task| full_name(&tenant, task)).transpose()?;
    let reading = ParseContext { zone, seconds: query.seconds.unwrap_or(false), name: name.as_deref(), start };
    let given = parse::read(&query.schedule, reading, from)
        .map_err(|wrong| ApiError::bad("bad-schedule", format!("`schedule`: {wrong}")))?;
    // A thousand instants take a while, and other requests must not wait for them.
    let explained = tokio::task::spawn_blocking(move || Explained::of(&given, from, next)).await;
    explained.map(Json).map_err(|_| {
        ApiError::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "failed", "the schedule could not be worked out")
    })
}

/// Returns the full name of a tenant's task, or of a schedule added for it if the key is named as well (`TASK/KEY`).
/// `H` and `~` depend on it. The task need not exist.
fn full_name(tenant: &Name, asked: &str) -> ApiResult<String> {
    let name = |text| Name::new(text).map_err(|wrong| ApiError::bad("bad-name", format!("`task`: {wrong}")));
    let owner = |task| name(task).map(|task| TaskKey { tenant: tenant.clone(), task }.to_string());
    match asked.split_once('/') {
        Some((task, key)) => Ok(format!("{}/{}", owner(task)?, name(key)?)),
        None => owner(asked),
    }
}

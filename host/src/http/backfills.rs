//! Fills in instants of a task's schedule that have passed, and takes that back.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::ops::{BackfillRange, OpError, Principal};
use sexton_domain::schedule::request;

use super::api_state::App;
use super::api_types::backfills::{BackfillCancelled, BackfillShape};
use super::error::ApiResult;
use super::extract::{ApiQuery, NoQuery, TaskPath};
use super::missing_plugins::no_task;
use super::tasks::known;

/// The query of a backfill.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BackfillQuery {
    from: String,
    to: Option<String>,
    #[serde(default = "one")]
    at_once: u32,
    #[serde(default)]
    forgotten: bool,
    #[serde(default)]
    dry_run: bool,
}

fn one() -> u32 {
    1
}

/// `POST /v1/tasks/{task}/backfill`.
pub(super) async fn fill_in(
    State(app): State<App>,
    TaskPath(key): TaskPath,
    ApiQuery(query): ApiQuery<BackfillQuery>,
) -> ApiResult<(StatusCode, Json<BackfillShape>)> {
    let task = known(&app, &key).await?;
    let now = app.clock.now();
    let at = |field, text: &str| request::past_instant(field, text, task.zone, now);
    let range = BackfillRange {
        from: at("from", &query.from)?,
        to: query.to.as_deref().map_or(Ok(now), |text| at("to", text))?,
        at_once: query.at_once,
        also_forgotten: query.forgotten,
        dry_run: query.dry_run,
    };
    let done = match app.ops.backfill(&Principal::Operator, &key, range).await {
        // The task existed a moment ago, so the error explains in full why it is gone.
        Err(OpError::NoTask(_)) => return Err(no_task(&app, &key).await?),
        done => done?,
    };
    let (first, last) = done.span.unzip();
    let answer = BackfillShape {
        task: key.task,
        from: range.from,
        to: range.to,
        at_once: range.at_once,
        instants: done.instants,
        existing: done.existing,
        forgotten: done.forgotten,
        forgotten_until: done.forgotten_until,
        also_forgotten: range.also_forgotten,
        runs: done.runs,
        first,
        last,
        dry_run: range.dry_run,
    };
    let made = !answer.dry_run && answer.runs > 0;
    Ok((if made { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(answer)))
}

/// `DELETE /v1/tasks/{task}/backfill`: cancels the runs that wait for their turn. The plugin of the task may be gone.
pub(super) async fn cancel(
    State(app): State<App>,
    TaskPath(key): TaskPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<BackfillCancelled>> {
    let cancelled = app.ops.cancel_backfill(&Principal::Operator, &key).await?;
    if cancelled == 0 && app.store.task_state(key.clone()).await?.is_none() {
        known(&app, &key).await?;
    }
    Ok(Json(BackfillCancelled { task: key.task, cancelled }))
}

//! Serves the attempts that are under way on this host: their list, their stacks and their profiles.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use sexton_domain::run::{RunId, RunState};
use sexton_domain::time::Timestamp;
use sexton_runtime::attempt::{RunHandle, TooManyObservers};

use super::api_state::App;
use super::api_types::ago;
use super::api_types::live::{Live, LiveAttempt, Others, Stack};
use super::api_types::runs::RunShape;
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NamedTenant, NoQuery, RunPath, Tenant};
use super::waiting::WaitPermit;

/// The default and the largest number of stack samples.
const SAMPLES: usize = 3;
const MAX_SAMPLES: usize = 20;

/// The default and the longest interval of samples, in milliseconds.
const APART_MS: u64 = 50;
const MAX_APART_MS: u64 = 1000;

/// The default and the longest duration of a profile, in milliseconds.
const PROFILE_MS: u64 = 5000;
const MAX_PROFILE_MS: u64 = 60_000;

/// `GET /v1/live`.
pub(super) async fn list(State(app): State<App>, NamedTenant(tenant): NamedTenant, _: ApiQuery<NoQuery>) -> Json<Live> {
    let is_meant = |attempt: &RunHandle| tenant.as_ref().is_none_or(|tenant| attempt.task.tenant == *tenant);
    let (mut live, others): (Vec<_>, Vec<_>) = app.live.all().into_iter().partition(|attempt| is_meant(attempt));
    live.sort_by_key(|attempt| (attempt.started, attempt.key.run));
    let attempts = live.iter().map(|attempt| LiveAttempt::of(attempt)).collect();
    let others = Others::of(others.iter().map(AsRef::as_ref));
    Json(Live { paused_at: app.pause.since(), draining: app.is_draining(), attempts, others })
}

/// The query of a stack.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StackQuery {
    samples: Option<usize>,
    apart_ms: Option<u64>,
}

/// `GET /v1/runs/{run}/stack`.
pub(super) async fn stack(
    State(app): State<App>,
    tenant: Tenant,
    may_wait: WaitPermit,
    RunPath(id): RunPath,
    ApiQuery(query): ApiQuery<StackQuery>,
) -> ApiResult<Json<Stack>> {
    let samples = within("samples", query.samples.unwrap_or(SAMPLES), 1, MAX_SAMPLES)?;
    let apart = within("apart_ms", query.apart_ms.unwrap_or(APART_MS), 1, MAX_APART_MS)?;
    let attempt = under_way(&app, &tenant, id).await?;
    let _waiting = may_wait.begin(&app)?;
    let seen = attempt.whereabouts(samples, Duration::from_millis(apart)).await.map_err(too_many)?;
    Ok(Json(Stack::of(&attempt, &seen)))
}

/// The query of a profile.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ProfileQuery {
    for_ms: Option<u64>,
}

/// `GET /v1/runs/{run}/profile`: responds when the time or the attempt is over.
pub(super) async fn profile(
    State(app): State<App>,
    tenant: Tenant,
    may_wait: WaitPermit,
    RunPath(id): RunPath,
    ApiQuery(query): ApiQuery<ProfileQuery>,
) -> ApiResult<Json<Value>> {
    let length = within("for_ms", query.for_ms.unwrap_or(PROFILE_MS), 1, MAX_PROFILE_MS)?;
    let attempt = under_way(&app, &tenant, id).await?;
    let _waiting = may_wait.begin(&app)?;
    let profile = attempt.profile(Duration::from_millis(length), app.clock.now()).await;
    Ok(Json(profile.map_err(too_many)?))
}

fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, least: T, most: T) -> ApiResult<T> {
    if value < least || value > most {
        return Err(ApiError::bad("bad-query", format!("`{name}` is {least} to {most}, not {value}")));
    }
    Ok(value)
}

/// Returns the attempt at run `id` that is under way here.
async fn under_way(app: &App, tenant: &Tenant, id: RunId) -> ApiResult<Arc<RunHandle>> {
    let run = tenant.run(app, id).await?;
    if let Some(attempt) = app.live.get(id) {
        return Ok(attempt);
    }
    let here = &app.host.name;
    let message = match &run.host {
        Some(host) if run.state == RunState::Running && host != here => {
            let message = format!("run {id} is running on the host `{host}`");
            return Err(ApiError::new(StatusCode::CONFLICT, "not-running", message)
                .hint("ask that host: `sexton hosts` shows its address, --url takes it"));
        }
        _ => not_running(&run, app.clock.now()),
    };
    Err(ApiError::new(StatusCode::CONFLICT, "not-running", message).hint(format!("see `sexton show {id}`")))
}

/// Returns an explanation such as `run 3 is not running (it failed 2m ago)`.
fn not_running(run: &RunShape, now: Timestamp) -> String {
    let since = run.ended_at.filter(|_| run.state.is_over()).map(|at| format!(" {}", ago(at, now))).unwrap_or_default();
    let what = match run.state {
        RunState::Failed => "it failed",
        RunState::Succeeded => "it succeeded",
        RunState::Cancelled => "it was cancelled",
        RunState::Running => "it is about to start, or has just ended",
        RunState::Waiting => "it waits",
    };
    format!("run {} is not running ({what}{since})", run.id)
}

fn too_many(error: TooManyObservers) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too-many-looks", error.to_string())
}

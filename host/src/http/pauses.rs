//! Pauses and resumes a task, all tasks of a tenant, or all tasks.

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::ops::{self, OpError, PauseState, Principal};
use sexton_domain::pause::{PauseTarget, PausedBy};
use sexton_domain::supervision::Pause;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::time::Timestamp;

use super::api_state::App;
use super::api_types::pauses::{Paused, PausedMany};
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NoQuery, TaskPath, Tenant};
use super::missing_plugins::no_task;

/// The query of a pause.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PauseQuery {
    /// `why` is the parameter's former name.
    #[serde(alias = "why")]
    reason: Option<String>,
}

/// All tasks of `{tenant}` in the path, or all tasks if the path has none.
pub(super) struct Many(Option<Name>);

impl FromRequestParts<App> for Many {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let asked = parts.extensions.get::<Tenant>().map(|Tenant(tenant)| tenant.clone());
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, app).await else {
            return match asked {
                None => Ok(Self(None)),
                // A request that names a tenant does not mean all tasks.
                Some(tenant) => Err(ApiError::bad(
                    "bad-query",
                    "this request is about the tasks of all tenants, so it takes no `tenant`",
                )
                .hint(format!("for the tasks of one tenant use /v1/tenants/{tenant}/pause"))),
            };
        };
        let tenant = Name::new(&text).map_err(|e| ApiError::bad("bad-name", e.to_string()))?;
        match asked {
            Some(asked) if asked != tenant => {
                Err(ApiError::bad("bad-query", format!("the path names tenant `{tenant}`, the query `{asked}`")))
            }
            _ => Ok(Self(Some(tenant))),
        }
    }
}

/// `POST /v1/pause` and `POST /v1/tenants/{tenant}/pause`.
pub(super) async fn pause_many(
    State(app): State<App>,
    many: Many,
    ApiQuery(query): ApiQuery<PauseQuery>,
) -> ApiResult<Json<PausedMany>> {
    set_many(&app, many, Some(query.reason)).await
}

/// `POST /v1/resume` and `POST /v1/tenants/{tenant}/resume`.
pub(super) async fn resume_many(
    State(app): State<App>,
    many: Many,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<PausedMany>> {
    set_many(&app, many, None).await
}

async fn set_many(app: &App, Many(tenant): Many, pause: Option<Option<String>>) -> ApiResult<Json<PausedMany>> {
    let target = tenant.clone().map_or(PauseTarget::All, PauseTarget::Tenant);
    let PauseState { pause, already } = match set(app, &target, pause).await {
        Err(OpError::NoTenant(tenant)) => return Err(ApiError::no_tenant(&tenant, &app.tenants)),
        state => state?,
    };
    let (paused_by, paused_at, paused_why) = shown(pause);
    Ok(Json(PausedMany { tenant, paused: paused_by.is_some(), paused_by, paused_at, paused_why, already }))
}

/// `POST /v1/tasks/{task}/pause`.
pub(super) async fn pause(
    State(app): State<App>,
    TaskPath(key): TaskPath,
    ApiQuery(query): ApiQuery<PauseQuery>,
) -> ApiResult<Json<Paused>> {
    set_task(&app, key, Some(query.reason)).await
}

/// `POST /v1/tasks/{task}/resume`.
pub(super) async fn resume(
    State(app): State<App>,
    TaskPath(key): TaskPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<Paused>> {
    set_task(&app, key, None).await
}

async fn set_task(app: &App, key: TaskKey, pause: Option<Option<String>>) -> ApiResult<Json<Paused>> {
    let PauseState { pause, already } = match set(app, &PauseTarget::Task(key.clone()), pause).await {
        Err(OpError::NoTask(_)) => return Err(no_task(app, &key).await?),
        state => state?,
    };
    let (paused_by, paused_at, paused_why) = shown(pause);
    Ok(Json(Paused { task: key.task, paused: paused_by.is_some(), paused_by, paused_at, paused_why, already }))
}

/// Returns the owner of a pause, its start and its reason.
fn shown(pause: Option<(PausedBy, Pause)>) -> (Option<PausedBy>, Option<Timestamp>, Option<String>) {
    let (by, pause) = pause.unzip();
    let (at, why) = pause.map_or((None, None), |pause| (pause.since, pause.why));
    (by, at, why)
}

/// Pauses with this reason, or resumes.
async fn set(app: &App, target: &PauseTarget, pause: Option<Option<String>>) -> ops::Result<PauseState> {
    match pause {
        Some(why) => app.ops.pause(&Principal::Operator, target, why).await,
        None => app.ops.resume(&Principal::Operator, target).await,
    }
}

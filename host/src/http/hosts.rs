//! Serves the hosts that share the store, and drains them.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;

use crate::ops::{OpError, Principal};

use super::api_state::App;
use super::api_types::hosts::{HostShape, Hosts};
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NoQuery, path_text};

/// Returns the current state of all hosts, by name.
pub(super) async fn all(app: &App) -> ApiResult<Vec<HostShape>> {
    let now = app.clock.now();
    Ok(app.store.hosts().await?.into_iter().map(|info| HostShape::of(info, now)).collect())
}

/// `{host}` of the path: a text that may be the name of a host.
pub(super) struct HostPath(String);

impl FromRequestParts<App> for HostPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        path_text(parts, app).await.map(Self)
    }
}

/// `GET /v1/hosts`.
pub(super) async fn list(State(app): State<App>, _: ApiQuery<NoQuery>) -> ApiResult<Json<Hosts>> {
    Ok(Json(Hosts { hosts: all(&app).await? }))
}

/// `POST /v1/hosts/{host}/drain`.
pub(super) async fn drain(State(app): State<App>, host: HostPath, _: ApiQuery<NoQuery>) -> ApiResult<Json<HostShape>> {
    set(&app, host, true).await
}

/// `POST /v1/hosts/{host}/undrain`.
pub(super) async fn undrain(
    State(app): State<App>,
    host: HostPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<HostShape>> {
    set(&app, host, false).await
}

async fn set(app: &App, HostPath(name): HostPath, draining: bool) -> ApiResult<Json<HostShape>> {
    let is_set = app.ops.set_draining(&Principal::Operator, &name, draining).await;
    let hosts = all(app).await?;
    match (is_set, hosts.iter().find(|host| host.name == name)) {
        (Ok(()), Some(host)) => Ok(Json(host.clone())),
        // The host may have been forgotten since.
        (Ok(()) | Err(OpError::NoHost(_)), _) => {
            let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).take(10).collect();
            let error = ApiError::from(OpError::NoHost(name));
            Err(error.hint(format!("the hosts are: {}", names.join(", "))))
        }
        (Err(other), _) => Err(other.into()),
    }
}

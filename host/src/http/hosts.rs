//! Serves the hosts that share the store, and drains them.

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use tracing::info;

use super::api_state::App;
use super::api_types::hosts::{HostShape, Hosts};
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NoQuery, path_text};

/// Returns the current state of all hosts, by name.
pub(super) async fn all(app: &App) -> ApiResult<Vec<HostShape>> {
    let now = app.clock.now();
    Ok(app.store.hosts().await?.into_iter().map(|info| HostShape::of(info, now)).collect())
}

/// `{host}` of the path: the name of an existing host.
pub(super) struct HostPath(String);

impl FromRequestParts<App> for HostPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> ApiResult<Self> {
        let name = path_text(parts, app).await?;
        let hosts = all(app).await?;
        if hosts.iter().any(|host| host.name == name) {
            return Ok(Self(name));
        }
        let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).take(10).collect();
        Err(no_host(&name).hint(format!("the hosts are: {}", names.join(", "))))
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
    app.store.set_draining(&name, draining).await?;
    // Another host learns it with its next announcement.
    if name == app.host.name {
        app.duty.ask();
    }
    info!(host.name = %name, draining, "Asked host `{name}` to {}", if draining { "drain" } else { "take runs again" });
    let host = all(app).await?.into_iter().find(|host| host.name == name);
    host.map(Json).ok_or_else(|| no_host(&name))
}

fn no_host(name: &str) -> ApiError {
    ApiError::not_found("no-such-host", format!("there is no host `{name}`"))
}

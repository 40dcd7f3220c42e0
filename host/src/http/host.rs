//! What the host says of itself, its tenants, its plugins and the locks that are held.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::App;
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NoQuery, Tenant};
use super::shapes::{Host, Locks, Plugins, TenantShape, Tenants};
use crate::run::RunId;

/// `GET /v1/health`: whether the store answers; what a watchdog asks.
pub(super) async fn health(State(app): State<App>, _: ApiQuery<NoQuery>) -> ApiResult<Json<serde_json::Value>> {
    // No run has this id: the cheapest question that the store must really be asked.
    match app.store.run(RunId(0)).await {
        Ok(_) => Ok(Json(match app.clock.doubt() {
            None => serde_json::json!({ "status": "ok" }),
            Some(doubt) => serde_json::json!({ "status": "ok", "clock": doubt }),
        })),
        Err(e) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", e.to_string())),
    }
}

/// `GET /v1/host`.
pub(super) async fn host(State(app): State<App>, _: ApiQuery<NoQuery>) -> ApiResult<Json<Host>> {
    Ok(Json(Host {
        name: app.host.name.clone(),
        version: app.host.version.clone(),
        tzdata: crate::schedule::TZDATA,
        pid: app.host.pid,
        started_at: app.host.started_at,
        now: app.clock.now(),
        clock: app.clock.doubt(),
        paused_at: app.pause.since(),
        draining: app.is_draining(),
        all_paused: app.store.pauses().await?.all,
        attempts: app.live.all().len(),
        runs: app.store.counts().await?,
        store: app.store.stats(),
    }))
}

/// `GET /v1/plugins`.
pub(super) async fn plugins(State(app): State<App>, Tenant(tenant): Tenant, _: ApiQuery<NoQuery>) -> Json<Plugins> {
    let mut plugins = (app.plugins)();
    plugins.retain(|plugin| plugin.tenant == tenant);
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    Json(Plugins { plugins })
}

/// `GET /v1/locks`.
pub(super) async fn locks(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<Locks>> {
    Ok(Json(Locks { locks: app.store.locks(tenant).await? }))
}

/// `GET /v1/tenants`.
pub(super) async fn tenants(State(app): State<App>, _: ApiQuery<NoQuery>) -> ApiResult<Json<Tenants>> {
    let (all, pauses, cache) = (app.tenants.all(), app.store.pauses().await?, app.store.cache_usage().await?);
    let tenants = all.iter().map(|(name, limits)| {
        let used = app.budgets.tenant_use(name);
        TenantShape {
            name: name.clone(),
            running: used.running,
            runs: limits.runs,
            fuel_left: used.fuel_left,
            fuel_per_minute: limits.fuel_per_minute,
            cache: limits.cache,
            cache_used: cache.get(name).copied().unwrap_or_default(),
            held_back: used.held_back,
            paused: pauses.of(name, None).map(|(by, pause)| by.why(pause)),
        }
    });
    Ok(Json(Tenants { tenants: tenants.collect() }))
}

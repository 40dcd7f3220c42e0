//! Serves the state of the host, its tenants, its plugins and its locks.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::telemetry::lost_lines;
use sexton_domain::lengths;
use sexton_domain::run::RunId;
use sexton_domain::task::Name;

use super::api_state::App;
use super::api_types::FailureBody;
use super::api_types::host::{FaultShape, Health, Host, HungShape};
use super::api_types::locks::{HeldLockShape, Locks};
use super::api_types::pauses::PauseShape;
use super::api_types::plugins::{PluginShape, Plugins};
use super::api_types::runs::HeldBackShape;
use super::api_types::tenants::{TenantShape, Tenants};
use super::cursor::{Cursor, PageQuery};
use super::error::{ApiResult, log_details};
use super::extract::{ApiQuery, NoQuery, Tenant};
use super::paging::Page;

/// `GET /v1/health`, and `GET /livez`: whether the store answers and no part of the host is down or hangs, for
/// watchdogs.
pub(super) async fn health(State(app): State<App>, _: ApiQuery<NoQuery>) -> Response {
    let parts = app.supervisor.faults();
    // No run has this id. It is the cheapest query that must reach the store.
    let store = app.store.run(RunId(0)).await.err().map(|error| {
        let id = log_details(&error.to_string());
        format!("the store does not answer; the host's log says why beside error.id={id}")
    });
    let hung = app.supervisor.hung();
    let down = || {
        let down: Vec<String> =
            parts.iter().filter(|fault| fault.down).map(|fault| format!("`{}`", fault.part)).collect();
        (!down.is_empty()).then(|| format!("panicked and is down for now: {}", down.join(", ")))
    };
    let hangs = || {
        let silent = hung.iter().map(|hung| {
            let silent = lengths::about(Duration::from_millis(hung.silent_ms));
            format!("`{}` has not finished a round for {silent}", hung.part)
        });
        let words = silent.collect::<Vec<_>>().join(", ");
        (!words.is_empty()).then(|| format!("hangs, so that the host should be started again: {words}"))
    };
    let error = store.or_else(down).or_else(hangs).map(|message| FailureBody {
        code: "unhealthy".to_owned(),
        message,
        hint: None,
    });
    let (status, word) = match error {
        None => (StatusCode::OK, "ok"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
    };
    (
        status,
        Json(Health {
            status: word.to_owned(),
            error,
            parts: parts.into_iter().map(FaultShape::from).collect(),
            hung: hung.into_iter().map(HungShape::from).collect(),
            lost_log_lines: lost_lines(),
            clock: app.clock.doubt(),
        }),
    )
        .into_response()
}

/// `GET /v1/host`.
pub(super) async fn host(State(app): State<App>, _: ApiQuery<NoQuery>) -> ApiResult<Json<Host>> {
    Ok(Json(Host {
        name: app.host.name.clone(),
        version: app.host.version.clone(),
        tzdata: sexton_domain::schedule::TZDATA,
        pid: app.host.pid,
        started_at: app.host.started_at,
        now: app.clock.now(),
        clock: app.clock.doubt(),
        paused_at: app.pause.since(),
        draining: app.is_draining(),
        all_paused: app.store.pauses().await?.all.map(PauseShape::from),
        attempts: app.live.all().len(),
        runs: app.store.counts().await?,
        store: app.store.stats().into(),
    }))
}

/// `GET /v1/plugins`.
pub(super) async fn plugins(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Page<Plugins>> {
    let (after, limit) = query.read()?;
    let mut plugins = plugins_of(&app, &tenant);
    plugins.retain(|plugin| after.as_ref().is_none_or(|after| plugin.name > *after));
    let all = plugins.len();
    plugins.truncate(limit.unwrap_or(all));
    let last = plugins.last().filter(|_| plugins.len() < all);
    let cursor = last.map(|plugin| Cursor::After(plugin.name.clone()).write());
    Ok(Page { list: Plugins { plugins, cursor: cursor.clone() }, cursor })
}

/// Returns the plugins of a tenant, by name.
pub(super) fn plugins_of(app: &App, tenant: &Name) -> Vec<PluginShape> {
    let mut plugins = (app.plugins)();
    plugins.retain(|plugin| plugin.tenant == *tenant);
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    plugins.into_iter().map(PluginShape::from).collect()
}

/// `GET /v1/locks`.
pub(super) async fn locks(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<Locks>> {
    let locks = app.store.locks(tenant).await?;
    Ok(Json(Locks { locks: locks.into_iter().map(HeldLockShape::from).collect() }))
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
            held_back: used.held_back.map(HeldBackShape::from),
            paused: pauses.of(name, None).map(|(by, pause)| by.why(pause)),
        }
    });
    Ok(Json(Tenants { tenants: tenants.collect() }))
}

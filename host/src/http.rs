//! Serves the HTTP API on loopback. `docs/reference/http.md` is its reference. The pages for people are those of
//! [`dashboard`](crate::dashboard), which stands on this room.
//!
//! Handlers show, accept and pass on; operations decide. Runs under way come from
//! [`LiveRuns`](crate::machine::live::LiveRuns), everything else from the [`Store`](sexton_store::Store) and the
//! [`Catalog`](sexton_runtime::catalog::Catalog). There is no authentication: every client that can connect may do everything.
//! So the API is meant for loopback addresses only, and refuses requests that a web page on another site could make a
//! browser send.

mod api_state;
pub mod api_types;
mod backfills;
mod batches;
mod cache;
mod chains;
mod connection_slots;
mod cursor;
mod error;
mod events;
mod extract;
mod filter;
mod guard;
mod host;
mod hosts;
mod idempotency;
mod live;
mod lock_graph;
mod log;
mod missing_plugins;
mod openapi;
mod paging;
mod pauses;
mod placement;
mod problems;
mod request_id;
mod result;
mod runs;
mod schedule;
mod schedules;
mod serve;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod views;
mod waiting;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

pub use api_state::{ApiState, HostInfo, LockWaits, MAX_BODY, NotUsed};
pub use events::EventFeed;
pub use serve::serve;
pub use waiting::WaitSlots;

/// Returns all routes and those of `pages`, guarded. [`serve`] adds the parts of a connection: timeouts and limits.
pub fn router(state: Arc<ApiState>, pages: Router<Arc<ApiState>>) -> Router {
    let cache_entry = get(cache::read).put(cache::write).delete(cache::remove);
    let schedule = get(schedules::show).put(schedules::put).delete(schedules::remove);
    Router::new()
        .route("/openapi.json", get(openapi::show))
        .route("/v1/health", get(host::health))
        .route("/livez", get(host::health))
        .route("/v1/host", get(host::host))
        .route("/v1/hosts", get(hosts::list))
        .route("/v1/hosts/{host}/drain", post(hosts::drain))
        .route("/v1/hosts/{host}/undrain", post(hosts::undrain))
        .route("/v1/plugins", get(host::plugins))
        .route("/v1/locks", get(host::locks))
        .route("/v1/live", get(live::list))
        .route("/v1/events", get(events::follow))
        .route("/v1/locks/graph", get(lock_graph::graph))
        .route("/v1/tenants", get(host::tenants))
        .route("/v1/chains", get(chains::list))
        .route("/v1/schedule/explain", get(schedule::explain))
        .route("/v1/tenants/{tenant}/pause", post(pauses::pause_many))
        .route("/v1/tenants/{tenant}/resume", post(pauses::resume_many))
        .route("/v1/pause", post(pauses::pause_many))
        .route("/v1/resume", post(pauses::resume_many))
        .route("/v1/tasks", get(tasks::list))
        .route("/v1/tasks/{task}", get(tasks::show))
        .route("/v1/tasks/{task}/runs", post(tasks::trigger))
        .route("/v1/tasks/{task}/backfill", post(backfills::fill_in).delete(backfills::cancel))
        .route("/v1/tasks/{task}/pause", post(pauses::pause))
        .route("/v1/tasks/{task}/resume", post(pauses::resume))
        .route("/v1/tasks/{task}/result", get(result::of_task))
        .route("/v1/runs", get(runs::list).post(batches::make))
        .route("/v1/runs/{run}", get(runs::show))
        .route("/v1/runs/{run}/wait", get(runs::wait))
        .route("/v1/runs/{run}/log", get(log::log))
        .route("/v1/runs/{run}/stack", get(live::stack))
        .route("/v1/runs/{run}/profile", get(live::profile))
        .route("/v1/runs/{run}/input", get(result::input_of_run))
        .route("/v1/runs/{run}/output", get(result::of_run))
        .route("/v1/runs/{run}/kill", post(runs::kill))
        .route("/v1/runs/{run}/release", post(runs::release))
        .route("/v1/runs/{run}/rerun", post(runs::rerun))
        .route("/v1/schedules", get(schedules::list).post(schedules::post))
        .route("/v1/schedules/{key}", schedule)
        .route("/v1/schedules/{key}/reset", post(schedules::reset))
        .route("/v1/cache", get(cache::list))
        .route("/v1/cache/{*key}", cache_entry)
        .route("/v1/cache-history/{*key}", get(cache::history))
        .route("/v1/cache-restore/{*key}", post(cache::restore))
        .merge(pages)
        .fallback(error::no_route)
        .method_not_allowed_fallback(error::wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), idempotency::once))
        .layer(middleware::from_fn_with_state(Arc::clone(&state), extract::tenant))
        .layer(middleware::from_fn(paging::link))
        // The guard runs before all layers above, because it was added after them.
        .layer(middleware::from_fn(guard::guard))
        // Every response has the id of its request, those of the guard, too.
        .layer(middleware::from_fn(request_id::name))
        .with_state(state)
}

//! Serves the dashboard: pages for people, rendered by the host, which work without scripts.
//!
//! A page shows the answers of the API (`http/views.rs`), and its forms ask for operations
//! ([`ops`](crate::ops)). Nothing is decided here. Pages are made of view structs, which tests look at, and of the
//! templates in `host/templates`, which escape all text. `host/assets` has the stylesheet, and the module that keeps pages
//! current in a browser with JavaScript.

mod actions;
mod address;
mod ask;
mod assets;
mod cache;
mod calendar;
mod explain;
mod facts;
mod hosts;
mod locks;
mod log;
mod look;
mod now;
mod plugins;
mod rows;
mod run;
mod runs;
mod schedules;
mod shell;
mod task;
mod tasks;
#[cfg(test)]
mod tests;
mod timeline;
mod times;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::http::ApiState;

/// Returns the routes of all pages and their forms, for the router of the API, which guards them.
pub fn routes() -> Router<Arc<ApiState>> {
    Router::new()
        .route("/", get(now::page))
        .route("/assets/{file}", get(assets::file))
        .route("/tasks", get(tasks::page))
        .route("/tasks/{task}", get(task::page))
        .route("/tasks/{task}/start", post(actions::start))
        .route("/tasks/{task}/pause", post(actions::pause))
        .route("/tasks/{task}/resume", post(actions::resume))
        .route("/runs", get(runs::page))
        .route("/runs/{run}", get(run::page))
        .route("/runs/{run}/framed", get(run::framed))
        .route("/runs/{run}/kill", post(actions::kill))
        .route("/runs/{run}/rerun", post(actions::rerun))
        .route("/runs/{run}/release", post(actions::release))
        .route("/timeline", get(timeline::page))
        .route("/calendar", get(calendar::page))
        .route("/schedules", get(schedules::page))
        .route("/schedules/{key}/delete", post(actions::delete_schedule))
        .route("/locks", get(locks::page))
        .route("/cache", get(cache::page))
        .route("/plugins", get(plugins::page))
        .route("/hosts", get(hosts::page))
        .route("/hosts/{host}/drain", post(actions::drain))
        .route("/hosts/{host}/undrain", post(actions::undrain))
        .route("/explain", get(explain::page))
        .route("/theme", post(actions::theme))
}

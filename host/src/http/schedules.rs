//! Adds, lists and deletes added schedules.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::ops::{NewSchedule, OpError, Principal, ScheduleAdded};
use sexton_domain::schedule::request::{BadRequest, Request};
use sexton_domain::schedule::routes::{NoRoute, Target};
use sexton_domain::schedule::{BadDefinition, Definition};
use sexton_domain::task::{Name, TaskKey};
use sexton_store::added::{Added, Reset, ScheduleError, ScheduleFilter, ScheduleInfo, ScheduleKey};

use super::api_state::App;
use super::api_types::schedules::{
    AddedSchedules, DataShape, MOST_DATA, ScheduleChanged, ScheduleEffect, ScheduleRequest, ScheduleShape,
    ScheduleState, Standing,
};
use super::cursor::Cursor;
use super::error::{ApiError, ApiResult, schedule_refused};
use super::extract::{ApiQuery, NoQuery, Payload, Tenant, query_of};
use super::missing_plugins::no_task;
use super::paging::Page;

/// The default and the largest number of schedules of a page.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// `{key}` of the path.
#[derive(Clone, Debug)]
pub(super) struct SchedulePath(ScheduleKey);

impl<S: Send + Sync> FromRequestParts<S> for SchedulePath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Tenant(tenant) = Tenant::from_request_parts(parts, state).await?;
        let text = super::extract::path_text(parts, state).await?;
        Ok(Self(ScheduleKey { tenant, key: named("key", &text)? }))
    }
}

fn named(field: &str, text: &str) -> ApiResult<Name> {
    Name::new(text).map_err(|e| ApiError::bad("bad-name", format!("`{field}`: {e}")))
}

/// The query of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    task: Option<String>,
    after: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// The query of a deletion.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteQuery {
    version: Option<u64>,
}

/// `GET /v1/schedules`.
pub(super) async fn list(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> ApiResult<Page<AddedSchedules>> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(ApiError::bad("bad-query", format!("`limit` is a number from 1 to {LONGEST_PAGE}")));
    }
    let task = query.task.map(|task| named("task", &task)).transpose()?;
    let after = match (query.cursor, query.after) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad("bad-query", "`cursor` and `after` exclude each other; keep one of them"));
        }
        (Some(cursor), None) => Some(named("cursor", &Cursor::of_names(&cursor)?)?),
        (None, after) => after.map(|after| named("after", &after)).transpose()?,
    };
    let found = app.store.schedules(ScheduleFilter { tenant, task, by_tasks: false, after, limit }).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.key.key.clone());
    let cursor = next.as_ref().map(|key| Cursor::After(key.to_string()).write());
    let schedules = shapes(&app, &found).await?;
    Ok(Page { list: AddedSchedules { schedules, next, cursor: cursor.clone() }, cursor })
}

/// `GET /v1/schedules/{key}`.
pub(super) async fn show(
    State(app): State<App>,
    SchedulePath(key): SchedulePath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<ScheduleShape>> {
    let found = app.store.schedule(key.clone()).await?;
    let info = found.ok_or_else(|| schedule_refused(&ScheduleError::NotFound(key.key.clone())))?;
    let mut shape = shape(&app, &info).await?;
    if let Some(size) = info.data_bytes {
        let data = app.store.schedule_data(key, MOST_DATA).await?;
        shape.data = data.map(|data| DataShape::of(&data, size));
    }
    Ok(Json(shape))
}

/// `DELETE /v1/schedules/{key}`.
pub(super) async fn remove(
    State(app): State<App>,
    SchedulePath(key): SchedulePath,
    ApiQuery(query): ApiQuery<DeleteQuery>,
) -> ApiResult<Json<ScheduleChanged>> {
    let was = app.ops.delete_schedule(&Principal::Operator, key, query.version).await?;
    let schedule = shape(&app, &was).await?;
    Ok(Json(ScheduleChanged { effect: ScheduleEffect::Deleted, schedule, notes: Vec::new() }))
}

/// `POST /v1/schedules/{key}/reset`.
pub(super) async fn reset(
    State(app): State<App>,
    SchedulePath(key): SchedulePath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<ScheduleChanged>> {
    let (effect, info) = match app.ops.reset_schedule(&Principal::Operator, key).await? {
        Reset::Moved(info) => (ScheduleEffect::Reset, info),
        Reset::Unchanged(info) => (ScheduleEffect::Existing, info),
    };
    Ok(Json(ScheduleChanged { effect, schedule: shape(&app, &info).await?, notes: Vec::new() }))
}

/// `PUT /v1/schedules/{key}`.
pub(super) async fn put(
    State(app): State<App>,
    SchedulePath(key): SchedulePath,
    _: ApiQuery<NoQuery>,
    Payload(body): Payload,
) -> ApiResult<Response> {
    let request = read(&body)?;
    if request.key.as_ref().is_some_and(|named| named != key.key.as_str()) {
        return Err(ApiError::bad("bad-schedule", "`key` differs from the key in the path"));
    }
    add(&app, key, request).await
}

/// `POST /v1/schedules`.
pub(super) async fn post(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    _: ApiQuery<NoQuery>,
    Payload(body): Payload,
) -> ApiResult<Response> {
    let request = read(&body)?;
    let Some(key) = &request.key else {
        return Err(ApiError::bad("bad-schedule", "`key` is missing: the name of the schedule"));
    };
    let key = ScheduleKey { tenant, key: named("key", key)? };
    add(&app, key, request).await
}

fn read(body: &[u8]) -> ApiResult<ScheduleRequest> {
    serde_json::from_slice(body).map_err(|e| {
        ApiError::bad("bad-schedule", format!("the body is no schedule: {e}"))
            .hint(r#"such as {"task": "report", "cron": "0 9 * * mon", "zone": "Europe/Berlin", "data": "weekly"}"#)
    })
}

async fn add(app: &App, key: ScheduleKey, request: ScheduleRequest) -> ApiResult<Response> {
    let target = target_of(&request)?;
    only_in_manifests(&request)?;
    let owner = TaskKey { tenant: key.tenant.clone(), task: target.name().clone() };
    let ScheduleRequest { replace, version, .. } = request;
    let data = request.data.clone().map(bytes);
    let new = NewSchedule { key, target, request: Request::from(request), data, replace, version };
    let ScheduleAdded { added, notes } = match app.ops.add_schedule(&Principal::Operator, new).await {
        Err(OpError::NoTask(_)) => return Err(no_task(app, &owner).await?),
        added => added?,
    };
    let (status, effect, info) = match added {
        Added::New(info) => (StatusCode::CREATED, ScheduleEffect::Added, info),
        Added::Existing(info) => (StatusCode::OK, ScheduleEffect::Existing, info),
        Added::Replaced(info) => (StatusCode::OK, ScheduleEffect::Replaced, info),
    };
    let place = format!("/v1/schedules/{}{}", info.key.key, query_of(&info.key.tenant));
    let schedule = shape(app, &info).await?;
    Ok((status, [(LOCATION, place)], Json(ScheduleChanged { effect, schedule, notes })).into_response())
}

fn target_of(request: &ScheduleRequest) -> ApiResult<Target> {
    match (&request.task, &request.plugin, &request.kind) {
        (Some(task), None, None) => named("task", task).map(Target::Task),
        (None, Some(plugin), None) => named("plugin", plugin).map(Target::Task),
        (None, None, Some(kind)) => named("type", kind).map(Target::Type),
        (None, None, None) => {
            Err(ApiError::bad("bad-schedule", "`task` is missing: name the task whose runs it makes"))
        }
        (Some(_), Some(_), None) => Err(ApiError::bad("bad-schedule", "`task` and `plugin` exclude each other")),
        _ => Err(ApiError::bad("bad-schedule", "`type` stands in place of `task` and `plugin`; leave them out")),
    }
}

/// Returns a text as it is, and anything else as JSON.
fn bytes(data: serde_json::Value) -> Vec<u8> {
    match data {
        serde_json::Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// Refuses a trigger that only a manifest can have.
fn only_in_manifests(request: &ScheduleRequest) -> ApiResult<()> {
    let manifests = [
        ("after", &request.after),
        ("pace", &request.pace),
        ("chain", &request.chain),
        ("on-start", &request.on_start),
    ];
    match manifests.iter().find(|(_, value)| value.is_some()) {
        Some((word, _)) => Err(BadRequest::from(BadDefinition::NotSupported(word)).into()),
        None => Ok(()),
    }
}

async fn shape(app: &App, info: &ScheduleInfo) -> ApiResult<ScheduleShape> {
    let mut shapes = shapes(app, std::slice::from_ref(info)).await?;
    Ok(shapes.pop().expect("there is a shape for each schedule"))
}

async fn shapes(app: &App, found: &[ScheduleInfo]) -> ApiResult<Vec<ScheduleShape>> {
    let routes = app.catalog.routes();
    let led = found.iter().filter_map(|info| routes.task_of(&info.key.tenant, &info.target).ok());
    let led: BTreeSet<TaskKey> = led.collect();
    let (states, now) = (app.store.task_states_of(led.into_iter().collect()).await?, app.clock.now());
    let standing = |info: &ScheduleInfo| {
        let task = routes.task_of(&info.key.tenant, &info.target);
        let missing = match &task {
            Err(why) => Some(why.clone()),
            Ok(task) => app.catalog.get(task).is_none().then(|| NoRoute::NoTask(task.task.clone())),
        };
        let is_paused = |task: &TaskKey| states.get(task).is_some_and(|state| state.paused.is_some());
        let state = if info.finished_at.is_some() {
            ScheduleState::Finished
        } else if missing.is_some() {
            ScheduleState::Resting
        } else if task.as_ref().is_ok_and(is_paused) {
            ScheduleState::Paused
        } else {
            ScheduleState::Active
        };
        let reason = missing.filter(|_| state == ScheduleState::Resting).map(|why| why.to_string());
        Standing { task: task.ok().map(|task| task.task), state, reason }
    };
    let shape = |info: &ScheduleInfo| {
        let definition = Definition::read(&info.definition)
            .map_err(|e| ApiError::store_failed(&format!("added schedule `{}`: {e}", info.key.key)))?;
        Ok(ScheduleShape::of(info, &definition, standing(info), now))
    };
    found.iter().map(shape).collect()
}

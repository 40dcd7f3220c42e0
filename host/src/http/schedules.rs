//! Adds, lists and deletes added schedules. Every part of a schedule is checked here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use serde::Deserialize;

use crate::schedule::{self, BadDefinition, Definition, Trigger, instant_parser, parse};
use crate::store::StoreError;
use crate::store::added::{AddSchedule, Added, Reset, ScheduleError, ScheduleFilter, ScheduleInfo, ScheduleKey};
use crate::task::{Name, TaskKey};
use crate::time::Timestamp;

use super::absent::no_task;
use super::api_state::App;
use super::api_types::schedules::{
    AddedSchedules, ScheduleChanged, ScheduleEffect, ScheduleRequest, ScheduleShape, ScheduleState,
};
use super::error::{ApiError, ApiResult, schedule_refused};
use super::extract::{ApiQuery, FURTHEST, NoQuery, Payload, Tenant, duration, instant, query_of};

/// The longest delay or interval, and the furthest instant ahead. A longer one is more likely a mistake than intended.
const YEAR: Duration = Duration::from_secs(366 * 24 * 3600);
/// The shortest interval, as in a manifest.
const SHORTEST: Duration = Duration::from_millis(10);

/// The age up to which an instant still counts as ahead, because it may have passed while the request was on its way.
const JUST_NOW: Duration = Duration::from_secs(1);

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
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    task: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// The query of a deletion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteQuery {
    version: Option<u64>,
}

/// `GET /v1/schedules`.
pub(super) async fn list(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> ApiResult<Json<AddedSchedules>> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(ApiError::bad("bad-query", format!("`limit` is a number from 1 to {LONGEST_PAGE}")));
    }
    let task = query.task.map(|task| named("task", &task)).transpose()?;
    let after = query.after.map(|after| named("after", &after)).transpose()?;
    let found = app.store.schedules(ScheduleFilter { tenant, task, after, limit }).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.key.key.clone());
    Ok(Json(AddedSchedules { schedules: shapes(&app, &found).await?, next }))
}

/// `GET /v1/schedules/{key}`.
pub(super) async fn show(
    State(app): State<App>,
    SchedulePath(key): SchedulePath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<ScheduleShape>> {
    let found = app.store.schedule(key.clone()).await?;
    let info = found.ok_or_else(|| schedule_refused(&ScheduleError::NotFound(key.key)))?;
    Ok(Json(shape(&app, &info).await?))
}

/// `DELETE /v1/schedules/{key}`.
pub(super) async fn remove(
    State(app): State<App>,
    SchedulePath(key): SchedulePath,
    ApiQuery(query): ApiQuery<DeleteQuery>,
) -> ApiResult<Json<ScheduleChanged>> {
    let was = app.store.delete_schedule(key, query.version, app.clock.now()).await?;
    tracing::info!(schedule.key = %was.key.key, task.name = %was.task, "Deleted schedule `{}`", was.key.key);
    let schedule = shape(&app, &was).await?;
    Ok(Json(ScheduleChanged { effect: ScheduleEffect::Deleted, schedule, notes: Vec::new() }))
}

/// `POST /v1/schedules/{key}/reset`.
pub(super) async fn reset(
    State(app): State<App>,
    SchedulePath(key): SchedulePath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<ScheduleChanged>> {
    let (effect, info) = match app.store.reset_schedule(key, app.clock.now()).await? {
        Reset::Moved(info) => (ScheduleEffect::Reset, info),
        Reset::Unchanged(info) => (ScheduleEffect::Existing, info),
    };
    if effect == ScheduleEffect::Reset {
        tracing::info!(schedule.key = %info.key.key, task.name = %info.task, "Reset schedule `{}`", info.key.key);
    }
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
        return Err(ApiError::bad("bad-schedule", "`key` is another than that of the path"));
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
    let now = app.clock.now();
    let task = task_of(&request)?;
    let owner = TaskKey { tenant: key.tenant.clone(), task: task.clone() };
    // `schedule explain --task` uses the same name, so that both show the same instants.
    let (definition, notes) = define(&request, &format!("{owner}/{}", key.key), now)?;
    let new = AddSchedule {
        key,
        task,
        definition: definition.text(),
        data: request.data.map(bytes),
        cursor: match definition.trigger {
            // An instant that was ahead when the request was sent is still due.
            Trigger::At(at) => now.min(at.minus(Duration::from_millis(1))),
            _ => now,
        },
        replace: request.replace,
        version: request.version,
        now,
    };
    // A repeated request finds its schedule, even if it could not be added now.
    let answer = match refusal(app, &new, &definition).await? {
        None => app.store.add_schedule(new).await?,
        Some(refusal) => existing(app, &new).await?.ok_or(refusal)?,
    };
    let (status, effect, info) = match answer {
        Added::New(info) => (StatusCode::CREATED, ScheduleEffect::Added, info),
        Added::Existing(info) => (StatusCode::OK, ScheduleEffect::Existing, info),
        Added::Replaced(info) => (StatusCode::OK, ScheduleEffect::Replaced, info),
    };
    let (name, task) = (&info.key.key, &info.task);
    if effect != ScheduleEffect::Existing {
        tracing::info!(schedule.key = %name, task.name = %task, "Added schedule `{name}` for `{task}`");
    }
    let place = format!("/v1/schedules/{name}{}", query_of(&info.key.tenant));
    let schedule = shape(app, &info).await?;
    Ok((status, [(LOCATION, place)], Json(ScheduleChanged { effect, schedule, notes })).into_response())
}

/// Returns why a well-formed schedule is not added: it would do nothing.
async fn refusal(app: &App, new: &AddSchedule, definition: &Definition) -> ApiResult<Option<ApiError>> {
    if let Trigger::At(at) = definition.trigger
        && at.plus(JUST_NOW) < new.now
    {
        let message = format!("{at} is in the past; give a time in the future");
        return Ok(Some(ApiError::bad("bad-instant", message)));
    }
    let task = TaskKey { tenant: new.key.tenant.clone(), task: new.task.clone() };
    match app.catalog.get(&task) {
        Some(_) => Ok(None),
        None => no_task(app, &task).await.map(Some),
    }
}

/// Returns the existing schedule if adding `new` would change nothing, or the error for its key.
async fn existing(app: &App, new: &AddSchedule) -> ApiResult<Option<Added>> {
    let Some(found) = app.store.schedule(new.key.clone()).await? else { return Ok(None) };
    if found.task != new.task || found.definition != new.definition {
        return Ok(None);
    }
    match app.store.add_schedule(AddSchedule { replace: false, ..new.clone() }).await {
        Ok(there) => Ok(Some(there)),
        Err(StoreError::Schedule(ScheduleError::NotFound(_))) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

fn task_of(request: &ScheduleRequest) -> ApiResult<Name> {
    match (&request.task, &request.plugin) {
        (Some(task), None) => named("task", task),
        (None, Some(plugin)) => named("plugin", plugin),
        (None, None) => Err(ApiError::bad("bad-schedule", "`task` is missing: whose runs it makes")),
        (Some(_), Some(_)) => Err(ApiError::bad("bad-schedule", "`task` and `plugin` exclude each other")),
    }
}

/// Returns a text as it is, and anything else as JSON.
fn bytes(data: serde_json::Value) -> Vec<u8> {
    match data {
        serde_json::Value::String(text) => text.into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// Returns the requested definition, and a line for each deviation from the text. `name` places `H` and `~`.
fn define(request: &ScheduleRequest, name: &str, now: Timestamp) -> ApiResult<(Definition, Vec<String>)> {
    let manifests = [
        ("after", &request.after),
        ("pace", &request.pace),
        ("chain", &request.chain),
        ("on-start", &request.on_start),
    ];
    if let Some((word, _)) = manifests.iter().find(|(_, value)| value.is_some()) {
        return Err(not_supported(&BadDefinition::NotSupported(word)));
    }
    let asked_zone = request.zone.as_deref().map(zone).transpose()?;
    let trigger = trigger(request, asked_zone.unwrap_or(Tz::UTC), now)?;
    let mut notes: Vec<String> = parse::two_zones(&trigger, asked_zone).into_iter().collect();
    let mut definition = Definition::of(trigger, asked_zone.unwrap_or(Tz::UTC)).map_err(|e| not_supported(&e))?;
    definition = definition.for_name(name);
    let zone = definition.zone;
    let at =
        |field: &str, text: &Option<String>| text.as_deref().map(|text| instant(field, text, zone, now)).transpose();
    (definition.start, definition.end) = (at("start", &request.start)?, at("end", &request.end)?);
    if let Some(delay) = &request.delay {
        definition.delay = duration("delay", delay, YEAR)?;
    }
    if request.times == Some(0) {
        return Err(ApiError::bad("bad-schedule", "`times` is 1 or more"));
    }
    definition.times = request.times;
    let from = match definition.trigger {
        Trigger::At(at) => at.minus(Duration::from_millis(1)),
        _ => now,
    };
    if definition.next_after(from).is_none() {
        return Err(ApiError::bad("bad-schedule", "within these bounds it is never due; see `start` and `end`"));
    }
    let due = if let Trigger::At(at) = definition.trigger { Some(at) } else { None };
    let instants =
        [("at", &request.at, due), ("start", &request.start, definition.start), ("end", &request.end, definition.end)];
    notes.extend(instants.into_iter().filter_map(|(field, text, at)| {
        instant_parser::displaced(text.as_deref()?, zone, at?).map(|moved| format!("`{field}`: {moved}"))
    }));
    Ok((definition, notes))
}

fn not_supported(why: &BadDefinition) -> ApiError {
    ApiError::bad("not-supported", why.to_string()).hint("use `cron`, `every`, `at` or `in`; a manifest can say more")
}

fn trigger(request: &ScheduleRequest, zone: Tz, now: Timestamp) -> ApiResult<Trigger> {
    let ScheduleRequest { cron, every, at, after_now, .. } = request;
    match (cron, every, at, after_now) {
        (Some(crontab), None, None, None) => {
            let read = parse::crontab(crontab, false);
            read.map_err(|e| ApiError::bad("bad-crontab", format!("`cron`: {e}")))
        }
        (None, Some(every), None, None) => match duration("every", every, YEAR)? {
            short if short < SHORTEST => Err(ApiError::bad("bad-duration", "`every` is 10ms or more")),
            interval => Ok(Trigger::Every(interval)),
        },
        (None, None, Some(at), None) => instant("at", at, zone, now).map(Trigger::At),
        (None, None, None, Some(after)) => Ok(Trigger::At(now.plus(duration("in", after, FURTHEST)?))),
        (None, None, None, None) => {
            Err(ApiError::bad("bad-schedule", "it says not when it is due: one of `cron`, `every`, `at` and `in`"))
        }
        _ => Err(ApiError::bad("bad-schedule", "`cron`, `every`, `at` and `in` exclude one another")),
    }
}

fn zone(text: &str) -> ApiResult<Tz> {
    schedule::zone(text).map_err(|e| ApiError::bad("bad-zone", e))
}

async fn shape(app: &App, info: &ScheduleInfo) -> ApiResult<ScheduleShape> {
    let mut shapes = shapes(app, std::slice::from_ref(info)).await?;
    Ok(shapes.pop().expect("there is a shape for each schedule"))
}

async fn shapes(app: &App, found: &[ScheduleInfo]) -> ApiResult<Vec<ScheduleShape>> {
    let mut states = BTreeMap::new();
    for tenant in found.iter().map(|info| &info.key.tenant).collect::<BTreeSet<_>>() {
        states.extend(app.store.task_states_of(tenant.clone()).await?);
    }
    let (tasks, now) = (app.catalog.tasks(), app.clock.now());
    let shape = |info: &ScheduleInfo| {
        let definition = Definition::read(&info.definition)
            .map_err(|e| ApiError::store_failed(&format!("added schedule `{}`: {e}", info.key.key)))?;
        let task = TaskKey { tenant: info.key.tenant.clone(), task: info.task.clone() };
        let state = if info.finished_at.is_some() {
            ScheduleState::Finished
        } else if !tasks.contains_key(&task) {
            ScheduleState::Resting
        } else if states.get(&task).is_some_and(|state| state.paused.is_some()) {
            ScheduleState::Paused
        } else {
            ScheduleState::Active
        };
        Ok(ScheduleShape::of(info, &definition, state, now))
    };
    found.iter().map(shape).collect()
}

//! Serves tasks: lists, shows and triggers them.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::ops::{self, OpError, Principal, TriggerRun};
use sexton_domain::run::HeldBack;
use sexton_domain::schedule::request;
use sexton_domain::task::{Name, Task, TaskKey};
use sexton_domain::time::Timestamp;
use sexton_store::lists::TaskPattern;

use super::api_state::App;
use super::api_types::runs::{HeldBackShape, Repeated, Triggered};
use super::api_types::statistics::StatisticsShape;
use super::api_types::{TaskDetail, TaskSummary, Tasks};
use super::chains::following;
use super::cursor::{Cursor, PageQuery};
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, Labelled, Payload, TaskPath, Tenant, query_of};
use super::filter;
use super::missing_plugins::no_task;
use super::paging::Page;
use super::placement::Placement;

/// The longest idempotency key, in bytes.
const MAX_DEDUP: usize = 200;

/// The due instants shown with each task of the list, and with one task.
const NEXT_IN_LIST: usize = 3;
const NEXT_IN_DETAIL: usize = 5;

/// The default window of time of the sums over a task's runs.
const WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// The number of tasks that are summed up before other requests get a turn on the thread. Each takes some ten
/// microseconds, and there may be thousands.
const AT_A_TIME: usize = 50;

/// The number of tasks whose states and runs are read at once.
const PIECE: usize = 500;

/// Returns the summaries of the first `most` tasks of `tenant` after `after`, by name, that are `listed`; and whether there
/// are more.
pub(super) async fn summaries(
    app: &App,
    tenant: &Name,
    mut after: Option<Name>,
    listed: impl Fn(&Task) -> bool,
    most: usize,
) -> ApiResult<(Vec<TaskSummary>, bool)> {
    let mut summaries: Vec<TaskSummary> = Vec::new();
    loop {
        let mut tasks = app.catalog.of_tenant(tenant, after.as_ref(), PIECE);
        let Some(last) = tasks.last() else { return Ok((summaries, false)) };
        after = Some(last.key.task.clone());
        tasks.retain(|task| listed(task));
        let room = most - summaries.len();
        summaries.extend(summaries_of(app, &tasks[..tasks.len().min(room)]).await?);
        if tasks.len() > room {
            return Ok((summaries, true));
        }
    }
}

/// Returns the summaries of `tasks`.
async fn summaries_of(app: &App, tasks: &[Arc<Task>]) -> ApiResult<Vec<TaskSummary>> {
    let keys: Vec<TaskKey> = tasks.iter().map(|task| task.key.clone()).collect();
    let (states, pauses) = (app.store.task_states_of(keys.clone()).await?, app.store.pauses().await?);
    let latest = app.store.latest_runs(keys.clone()).await?;
    let mut following = following(app, tasks.iter()).await?;
    let (placing, now) = (Placement::of(app, &keys).await?, app.clock.now());
    let mut summary = |task: &Arc<Task>| {
        let (state, last) = (states.get(&task.key), latest.get(&task.key));
        let summary = TaskSummary::of(task, state, last, now, NEXT_IN_LIST);
        let held_back = held_back(app, &placing, &task.key).map(HeldBackShape::from);
        TaskSummary { held_back, following: following.remove(&task.key), ..summary }.with_pauses(&pauses)
    };
    let mut summaries = Vec::with_capacity(tasks.len());
    for (n, task) in tasks.iter().enumerate() {
        if n % AT_A_TIME == AT_A_TIME - 1 {
            tokio::task::yield_now().await;
        }
        summaries.push(summary(task));
    }
    Ok(summaries)
}

/// Returns why no runs of a task start for a while. A momentary lack of room of its tenant is shown for runs only.
fn held_back(app: &App, placing: &Placement<'_>, key: &TaskKey) -> Option<HeldBack> {
    if placing.runs_elsewhere(key) {
        return placing.nowhere(key);
    }
    app.held_back().or_else(|| app.budgets.held_back(key).filter(|held_back| held_back.until.is_some()))
}

/// Returns the task, or an error that says why it does not exist.
pub(super) async fn known(app: &App, key: &TaskKey) -> ApiResult<Arc<Task>> {
    match app.catalog.get(key) {
        Some(task) => Ok(task),
        None => Err(no_task(app, key).await?),
    }
}

/// The query of a list of tasks, without its labels.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TasksQuery {
    task: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /v1/tasks`. All tasks are one page, unless a limit is asked for.
pub(super) async fn list(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    Labelled(labels, query): Labelled<TasksQuery>,
) -> ApiResult<Page<Tasks>> {
    let (after, limit) = PageQuery { limit: query.limit, cursor: query.cursor }.read()?;
    let pattern = query.task.as_deref().map(TaskPattern::read).transpose();
    let pattern = pattern.map_err(|why| ApiError::bad("bad-query", format!("`task`: {why}")))?;
    let after = after.as_deref().map(Name::new).transpose();
    let after = after.map_err(|why| ApiError::bad("bad-cursor", format!("`cursor` is none of this list: {why}")))?;
    let listed = |task: &Task| {
        pattern.as_ref().is_none_or(|pattern| pattern.matches(task.key.task.as_str())) && task.labels.contains(&labels)
    };
    let (tasks, more) = summaries(&app, &tenant, after, listed, limit.unwrap_or(usize::MAX)).await?;
    let last = tasks.last().filter(|_| more);
    let cursor = last.map(|task| Cursor::After(task.name.to_string()).write());
    Ok(Page { list: Tasks { tasks, cursor: cursor.clone() }, cursor })
}

/// The query of a task.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShowQuery {
    #[serde(default)]
    statistics: bool,
    since: Option<String>,
}

impl ShowQuery {
    /// Returns the begin of the window of time whose runs are summed up: that long ago, or at an instant. `None` if no
    /// sums are requested.
    fn since(&self, zone: Tz, now: Timestamp) -> ApiResult<Option<Timestamp>> {
        match &self.since {
            Some(text) => filter::since(text, zone, now).map(Some),
            None => Ok(self.statistics.then(|| now.minus(WINDOW))),
        }
    }
}

/// `GET /v1/tasks/{task}`.
pub(super) async fn show(
    State(app): State<App>,
    TaskPath(key): TaskPath,
    ApiQuery(query): ApiQuery<ShowQuery>,
) -> ApiResult<Json<TaskDetail>> {
    let task = known(&app, &key).await?;
    let since = query.since(task.zone, app.clock.now())?;
    let state = app.store.task_state(key.clone()).await?.unwrap_or_default();
    let latest = app.store.latest_runs(vec![key.clone()]).await?.remove(&key);
    let summary = TaskSummary::of(&task, Some(&state), latest.as_ref(), app.clock.now(), NEXT_IN_DETAIL);
    let following = following(&app, std::iter::once(&task)).await?.remove(&key);
    let placing = Placement::of(&app, std::slice::from_ref(&key)).await?;
    let held_back = held_back(&app, &placing, &key).map(HeldBackShape::from);
    let summary = TaskSummary { held_back, following, ..summary };
    let summary = summary.with_pauses(&app.store.pauses().await?);
    let statistics = match since {
        Some(since) => {
            let limit = task.overlap.max_running();
            Some(StatisticsShape::of(app.ops.statistics(&key, since, limit).await?, limit))
        }
        None => None,
    };
    Ok(Json(TaskDetail::of(&task, &state, summary, statistics)))
}

/// The query of a trigger.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TriggerQuery {
    at: Option<String>,
    /// `after` is the parameter's former name.
    #[serde(rename = "in", alias = "after")]
    after_now: Option<String>,
    #[serde(default)]
    past_limits: bool,
    #[param(inline)]
    input: Option<GivenInput>,
}

/// The word of a query that says that the body is the run's input, even if it is empty.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum GivenInput {
    Given,
}

/// Returns the input that a request brings. Without a body it brings none, unless it says that it does.
pub(super) fn input(body: &[u8], given: Option<GivenInput>) -> Option<Vec<u8>> {
    (!body.is_empty() || given.is_some()).then(|| body.to_vec())
}

/// Returns the instant at which a requested run is due: `at`, or `delay` after `now`; `None` for now.
pub(super) fn due(at: Option<&str>, delay: Option<&str>, zone: Tz, now: Timestamp) -> ApiResult<Option<Timestamp>> {
    match (at, delay) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(ApiError::bad("bad-query", "`at` and `in` (or `after`) exclude each other; keep one of them"))
        }
        (None, Some(delay)) => Ok(Some(now.plus(request::duration("in", delay, request::FURTHEST)?))),
        (Some(at), None) => Ok(Some(request::instant("at", at, zone, now)?)),
    }
}

/// Returns the idempotency key of a request. It may be in quotes, as a string of structured fields is.
pub(super) fn idempotency_key(headers: &HeaderMap) -> ApiResult<Option<String>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().unwrap_or_default();
    let unquoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    checked_key("an Idempotency-Key", unquoted.unwrap_or(key)).map(Some)
}

/// Returns the key `key` of a request, which is called `called`.
pub(super) fn checked_key(called: &str, key: &str) -> ApiResult<String> {
    if (1..=MAX_DEDUP).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(key.to_owned());
    }
    let message = format!("{called} has 1 to {MAX_DEDUP} visible ASCII characters");
    Err(ApiError::bad("bad-idempotency-key", message))
}

/// `POST /v1/tasks/{task}/runs`.
pub(super) async fn trigger(
    State(app): State<App>,
    TaskPath(key): TaskPath,
    Labelled(labels, query): Labelled<TriggerQuery>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> ApiResult<Response> {
    let task = known(&app, &key).await?;
    let now = app.clock.now();
    let due_at = due(query.at.as_deref(), query.after_now.as_deref(), task.zone, now)?;
    let input = input(&body, query.input);
    let asked = TriggerRun { due_at, input, key: idempotency_key(&headers)?, past_limits: query.past_limits, labels };
    let made = match app.ops.trigger(&Principal::Operator, &key, asked).await {
        // The task existed a moment ago, so the error explains in full why it is gone.
        Err(OpError::NoTask(_)) => return Err(no_task(&app, &key).await?),
        made => made?,
    };
    Ok(made_run(&app, &key.tenant, made, None))
}

/// Returns the answer to a request that made a run, or found the one that an earlier such request had made.
pub(super) fn made_run(app: &App, tenant: &Name, made: ops::Triggered, reruns: Option<Repeated>) -> Response {
    let status = if made.created { StatusCode::ACCEPTED } else { StatusCode::OK };
    let place = format!("/v1/runs/{}{}", made.run, query_of(tenant));
    (status, [(LOCATION, place)], Json(triggered(app, made, reruns))).into_response()
}

/// Returns the JSON of a run that was made, or found.
pub(super) fn triggered(app: &App, made: ops::Triggered, reruns: Option<Repeated>) -> Triggered {
    let (paused_by, paused_why) = made.paused.unzip();
    Triggered {
        run: made.run,
        due_at: made.due_at,
        created: made.created,
        replaced: made.replaced,
        paused: paused_by.is_some(),
        paused_by,
        paused_why: paused_why.flatten(),
        note: made.note,
        held_back: app.held_back().map(HeldBackShape::from),
        reruns,
    }
}

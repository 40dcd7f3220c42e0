//! Serves runs: lists and shows them, waits for them, and ends them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use crate::ops::{EndEffect, EndRun, OpError, Principal, RepeatRun};
use sexton_domain::run::RunState;
use sexton_domain::schedule::request;
use sexton_domain::task::TaskKey;
use sexton_store::lists::ListRuns;

use super::api_state::App;
use super::api_types::attempts::AttemptShape;
use super::api_types::inputs::InputShape;
use super::api_types::runs::{
    ChildShape, HeldBackShape, KillEffect, Killed, ReleasedRun, Repeated, RunDetail, RunShape, Runs,
};
use super::cursor::Cursor;
use super::error::ApiResult;
use super::extract::{ApiQuery, Labelled, NoQuery, Payload, RunPath, Tenant};
use super::filter::ListQuery;
use super::missing_plugins::{MissingPlugins, no_task};
use super::paging::Page;
use super::placement::Placement;
use super::tasks::{GivenInput, idempotency_key, input, made_run};
use super::waiting::WaitPermit;
use super::watch::Changes;
use sexton_domain::lengths::millis;

/// The default and the longest wait of one request. Proxies and clients give up on longer ones.
const WAIT: Duration = Duration::from_secs(30);
const MAX_WAIT: Duration = Duration::from_secs(5 * 60);

/// The number of runs that came of a run, of those that are shown with it.
const CHILDREN: usize = 100;

/// `GET /v1/runs`.
pub(super) async fn list(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    Labelled(labels, query): Labelled<ListQuery>,
) -> ApiResult<Page<Runs>> {
    let (limit, before) = query.page()?;
    let filter = query.filter(&app, tenant.clone(), labels)?;
    let page = app.store.list_runs(ListRuns { filter, before, limit, now: app.clock.now() }).await?;
    let (next, looked_back_to) = (page.next, page.looked_back_to);
    let mut runs: Vec<RunShape> = page.runs.into_iter().map(RunShape::from).collect();
    let tasks: Vec<TaskKey> = runs.iter().map(RunShape::key).collect();
    let placing = Placement::of(&app, &tasks).await?;
    {
        let absent = MissingPlugins::of(&app, &tenant);
        runs.iter_mut().for_each(|run| explain_wait(&app, &placing, &absent, run));
    }
    let cursor = next.map(|run| Cursor::Before(run).write());
    Ok(Page { list: Runs { runs, next, cursor: cursor.clone(), looked_back_to }, cursor })
}

/// Explains why a run waits. Its task may be missing; a run that is due may be held back by a budget, or be for hosts
/// that are not up. The state of the task in the store takes precedence, because a budget recovers by itself, and a
/// host may come back.
fn explain_wait(app: &App, placing: &Placement<'_>, absent: &MissingPlugins<'_>, run: &mut RunShape) {
    if run.state != RunState::Waiting {
        return;
    }
    if run.suspected_at.is_some() {
        // Until an operator releases the run, no other reason matters.
        run.held_back = run.why.clone().map(|reason| HeldBackShape { reason, until: None });
        return;
    }
    let task = run.key();
    if let Some(why) = absent.why_runs_wait(&task) {
        run.why = Some(why);
        return;
    }
    if run.run_at <= app.clock.now() {
        let past_limits = run.forced && run.attempt == 0;
        let over = || app.budgets.held_back(&task).filter(|_| !past_limits);
        let held_back = match placing.runs_elsewhere(&task) {
            true => placing.nowhere(&task),
            false => app.held_back().or_else(over),
        };
        run.why = run.why.take().or_else(|| held_back.as_ref().map(ToString::to_string));
        run.held_back = held_back.map(HeldBackShape::from);
    }
}

async fn detail(app: &App, mut run: RunShape) -> ApiResult<Json<RunDetail>> {
    let task = run.key();
    let placing = Placement::of(app, std::slice::from_ref(&task)).await?;
    explain_wait(app, &placing, &MissingPlugins::of(app, &task.tenant), &mut run);
    let attempts = app.store.attempts(run.id).await?.into_iter().map(AttemptShape::from).collect();
    let input = InputShape::of(&app.store.input(run.id).await?.unwrap_or_default());
    let mut children: Vec<ChildShape> =
        app.store.children(run.id, CHILDREN + 1).await?.into_iter().map(ChildShape::from).collect();
    let children_cut = children.len() > CHILDREN;
    children.truncate(CHILDREN);
    Ok(Json(RunDetail { run, attempts, input, children, children_cut }))
}

/// `GET /v1/runs/{run}`.
pub(super) async fn show(
    State(app): State<App>,
    tenant: Tenant,
    RunPath(id): RunPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<RunDetail>> {
    let run = tenant.run(&app, id).await?;
    detail(&app, run).await
}

/// The query of a wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WaitQuery {
    timeout: Option<String>,
}

/// `GET /v1/runs/{run}/wait`: responds when the run or the time is over, whichever comes first.
pub(super) async fn wait(
    State(app): State<App>,
    tenant: Tenant,
    may_wait: WaitPermit,
    RunPath(id): RunPath,
    ApiQuery(query): ApiQuery<WaitQuery>,
) -> ApiResult<Json<RunDetail>> {
    let timeout = match &query.timeout {
        Some(text) => request::duration("timeout", text, MAX_WAIT)?,
        None => WAIT,
    };
    let end = Instant::now() + timeout;
    let mut changes = Changes::of(&*app.store);
    let mut waiting = None;
    loop {
        let run = tenant.run(&app, id).await?;
        if run.state.is_over() || Instant::now() >= end {
            return detail(&app, run).await;
        }
        if waiting.is_none() {
            waiting = Some(may_wait.begin(&app)?);
        }
        changes.next(end).await;
    }
}

/// The query of a kill.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KillQuery {
    #[serde(alias = "why")]
    reason: Option<String>,
    #[serde(default)]
    now: bool,
}

/// `POST /v1/runs/{run}/kill`.
pub(super) async fn kill(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    RunPath(id): RunPath,
    ApiQuery(query): ApiQuery<KillQuery>,
) -> ApiResult<(StatusCode, Json<Killed>)> {
    let end = EndRun { reason: query.reason, at_once: query.now };
    let ended = app.ops.end_run(&Principal::Operator, &tenant, id, end).await?;
    let (effect, grace) = match ended {
        EndEffect::Cancelled => (KillEffect::Cancelled, Duration::ZERO),
        EndEffect::Stopping(grace) => (KillEffect::Stopping, grace),
        EndEffect::Requested => (KillEffect::Requested, Duration::ZERO),
    };
    let status = if effect == KillEffect::Cancelled { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(Killed { run: id, effect, grace_ms: millis(grace) })))
}

/// The query of a rerun.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RerunQuery {
    #[serde(default)]
    past_limits: bool,
    #[param(inline)]
    input: Option<GivenInput>,
}

/// `POST /v1/runs/{run}/rerun`: repeats a run that is over.
pub(super) async fn rerun(
    State(app): State<App>,
    tenant: Tenant,
    RunPath(id): RunPath,
    ApiQuery(query): ApiQuery<RerunQuery>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> ApiResult<Response> {
    let run = tenant.run(&app, id).await?;
    let input = input(&body, query.input);
    let asked = RepeatRun { input, key: idempotency_key(&headers)?, past_limits: query.past_limits };
    let made = match app.ops.rerun(&Principal::Operator, &run.tenant, id, asked).await {
        Err(OpError::NoTask(task)) => return Err(no_task(&app, &task).await?),
        made => made?,
    };
    let repeated = Repeated { run: id, task: run.task };
    Ok(made_run(&app, &run.tenant, made, Some(repeated)))
}

/// `POST /v1/runs/{run}/release`: lets a run start that is held back because it is suspected of killing its host.
pub(super) async fn release(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    RunPath(id): RunPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<ReleasedRun>> {
    app.ops.release_run(&Principal::Operator, &tenant, id).await?;
    Ok(Json(ReleasedRun { run: id }))
}

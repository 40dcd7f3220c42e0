//! Serves chains, and the state of schedules that depend on earlier runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use sexton_domain::schedule::Trigger;
use sexton_domain::task::{Name, Task, TaskKey};

use super::api_state::App;
use super::api_types::following::{ChainShape, Chains, Following, awaits_of_chain, awaits_of_task};
use super::error::ApiResult;
use super::extract::{ApiQuery, NoQuery, Tenant};

/// `GET /v1/chains`.
pub(super) async fn list(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<Chains>> {
    Ok(Json(Chains { chains: of_tenant(&app, &tenant).await? }))
}

/// Returns all chains of a tenant.
pub(super) async fn of_tenant(app: &App, tenant: &Name) -> ApiResult<Vec<ChainShape>> {
    let all = app.catalog.chains();
    let chains: Vec<_> = all.values().filter(|chain| chain.key.tenant == *tenant).collect();
    let now = app.clock.now();
    let watched = app.store.watch(chains.iter().map(|chain| chain.key.clone()).collect(), now).await?;
    let awaits: Vec<_> = chains.iter().map(|chain| awaits_of_chain(chain, watched.get(&chain.key))).collect();
    let stands = app.store.run_states(awaits.iter().flatten().cloned().collect()).await?;
    let pauses = app.store.pauses().await?;
    let missing = |task: &TaskKey| app.catalog.get(task).is_none();
    let shape = |(chain, run): (&&Arc<_>, &Option<_>)| {
        let run = run.as_ref().and_then(|run| stands.get(run));
        ChainShape::of(chain, watched.get(&chain.key), run, &pauses, now, missing)
    };
    Ok(chains.iter().zip(&awaits).map(shape).collect())
}

/// Returns the state of those schedules among `tasks` that depend on earlier runs.
pub(super) async fn following(
    app: &App,
    tasks: impl Iterator<Item = &Arc<Task>>,
) -> ApiResult<BTreeMap<TaskKey, Following>> {
    let tasks: Vec<_> = tasks.filter(|task| matches!(task.trigger, Trigger::After(_) | Trigger::Pace(_))).collect();
    if tasks.is_empty() {
        return Ok(BTreeMap::new());
    }
    let now = app.clock.now();
    let watched = app.store.watch(tasks.iter().map(|task| task.key.clone()).collect(), now).await?;
    let awaits: Vec<_> = tasks.iter().map(|task| awaits_of_task(task, watched.get(&task.key))).collect();
    let stands = app.store.run_states(awaits.iter().flatten().cloned().collect()).await?;
    let shapes = tasks.iter().zip(&awaits).filter_map(|(task, run)| {
        let run = run.as_ref().and_then(|run| stands.get(run));
        Some((task.key.clone(), Following::of(task, watched.get(&task.key), run, now)?))
    });
    Ok(shapes.collect())
}

//! Hands the API's answers to the dashboard: the functions that serve JSON are called with the same queries, so that
//! both faces show the same.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::Response;
use axum::{Form, Json};

use crate::ops::OpError;
use sexton_domain::run::RunId;
use sexton_domain::task::{Name, TaskKey};

use super::api_state::{ApiState, App};
use super::api_types::cache::{Entries, EntryHistoryShape};
use super::api_types::following::ChainShape;
use super::api_types::host::Host;
use super::api_types::hosts::HostShape;
use super::api_types::live::{Live, Stack};
use super::api_types::locks::LockGraph;
use super::api_types::plugins::PluginShape;
use super::api_types::runs::{RunDetail, Runs};
use super::api_types::schedule::Explained;
use super::api_types::schedules::AddedSchedules;
use super::api_types::{TaskDetail, Tasks};
use super::error::ApiError;
use super::extract::{ApiQuery, KeyPath, Labelled, NamedTenant, NoQuery, Payload, RunPath, TaskPath, Tenant};
use super::missing_plugins::no_task;
use super::waiting::WaitPermit;
use super::{cache, chains, host, hosts, live, lock_graph, result, runs, schedule, schedules, tasks};
use sexton_store::CacheKey;

/// A request that was refused, for people.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// The status of the response.
    pub(crate) status: StatusCode,
    /// One line that says why.
    pub(crate) message: String,
    /// A hint at what to do about it.
    pub(crate) hint: Option<String>,
}

pub(crate) type Seen<T> = Result<T, Refused>;

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let (status, message, hint) = error.for_people();
        Self { status, message, hint }
    }
}

impl From<OpError> for Refused {
    fn from(error: OpError) -> Self {
        ApiError::from(error).into()
    }
}

impl From<sexton_store::StoreError> for Refused {
    fn from(error: sexton_store::StoreError) -> Self {
        ApiError::from(error).into()
    }
}

/// The fields of a form, in their order.
pub(crate) type Fields = Vec<(String, String)>;

/// The API as one request sees it: about one tenant.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    /// The state that handlers work on.
    pub(crate) app: Arc<ApiState>,
    /// The tenant that the request is about.
    pub(crate) tenant: Name,
    permit: WaitPermit,
}

impl Views {
    /// Returns the views for the request with these parts.
    pub(crate) async fn of(parts: &mut Parts, app: &App) -> Self {
        let Tenant(tenant) = parts.extensions.get().cloned().unwrap_or_else(|| Tenant(Name::default_tenant()));
        let permit = WaitPermit::from_request_parts(parts, app).await.unwrap_or_else(|never| match never {});
        Self { app: Arc::clone(app), tenant, permit }
    }

    /// Returns the full name of a task of the tenant.
    pub(crate) fn key(&self, task: &Name) -> TaskKey {
        TaskKey { tenant: self.tenant.clone(), task: task.clone() }
    }

    /// `GET /v1/runs` with this query.
    pub(crate) async fn runs(&self, query: &str) -> Seen<Runs> {
        let labelled = Labelled::from_request_parts(&mut asked(query)?, &()).await?;
        Ok(runs::list(self.state(), self.of_tenant(), labelled).await?.list)
    }

    /// `GET /v1/runs/{run}`.
    pub(crate) async fn run(&self, run: RunId) -> Seen<RunDetail> {
        let Json(detail) = runs::show(self.state(), self.of_tenant(), RunPath(run), NO_QUERY).await?;
        Ok(detail)
    }

    /// `GET /v1/tasks` with this query.
    pub(crate) async fn tasks(&self, query: &str) -> Seen<Tasks> {
        let labelled = Labelled::from_request_parts(&mut asked(query)?, &()).await?;
        Ok(tasks::list(self.state(), self.of_tenant(), labelled).await?.list)
    }

    /// `GET /v1/tasks/{task}` with the sums over a week.
    pub(crate) async fn task(&self, task: &Name) -> Seen<TaskDetail> {
        let query = ApiQuery::from_request_parts(&mut asked("statistics=true")?, &()).await?;
        let Json(detail) = tasks::show(self.state(), TaskPath(self.key(task)), query).await?;
        Ok(detail)
    }

    /// `GET /v1/live` of the tenant.
    pub(crate) async fn live(&self) -> Live {
        let Json(live) = live::list(self.state(), NamedTenant(Some(self.tenant.clone())), NO_QUERY).await;
        live
    }

    /// `GET /v1/runs/{run}/stack`.
    pub(crate) async fn stack(&self, run: RunId) -> Seen<Stack> {
        let query = ApiQuery::from_request_parts(&mut asked("")?, &()).await?;
        let Json(stack) = live::stack(self.state(), self.of_tenant(), self.permit.clone(), RunPath(run), query).await?;
        Ok(stack)
    }

    /// `GET /v1/host`.
    pub(crate) async fn host(&self) -> Seen<Host> {
        let Json(host) = host::host(self.state(), NO_QUERY).await?;
        Ok(host)
    }

    /// `GET /v1/hosts`.
    pub(crate) async fn hosts(&self) -> Seen<Vec<HostShape>> {
        Ok(hosts::all(&self.app).await?)
    }

    /// `GET /v1/plugins`.
    pub(crate) fn plugins(&self) -> Vec<PluginShape> {
        host::plugins_of(&self.app, &self.tenant)
    }

    /// `GET /v1/locks/graph`.
    pub(crate) async fn lock_graph(&self) -> Seen<LockGraph> {
        let Json(graph) = lock_graph::graph(self.state(), self.of_tenant(), NO_QUERY).await?;
        Ok(graph)
    }

    /// `GET /v1/chains`.
    pub(crate) async fn chains(&self) -> Seen<Vec<ChainShape>> {
        Ok(chains::of_tenant(&self.app, &self.tenant).await?)
    }

    /// `GET /v1/schedules` with this query.
    pub(crate) async fn schedules(&self, query: &str) -> Seen<AddedSchedules> {
        let query = ApiQuery::from_request_parts(&mut asked(query)?, &()).await?;
        Ok(schedules::list(self.state(), self.of_tenant(), query).await?.list)
    }

    /// `GET /v1/cache` with this query.
    pub(crate) async fn cache(&self, query: &str) -> Seen<Entries> {
        let query = ApiQuery::from_request_parts(&mut asked(query)?, &()).await?;
        Ok(cache::list(self.state(), self.of_tenant(), query).await?.list)
    }

    /// `GET /v1/cache-history/{key}`.
    pub(crate) async fn cache_history(&self, key: &str) -> Seen<EntryHistoryShape> {
        let key = KeyPath(CacheKey { tenant: self.tenant.clone(), key: key.to_owned() });
        let Json(history) = cache::history(self.state(), key, NO_QUERY).await?;
        Ok(history)
    }

    /// `GET /v1/schedule/explain` with this query.
    pub(crate) async fn explain(&self, query: &str) -> Seen<Explained> {
        let query = ApiQuery::from_request_parts(&mut asked(query)?, &()).await?;
        let Json(explained) = schedule::explain(self.state(), self.of_tenant(), query).await?;
        Ok(explained)
    }

    /// `GET /v1/runs/{run}/output`.
    pub(crate) async fn output(&self, run: RunId) -> Seen<Response> {
        Ok(result::of_run(self.state(), self.of_tenant(), RunPath(run), NO_QUERY, HeaderMap::new()).await?)
    }

    /// Returns the error that a task does not exist, with the reason.
    pub(crate) async fn no_task(&self, task: &Name) -> Refused {
        no_task(&self.app, &self.key(task)).await.map_or_else(Refused::from, Refused::from)
    }

    fn state(&self) -> State<App> {
        State(Arc::clone(&self.app))
    }

    fn of_tenant(&self) -> Tenant {
        Tenant(self.tenant.clone())
    }
}

const NO_QUERY: ApiQuery<NoQuery> = ApiQuery(NoQuery {});

/// Returns the parts of a request with this query.
fn asked(query: &str) -> Seen<Parts> {
    let request = Request::get(format!("/?{query}")).body(());
    let unreadable = |_| ApiError::bad("bad-query", "the query cannot be read");
    Ok(request.map_err(unreadable)?.into_parts().0)
}

/// Reads the query of a page.
///
/// # Errors
///
/// It is none that a form sends.
pub(crate) async fn query_fields(parts: &mut Parts) -> Seen<Fields> {
    let ApiQuery(fields) = ApiQuery::from_request_parts(parts, &()).await?;
    Ok(fields)
}

/// Reads the body of a form, in bounded time and size.
///
/// # Errors
///
/// The body is too large, too slow, or not that of a form.
pub(crate) async fn form_fields(request: Request<Body>) -> Seen<Fields> {
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let Payload(body) = Payload::from_request(request, &()).await?;
    let mut form = Request::post("/").body(Body::from(body)).expect("a path is an address");
    content_type.map(|kind| form.headers_mut().insert(header::CONTENT_TYPE, kind));
    match Form::<Fields>::from_request(form, &()).await {
        Ok(Form(fields)) => Ok(fields),
        Err(error) => Err(ApiError::bad("bad-body", format!("the form cannot be read: {}", error.body_text())).into()),
    }
}

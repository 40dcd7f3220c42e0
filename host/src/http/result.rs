//! Serves outputs of runs under the content type that their guests name, and inputs. Neither is trusted.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use sexton_domain::run::{Output, RunId, RunState};
use sexton_domain::time::Timestamp;

use super::api_state::App;
use super::api_types::runs::RunShape;
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NoQuery, RunPath, TaskPath, Tenant};
use super::{guard, tasks};

/// The run that made the served output.
pub(super) const X_SEXTON_RUN: HeaderName = HeaderName::from_static("x-sexton-run");

/// `GET /v1/runs/{run}/output`.
pub(super) async fn of_run(
    State(app): State<App>,
    tenant: Tenant,
    RunPath(id): RunPath,
    _: ApiQuery<NoQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let run = tenant.run(&app, id).await?;
    of_certain_run(&app, &run, &headers).await
}

async fn of_certain_run(app: &App, run: &RunShape, headers: &HeaderMap) -> ApiResult<Response> {
    let id = run.id;
    let output = match app.store.output(id).await? {
        Some(output) if run.state == RunState::Succeeded => output,
        _ => {
            let message = match run.state {
                RunState::Waiting | RunState::Running => format!("run {id} is {}, so it has no output yet", run.state),
                RunState::Cancelled => format!("run {id} was cancelled, so it has no output"),
                RunState::Failed => format!("run {id} failed, so it has no output"),
                RunState::Succeeded => format!("the output of run {id} is no longer stored"),
            };
            let error = ApiError::not_found("no-output", message);
            return Err(if run.state.is_over() { error } else { error.hint("GET /v1/runs/{run}/wait waits for it") });
        }
    };
    Ok(serve(app, id, run.ended_at, output, headers))
}

/// `GET /v1/runs/{run}/input`: the bytes of its input.
pub(super) async fn input_of_run(
    State(app): State<App>,
    tenant: Tenant,
    RunPath(id): RunPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Response> {
    tenant.run(&app, id).await?;
    let mut response = Body::from(app.store.input(id).await?.unwrap_or_default()).into_response();
    let headers = response.headers_mut();
    guard::sandbox(headers);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_TYPE, content_type(None));
    Ok(response)
}

/// The query of a task's result.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResultQuery {
    of_run: Option<RunId>,
}

/// `GET /v1/tasks/{task}/result`: the output of the run of the task that was the last to succeed, or of a certain one.
pub(super) async fn of_task(
    State(app): State<App>,
    tenant: Tenant,
    TaskPath(key): TaskPath,
    ApiQuery(query): ApiQuery<ResultQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    if let Some(id) = query.of_run {
        let run = tenant.run(&app, id).await?;
        if run.task != key.task {
            let message = format!("run {id} is not one of `{}`, but of `{}`", key.task, run.task);
            return Err(ApiError::not_found("no-such-run", message));
        }
        return of_certain_run(&app, &run, &headers).await;
    }
    // The store is queried first, because results outlive plugins.
    let Some((id, ended_at)) = app.store.latest_success(key.clone()).await? else {
        tasks::known(&app, &key).await?;
        return Err(ApiError::not_found("no-result", format!("no run of `{}` has succeeded yet", key.task)));
    };
    let Some(output) = app.store.output(id).await? else {
        return Err(ApiError::not_found("no-result", format!("the result of `{}` was just deleted", key.task)));
    };
    Ok(serve(&app, id, Some(ended_at), output, &headers))
}

fn serve(app: &App, id: RunId, ended_at: Option<Timestamp>, output: Output, asked: &HeaderMap) -> Response {
    // The output of a run never changes, so its id is enough for a validator.
    let etag = format!("\"run-{id}\"");
    let unchanged = is_named(asked, &etag);
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(output.body).into_response() };
    let headers = response.headers_mut();
    guard::sandbox(headers);
    headers.insert(ETAG, text(&etag));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_SEXTON_RUN, text(&id.to_string()));
    if !unchanged {
        headers.insert(CONTENT_TYPE, content_type(output.content_type.as_deref()));
    }
    if let Some(ended_at) = ended_at {
        dated(headers, ended_at, app.clock.now());
    }
    response
}

/// Sets `Last-Modified` and `Age` of something made at `at`.
pub(super) fn dated(headers: &mut HeaderMap, at: Timestamp, now: Timestamp) {
    headers.insert(LAST_MODIFIED, text(&at.to_utc().format("%a, %d %b %Y %H:%M:%S GMT").to_string()));
    headers.insert(AGE, text(&now.since(at).as_secs().to_string()));
}

/// Returns whether `If-None-Match` names `etag` (or everything).
pub(super) fn is_named(asked: &HeaderMap, etag: &str) -> bool {
    let named =
        |list: &str| list.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag);
    asked.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(named)
}

/// Creates a header value from text that is ASCII by construction.
pub(super) fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("digits, dates and quotes are visible ASCII")
}

/// Returns the content type that the guest named, if it is a valid header value.
fn content_type(named: Option<&str>) -> HeaderValue {
    named
        .filter(|named| named.contains('/') && named.len() <= 200)
        .and_then(|named| HeaderValue::from_str(named).ok())
        .unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[cfg(test)]
mod tests {
    use super::content_type;

    #[test]
    fn a_content_type_that_would_split_the_header_is_served_as_bytes() {
        assert_eq!(content_type(Some("text/html; charset=utf-8")), "text/html; charset=utf-8");
        for bad in [Some("text/html\r\nSet-Cookie: a=b"), Some("nonsense"), Some(""), None] {
            assert_eq!(content_type(bad), "application/octet-stream");
        }
    }
}

//! Carries out a request with an `Idempotency-Key` once: a repeated one gets the answer of the first for a day.
//!
//! The runs and schedules that a request makes have keys of their own, derived from its key where that is needed. So a
//! request whose host died before its answer was kept makes nothing twice when it is repeated.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tracing::Instrument;

use sexton_store::requests::{BeginRequest, Begun, RepeatableRequest, RequestAnswer};
use sexton_system::supervisor::{Supervisor, caught};

use super::api_state::App;
use super::error::{ApiError, ApiResult};
use super::extract::{Payload, Tenant};
use super::tasks::idempotency_key;

/// The header of an answer that an earlier request has got before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The operations that make something, and take a key.
pub(super) const CREATING: [(Method, &str); 6] = [
    (Method::POST, "/v1/runs"),
    (Method::POST, "/v1/runs/{run}/rerun"),
    (Method::POST, "/v1/tasks/{task}/runs"),
    (Method::POST, "/v1/tasks/{task}/backfill"),
    (Method::POST, "/v1/schedules"),
    (Method::PUT, "/v1/schedules/{key}"),
];

/// The longest path of such an operation whose parts are names. The handler refuses others.
const LONGEST_PATH: usize = 300;

/// The most bytes of an answer that is kept: that of a thousand runs has some hundred thousand.
const MAX_ANSWER: usize = 2 << 20;

/// The seconds after which a client may repeat a request that is in progress.
const AGAIN: u64 = 1;

/// Passes requests on, and keeps the answers to those that make something and have a key.
pub(super) async fn once(State(app): State<App>, request: Request, next: Next) -> Response {
    match keyed(request).await {
        Ok(Keyed::No(request)) => next.run(request).await,
        Ok(Keyed::Yes { repeatable, digest, request }) => {
            carry_out(app, repeatable, digest, request, next).await.unwrap_or_else(IntoResponse::into_response)
        }
        Err(error) => error.into_response(),
    }
}

enum Keyed {
    No(Request),
    Yes { repeatable: RepeatableRequest, digest: Vec<u8>, request: Request },
}

/// Reads a request that may be repeated.
async fn keyed(request: Request) -> ApiResult<Keyed> {
    let (mut parts, body) = request.into_parts();
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let creates = CREATING.iter().any(|(method, path)| *method == parts.method && *path == route);
    let path = parts.uri.path();
    if !creates || path.len() > LONGEST_PATH {
        return Ok(Keyed::No(Request::from_parts(parts, body)));
    }
    let Some(key) = idempotency_key(&parts.headers)? else {
        return Ok(Keyed::No(Request::from_parts(parts, body)));
    };
    let operation = format!("{} {path}", parts.method);
    let Tenant(tenant) = Tenant::from_request_parts(&mut parts, &()).await?;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let Payload(body) = Payload::from_request(Request::from_parts(parts.clone(), body), &()).await?;
    let digest = Sha256::new().chain_update(query).chain_update(b"\0").chain_update(&body).finalize().to_vec();
    let repeatable = RepeatableRequest { tenant, operation, key };
    Ok(Keyed::Yes { repeatable, digest, request: Request::from_parts(parts, Body::from(body)) })
}

async fn carry_out(
    app: App,
    repeatable: RepeatableRequest,
    digest: Vec<u8>,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    let attempt = rand::random();
    let begin = BeginRequest { request: repeatable.clone(), digest, attempt, now: app.clock.now() };
    match app.store.begin_request(begin).await? {
        Begun::Answered(answer) => return Ok(replay(answer)),
        Begun::Differs => {
            let message = "another request to this path has had this Idempotency-Key in the last day";
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", message)
                .hint("repeat a request as it was, with its whole query and body; give another request another key"));
        }
        Begun::InProgress => {
            let message = "the same request is in progress";
            return Err(ApiError::new(StatusCode::CONFLICT, "request-in-progress", message)
                .hint(format!("repeat it in {AGAIN} s, and it gets the answer of the first"))
                .retry_after(AGAIN));
        }
        Begun::New => {}
    }
    // A client that goes away must not leave the request half done.
    let carrying_out = async move {
        let response = next.run(request).await;
        let (response, answer) = kept(response).await;
        if let Err(e) = app.store.end_request(repeatable, attempt, answer).await {
            // The client has its answer; a repeated request finds what this one has made.
            tracing::warn!(error = %e, "Could not keep the answer to a request with an idempotency key");
        }
        response
    };
    let carrying_out = caught(carrying_out.in_current_span());
    let carried_out = tokio::spawn(async move {
        carrying_out.await.map_err(|panic| Supervisor::of_process().note("a request with an idempotency key", &panic))
    });
    match carried_out.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(())) | Err(_) => {
            let message = "the host failed while it carried the request out";
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message))
        }
    }
}

/// Returns a response with its answer, if that must be kept. A request that was refused may be repeated differently.
async fn kept(response: Response) -> (Response, Option<RequestAnswer>) {
    if !response.status().is_success() {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_ANSWER).await else {
        // Such answers are made as a whole and are small, so this is a fault of the program.
        let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the answer is too large");
        return (error.into_response(), None);
    };
    let location = parts.headers.get(LOCATION).and_then(|place| place.to_str().ok()).map(str::to_owned);
    let answer = RequestAnswer { status: parts.status.as_u16(), location, body: body.to_vec() };
    (Response::from_parts(parts, Body::from(body)), Some(answer))
}

/// Returns the response that the first request got.
fn replay(answer: RequestAnswer) -> Response {
    let RequestAnswer { status, location, body } = answer;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let mut response = (status, Bytes::from(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    if let Some(place) = location.and_then(|place| HeaderValue::try_from(place).ok()) {
        headers.insert(LOCATION, place);
    }
    response
}

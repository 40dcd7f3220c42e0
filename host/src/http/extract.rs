//! Reads requests. Every part is checked here, so that handlers get domain values only.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use sexton_domain::labels::Labels;
use sexton_domain::run::RunId;
use sexton_domain::task::{Name, TaskKey};
use sexton_store::CacheKey;

use super::api_state::{App, MAX_BODY};
use super::api_types::runs::RunShape;
use super::error::{ApiError, ApiResult};

/// The time in which a body must arrive. A slow client holds only its own connection, and not for ever.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

const TENANT: &str = "tenant=";
const LABEL: &str = "label=";

/// The longest key of a cache entry, in bytes; the same as in the WIT interface `cache`.
const MAX_KEY: usize = 256;

/// The tenant that the request is about: the one that `?tenant=NAME` names, or the default one.
#[derive(Clone, Debug)]
pub(super) struct Tenant(pub(super) Name);

impl<S: Send + Sync> FromRequestParts<S> for Tenant {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self(Name::default_tenant())))
    }
}

/// The tenant that `?tenant=NAME` names; `None` if the operator asks about the whole host.
#[derive(Clone, Debug)]
pub(super) struct NamedTenant(pub(super) Option<Name>);

impl<S: Send + Sync> FromRequestParts<S> for NamedTenant {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        Ok(Self(parts.extensions.get::<Tenant>().map(|Tenant(tenant)| tenant.clone())))
    }
}

/// Removes `tenant` from the query of any request, so that handlers know of it only through [`Tenant`].
pub(super) async fn tenant(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match named_tenant(&app, request.uri()) {
        Ok(None) => {}
        Ok(Some((tenant, uri))) => {
            request.extensions_mut().insert(tenant);
            *request.uri_mut() = uri;
        }
        Err(error) => return error.into_response(),
    }
    next.run(request).await
}

/// Returns the named tenant, and the address without it.
fn named_tenant(app: &App, uri: &Uri) -> ApiResult<Option<(Tenant, Uri)>> {
    let parts: Vec<&str> = uri.query().unwrap_or_default().split('&').collect();
    let (named, rest): (Vec<&str>, Vec<&str>) = parts.into_iter().partition(|part| part.starts_with(TENANT));
    let name = match named.as_slice() {
        [] => return Ok(None),
        [one] => Name::new(&one[TENANT.len()..]).map_err(|e| ApiError::bad("bad-name", format!("`tenant`: {e}")))?,
        _ => return Err(ApiError::bad("bad-query", "`tenant` is there twice")),
    };
    if app.tenants.get(&name).is_none() {
        return Err(ApiError::no_tenant(&name, &app.tenants));
    }
    Ok(Some((Tenant(name), with_query(uri, &rest)?)))
}

/// Returns the query that makes a path of the API about `tenant`: empty for the default one.
pub(super) fn query_of(tenant: &Name) -> String {
    if *tenant == Name::default_tenant() { String::new() } else { format!("?{TENANT}{tenant}") }
}

impl Tenant {
    /// Returns the run `id`, if it belongs to this tenant. Another tenant's run does not exist.
    pub(super) async fn run(&self, app: &App, id: RunId) -> ApiResult<RunShape> {
        match app.store.run(id).await? {
            Some(run) if run.task.tenant == self.0 => Ok(run.into()),
            _ => Err(ApiError::no_run(id)),
        }
    }
}

pub(super) async fn path_text<S: Send + Sync>(parts: &mut Parts, state: &S) -> ApiResult<String> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(e) => Err(ApiError::bad("bad-path", format!("the path cannot be read: {}", e.body_text()))),
    }
}

/// `{task}` of the path.
#[derive(Clone, Debug)]
pub(super) struct TaskPath(pub(super) TaskKey);

impl<S: Send + Sync> FromRequestParts<S> for TaskPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Tenant(tenant) = Tenant::from_request_parts(parts, state).await?;
        let text = path_text(parts, state).await?;
        let task = Name::new(&text).map_err(|e| ApiError::bad("bad-name", e.to_string()))?;
        Ok(Self(TaskKey { tenant, task }))
    }
}

/// `{run}` of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunPath(pub(super) RunId);

impl<S: Send + Sync> FromRequestParts<S> for RunPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text = path_text(parts, state).await?;
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse() {
            Ok(run) if digits => Ok(Self(run)),
            _ => Err(ApiError::bad("bad-run-id", format!("`{text}` is not the id of a run: those are whole numbers"))),
        }
    }
}

/// `{*key}` of the path.
#[derive(Clone, Debug)]
pub(super) struct KeyPath(pub(super) CacheKey);

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Tenant(tenant) = Tenant::from_request_parts(parts, state).await?;
        let key = path_text(parts, state).await?;
        if key.is_empty() || key.len() > MAX_KEY {
            let message = format!("a key has 1 to {MAX_KEY} bytes, this one has {}", key.len());
            return Err(ApiError::bad("bad-key", message));
        }
        Ok(Self(CacheKey { tenant, key }))
    }
}

/// The query. Unknown parameters are refused (by `deny_unknown_fields` of `T`, which lists the known ones).
#[derive(Clone, Debug)]
pub(super) struct ApiQuery<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(e) => {
                // The words before the last colon are about the parser, not about the query.
                let text = e.body_text();
                let why = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
                Err(ApiError::bad("bad-query", format!("the query cannot be read: {why}")))
            }
        }
    }
}

/// The query, and the labels that its parameters `label` have: `KEY=VALUE`, as often as there are labels.
#[derive(Clone, Debug)]
pub(super) struct Labelled<T>(pub(super) Labels, pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Labelled<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let query: Vec<&str> = parts.uri.query().unwrap_or_default().split('&').collect();
        let (labels, rest): (Vec<&str>, Vec<&str>) = query.into_iter().partition(|part| part.starts_with(LABEL));
        if labels.is_empty() {
            return Ok(Self(Labels::default(), ApiQuery::from_request_parts(parts, state).await?.0));
        }
        let (labels, rest) = (with_query(&parts.uri, &labels)?, with_query(&parts.uri, &rest)?);
        parts.uri = labels;
        let ApiQuery(pairs): ApiQuery<Vec<(String, String)>> = ApiQuery::from_request_parts(parts, state).await?;
        let texts = pairs.into_iter().map(|(_, text)| text);
        let labels = Labels::read(texts).map_err(|e| ApiError::bad("bad-label", format!("`label`: {e}")))?;
        parts.uri = rest;
        Ok(Self(labels, ApiQuery::from_request_parts(parts, state).await?.0))
    }
}

/// Returns an address with these parts as its query.
fn with_query(uri: &Uri, query: &[&str]) -> ApiResult<Uri> {
    let path = match query.join("&") {
        none if none.is_empty() => uri.path().to_owned(),
        query => format!("{}?{query}", uri.path()),
    };
    let unreadable = || ApiError::bad("bad-query", "the query cannot be read");
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().map_err(|_| unreadable())?);
    Uri::from_parts(parts).map_err(|_| unreadable())
}

/// A query without parameters.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoQuery {}

/// The body, up to [`MAX_BODY`].
#[derive(Clone, Debug)]
pub(super) struct Payload(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = ApiError;
    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let too_large = || {
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body-too-large",
                format!("a body has at most {MAX_BODY} bytes"),
            )
        };
        let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        if declared.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > MAX_BODY as u64) {
            return Err(too_large());
        }
        match tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY)).await {
            Ok(Ok(body)) => Ok(Self(body)),
            Ok(Err(e)) if is_length_limit(&e) => Err(too_large()),
            Ok(Err(e)) => Err(ApiError::bad("bad-body", format!("the body cannot be read: {e}"))),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "slow-body",
                format!("the body did not arrive within {} s", BODY_TIMEOUT.as_secs()),
            )),
        }
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

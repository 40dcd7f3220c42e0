//! Serves the cache to operators: the same entries and versions that tasks see, without their grants.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::ops::{OpError, Principal, WriteEntry};
use sexton_domain::schedule::request;
use sexton_store::{CacheKey, MOST_KEPT, WriteIf};

use super::api_state::App;
use super::api_types::cache::{Entries, EntryDeleted, EntryHistoryShape, EntryShape, EntryWritten};
use super::cursor::{Cursor, PageQuery};
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, KeyPath, NoQuery, Payload, Tenant};
use super::guard;
use super::paging::Page;
use super::result::{dated, is_named, text};

/// The entries of a page.
const PAGE: usize = 1000;

/// The longest lifetime of an entry that has one.
const MAX_TTL: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

const X_EXPIRES_AT: HeaderName = HeaderName::from_static("x-sexton-expires-at");

/// The query of a list of entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    prefix: Option<String>,
    after: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// `GET /v1/cache`.
pub(super) async fn list(
    State(app): State<App>,
    Tenant(tenant): Tenant,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> ApiResult<Page<Entries>> {
    if query.cursor.is_some() && query.after.is_some() {
        return Err(ApiError::bad("bad-query", "`cursor` and `after` exclude each other; keep one of them"));
    }
    let (after, limit) = PageQuery { limit: query.limit, cursor: query.cursor }.read()?;
    let (after, limit) = (after.or(query.after), limit.unwrap_or(PAGE));
    let prefix = CacheKey { tenant, key: query.prefix.unwrap_or_default() };
    let entries = app.store.cache_list(prefix, after, limit, app.clock.now()).await?;
    let next = if entries.len() == limit { entries.last().map(|entry| entry.key.clone()) } else { None };
    let cursor = next.clone().map(|key| Cursor::After(key).write());
    let entries = entries.into_iter().map(EntryShape::from).collect();
    Ok(Page { list: Entries { entries, next, cursor: cursor.clone() }, cursor })
}

/// The query of a reading.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReadQuery {
    version: Option<u64>,
}

/// `GET /v1/cache/{key}`: the bytes.
pub(super) async fn read(
    State(app): State<App>,
    KeyPath(key): KeyPath,
    ApiQuery(query): ApiQuery<ReadQuery>,
    asked: HeaderMap,
) -> ApiResult<Response> {
    let now = app.clock.now();
    let entry = match query.version {
        None => app.store.cache_get(key.clone(), now).await?.ok_or(OpError::NoEntry(key.key))?,
        Some(version) => {
            let found = app.store.cache_version(key.clone(), version, now).await?;
            found.ok_or(OpError::NoVersion(key.key, version))?
        }
    };
    let etag = format!("\"{}\"", entry.version);
    let unchanged = is_named(&asked, &etag);
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { Body::from(entry.value).into_response() };
    let headers = response.headers_mut();
    guard::sandbox(headers);
    if !unchanged {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    }
    headers.insert(ETAG, text(&etag));
    dated(headers, entry.set_at, now);
    if let Some(expires_at) = entry.expires_at {
        headers.insert(X_EXPIRES_AT, text(&expires_at.to_string()));
    }
    Ok(response)
}

/// The query of a write.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WriteQuery {
    ttl: Option<String>,
    /// The number of earlier versions to keep from now on.
    keep: Option<u32>,
}

/// `PUT /v1/cache/{key}`.
pub(super) async fn write(
    State(app): State<App>,
    KeyPath(key): KeyPath,
    ApiQuery(query): ApiQuery<WriteQuery>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> ApiResult<Json<EntryWritten>> {
    let lives_for = query.ttl.as_deref().map(|ttl| request::duration("ttl", ttl, MAX_TTL)).transpose()?;
    if lives_for.is_some_and(|ttl| ttl.is_zero()) {
        return Err(ApiError::bad("bad-duration", "`ttl` must be longer than zero"));
    }
    if query.keep.is_some_and(|keep| keep > MOST_KEPT) {
        return Err(ApiError::bad("bad-query", format!("`keep` is a number from 0 to {MOST_KEPT}")));
    }
    let (value, only, keep) = (body.to_vec(), condition(&headers)?, query.keep);
    let entry = WriteEntry { key: key.clone(), value, lives_for, only, keep };
    let version = app.ops.write_entry(&Principal::Operator, entry).await?;
    Ok(Json(EntryWritten { key: key.key, version }))
}

/// Reads `If-Match: "VERSION"` or `If-None-Match: *`.
fn condition(headers: &HeaderMap) -> ApiResult<WriteIf> {
    let bad = |message: &str| ApiError::bad("bad-condition", message);
    match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (None, None) => Ok(WriteIf::Always),
        (None, Some(any)) if any == "*" => Ok(WriteIf::Absent),
        (Some(version), None) => version
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok())
            .map(WriteIf::Version)
            .ok_or_else(|| bad("If-Match is a version in double quotes, as in the answer's ETag")),
        (None, Some(_)) => Err(bad("If-None-Match can only be `*` here: write if there is no entry")),
        (Some(_), Some(_)) => Err(bad("If-Match and If-None-Match exclude each other")),
    }
}

/// `GET /v1/cache-history/{key}`.
pub(super) async fn history(
    State(app): State<App>,
    KeyPath(key): KeyPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<EntryHistoryShape>> {
    let found = app.store.cache_history(key.clone(), app.clock.now()).await?;
    let history = found.ok_or_else(|| OpError::NoEntry(key.key.clone()))?;
    Ok(Json(EntryHistoryShape::of(key.key, history)))
}

/// The query of a restoration.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RestoreQuery {
    version: u64,
}

/// `POST /v1/cache-restore/{key}`.
pub(super) async fn restore(
    State(app): State<App>,
    KeyPath(key): KeyPath,
    ApiQuery(query): ApiQuery<RestoreQuery>,
) -> ApiResult<Json<EntryWritten>> {
    let version = app.ops.restore_entry(&Principal::Operator, key.clone(), query.version).await?;
    Ok(Json(EntryWritten { key: key.key, version }))
}

/// `DELETE /v1/cache/{key}`.
pub(super) async fn remove(
    State(app): State<App>,
    KeyPath(key): KeyPath,
    _: ApiQuery<NoQuery>,
) -> ApiResult<Json<EntryDeleted>> {
    app.ops.delete_entry(&Principal::Operator, key.clone()).await?;
    Ok(Json(EntryDeleted { key: key.key, deleted: true }))
}

//! Streams events, as server-sent events or as JSON lines.
//!
//! One poller reads the store for all readers of this host (`events/feed.rs`). A reader that names an id reads from the
//! store until it has caught up (`events/reader.rs`). So any host of a store goes on where another one ended.

mod feed;
mod format;
mod reader;
#[cfg(test)]
mod tests;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use sexton_domain::task::Name;
use sexton_store::events::{EventFilter, EventKind};

use super::api_state::App;
use super::error::{ApiError, ApiResult};
use super::extract::{ApiQuery, NamedTenant};
use super::waiting::WaitPermit;

pub use feed::EventFeed;
use format::Format;
use reader::Reader;

/// The query of a stream.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only events about this task.
    task: Option<Name>,
    /// Words of kinds, or beginnings of such words, with commas between them.
    kind: Option<String>,
    /// The id of an event, behind which the stream begins; without it the stream begins now.
    after: Option<u64>,
    /// The format, if the header `Accept` does not say it.
    #[param(inline)]
    format: Option<Format>,
}

/// `GET /v1/events`.
pub(super) async fn follow(
    State(app): State<App>,
    NamedTenant(tenant): NamedTenant,
    may_wait: WaitPermit,
    headers: HeaderMap,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> ApiResult<Response> {
    let format = query.format.unwrap_or_else(|| Format::accepted(&headers));
    let filter = EventFilter { tenant, task: query.task, kinds: kinds(query.kind.as_deref())? };
    let after = last_event_id(&headers)?.or(query.after);
    if !app.store.records_events() {
        return Err(ApiError::new(StatusCode::CONFLICT, "no-events", "this host records no events")
            .hint("`[events] keep` in its configuration is 0; set how many events are kept"));
    }
    let waiting = may_wait.begin(&app)?;
    let seat = app.events.join()?;
    let after = match after {
        Some(after) => after,
        None => app.store.newest_event().await?,
    };
    let reader = Reader::new(app.store.clone(), filter, format, after, seat, waiting);
    let pieces = stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), reader))
    });
    let headers = [(CONTENT_TYPE, format.content_type()), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Returns the id that a client names when it connects again by itself.
fn last_event_id(headers: &HeaderMap) -> ApiResult<Option<u64>> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let id = id.to_str().unwrap_or_default();
    let bad = || ApiError::bad("bad-query", format!("`Last-Event-ID`: `{id}` is not the id of an event"));
    id.parse().map(Some).map_err(|_| bad())
}

/// Returns the kinds that the query names.
fn kinds(text: Option<&str>) -> ApiResult<Vec<EventKind>> {
    let mut kinds = Vec::new();
    for word in text.unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        let named = EventKind::named(word);
        if named.is_empty() {
            let known = EventKind::ALL.map(EventKind::as_str).join(", ");
            return Err(ApiError::bad(
                "bad-query",
                format!("`kind`: `{word}` is no kind of event; the kinds are {known}"),
            )
            .hint("a word before the dot, such as `run`, names all kinds that begin with it"));
        }
        kinds.extend(named);
    }
    Ok(kinds)
}

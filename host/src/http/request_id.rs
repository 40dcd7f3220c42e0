//! Names each request, so that its response, the host's log and the client's own log can be brought together.

use std::fmt;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::error::with_problem;

/// The header by which a client may name its request, and which every response has.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client: some programs join two ids of 32 digits.
const LONGEST: usize = 80;

/// The id of a request. It has only letters, digits, `-`, `_`, `.` and `~`, which need no escapes in logs and URIs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(String);

impl RequestId {
    /// Returns the id that the client gave its request if it is harmless, else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        let given = headers.get(HEADER).and_then(|id| id.to_str().ok());
        match given.filter(|id| (1..=LONGEST).contains(&id.len()) && id.bytes().all(is_plain)) {
            Some(id) => Self(id.to_owned()),
            None => Self(format!("{:016x}", rand::random::<u64>())),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id that [`name`] gave the request.
impl<S: Send + Sync> FromRequestParts<S> for RequestId {
    type Rejection = std::convert::Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(|| Self::of(&parts.headers)))
    }
}

/// Gives a request its id: in its response, in the span of its log lines, and as the instance of its problem.
pub(super) async fn name(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!("request", request.id = %id);
    let mut response = with_problem(next.run(request).instrument(span).await, &id);
    let value = HeaderValue::try_from(id.0).expect("such characters are allowed in a header");
    response.headers_mut().insert(HEADER, value);
    response
}

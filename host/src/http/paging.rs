//! Names the next page of a list in the header `Link` (RFC 8288), so that clients need not know the parameters of a list.

use axum::Json;
use axum::extract::Request;
use axum::http::header::LINK;
use axum::http::{HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// The parameters that say where a page begins.
const PLACES: [&str; 3] = ["cursor", "before", "after"];

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) list: T,
    /// The cursor of the next page, if there is one.
    pub(super) cursor: Option<String>,
}

/// The cursor of the next page, for [`link`].
#[derive(Clone, Debug)]
struct NextPage(String);

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.list).into_response();
        if let Some(cursor) = self.cursor {
            response.extensions_mut().insert(NextPage(cursor));
        }
        response
    }
}

/// Sets the header of a response that is a page and not the last. The request still has its whole query here.
pub(super) async fn link(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    let link = response.extensions_mut().remove::<NextPage>().and_then(|NextPage(cursor)| next_of(&uri, &cursor));
    if let Some(link) = link {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// Returns the header for the list at `uri`, whose next page has this cursor.
fn next_of(uri: &Uri, cursor: &str) -> Option<HeaderValue> {
    let is_kept = |part: &&str| !part.is_empty() && !PLACES.contains(&part.split('=').next().unwrap_or_default());
    let kept: String =
        uri.query().unwrap_or_default().split('&').filter(is_kept).map(|part| format!("{part}&")).collect();
    // Anything else than a URI would end the header's value early.
    let is_plain = !kept.contains(['<', '>', '"']);
    is_plain
        .then(|| HeaderValue::try_from(format!("<{}?{kept}cursor={cursor}>; rel=\"next\"", uri.path())).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_has_the_same_parameters_and_another_cursor() {
        for (uri, link) in [
            ("/v1/runs", Some("</v1/runs?cursor=r7>; rel=\"next\"")),
            ("/v1/runs?limit=2&cursor=r9&label=a%3Db", Some("</v1/runs?limit=2&label=a%3Db&cursor=r7>; rel=\"next\"")),
            (
                "/v1/cache?tenant=acme&after=k&prefix=x",
                Some("</v1/cache?tenant=acme&prefix=x&cursor=r7>; rel=\"next\""),
            ),
            ("/v1/runs?before=9", Some("</v1/runs?cursor=r7>; rel=\"next\"")),
        ] {
            let found = next_of(&uri.parse().expect("a URI"), "r7");
            assert_eq!(found.as_ref().and_then(|link| link.to_str().ok()), link, "{uri}");
        }
    }
}

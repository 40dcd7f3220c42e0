//! Checks every request, and marks every response.
//!
//! Loopback keeps other machines out, but not the web pages in a browser on this one. Two of their ways are closed
//! here: a name of the attacker's that suddenly resolves to 127.0.0.1 (DNS rebinding, which the `Host` header gives
//! away), and a form, script, frame or picture of another site that sends a request (which `Origin` and
//! `Sec-Fetch-Site` give away).

use std::net::{IpAddr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, ApiResult};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Refuses requests that a foreign page may have sent, and marks every response as not for foreign pages.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let mut response = match check(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    let headers = response.headers_mut();
    // A browser must neither guess a type that runs nor pass the response to another site's page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    // Pages with forms say otherwise, because without it browsers leave the `Origin` out that `check` wants to see.
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    response
}

fn check(request: &Request) -> ApiResult<()> {
    let host = authority(request)?;
    if !is_loopback(host.host()) {
        return Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign-host",
            format!("`{}` is not a name of this host", host.host()),
        )
        .hint("request it as localhost, 127.0.0.1 or [::1]"));
    }
    let headers = request.headers();
    // A link that a person follows is accepted from anywhere, because it changes nothing and only that person sees the
    // response. Frames, scripts and pictures of other sites are refused: each could hold a connection, and learn from
    // how long that takes.
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    if request.method().is_safe() && header(FETCH_MODE) == Some(b"navigate") && header(FETCH_DEST) == Some(b"document")
    {
        return Ok(());
    }
    let foreign = |what: &str| {
        ApiError::new(StatusCode::FORBIDDEN, "foreign-origin", format!("a page of another site sent this ({what})"))
            .hint("the host accepts requests from programs, from its own page, and from links that a person follows")
    };
    if let Some(origin) = headers.get(ORIGIN)
        && origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")) != Some(host.as_str())
    {
        return Err(foreign("its Origin differs"));
    }
    match header(FETCH_SITE) {
        // "same-site" of browsers includes every other port of localhost.
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(foreign("its Sec-Fetch-Site says so")),
    }
}

/// Returns the one name by which the request addresses the host.
fn authority(request: &Request) -> ApiResult<Authority> {
    let bad = |why: &str| ApiError::bad("bad-host", format!("the Host header {why}"));
    let mut hosts = request.headers().get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (Some(one), None) => one.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        (None, _) => return Err(bad("is missing")),
        (Some(_), Some(_)) => return Err(bad("is there twice")),
    };
    let named = named.filter(|host| !host.as_str().contains('@')).ok_or_else(|| bad("is not `name` or `name:port`"))?;
    match request.uri().authority() {
        // For `GET http://other/ HTTP/1.1` the target line would win, so both must agree.
        Some(target) if *target != named => Err(bad("is not the request's target")),
        _ => Ok(named),
    }
}

fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()),
        None => host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    }
}

/// Sets the headers of responses whose bytes a guest made. They are shown, but in a sandbox where no script runs.
pub(super) fn sandbox(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for ours in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(ours), "{ours}");
        }
        for foreign in ["localhost.evil.example", "evil.example", "127.0.0.1.nip.io", "10.0.0.1", "0.0.0.0", "[::]", ""]
        {
            assert!(!is_loopback(foreign), "{foreign}");
        }
    }
}

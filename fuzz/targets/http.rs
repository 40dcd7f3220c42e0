//! Tests any request to the API over a real store: the response is whole, an error is one line, and the work is
//! bounded.
//!
//! An input reads like a request: `METHOD PATH`, lines of headers, an empty line, a body. Requests follow one another
//! on one store, as they do on a host, and the store is made anew after some thousand.

#![no_main]

#[path = "../oracles/host.rs"]
mod host;

use std::cell::RefCell;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::response::Parts;
use axum::http::{Method, Request, StatusCode};
use host::Api;
use libfuzzer_sys::fuzz_target;
use tower::ServiceExt;

/// The requests to one store.
const REQUESTS: usize = 5000;

/// The time to wait for a response that comes when a run or a log ends or a profile is complete: no run goes on here.
const WAITING: Duration = Duration::from_millis(20);

/// The time to wait for all other responses, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most processor time of one request, in an instrumented build without optimization.
const WORK: Duration = Duration::from_secs(3);

thread_local! {
    static API: RefCell<Option<(Api, usize)>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    let Some(request) = request(bytes) else { return };
    API.with_borrow_mut(|api| {
        if api.as_ref().is_none_or(|(_, left)| *left == 0) {
            *api = Some((Api::new(), REQUESTS));
        }
        let (api, left) = api.as_mut().expect("it was just made");
        *left -= 1;
        let said = format!("{} {}", request.method(), request.uri());
        let waits = ["/wait", "follow", "/profile", "/stack"].iter().any(|word| said.contains(word));
        let patience = if waits { WAITING } else { PATIENCE };
        let before = processor_time();
        let answer = answered(api.router.clone(), request, &said);
        let answer = api.runtime.block_on(async { tokio::time::timeout(patience, answer).await });
        assert!(answer.is_ok() || waits, "{said}: no answer");
        let used = processor_time().saturating_sub(before);
        assert!(used < WORK, "{said}: {used:?} of processor time");
    });
});

async fn answered(router: Router, request: Request<Body>, said: &str) {
    let is_head = request.method() == Method::HEAD;
    let (head, body) = router.oneshot(request).await.expect("the router has no errors").into_parts();
    let body = to_bytes(body, 64 << 20).await.expect("the body is whole");
    let full = [StatusCode::INSUFFICIENT_STORAGE, StatusCode::SERVICE_UNAVAILABLE].contains(&head.status);
    let is_error = head.status.as_u16() >= 400;
    assert!(head.status.as_u16() < 500 || full, "{said}: {} {}", head.status, String::from_utf8_lossy(&body));
    // The response to HEAD is that to GET without its body.
    if is_head {
        assert!(body.is_empty(), "{said}");
    } else if is_error {
        check_error(said, &head, &body);
    } else if is_json(&head) {
        let read: Result<serde_json::Value, _> = serde_json::from_slice(&body);
        assert!(read.is_ok(), "{said}: {read:?}: {}", String::from_utf8_lossy(&body));
    }
}

fn check_error(said: &str, head: &Parts, body: &[u8]) {
    let text = std::str::from_utf8(body).expect("an error is text");
    let is_problem = head.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json");
    // `/v1/health` tells in its own shape that the host is down.
    assert!(is_problem || is_json(head), "{said}: {} {text:?}", head.status);
    let error: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{said}: {e}: {text:?}"));
    let words = |key: &str| error["error"][key].as_str().unwrap_or_else(|| panic!("{said}: no {key}: {text}"));
    let code = words("code");
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    assert!(is_code, "{said}: {text}");
    let hint = error["error"]["hint"].as_str().unwrap_or_default();
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    for line in [words("message"), hint] {
        assert!(line.chars().count() <= 1000 && !line.contains(breaks), "{said}: {text:?}");
    }
    assert!(!words("message").trim().is_empty(), "{said}: {text}");
}

fn is_json(head: &Parts) -> bool {
    head.headers.get("content-type").is_some_and(|kind| kind == "application/json")
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("time that was used is not less than none")
}

fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let body = bytes.get(end + 2..).unwrap_or_default();
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path);
    let headers: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
    // The request names this host, unless a header names another.
    if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "localhost");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

//! Tests arbitrary requests: each gets a response in one of the defined shapes, and no response reports a fault of the
//! host.
//!
//! `PROPTEST_CASES=100000` runs it for longer. `fuzz/` does the same with coverage.

use sexton_store::history::History as _;
use sexton_store::runs::Runs as _;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use proptest::prelude::*;
use tower::ServiceExt as _;

use super::{NOW, Rig};
use sexton_domain::run::RunState;
use sexton_store::RunFilter;

/// The number of queries that the store answers before it ends the runs that a request may be waiting for. A request
/// that does not wait makes fewer, so it meets the runs as they are.
const QUESTIONS: usize = 20;

/// The time to wait for a response, only so that a request without one fails the test instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(180);

/// All routes, with placeholders for the caller's parts.
const ROUTES: &[&str] = &[
    "/",
    "/assets/{}",
    "/tasks",
    "/tasks/{}",
    "/tasks/{}/start",
    "/tasks/{}/pause",
    "/tasks/{}/resume",
    "/runs",
    "/runs/{}",
    "/runs/{}/framed",
    "/runs/{}/kill",
    "/runs/{}/rerun",
    "/runs/{}/release",
    "/timeline",
    "/calendar",
    "/schedules",
    "/schedules/{}/delete",
    "/locks",
    "/cache",
    "/plugins",
    "/hosts",
    "/hosts/{}/drain",
    "/hosts/{}/undrain",
    "/explain",
    "/theme",
    "/v1/health",
    "/v1/host",
    "/v1/hosts",
    "/v1/hosts/{}/drain",
    "/v1/hosts/{}/undrain",
    "/v1/plugins",
    "/v1/locks",
    "/v1/live",
    "/v1/locks/graph",
    "/v1/tenants",
    "/v1/chains",
    "/v1/schedule/explain",
    "/v1/tenants/{}/pause",
    "/v1/tenants/{}/resume",
    "/v1/pause",
    "/v1/resume",
    "/v1/tasks",
    "/v1/tasks/{}",
    "/v1/tasks/{}/runs",
    "/v1/tasks/{}/pause",
    "/v1/tasks/{}/resume",
    "/v1/tasks/{}/result",
    "/v1/tasks/{}/backfill",
    "/v1/runs",
    "/v1/runs/{}",
    "/v1/runs/{}/wait",
    "/v1/runs/{}/log",
    "/v1/runs/{}/stack",
    "/v1/runs/{}/profile",
    "/v1/runs/{}/output",
    "/v1/runs/{}/kill",
    "/v1/runs/{}/rerun",
    "/v1/schedules",
    "/v1/schedules/{}",
    "/v1/schedules/{}/reset",
    "/v1/cache",
    "/v1/cache/{}",
    "/v1/cache-history/{}",
    "/v1/cache-restore/{}",
];

const PARAMETERS: &[&str] = &[
    "tenant",
    "task",
    "state",
    "limit",
    "before",
    "after",
    "at",
    "past_limits",
    "why",
    "reason",
    "now",
    "timeout",
    "follow",
    "version",
    "keep",
    "samples",
    "apart_ms",
    "for_ms",
    "prefix",
    "ttl",
    "cron",
    "every",
    "zone",
    "count",
    "text",
    "schedule",
    "since",
    "of_run",
    "from",
    "to",
    "at_once",
    "dry_run",
    "cursor",
    "times",
    "done",
    "find",
    "look",
    "hours",
    "key",
];

const HEADERS: &[&str] = &[
    "host",
    "origin",
    "content-type",
    "content-length",
    "idempotency-key",
    "x-request-id",
    "if-match",
    "if-none-match",
    "accept",
    "sec-fetch-site",
    "x-forwarded-for",
    "transfer-encoding",
    "cookie",
];

const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "2",
    "7",
    "-1",
    "18446744073709551616",
    "hello",
    "tick",
    "acme",
    "default",
    "box",
    "nobody",
    "k",
    "true",
    "1s",
    "10ms",
    "99y",
    "waiting",
    "succeeded",
    "*/5 * * * *",
    "tomorrow 9:00",
    "Europe/Berlin",
    "localhost",
    "application/json",
    "text/html",
    "..",
    "%",
    "\"1\"",
    "*",
];

const BODIES: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    r#"{"key": "k", "task": "hello", "every": "1h"}"#,
    r#"{"task": "hello", "cron": "0 9 * * 1-5", "zone": "Europe/Berlin", "times": 3, "replace": true}"#,
    r#"{"task": "hello", "at": "2030-01-01T00:00:00Z", "data": {"do": "echo"}}"#,
    r#"{"runs": [{"task": "hello", "input": [1], "in": "1s"}, {"task": "nobody"}, {"key": "k"}, 7]}"#,
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![3 => prop::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,12}", 1 => "[a-z0-9:. -]{0,30}"]
}

/// Makes a part of a path or a query: percent-encoded mostly, because anything else would not reach the API.
fn encoded() -> impl Strategy<Value = String> {
    (word(), any::<bool>()).prop_map(|(word, raw)| match raw {
        true => word.chars().filter(|c| c.is_ascii_graphic() && !"?#".contains(*c)).collect(),
        false => percent_encoding::utf8_percent_encode(&word, percent_encoding::NON_ALPHANUMERIC).to_string(),
    })
}

fn method() -> impl Strategy<Value = String> {
    let usual = prop::sample::select(&["GET", "POST", "PUT", "DELETE"][..]).prop_map(str::to_owned);
    prop_oneof![9 => usual, 1 => "[A-Z]{1,9}"]
}

fn target() -> impl Strategy<Value = String> {
    let path = (prop::sample::select(ROUTES), encoded()).prop_map(|(route, word)| route.replace("{}", &word));
    let query = prop::collection::vec((prop::sample::select(PARAMETERS), encoded()), 0..4);
    (prop_oneof![9 => path, 1 => "/[!-~]{0,40}"], query).prop_map(|(path, query)| {
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    })
}

fn any_request() -> impl Strategy<Value = Option<(String, Request<Body>)>> {
    let headers = prop::collection::vec((prop::sample::select(HEADERS), word()), 0..4);
    let body = prop_oneof![
        2 => prop::sample::select(BODIES).prop_map(|body| body.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ];
    (method(), target(), headers, body).prop_map(|(method, target, headers, body)| {
        let said = format!("{method} {target} {headers:?} {}", String::from_utf8_lossy(&body));
        let mut request = Request::builder().method(method.as_str()).uri(target);
        // The request names this host, unless a header names another.
        if headers.iter().all(|(name, _)| *name != "host") {
            request = request.header("host", "localhost");
        }
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        // A text that is no request is left to the HTTP library to refuse.
        Some((said, request.body(Body::from(body)).ok()?))
    })
}

async fn answered(rig: &Rig, said: &str, request: Request<Body>) {
    let answer = rig.router.clone().oneshot(request).await.expect("the router has no errors");
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, 64 << 20).await.expect("the body is whole");
    let text = String::from_utf8_lossy(&body);
    assert!(head.status.as_u16() < 500, "{said}: {} {text}", head.status);
    if head.status.as_u16() >= 400
        && head.headers.get("content-type").is_some_and(|kind| kind == "application/problem+json")
    {
        let error: serde_json::Value = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{said}: {e}: {text}"));
        let message = error["error"]["message"].as_str().unwrap_or_else(|| panic!("{said}: {text}"));
        assert!(error["error"]["code"].is_string() && !message.is_empty(), "{said}: {text}");
        assert_eq!(error["instance"].as_str(), head.headers["x-request-id"].to_str().ok(), "{said}: {text}");
        assert!(message.chars().count() <= 500 && !message.contains(char::is_control), "{said}: {text}");
    }
}

/// Cancels all runs after a number of queries, because nothing else ends a run here. A request that waits for a run or
/// follows its log is answered then.
async fn runs_end(rig: &Rig) {
    let waiting = || RunFilter { state: Some(RunState::Waiting), limit: 1000, ..RunFilter::default() };
    for _ in 0..QUESTIONS {
        rig.store.runs(waiting()).await.expect("a store that works");
    }
    for run in rig.store.runs(waiting()).await.expect("a store that works") {
        rig.store.cancel(run.id, "nobody runs it", NOW).await.expect("a store that works");
    }
}

#[test]
fn any_request_at_all_gets_an_answer_and_none_is_a_fault_of_the_host() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Requests follow one another on one store, as they do on a host.
    let rig = runtime.block_on(async { Rig::new() });
    proptest!(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }, |(request in any_request())| {
        let Some((said, request)) = request else { return Ok(()) };
        let answer = async {
            let mut answer = pin!(answered(&rig, &said, request));
            tokio::select! {
                () = &mut answer => return,
                () = runs_end(&rig) => {}
            }
            answer.await;
        };
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
        prop_assert!(answer.is_ok(), "no answer, though all runs are over: {said}");
    });
}

//! Tests responses for browsers: results that guests made.

use axum::body::Body;
use axum::http::{Method, StatusCode};

use super::{Rig, request};

#[tokio::test]
async fn a_result_is_served_under_the_guests_content_type_in_a_sandbox() {
    let rig = Rig::new();
    let run = rig.succeeded(Some("text/html; charset=utf-8"), "<p>hi</p>").await;

    for path in ["/v1/tasks/hello/result".to_owned(), format!("/v1/runs/{run}/output")] {
        let result = rig.get(&path).await;
        assert_eq!((result.status, result.text()), (StatusCode::OK, "<p>hi</p>"), "{path}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", "sandbox"),
            ("x-content-type-options", "nosniff"),
            ("x-sexton-run", &run.to_string()),
            ("last-modified", "Sun, 22 Nov 2026 10:00:00 GMT"),
            ("age", "0"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(result.header(name), value, "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn a_result_that_is_known_is_not_sent_again_and_head_sends_none() {
    let rig = Rig::new();
    rig.succeeded(None, "bytes").await;
    let first = rig.get("/v1/tasks/hello/result").await;
    assert_eq!(first.header("content-type"), "application/octet-stream");

    let known = request(Method::GET, "/v1/tasks/hello/result").header("if-none-match", first.header("etag"));
    let known = rig.ask(known.body(Body::empty()).expect("a request")).await;
    assert_eq!((known.status, known.body.len()), (StatusCode::NOT_MODIFIED, 0));

    let head = request(Method::HEAD, "/v1/tasks/hello/result").body(Body::empty()).expect("a request");
    let head = rig.ask(head).await;
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (StatusCode::OK, 0, "5"));

    rig.succeeded(None, "newer").await;
    let newer = request(Method::GET, "/v1/tasks/hello/result").header("if-none-match", first.header("etag"));
    assert_eq!(rig.ask(newer.body(Body::empty()).expect("a request")).await.text(), "newer");
}

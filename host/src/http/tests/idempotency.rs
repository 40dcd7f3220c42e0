//! Tests requests that are repeated with their idempotency keys.

use super::*;

/// Returns the response to a request of tenant `default` or another with the key `key`.
async fn asked(rig: &Rig, method: Method, path: &str, key: &str, body: &str) -> Answer {
    let request = request(method, path).header("idempotency-key", key);
    rig.ask(request.body(Body::from(body.to_owned())).expect("a request")).await
}

async fn posted(rig: &Rig, path: &str, key: &str, body: &str) -> Answer {
    asked(rig, Method::POST, path, key, body).await
}

/// Returns the number of runs.
async fn runs(rig: &Rig) -> usize {
    rig.get("/v1/runs?limit=1000").await.json()["runs"].as_array().expect("a list").len()
}

#[tokio::test]
async fn each_operation_that_makes_something_is_done_once_and_answered_alike() {
    let rig = Rig::new();
    rig.succeeded(None, "x").await;
    let schedule = r#"{"task": "hello", "every": "1h", "replace": true}"#;
    let named = r#"{"key": "monday", "task": "hello", "every": "1h", "replace": true}"#;
    let many = r#"{"runs": [{"task": "hello"}, {"task": "tick"}, {"task": "nobody"}]}"#;

    // A rerun is a run of the same task, so it has another key.
    for (method, path, key, body, status) in [
        (Method::POST, "/v1/tasks/hello/runs?in=10s", "k", "x", 202),
        (Method::POST, "/v1/runs/1/rerun", "r", "x", 202),
        (Method::POST, "/v1/runs", "k", many, 200),
        (Method::POST, "/v1/tasks/tick/backfill?from=2026-11-22T09:59:00Z", "k", "", 202),
        (Method::PUT, "/v1/schedules/sunday", "k", schedule, 201),
        (Method::POST, "/v1/schedules", "k", named, 201),
    ] {
        let first = asked(&rig, method.clone(), path, key, body).await;
        let made = runs(&rig).await;
        let again = asked(&rig, method.clone(), path, &format!("\"{key}\""), body).await;

        assert_eq!(
            (first.status.as_u16(), first.header("idempotency-replayed")),
            (status, ""),
            "{path}: {}",
            first.text()
        );
        assert_eq!((again.status, again.json()), (first.status, first.json()), "{path}");
        assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
        assert_eq!(again.header("location"), first.header("location"), "{path}");
        assert_eq!(again.header("content-type"), first.header("content-type"), "{path}");
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"), "{path}");
        assert_eq!(runs(&rig).await, made, "{path}");
    }
}

#[tokio::test]
async fn a_key_with_another_query_or_body_is_refused_and_belongs_to_its_path_and_tenant() {
    let rig = Rig::new();
    assert_eq!(posted(&rig, "/v1/tasks/hello/runs", "k", "x").await.status, StatusCode::ACCEPTED);

    for (path, body) in
        [("/v1/tasks/hello/runs", "y"), ("/v1/tasks/hello/runs", ""), ("/v1/tasks/hello/runs?in=1s", "x")]
    {
        let other = posted(&rig, path, "k", body).await;
        assert_eq!(
            (other.status, &other.json()["code"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency-key-reused")),
            "{path} {body}"
        );
    }
    assert_eq!(posted(&rig, "/v1/tasks/tick/runs", "k", "y").await.status, StatusCode::ACCEPTED, "another task");
    assert_eq!(posted(&rig, "/v1/tasks/hello/runs", "K", "y").await.status, StatusCode::ACCEPTED, "another key");
    let of_acme = posted(&rig, "/v1/tasks/hello/runs?tenant=acme", "k", "y").await;
    assert_eq!((of_acme.status, &of_acme.json()["code"]), (StatusCode::NOT_FOUND, &json!("no-such-task")));
    assert_eq!(runs(&rig).await, 3);
}

#[tokio::test]
async fn a_request_that_was_refused_may_be_repeated_differently() {
    let rig = Rig::new();
    let refused = posted(&rig, "/v1/tasks/hello/runs?in=10", "k", "x").await;
    let mended = posted(&rig, "/v1/tasks/hello/runs?in=10s", "k", "x").await;

    assert_eq!((refused.status, mended.status), (StatusCode::BAD_REQUEST, StatusCode::ACCEPTED));
}

#[tokio::test]
async fn a_repeated_request_is_told_to_wait_while_the_first_is_in_progress() {
    use sexton_store::requests::{BeginRequest, Begun, RepeatableRequest, Requests as _};
    let rig = Rig::new();
    let request = RepeatableRequest {
        tenant: Name::default_tenant(),
        operation: "POST /v1/tasks/hello/runs".to_owned(),
        key: "k".to_owned(),
    };
    // The digest of no query and the body `x`.
    let digest = <sha2::Sha256 as sha2::Digest>::digest(b"\0x").to_vec();
    let begin = BeginRequest { request: request.clone(), digest, attempt: 1, now: NOW };
    assert_eq!(rig.store.begin_request(begin).await.expect("a store that works"), Begun::New);

    let early = posted(&rig, "/v1/tasks/hello/runs", "k", "x").await;
    rig.store.end_request(request, 1, None).await.expect("a store that works");
    let later = posted(&rig, "/v1/tasks/hello/runs", "k", "x").await;

    assert_eq!((early.status, &early.json()["code"]), (StatusCode::CONFLICT, &json!("request-in-progress")));
    assert_eq!((early.header("retry-after"), runs(&rig).await), ("1", 1));
    assert_eq!(later.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_request_whose_answer_was_lost_finds_the_runs_that_it_made() {
    use sexton_store::requests::{BeginRequest, KEPT, RepeatableRequest, Requests as _};
    let rig = Rig::new();
    let body = r#"{"runs": [{"task": "hello"}, {"task": "hello", "key": "own"}]}"#;
    let first = posted(&rig, "/v1/runs", "k", body).await.json();
    let request = RepeatableRequest {
        tenant: Name::default_tenant(),
        operation: "POST /v1/runs".to_owned(),
        key: "k".to_owned(),
    };
    // The answer is no longer kept, as if the host had died before it could keep it.
    let begin = BeginRequest { request: request.clone(), digest: vec![0; 32], attempt: 1, now: NOW.plus(KEPT) };
    rig.store.begin_request(begin).await.expect("a store that works");
    rig.store.end_request(request, 1, None).await.expect("a store that works");

    let again = posted(&rig, "/v1/runs", "k", body).await;

    assert_eq!(again.header("idempotency-replayed"), "");
    assert_eq!((&again.json()["created"], &again.json()["existing"]), (&json!(0), &json!(2)));
    for nth in 0..2 {
        assert_eq!(again.json()["runs"][nth]["run"]["run"], first["runs"][nth]["run"]["run"]);
    }
}

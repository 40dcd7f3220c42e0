//! Lists bad requests, each with its response.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};

use super::{Answer, Rig, request};
use crate::http::problems;

/// Method, path, headers, status, code, and words that the message must have.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], u16, &'a str, &'a str);

/// Sends each request, and checks the response.
async fn all_are_refused(rig: &Rig, table: &[Case<'_>]) {
    for (method, path, headers, status, code, words) in table {
        let mut request = request(method.parse::<Method>().expect("a method"), path);
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        let answer = rig.ask(request.body(Body::empty()).expect("a request")).await;
        let error = answer.json()["error"].clone();
        let message = error["message"].as_str().unwrap_or_default();
        let case = format!("{method} {path} {headers:?}: {} {error}", answer.status);
        assert_eq!((answer.status.as_u16(), error["code"].as_str()), (*status, Some(*code)), "{case}");
        assert!(message.contains(words) && !message.contains(char::is_control) && message.len() < 600, "{case}");
        is_a_problem(&answer, &case);
    }
}

/// Checks that a response is problem details as in RFC 9457 of a listed kind, and names its request.
fn is_a_problem(answer: &Answer, case: &str) {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{case}");
    let problem = answer.json();
    let kind = problems::ALL.iter().find(|kind| problem["code"] == kind.code);
    let kind = kind.unwrap_or_else(|| panic!("{case}: the code is not listed"));
    assert_eq!(problem["type"], problems::type_of(kind.code), "{case}");
    assert_eq!((&problem["title"], &problem["status"]), (&kind.title.into(), &kind.status.into()), "{case}");
    assert_eq!(answer.status.as_u16(), kind.status, "{case}");
    assert_eq!(problem["instance"], answer.header("x-request-id"), "{case}");
    let old = &problem["error"];
    assert_eq!((&problem["detail"], &problem["code"]), (&old["message"], &old["code"]), "{case}");
    assert_eq!(problem.get("hint"), old.get("hint"), "{case}");
}

#[tokio::test]
async fn every_bad_request_about_routes_and_tasks_gets_its_status_and_one_line_that_says_why() {
    let rig = Rig::new();
    rig.succeeded(None, "x").await;
    let (long, name) = ("x".repeat(201), "n".repeat(65));
    #[rustfmt::skip]
    let table: &[Case<'_>] = &[
        ("GET", "/v2/tasks", &[], 404, "no-such-route", "/v2/tasks"),
        ("GET", "/v1", &[], 404, "no-such-route", "/v1"),
        ("GET", "/v1/tasks/", &[], 404, "no-such-route", "/v1/tasks/"),
        ("GET", "/v1/cache/", &[], 404, "no-such-route", "/v1/cache/"),
        ("DELETE", "/v1/tasks", &[], 405, "wrong-method", "DELETE"),
        ("GET", "/v1/runs/1/kill", &[], 405, "wrong-method", "/v1/runs/1/kill"),
        ("POST", "/", &[], 405, "wrong-method", "POST"),
        ("GET", "/v1/tasks/nobody", &[], 404, "no-such-task", "`nobody`"),
        ("GET", "/v1/tasks/Hello", &[], 400, "bad-name", "`Hello`"),
        ("GET", "/v1/tasks/..%2f..%2fetc", &[], 400, "bad-name", "not a name"),
        ("GET", &format!("/v1/tasks/{name}"), &[], 400, "bad-name", "1 to 64"),
        ("GET", "/v1/tasks/%ff", &[], 400, "bad-path", "path"),
        ("POST", "/v1/tasks/nobody/runs", &[], 404, "no-such-task", "`nobody`"),
        ("POST", "/v1/tasks/nobody/pause", &[], 404, "no-such-task", "`nobody`"),
        ("POST", "/v1/tasks/nobody/resume", &[], 404, "no-such-task", "`nobody`"),
        ("GET", "/v1/tasks/nobody/result", &[], 404, "no-such-task", "`nobody`"),
        ("GET", "/v1/tasks/tick/result", &[], 404, "no-result", "succeeded yet"),
        ("POST", "/v1/tasks/hello/runs?in=10", &[], 400, "bad-duration", "`in`"),
        ("POST", "/v1/tasks/hello/runs?after=-1s", &[], 400, "bad-duration", "`-1s`"),
        ("POST", "/v1/tasks/hello/runs?after=99years", &[], 400, "bad-duration", "longer"),
        ("POST", "/v1/tasks/hello/runs?at=soon", &[], 400, "bad-instant", "`at`: `soon`"),
        ("POST", "/v1/tasks/hello/runs?at=31.02.2027", &[], 400, "bad-instant", "`at`"),
        ("POST", "/v1/tasks/hello/runs?at=9999-01-01T00:00:00Z", &[], 400, "bad-instant", "ten years"),
        ("POST", "/v1/tasks/hello/runs?at=2026-11-22T10:00:00Z&after=1s", &[], 400, "bad-query", "exclude"),
        ("POST", "/v1/tasks/hello/runs?when=now", &[], 400, "bad-query", "`when`, expected one of `at`, `after`, `in`, `past_limits`"),
        ("POST", "/v1/tasks/hello/runs", &[("idempotency-key", "")], 400, "bad-idempotency-key", "1 to 200"),
        ("POST", "/v1/tasks/hello/runs", &[("idempotency-key", &long)], 400, "bad-idempotency-key", "1 to 200"),
        ("POST", "/v1/runs", &[], 400, "bad-body", "no list of runs"),
        ("POST", "/v1/runs?limit=1", &[], 400, "bad-query", "limit"),
        ("POST", "/v1/runs?tenant=nobody", &[], 404, "no-such-tenant", "`nobody`"),
        ("POST", "/v1/runs", &[("idempotency-key", &long)], 400, "bad-idempotency-key", "1 to 200"),
        ("POST", "/v1/runs", &[("content-length", "1048577")], 413, "body-too-large", "1048576"),
        ("DELETE", "/v1/runs", &[], 405, "wrong-method", "DELETE"),
        ("POST", "/v1/tasks/hello/runs", &[("content-length", "1048577")], 413, "body-too-large", "1048576"),
    ];
    all_are_refused(&rig, table).await;
}

#[tokio::test]
async fn every_bad_request_about_runs_schedules_and_the_cache_gets_its_status_and_one_line_that_says_why() {
    let rig = Rig::new();
    rig.succeeded(None, "x").await;
    let key = "k".repeat(257);
    #[rustfmt::skip]
    let table: &[Case<'_>] = &[
        ("GET", "/v1/runs/0", &[], 404, "no-such-run", "run 0"),
        ("GET", "/v1/runs/99", &[], 404, "no-such-run", "run 99"),
        ("GET", "/v1/runs/abc", &[], 400, "bad-run-id", "`abc`"),
        ("GET", "/v1/runs/-1", &[], 400, "bad-run-id", "`-1`"),
        ("GET", "/v1/runs/99999999999999999999", &[], 400, "bad-run-id", "whole number"),
        ("GET", "/v1/runs/99/log", &[], 404, "no-such-run", "run 99"),
        ("GET", "/v1/runs/99/wait", &[], 404, "no-such-run", "run 99"),
        ("GET", "/v1/runs/99/output", &[], 404, "no-such-run", "run 99"),
        ("POST", "/v1/runs/99/kill", &[], 404, "no-such-run", "run 99"),
        ("POST", "/v1/runs/1/kill?reason=a%0ab", &[], 400, "bad-query", "one line"),
        ("POST", "/v1/runs/1/kill?reason=", &[], 400, "bad-query", "1 to 200"),
        ("POST", "/v1/pause?reason=", &[], 400, "bad-query", "1 to 200"),
        ("POST", "/v1/tenants/nobody/pause", &[], 404, "no-such-tenant", "`nobody`"),
        ("GET", "/v1/runs/1/wait?timeout=1h", &[], 400, "bad-duration", "5m"),
        ("GET", "/v1/runs/1/wait?timeout=soon", &[], 400, "bad-duration", "`timeout`"),
        ("GET", "/v1/runs/1/log?follow=perhaps", &[], 400, "bad-query", "follow"),
        ("POST", "/v1/tasks/hello/runs?label=x", &[], 400, "bad-label", "KEY=VALUE"),
        ("GET", "/v1/schedule/explain", &[], 400, "bad-query", "schedule"),
        ("GET", "/v1/schedule/explain?schedule=61+*+*+*+*", &[], 400, "bad-schedule", "out of range"),
        ("GET", "/v1/schedule/explain?schedule=soon", &[], 400, "bad-schedule", "`soon` is not understood"),
        ("GET", "/v1/schedule/explain?schedule=%00%1b[2J", &[], 400, "bad-schedule", "not understood"),
        ("GET", "/v1/schedule/explain?schedule=@daily&zone=Berlin", &[], 400, "bad-zone", "`Europe/Berlin`"),
        ("GET", "/v1/schedule/explain?schedule=@daily&from=soon", &[], 400, "bad-instant", "`from`"),
        ("GET", "/v1/schedule/explain?schedule=@daily&next=1001", &[], 400, "bad-query", "1 to 1000"),
        ("GET", "/v1/schedule/explain?schedule=@daily&next=0", &[], 400, "bad-query", "1 to 1000"),
        ("POST", "/v1/schedule/explain", &[], 405, "wrong-method", "POST"),
        ("GET", "/v1/host?verbose", &[], 400, "bad-query", "verbose"),
        ("GET", "/v1/cache/nothing", &[], 404, "no-such-entry", "`nothing`"),
        ("DELETE", "/v1/cache/nothing", &[], 404, "no-such-entry", "`nothing`"),
        ("GET", "/v1/cache/nothing?version=7", &[], 404, "no-such-version", "version 7"),
        ("GET", "/v1/cache/nothing?version=last", &[], 400, "bad-query", "version"),
        ("GET", "/v1/cache-history/nothing", &[], 404, "no-such-entry", "`nothing`"),
        ("POST", "/v1/cache-restore/nothing?version=7", &[], 404, "no-such-version", "version 7"),
        ("POST", "/v1/cache-restore/nothing", &[], 400, "bad-query", "version"),
        ("PUT", "/v1/cache/k?keep=101", &[], 400, "bad-query", "0 to 100"),
        ("GET", &format!("/v1/cache/{key}"), &[], 400, "bad-key", "257"),
        ("PUT", "/v1/cache/k?ttl=60", &[], 400, "bad-duration", "`ttl`"),
        ("PUT", "/v1/cache/k?ttl=0s", &[], 400, "bad-duration", "`ttl`"),
        ("PUT", "/v1/cache/k", &[("if-match", "5")], 400, "bad-condition", "If-Match"),
        ("PUT", "/v1/cache/k", &[("if-none-match", "\"5\"")], 400, "bad-condition", "If-None-Match"),
        ("PUT", "/v1/cache/k", &[("if-match", "\"5\"")], 412, "conflict", "`k`"),
    ];
    all_are_refused(&rig, table).await;
}

#[tokio::test]
async fn every_bad_filter_of_a_list_gets_its_status_and_one_line_that_says_why() {
    let rig = Rig::new();
    #[rustfmt::skip]
    let table: &[Case<'_>] = &[
        ("GET", "/v1/runs?state=asleep", &[], 400, "bad-query", "asleep"),
        ("GET", "/v1/runs?limit=0", &[], 400, "bad-query", "1 to 1000"),
        ("GET", "/v1/runs?limit=1001", &[], 400, "bad-query", "1 to 1000"),
        ("GET", "/v1/runs?limit=many", &[], 400, "bad-query", "limit"),
        ("GET", "/v1/runs?limit=1&limit=2", &[], 400, "bad-query", "limit"),
        ("GET", "/v1/runs?tasks=hello", &[], 400, "bad-query", "expected one of `task`"),
        ("GET", "/v1/runs?task=", &[], 400, "bad-query", "neither the name of a task nor a pattern"),
        ("GET", "/v1/runs?task=a%25", &[], 400, "bad-query", "`a%`"),
        ("GET", "/v1/runs?outcome=bad", &[], 400, "bad-query", "`outcome`: `bad` is unknown; it is one of succeeded"),
        ("GET", "/v1/runs?cause=chance", &[], 400, "bad-query", "schedule, start, demand, task"),
        ("GET", "/v1/runs?key=A", &[], 400, "bad-query", "`key`"),
        ("GET", "/v1/runs?chain=nothing", &[], 404, "no-such-chain", "`nothing`"),
        ("GET", "/v1/runs?host=", &[], 400, "bad-query", "`host`"),
        ("GET", "/v1/runs?label=team", &[], 400, "bad-label", "KEY=VALUE"),
        ("GET", "/v1/runs?label=Team%3Dweb", &[], 400, "bad-label", "`Team`"),
        ("GET", "/v1/runs?label=a=1&label=a=2", &[], 400, "bad-label", "twice"),
        ("GET", "/v1/runs?label=a=1&tasks=hello", &[], 400, "bad-query", "expected one of `task`"),
        ("GET", "/v1/runs?since=soon", &[], 400, "bad-instant", "`since`"),
        ("GET", "/v1/runs?since=2099-01-01", &[], 400, "bad-query", "is ahead"),
        ("GET", "/v1/runs?since=1h&until=2h", &[], 400, "bad-query", "`since` is after `until`"),
        ("GET", "/v1/runs?longer-than=5", &[], 400, "bad-duration", "`longer-than`"),
        ("GET", "/v1/runs?text=", &[], 400, "bad-query", "`text`"),
        ("GET", "/v1/runs?state=waiting&outcome=lost", &[], 400, "bad-query", "has no outcome yet"),
        ("GET", "/v1/runs?key=a&cause=demand", &[], 400, "bad-query", "`key` and `cause`"),
        ("GET", "/v1/runs?cursor=7", &[], 400, "bad-cursor", "`cursor`"),
        ("GET", "/v1/runs?cursor=n61", &[], 400, "bad-cursor", "`cursor`"),
        ("GET", "/v1/runs?cursor=r7&before=7", &[], 400, "bad-query", "exclude"),
        ("GET", "/v1/tasks?cursor=r7", &[], 400, "bad-cursor", "`cursor`"),
        ("GET", "/v1/tasks?limit=0", &[], 400, "bad-query", "1 to 1000"),
        ("GET", "/v1/plugins?limit=1001", &[], 400, "bad-query", "1 to 1000"),
        ("GET", "/v1/schedules?cursor=n61&after=a", &[], 400, "bad-query", "exclude"),
        ("GET", "/v1/cache?cursor=n61&after=a", &[], 400, "bad-query", "exclude"),
    ];
    all_are_refused(&rig, table).await;
}

#[tokio::test]
async fn a_body_without_a_length_is_cut_off_at_the_limit() {
    let rig = Rig::new();
    let chunks = futures_util::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1 << 15])));
    let endless = request(Method::POST, "/v1/tasks/hello/runs").body(Body::from_stream(chunks)).expect("a request");
    let answer = rig.ask(endless).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"body-too-large".into())
    );
    assert_eq!(rig.get("/v1/runs").await.json()["runs"], serde_json::json!([]), "nothing was made");
}

#[tokio::test]
async fn a_name_that_was_rebound_to_loopback_is_refused() {
    let rig = Rig::new();
    let ask = |uri: &str, hosts: &[&str]| {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        rig.ask(request.body(Body::empty()).expect("a request"))
    };
    for (uri, hosts, status) in [
        ("/v1/tasks", &["evil.example"] as &[_], 421),
        ("/v1/tasks", &["evil.example:7070"], 421),
        ("/v1/tasks", &["localhost.evil.example"], 421),
        ("/v1/tasks", &["192.168.0.5:7070"], 421),
        ("http://evil.example/v1/tasks", &["localhost"], 400),
        ("/v1/tasks", &[], 400),
        ("/v1/tasks", &["localhost", "evil.example"], 400),
        ("/v1/tasks", &["user@localhost"], 400),
        ("/v1/tasks", &["local host"], 400),
        ("/v1/tasks", &["localhost"], 200),
        ("/v1/tasks", &["127.0.0.1:7070"], 200),
        ("/v1/tasks", &["[::1]:7070"], 200),
    ] {
        assert_eq!(ask(uri, hosts).await.status.as_u16(), status, "{uri} {hosts:?}");
    }
}

#[tokio::test]
async fn every_response_has_the_id_of_its_request_and_takes_over_only_harmless_ones() {
    let rig = Rig::new();
    let long = "a".repeat(81);
    for (id, taken) in [
        ("4bf92f3577b34da6a3ce929d0e0e4736", true),
        ("job-7_a.b~c", true),
        ("", false),
        ("two words", false),
        ("a/b", false),
        ("<script>", false),
        ("\"x\"", false),
        (&long, false),
    ] {
        for (path, host) in [("/v1/tasks", "localhost"), ("/v1/nothing", "localhost"), ("/v1/tasks", "evil.example")] {
            let request = Request::builder().uri(path).header("host", host).header("x-request-id", id);
            let answer = rig.ask(request.body(Body::empty()).expect("a request")).await;
            let named = answer.header("x-request-id");
            assert_eq!(named == id, taken, "{path} of {host}: `{id}` became `{named}`");
            assert!(taken || (named.len() == 16 && named.bytes().all(|byte| byte.is_ascii_hexdigit())), "{named}");
        }
    }
    let [one, two] = [rig.get("/v1/tasks").await, rig.get("/v1/tasks").await];
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn a_page_of_another_site_cannot_change_anything() {
    let rig = Rig::new();
    for (name, value, status) in [
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://localhost:3000", 403),
        ("origin", "https://localhost:7070", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("origin", "http://localhost:7070", 202),
        ("sec-fetch-site", "same-origin", 202),
        ("sec-fetch-site", "none", 202),
    ] {
        let post = request(Method::POST, "/v1/tasks/hello/runs").header(name, value);
        let answer = rig.ask(post.body(Body::empty()).expect("a request")).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_cannot_ask_for_anything_but_by_a_link_that_a_person_follows() {
    let rig = Rig::new();
    let site = |site| ("sec-fetch-site", site);
    let (navigate, document) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
    for (headers, status) in [
        (&[("origin", "http://evil.example")] as &[_], 403),
        (&[("origin", "null")], 403),
        (&[site("cross-site"), ("sec-fetch-mode", "no-cors")], 403),
        (&[site("same-site"), ("sec-fetch-mode", "cors")], 403),
        (&[site("cross-site"), navigate, ("sec-fetch-dest", "iframe")], 403),
        (&[site("cross-site"), navigate], 403),
        (&[site("cross-site")], 403),
        (&[site("cross-site"), navigate, document], 200),
        (&[site("same-origin"), ("sec-fetch-mode", "cors")], 200),
        (&[site("none"), navigate, document], 200),
        (&[], 200),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let read =
                headers.iter().fold(request(method, "/v1/tasks"), |read, (name, value)| read.header(*name, *value));
            let answer = rig.ask(read.body(Body::empty()).expect("a request")).await;
            assert_eq!(answer.status.as_u16(), status, "{headers:?}");
            assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
}

//! Tests logs that are followed while their runs go on.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::http::Method;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{Outcome, Output, RunId};
use sexton_runtime::attempt::{LogLine, RunHandle};

use super::{BOUND, NOW, Rig, report, request};

fn say(handle: &Arc<RunHandle>, message: &str) {
    handle.log(LogLine { at: NOW, level: "info".to_owned(), message: message.to_owned() });
}

struct Follower {
    body: BodyDataStream,
    rest: Vec<u8>,
}

impl Follower {
    async fn of(rig: &Rig, run: RunId) -> Self {
        let path = format!("/v1/runs/{run}/log?follow=true");
        let request = request(Method::GET, &path).body(Body::empty()).expect("a request");
        let response = rig.router.clone().oneshot(request).await.expect("the router has no errors");
        Self { body: response.into_body().into_data_stream(), rest: Vec::new() }
    }

    /// Returns the next line; `None` at the end.
    async fn line(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a JSON line"));
            }
            let chunk = tokio::time::timeout(BOUND, self.body.next()).await.expect("a line, or the end, comes")?;
            self.rest.extend_from_slice(&chunk.expect("no broken body"));
        }
    }
}

#[tokio::test]
async fn a_log_is_followed_across_attempts_until_its_run_is_over() {
    let rig = Rig::new();
    let run = rig.waiting().await;
    let mut follower = Follower::of(&rig, run).await;

    let first = rig.claim().await;
    let live = rig.goes_live(&first);
    say(&live, "one");
    assert_eq!(
        follower.line().await,
        Some(json!({ "attempt": 1, "at": "2026-11-22T10:00:00.000Z", "level": "info", "message": "one" }))
    );
    say(&live, "two");
    assert_eq!(follower.line().await.map(|line| line["message"].clone()), Some(json!("two")));
    say(&live, "three");
    let again = Transition::Wait { run_at: NOW, failed: true };
    rig.finish(&first, again, report(Outcome::Trapped, live.stored_log().text)).await;
    rig.live.remove(first.key);
    drop(live);
    assert_eq!(follower.line().await.map(|line| line["message"].clone()), Some(json!("three")));
    let end = follower.line().await.expect("an attempt's end");
    assert_eq!((&end["attempt"], &end["outcome"]), (&json!(1), &json!("trapped")));

    let second = rig.claim().await;
    let live = rig.goes_live(&second);
    say(&live, "four");
    let line = follower.line().await.expect("a line of the second attempt");
    assert_eq!((&line["attempt"], &line["message"]), (&json!(2), &json!("four")));
    let log = live.stored_log().text;
    rig.finish(&second, Transition::Succeed(Output::default()), report(Outcome::Succeeded, log)).await;
    rig.live.remove(second.key);
    drop(live);
    let end = follower.line().await.expect("an attempt's end");
    assert_eq!((&end["attempt"], &end["outcome"]), (&json!(2), &json!("succeeded")));
    assert_eq!(follower.line().await, None);

    let whole = rig.get(&format!("/v1/runs/{run}/log")).await;
    let messages: Vec<Value> = whole.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(messages.len(), 6, "four lines and two ends: {messages:?}");
}

#[tokio::test]
async fn a_log_that_is_not_followed_ends_where_it_is() {
    let rig = Rig::new();
    rig.waiting().await;
    let claim = rig.claim().await;
    let live = rig.goes_live(&claim);
    say(&live, "so far");

    let log = rig.get(&format!("/v1/runs/{}/log", claim.key.run)).await;

    assert_eq!(log.header("content-type"), "application/x-ndjson");
    assert_eq!(log.text().lines().count(), 1, "{}", log.text());
}

//! Tests streams of events over a real store.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::feed::{BATCHES, Batch};
use crate::http::tests::{NOW, Rig};
use sexton_domain::pause::PauseTarget;
use sexton_domain::task::{Name, TaskKey};
use sexton_store::events::{Event, EventKind, Events as _};
use sexton_store::tasks::Tasks as _;

/// Longer than anything here takes, so that a test ends whose event never comes.
const BOUND: Duration = Duration::from_secs(20);

/// A stream that is read message by message.
struct Stream {
    status: StatusCode,
    pieces: BodyDataStream,
    text: String,
}

/// Creates a rig whose store records events.
fn recording() -> Rig {
    let rig = Rig::new();
    rig.store.record_events(true);
    rig
}

async fn open_with(rig: &Rig, path: &str, headers: &[(&str, &str)]) -> Stream {
    let mut request = Request::get(path).header("host", "localhost:7070");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).expect("a request");
    let response = rig.router.clone().oneshot(request).await.expect("the router has no errors");
    Stream { status: response.status(), pieces: response.into_body().into_data_stream(), text: String::new() }
}

/// Opens a stream, and waits until it is connected.
async fn open(rig: &Rig, path: &str) -> Stream {
    let mut stream = open_with(rig, path, &[]).await;
    assert!(stream.more().await && stream.text.starts_with(": heartbeat"), "{}", stream.text);
    stream
}

impl Stream {
    /// Awaits more text. Returns whether there was any.
    async fn more(&mut self) -> bool {
        let piece = tokio::time::timeout(BOUND, self.pieces.next()).await.expect("an event comes, or the stream ends");
        let Some(piece) = piece else { return false };
        self.text.push_str(std::str::from_utf8(&piece.expect("a body that is whole")).expect("UTF-8"));
        true
    }

    /// Returns the next message that is no sign of life; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let message = message.to_owned();
                self.text = rest.to_owned();
                if !message.starts_with(": heartbeat") {
                    return Some(message);
                }
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// Returns the data of the next message.
    async fn data(&mut self) -> Value {
        let message = self.next().await.expect("a message");
        let data = message.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
        serde_json::from_str(data).expect("JSON")
    }

    /// Returns the kinds of the next `count` events.
    async fn kinds(&mut self, count: usize) -> Vec<String> {
        let mut kinds = Vec::new();
        for _ in 0..count {
            kinds.push(self.data().await["kind"].as_str().expect("a kind").to_owned());
        }
        kinds
    }
}

#[tokio::test]
async fn a_stream_has_the_events_of_a_run_as_they_happen() {
    let rig = recording();
    let mut stream = open(&rig, "/v1/events").await;

    let run = rig.succeeded(None, "made").await;

    let message = stream.next().await.expect("an event");
    assert!(message.starts_with("id: 1\ndata: {"), "{message}");
    let started = stream.data().await;
    assert_eq!(
        (&started["kind"], &started["run"], &started["host"]),
        (&json!("run.started"), &json!(run.0), &json!("box"))
    );
    let finished = stream.data().await;
    let expected = json!({
        "id": 3, "kind": "run.finished", "at": NOW, "tenant": "default", "task": "hello", "run": run.0, "attempt": 1,
        "state": "succeeded", "outcome": "succeeded", "host": "box"
    });
    assert_eq!(finished, expected);
}

#[tokio::test]
async fn a_client_goes_on_after_the_last_id_that_it_had() {
    let rig = recording();
    rig.succeeded(None, "made").await;

    let mut again = open_with(&rig, "/v1/events?after=1", &[("last-event-id", "2")]).await;
    assert_eq!(again.kinds(1).await, ["run.finished"], "the header is later than the address");
    assert_eq!(open(&rig, "/v1/events?after=1").await.kinds(2).await, ["run.started", "run.finished"]);
    let mut all = open(&rig, "/v1/events?after=0").await;
    assert_eq!(all.kinds(3).await, ["run.queued", "run.started", "run.finished"]);

    rig.waiting().await;
    assert_eq!(again.data().await, all.data().await);
}

#[tokio::test]
async fn an_id_that_the_store_does_not_know_resets_the_client() {
    let rig = recording();
    rig.waiting().await;

    let mut stream = open(&rig, "/v1/events?after=77").await;
    let message = stream.next().await.expect("a reset");
    assert_eq!(message, "id: 1\nevent: reset\ndata: {\"kind\":\"reset\",\"newest\":1}");

    rig.waiting().await;
    assert_eq!(stream.data().await["id"], 2);
}

#[tokio::test]
async fn a_filter_selects_by_tenant_task_and_kind() {
    let rig = recording();
    let mut ends = open(&rig, "/v1/events?kind=run.finished,host").await;
    let mut ticks = open(&rig, "/v1/events?task=tick").await;
    let mut acmes = open(&rig, "/v1/events?tenant=acme&kind=task").await;

    rig.succeeded(None, "made").await;
    let tick = TaskKey { task: Name::new("tick").expect("a name"), tenant: Name::default_tenant() };
    rig.store.pause(PauseTarget::Task(tick), None, NOW).await.expect("a store that works");
    rig.store.pause(PauseTarget::All, None, NOW).await.expect("a store that works");

    assert_eq!(ends.kinds(1).await, ["run.finished"]);
    assert_eq!(ticks.kinds(1).await, ["task.paused"]);
    assert_eq!(acmes.data().await["id"], 5, "the pause of another tenant's task is none of theirs");
}

#[tokio::test]
async fn json_lines_are_sent_to_a_client_that_accepts_them() {
    let rig = recording();
    rig.waiting().await;
    let ways = [("/v1/events?after=0", "application/x-ndjson"), ("/v1/events?after=0&format=ndjson", "*/*")];
    for (path, accept) in ways {
        let mut stream = open_with(&rig, path, &[("accept", accept)]).await;
        assert!(stream.more().await && stream.text == "\n", "a sign of life is an empty line");

        assert!(stream.more().await && stream.text.ends_with("}\n"), "{}", stream.text);
        let event: Value = serde_json::from_str(stream.text.trim()).expect("one object on a line");
        assert_eq!(event["kind"], "run.queued");
    }
}

/// Creates the batch with the event `id` alone.
fn batch(id: u64) -> Batch {
    let event = Event {
        id,
        at: NOW,
        kind: EventKind::HostLeft,
        tenant: None,
        task: None,
        run: None,
        attempt: None,
        state: None,
        outcome: None,
        host: None,
        name: None,
    };
    Batch { after: id - 1, until: id, events: vec![(event, format!("{{\"id\":{id}}}"))] }
}

#[tokio::test]
async fn a_client_that_does_not_keep_up_is_cut_off_and_others_hear_all() {
    let rig = recording();
    // Both are live once they have had an event.
    let (mut slow, mut quick) = (open(&rig, "/v1/events").await, open(&rig, "/v1/events").await);
    rig.waiting().await;
    assert_eq!((slow.data().await["id"].clone(), quick.data().await["id"].clone()), (json!(1), json!(1)));
    let many = 2 * BATCHES as u64 + 2;

    for id in 2..many {
        rig.events.send(batch(id));
        assert_eq!(quick.data().await["id"], id);
    }

    let message = slow.next().await.expect("a reason");
    assert!(message.starts_with("id: 1\nevent: end\ndata: {\"kind\":\"end\",\"reason\":\"slow\""), "{message}");
    assert_eq!(slow.next().await, None, "the stream is over");
}

#[tokio::test]
async fn streams_take_no_more_slots_than_requests_that_wait_may() {
    let rig = recording();
    let mut streams = Vec::new();
    while streams.len() < 10 {
        streams.push(open(&rig, "/v1/events").await);
    }

    let refused = open_with(&rig, "/v1/events", &[]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(open_with(&rig, "/v1/health", &[]).await.status, StatusCode::OK);
    streams.pop();
    assert_eq!(open(&rig, "/v1/events").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_wrong_question_and_a_host_without_events_are_refused() {
    let rig = recording();
    for wrong in ["kind=run.vanished", "after=-1", "format=xml", "task=A", "since=1"] {
        assert_eq!(
            open_with(&rig, &format!("/v1/events?{wrong}"), &[]).await.status,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
    let wrong = open_with(&rig, "/v1/events", &[("last-event-id", "x")]).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);

    rig.store.record_events(false);
    assert_eq!(open_with(&rig, "/v1/events", &[]).await.status, StatusCode::CONFLICT);
}

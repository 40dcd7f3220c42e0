//! Tests the requests about tasks and their runs.

use super::*;

#[tokio::test]
async fn a_trigger_makes_a_run_and_repeating_its_key_makes_no_second() {
    let rig = Rig::new();

    let trigger = || request(Method::POST, "/v1/tasks/hello/runs").header("idempotency-key", "order-5");
    let first = rig.ask(trigger().body(Body::from("x")).expect("a request")).await;
    let again = rig.ask(trigger().body(Body::from("x")).expect("a request")).await;

    let run = first.json()["run"].clone();
    assert_eq!((first.status, &first.json()["created"]), (StatusCode::ACCEPTED, &json!(true)));
    assert_eq!(first.header("location"), format!("/v1/runs/{run}"));
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!((again.header("location"), again.header("idempotency-replayed")), (first.header("location"), "true"));
    let id = RunId(run.as_i64().expect("a number"));
    assert_eq!(rig.store.input(id).await.expect("a store that works"), Some(b"x".to_vec()));
}

#[tokio::test]
async fn a_trigger_without_a_body_uses_the_manifests_input() {
    let rig = Rig::new();
    let id = rig.waiting().await;
    assert_eq!(rig.store.input(id).await.expect("a store that works"), Some(b"from the manifest".to_vec()));
}

#[tokio::test]
async fn a_run_can_be_requested_for_an_instant_or_after_a_delay() {
    let rig = Rig::new();
    // 2026-11-22 is a Sunday.
    for (query, due) in [
        ("after=10s", "2026-11-22T10:00:10.000Z"),
        ("at=2026-11-22T12:00:00%2B01:00", "2026-11-22T11:00:00.000Z"),
        ("at=next%20friday%2017:00%20Europe/Berlin", "2026-11-27T16:00:00.000Z"),
        ("at=in%202%20hours", "2026-11-22T12:00:00.000Z"),
    ] {
        let made = rig.post(&format!("/v1/tasks/hello/runs?{query}"), "").await.json();
        assert_eq!(made["due_at"], due, "{query}");
        let run = made["run"].clone();
        let shown = rig.get(&format!("/v1/runs/{run}")).await.json();
        assert_eq!(shown["run"]["due_at"], due, "{query}");
        assert_eq!(shown["run"]["run_at"], due, "{query}");
        assert_eq!(shown["run"]["cause"], "demand");
    }
}

#[tokio::test]
async fn tasks_are_listed_with_their_next_instants_in_their_zone() {
    let rig = Rig::new();
    rig.succeeded(None, "x").await;

    let list = rig.get("/v1/tasks").await.json();
    let tick = &list["tasks"][1];
    assert_eq!(tick["name"], "tick");
    assert_eq!(tick["trigger"], json!({ "kind": "every", "text": "every 10s" }));
    assert_eq!(tick["next"][0], json!({ "at": "2026-11-22T10:00:10.000Z", "local": "2026-11-22T11:00:10+01:00" }));
    assert_eq!(list["tasks"][0]["last"]["state"], "succeeded");

    let detail = rig.get("/v1/tasks/tick").await.json();
    assert_eq!(detail["next"].as_array().map(Vec::len), Some(5));
    assert_eq!(detail["limits"]["deadline_ms"], 60_000);
    assert_eq!(detail["input_bytes"], 17);
}

#[tokio::test]
async fn runs_are_listed_newest_first_page_by_page() {
    let rig = Rig::new();
    let (first, second, third) = (rig.waiting().await, rig.waiting().await, rig.waiting().await);

    let page = rig.get("/v1/runs?limit=2&task=hello&state=waiting").await.json();
    let ids: Vec<_> = page["runs"].as_array().expect("a list").iter().map(|run| run["id"].clone()).collect();
    assert_eq!(ids, [json!(third), json!(second)]);
    let link = rig.get("/v1/runs?limit=2&task=hello&state=waiting").await.header("link").to_owned();
    let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link");
    let rest = rig.get(next).await;
    assert_eq!((&rest.json()["runs"][0]["id"], rest.header("link")), (&json!(first), ""));
    let last = rig.get(&format!("/v1/runs?limit=2&before={}", page["next"])).await.json();
    assert_eq!(last["runs"][0]["id"], json!(first));
    assert_eq!(last["next"], Value::Null);
    assert_eq!(rig.get("/v1/runs?task=tick").await.json()["runs"], json!([]));
}

#[tokio::test]
async fn waiting_ends_with_the_run() {
    let rig = Rig::new();
    let id = rig.waiting().await;
    let (path, early) = (format!("/v1/runs/{id}/wait?timeout=15s"), format!("/v1/runs/{id}/wait?timeout=0s"));

    assert_eq!(rig.get(&early).await.json()["run"]["state"], "waiting", "a wait that is over says how it is now");
    let work = async {
        let claim = rig.claim().await;
        rig.finish(&claim, Transition::Fail, report(Outcome::Trapped, String::new())).await;
    };
    let (answer, ()) = tokio::join!(rig.get(&path), work);

    assert_eq!(answer.json()["run"]["state"], "failed");
    assert_eq!(answer.json()["attempts"][0]["outcome"], "trapped");
}

#[tokio::test]
async fn killing_cancels_waiting_runs_stops_local_ones_and_refuses_finished_ones() {
    let rig = Rig::new();
    let id = rig.waiting().await;
    let kill = rig.post(&format!("/v1/runs/{id}/kill?reason=wrong"), "").await;
    assert_eq!((kill.status, kill.json()["effect"].clone()), (StatusCode::OK, json!("cancelled")));
    let over = rig.post(&format!("/v1/runs/{id}/kill"), "").await;
    assert_eq!((over.status, over.json()["error"]["code"].clone()), (StatusCode::CONFLICT, json!("run-is-over")));

    rig.waiting().await;
    let claim = rig.claim().await;
    let elsewhere = rig.post(&format!("/v1/runs/{}/kill", claim.key.run), "").await;
    assert_eq!((elsewhere.status, elsewhere.json()["effect"].clone()), (StatusCode::ACCEPTED, json!("requested")));
    let live = rig.goes_live(&claim);
    let here = rig.post(&format!("/v1/runs/{}/kill?reason=enough", claim.key.run), "").await;
    assert_eq!((here.status, here.json()["effect"].clone()), (StatusCode::ACCEPTED, json!("stopping")));
    assert_eq!(live.stopped(), Some(Stop::Killed("enough".to_owned())));
}

#[tokio::test]
async fn triggering_a_paused_task_reports_the_pause() {
    let rig = Rig::new();
    assert_eq!(
        rig.post("/v1/tasks/hello/pause", "").await.json(),
        json!({ "task": "hello", "paused": true, "paused_by": "task", "paused_at": "2026-11-22T10:00:00.000Z", "already": false })
    );
    assert_eq!(rig.post("/v1/tasks/hello/runs", "").await.json()["paused"], true);
    assert_eq!(rig.get("/v1/tasks/hello").await.json()["paused"], true);
    assert_eq!(rig.post("/v1/tasks/hello/resume", "").await.json()["paused"], false);
    assert_eq!(rig.get("/v1/tasks/hello").await.json()["paused"], false);
}

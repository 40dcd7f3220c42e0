//! Tests pauses of many tasks, forced runs, and a host that a signal paused.

use sexton_store::tasks::Tasks as _;

use super::*;

#[tokio::test]
async fn a_tenant_and_all_are_paused_and_resumed_apart() {
    let rig = Rig::new();

    let acmes = rig.post("/v1/tenants/acme/pause?why=moving%20house", "").await.json();
    let all = rig.post("/v1/pause", "").await.json();

    let at = "2026-11-22T10:00:00.000Z";
    let said = json!({ "tenant": "acme", "paused": true, "paused_by": "tenant", "paused_at": at, "paused_why": "moving house", "already": false });
    assert_eq!(acmes, said);
    let again = rig.post("/v1/tenants/acme/pause?reason=moving%20out", "").await.json();
    assert_eq!([&again["already"], &again["paused_why"]], [&json!(true), &json!("moving out")]);
    rig.post("/v1/tenants/acme/pause?reason=moving%20house", "").await;
    assert_eq!(all["paused_by"], "all");
    assert_eq!(rig.get("/v1/host").await.json()["all_paused"], json!({ "since": at, "why": null }));
    let task = rig.get("/v1/tasks").await.json()["tasks"][0].clone();
    assert_eq!([&task["paused"], &task["paused_by"], &task["paused_at"]], [&json!(true), &json!("all"), &json!(at)]);
    assert_eq!(rig.get("/v1/tasks/hello").await.json()["paused_by"], "all");
    let tenants = rig.get("/v1/tenants").await.json()["tenants"].clone();
    assert_eq!(tenants[0]["paused"], format!("its tenant is paused since {at}: moving house"));
    assert_eq!(tenants[1]["paused"], format!("all tasks are paused since {at}"));
    let page = rig.get("/").await;
    assert!(page.text().contains(">all tasks</a>"), "{}", page.text());

    let still = rig.post("/v1/tenants/acme/resume", "").await.json();
    assert_eq!([&still["paused"], &still["paused_by"]], [&json!(true), &json!("all")]);
    assert_eq!(rig.post("/v1/tasks/hello/resume", "").await.json()["paused_by"], "all");
    assert_eq!(rig.post("/v1/resume", "").await.json()["paused"], false);
    assert_eq!(rig.get("/v1/tasks/hello").await.json()["paused"], false);
}

#[tokio::test]
async fn an_unclear_pause_pauses_no_task() {
    let rig = Rig::new();
    for (path, status, code) in [
        ("/v1/pause?tenant=acme", 400, "bad-query"),
        ("/v1/tenants/acme/pause?tenant=default", 400, "bad-query"),
        ("/v1/tenants/nobody/pause", 404, "no-such-tenant"),
        ("/v1/tenants/A/pause", 400, "bad-name"),
        ("/v1/pause?why=", 400, "bad-query"),
        ("/v1/tasks/hello/pause?why=a%0Ab", 400, "bad-query"),
        ("/v1/resume?why=x", 400, "bad-query"),
        ("/v1/tasks/nobody/pause", 404, "no-such-task"),
    ] {
        let answer = rig.post(path, "").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (status, &json!(code)), "{path}");
    }
    assert_eq!(rig.get("/v1/pause").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(rig.store.pauses().await.unwrap(), sexton_domain::pause::Pauses::default());
    let long = format!("/v1/pause?why={}", "x".repeat(201));
    assert_eq!(rig.post(&long, "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_forced_run_reports_the_limits_that_it_exceeded() {
    let rig = Rig::new();
    let free = rig.post("/v1/tasks/hello/runs?past_limits=true", "").await.json();
    assert_eq!(free["note"], "past its limits, although none of them held it back");
    let running = rig.claim().await;
    rig.catalog.change(|tasks| {
        let mut thrifty = Task::clone(&task("hello", Trigger::OnDemand));
        thrifty.overlap = Overlap::Replace;
        thrifty.budget.fuel_per_minute = Some(1000);
        tasks.insert(thrifty.key.clone(), Arc::new(thrifty));
    });
    let attempt = rig.budgets.begin(&running);
    rig.budgets.used(running.key, 1500);
    drop(attempt);
    rig.post("/v1/tasks/hello/pause?why=it%20is%20late", "").await;
    rig.post("/v1/pause", "").await;

    let forced = rig.post("/v1/tasks/hello/runs?past_limits=true", "").await.json();

    let note = "past its limits: `hello` is paused: it is late; all tasks are paused since 2026-11-22T10:00:00.000Z; \
                over its budget of 1000 fuel a minute; `hello` has reached its limit of 1 concurrent runs";
    assert_eq!([&forced["note"], &forced["replaced"]], [&json!(note), &json!([])], "{forced}");
    let run = rig.get(&format!("/v1/runs/{}", forced["run"])).await.json()["run"].clone();
    assert_eq!((&run["note"], &run["forced"]), (&json!(note), &json!(true)));
    assert_eq!([&run["why"], &run["held_back"]], [&Value::Null; 2], "nothing but a place keeps it");
    let later = rig.post("/v1/tasks/hello/runs?past_limits=true&after=1m", "").await;
    assert_eq!((later.status, &later.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("bad-query")));
}

#[tokio::test]
async fn a_pause_by_a_signal_is_shown_everywhere() {
    let rig = Rig::new();
    assert_eq!(rig.get("/v1/host").await.json()["paused_at"], Value::Null);

    rig.pause.begin(NOW);

    let at = "2026-11-22T10:00:00.000Z";
    let why = json!({ "reason": format!("this host is paused by a signal since {at}"), "until": null });
    assert_eq!(rig.get("/v1/host").await.json()["paused_at"], at);
    assert_eq!(rig.get("/v1/live").await.json()["paused_at"], at);
    assert_eq!(rig.get("/v1/tasks").await.json()["tasks"][0]["held_back"], why);
    let made = rig.post("/v1/tasks/hello/runs?past_limits=true", "").await.json();
    assert_eq!(made["held_back"], why, "not even that starts");
    assert_eq!(rig.get(&format!("/v1/runs/{}", made["run"])).await.json()["run"]["held_back"], why);
    assert!(rig.get("/").await.text().contains("Paused by a signal since 10:00:00 UTC"));
}

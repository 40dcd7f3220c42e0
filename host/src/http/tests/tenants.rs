//! Tests requests that name a tenant, and tasks over a budget.

use super::*;

#[tokio::test]
async fn a_tenant_that_is_named_sees_its_own_and_nothing_else() {
    let rig = Rig::new();
    let id = rig.waiting().await;
    rig.catalog.change(|tasks| {
        let mut task = Task::clone(&task("theirs", Trigger::OnDemand));
        task.key.tenant = acme();
        tasks.insert(task.key.clone(), Arc::new(task));
    });

    let made = rig.post("/v1/tasks/theirs/runs?tenant=acme&after=10s", "").await;
    let theirs = made.json()["run"].clone();

    assert_eq!(made.header("location"), format!("/v1/runs/{theirs}?tenant=acme"));
    assert_eq!(rig.get(made.header("location")).await.json()["run"]["tenant"], "acme");
    let tasks = rig.get("/v1/tasks?tenant=acme").await.json();
    assert_eq!((tasks["tasks"].as_array().map(Vec::len), &tasks["tasks"][0]["name"]), (Some(1), &json!("theirs")));
    let runs = rig.get("/v1/runs?limit=5&tenant=acme&state=waiting").await.json();
    assert_eq!((runs["runs"].as_array().map(Vec::len), &runs["runs"][0]["id"]), (Some(1), &theirs));
    for hidden in [
        format!("/v1/runs/{theirs}"),
        format!("/v1/runs/{theirs}/log"),
        format!("/v1/runs/{id}?tenant=acme"),
        "/v1/tasks/theirs".to_owned(),
        "/v1/tasks/hello?tenant=acme".to_owned(),
    ] {
        assert_eq!(rig.get(&hidden).await.status, StatusCode::NOT_FOUND, "{hidden}");
    }
    assert_eq!(rig.post(&format!("/v1/runs/{id}/kill?tenant=acme"), "").await.status, StatusCode::NOT_FOUND);
    for path in ["/?tenant=acme", "/tasks?tenant=acme"] {
        let page = rig.get(path).await;
        assert!(page.text().contains("/tasks/theirs?tenant=acme") && !page.text().contains("hello"), "{}", page.text());
    }

    let put = request(Method::PUT, "/v1/cache/key?tenant=acme&ttl=1m").body(Body::from(vec![0; 1001]));
    assert_eq!(rig.ask(put.expect("a request")).await.json()["error"]["code"], "cache-full", "its own quota");
    let put = request(Method::PUT, "/v1/cache/key?tenant=acme").body(Body::from("theirs"));
    assert_eq!(rig.ask(put.expect("a request")).await.status, StatusCode::OK);
    assert_eq!(rig.get("/v1/cache/key").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_unknown_tenant_is_an_error() {
    let rig = Rig::new();
    for (query, status, code) in [
        ("tenant=nobody", 404, "no-such-tenant"),
        ("tenant=ACME", 400, "bad-name"),
        ("tenant=", 400, "bad-name"),
        ("tenant=acme&tenant=default", 400, "bad-query"),
        ("tenants=acme", 400, "bad-query"),
    ] {
        let answer = rig.get(&format!("/v1/tasks?{query}")).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (status, &json!(code)), "{query}");
    }
}

#[tokio::test]
async fn a_run_over_a_budget_waits_with_the_reason() {
    let rig = Rig::new();
    rig.catalog.change(|tasks| {
        let mut thrifty = Task::clone(&task("hello", Trigger::OnDemand));
        thrifty.budget.fuel_per_minute = Some(1000);
        tasks.insert(thrifty.key.clone(), Arc::new(thrifty));
    });
    rig.waiting().await;
    let claim = rig.claim().await;
    let attempt = rig.budgets.begin(&claim);
    rig.budgets.used(claim.key, 1500);
    drop(attempt);

    let (now, later) = (rig.waiting().await, rig.post("/v1/tasks/hello/runs?after=1m", "").await.json()["run"].clone());

    let why = json!({ "reason": "over its budget of 1000 fuel a minute", "until": "2026-11-22T10:00:30.001Z" });
    let run = rig.get(&format!("/v1/runs/{now}")).await.json()["run"].clone();
    assert_eq!(run["held_back"], why);
    assert_eq!(run["why"], "over its budget of 1000 fuel a minute until 2026-11-22T10:00:30.001Z");
    assert_eq!(rig.get("/v1/tasks").await.json()["tasks"][0]["held_back"], why);
    let runs = rig.get("/v1/runs").await.json();
    assert_eq!((&runs["runs"][0]["id"], &runs["runs"][0]["held_back"]), (&later, &Value::Null), "it is not due yet");
    assert_eq!(runs["runs"][1]["held_back"], why);
    assert_eq!(runs["runs"][2]["held_back"], Value::Null, "it is running");
    let waits: Vec<_> = (0..3).map(|run| runs["runs"][run]["why"].is_string()).collect();
    assert_eq!(waits, [false, true, false], "in words, too");
    rig.post("/v1/tasks/hello/pause", "").await;
    let run = rig.get(&format!("/v1/runs/{now}")).await.json()["run"].clone();
    assert_eq!((&run["why"], &run["held_back"]), (&json!("its task is paused"), &why), "which nobody ends by waiting");
    rig.post("/v1/tasks/hello/resume", "").await;
    let tenants = rig.get("/v1/tenants").await.json();
    assert_eq!(
        tenants["tenants"][0],
        json!({ "name": "acme", "running": 0, "runs": 2, "fuel_left": 1_000_000, "fuel_per_minute": 1_000_000, "cache": 1000, "cache_used": 0, "held_back": null })
    );
}

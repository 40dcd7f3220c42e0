//! Tests requests for many runs at once.

use super::*;

/// Returns the response to a request for these runs.
async fn made(rig: &Rig, runs: Value) -> Value {
    let answer = rig.post("/v1/runs", &json!({ "runs": runs }).to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn each_of_many_runs_is_made_as_it_would_be_alone() {
    let rig = Rig::new();
    rig.post("/v1/tasks/tick/pause?reason=tea", "").await;

    let answer = made(
        &rig,
        json!([
            { "task": "hello", "input": "text", "labels": { "team": "web" } },
            { "task": "hello", "input": { "name": "Ada", "at": [1, 2] } },
            { "task": "hello", "in": "10s" },
            { "task": "hello", "at": "next friday 17:00" },
            { "task": "hello", "input": "" },
            { "task": "tick" },
            { "task": "tick", "past_limits": true },
        ]),
    )
    .await;

    assert_eq!((&answer["created"], &answer["existing"], &answer["failed"]), (&json!(7), &json!(0), &json!(0)));
    let runs: Vec<&Value> = answer["runs"].as_array().unwrap().iter().map(|item| &item["run"]).collect();
    let ids: Vec<RunId> = runs.iter().map(|run| RunId(run["run"].as_i64().expect("a run"))).collect();
    assert!(ids.windows(2).all(|two| two[0].0 < two[1].0), "the order of the request: {ids:?}");
    let mut inputs = Vec::new();
    for id in &ids {
        inputs.push(String::from_utf8(rig.store.input(*id).await.unwrap().unwrap_or_default()).unwrap());
    }
    let own = "from the manifest";
    assert_eq!(inputs, ["text", r#"{"at":[1,2],"name":"Ada"}"#, own, own, "", own, own]);
    assert_eq!(runs[2]["due_at"], "2026-11-22T10:00:10.000Z");
    assert_eq!(runs[3]["due_at"], "2026-11-27T16:00:00.000Z", "by the clocks of the task's zone");
    assert_eq!(
        (&runs[0]["paused"], &runs[5]["paused"], &runs[5]["paused_why"]),
        (&json!(false), &json!(true), &json!("tea"))
    );
    assert!(runs[6]["note"].as_str().unwrap().starts_with("past its limits: `tick` is paused"), "{}", runs[6]);
    let shown = rig.get(&format!("/v1/runs/{}", ids[0])).await.json();
    assert_eq!(shown["run"]["labels"], json!({ "team": "web" }));
}

#[tokio::test]
async fn a_run_that_is_refused_keeps_no_other_from_being_made() {
    let rig = Rig::new();
    let many: std::collections::BTreeMap<String, String> = (0..17).map(|n| (format!("k{n}"), "v".to_owned())).collect();

    let answer = made(
        &rig,
        json!([
            { "task": "hello" },
            { "task": "helo" },
            { "task": "No name" },
            { "input": "x" },
            "hello",
            { "task": "hello", "inputs": "x" },
            { "task": "hello", "in": "10" },
            { "task": "hello", "in": "1s", "at": "tomorrow" },
            { "task": "hello", "in": "1s", "past_limits": true },
            { "task": "hello", "key": "" },
            { "task": "hello", "labels": { "Team": "web" } },
            { "task": "hello", "labels": many },
            { "task": "hello" },
        ]),
    )
    .await;

    let told: Vec<(u64, &str, &str)> = answer["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| match &item["problem"] {
            Value::Null => (202, "", ""),
            problem => {
                assert_eq!(problem["type"], format!("urn:sexton:problem:{}", problem["code"].as_str().unwrap()));
                let text = |name: &str| problem[name].as_str().unwrap();
                (problem["status"].as_u64().unwrap(), text("code"), text("detail"))
            }
        })
        .collect();
    let expected = [
        (202, "", ""),
        (404, "no-such-task", "`helo`"),
        (400, "bad-name", "`task`: `No name`"),
        (400, "bad-run", "missing field `task`"),
        (400, "bad-run", "invalid type: string"),
        (400, "bad-run", "unknown field `inputs`, expected one of `task`, `input`"),
        (400, "bad-duration", "`10`"),
        (400, "bad-query", "exclude each other"),
        (400, "bad-query", "`past_limits`"),
        (400, "bad-idempotency-key", "`key` has 1 to 200"),
        (400, "bad-label", "`Team`"),
        (400, "bad-label", "17 labels"),
        (202, "", ""),
    ];
    for ((status, code, detail), (right, known, words)) in told.iter().zip(expected) {
        assert_eq!((*status, *code), (right, known), "{detail}");
        assert!(detail.contains(words), "{detail}");
    }
    assert_eq!((told.len(), &answer["created"], &answer["failed"]), (13, &json!(2), &json!(11)));
    assert_eq!(answer["runs"][1]["problem"]["hint"], "did you mean `hello`? the tasks are: hello, tick");
    assert_eq!(rig.get("/v1/runs").await.json()["runs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_makes_one_run_of_its_task_within_a_request_and_over_several() {
    let rig = Rig::new();
    let runs =
        json!([{ "task": "hello", "key": "a" }, { "task": "hello", "key": "a" }, { "task": "tick", "key": "a" }]);

    let (first, second) = (made(&rig, runs.clone()).await, made(&rig, runs).await);

    assert_eq!((&first["created"], &first["existing"]), (&json!(2), &json!(1)));
    assert_eq!((&second["created"], &second["existing"]), (&json!(0), &json!(3)));
    assert_eq!(first["runs"][0]["run"]["run"], second["runs"][1]["run"]["run"]);
    assert_eq!(second["runs"][0]["run"]["created"], false);
}

#[tokio::test]
async fn a_request_has_one_to_a_thousand_runs_in_a_list() {
    let rig = Rig::new();
    let of = |runs: usize| json!({ "runs": vec![json!({ "task": "hello" }); runs] }).to_string();

    for (body, words) in [
        ("".to_owned(), "no list of runs"),
        ("[]".to_owned(), "no list of runs"),
        ("{}".to_owned(), "missing field `runs`"),
        (r#"{"runs": 1}"#.to_owned(), "invalid type"),
        (r#"{"runs": [{"task": "hello"}], "dry": true}"#.to_owned(), "unknown field `dry`"),
        (r#"{"runs": [{"task": "hello"}"#.to_owned(), "EOF"),
        ("\u{0}\u{1b}[2J".to_owned(), "no list of runs"),
        (of(0), "1 to 1000 runs, this one has 0"),
        (of(1001), "1 to 1000 runs, this one has 1001"),
    ] {
        let refused = rig.post("/v1/runs", &body).await;
        assert_eq!(
            (refused.status, &refused.json()["code"]),
            (StatusCode::BAD_REQUEST, &json!("bad-body")),
            "{body:.80}"
        );
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(words) && !detail.contains(char::is_control), "{detail}");
    }
    assert_eq!(rig.get("/v1/runs").await.json()["runs"], json!([]), "nothing was made");
    assert_eq!(rig.post("/v1/runs", &of(1000)).await.json()["created"], 1000);
}

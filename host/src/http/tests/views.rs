//! Tests views over several runs, reruns and backfills.

use super::*;
use sexton_store::runs::Runs as _;

/// The instant `seconds` after [`NOW`].
fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

impl Rig {
    /// Ends the attempt of a claim with an output that ended `seconds` after now.
    async fn ends(&self, claim: &Claim, seconds: u64, body: &str) {
        let output = Output { content_type: Some("text/plain".to_owned()), body: body.as_bytes().to_vec() };
        let report = Report { ended_at: after(seconds), ..report(Outcome::Succeeded, String::new()) };
        self.finish(claim, Transition::Succeed(output), report).await;
    }

    /// Makes a run of `hello` that has failed with this message.
    async fn failed(&self, seconds: u64, message: &str) -> RunId {
        self.waiting().await;
        let claim = self.claim().await;
        let said = Report {
            ended_at: after(seconds),
            message: Some(message.to_owned()),
            ..report(Outcome::FailedPermanent, String::new())
        };
        self.finish(&claim, Transition::Fail, said).await;
        claim.key.run
    }
}

#[tokio::test]
async fn the_result_is_that_of_the_run_that_ended_last_and_any_runs_own_can_be_asked_for() {
    let rig = Rig::new();
    rig.waiting().await;
    let patient = rig.claim().await;
    rig.waiting().await;
    let quick = rig.claim().await;
    rig.ends(&quick, 1, "quick").await;
    let before = rig.get("/v1/tasks/hello/result").await;
    rig.ends(&patient, 60, "patient").await;

    let after = rig.get("/v1/tasks/hello/result").await;
    let of_run = rig.get(&format!("/v1/tasks/hello/result?of_run={}", quick.key.run)).await;
    let of_another = rig.get(&format!("/v1/tasks/tick/result?of_run={}", quick.key.run)).await;
    let unknown = rig.get("/v1/tasks/hello/result?of_run=999").await;

    assert!(patient.key.run < quick.key.run);
    assert_eq!((before.text(), after.text(), of_run.text()), ("quick", "patient", "quick"));
    assert_eq!(after.header("x-sexton-run"), patient.key.run.to_string());
    assert_eq!(after.header("last-modified"), "Sun, 22 Nov 2026 10:01:00 GMT");
    assert_eq!((of_another.status, unknown.status), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert!(of_another.json()["error"]["message"].as_str().unwrap().contains("not one of `tick`, but of `hello`"));
    assert_eq!(rig.get("/v1/tasks/hello/result?of_run=x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_task_is_shown_with_sums_over_its_runs_and_how_failures_came_and_went() {
    let rig = Rig::new();
    rig.waiting().await;
    rig.ends(&rig.claim().await, 2, "good").await;
    let first = rig.failed(10, "no route to 10.0.0.7").await;
    rig.failed(20, "no route to 10.0.0.8").await;
    let new = rig.failed(30, "no space left").await;
    rig.waiting().await;
    let healer = rig.claim().await;
    rig.ends(&healer, 40, "good").await;
    rig.waiting().await;
    assert_eq!(rig.get("/v1/tasks/hello").await.json().get("statistics"), None, "they were not requested");

    let sums = rig.get("/v1/tasks/hello?statistics=true").await.json()["statistics"].clone();

    assert_eq!(sums["since"], "2026-11-15T10:00:00.000Z");
    let counts =
        ["runs", "succeeded", "failed", "skipped", "cancelled", "running", "waiting"].map(|word| sums[word].clone());
    assert_eq!(counts, [6, 2, 3, 0, 0, 0, 1].map(Value::from));
    assert_eq!(sums["at_once"], json!({"most": 5, "limit": 16, "at_limit": 0}));
    assert_eq!(sums["run"], json!({"count": 5, "mean_ms": 20_400, "p95_ms": 40_000, "longest_ms": 40_000}));
    let changes: Vec<Value> = sums["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| json!([change["change"], change["run"], change["failures"]]))
        .collect();
    assert_eq!(changes, [json!(["first", first, 2]), json!(["new", new, 1]), json!(["healed", healer.key.run, 3])]);
    assert_eq!(sums["failing_since"], Value::Null);
}

#[tokio::test]
async fn the_window_of_the_sums_is_a_duration_or_begins_at_an_instant() {
    let rig = Rig::new();
    let since = async |text: &str| rig.get(&format!("/v1/tasks/hello?since={text}")).await;

    for (text, begin) in [
        ("24h", "2026-11-21T10:00:00.000Z"),
        ("1d%2012h", "2026-11-20T22:00:00.000Z"),
        ("2026-11-01", "2026-10-31T23:00:00.000Z"),
        ("2026-11-21%2006:00", "2026-11-21T05:00:00.000Z"),
        ("yesterday", "2026-11-20T23:00:00.000Z"),
    ] {
        assert_eq!(since(text).await.json()["statistics"]["since"], begin, "{text}");
    }
    for (wrong, code) in [
        ("7", "bad-instant"),
        ("tomorrow", "bad-instant"),
        ("2026-12-24", "bad-query"),
        ("9999d", "bad-duration"),
        ("", "bad-instant"),
    ] {
        let answer = since(wrong).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn a_run_that_is_over_is_repeated_with_its_input_or_another() {
    let rig = Rig::new();
    let made = rig.post("/v1/tasks/hello/runs", r#"{"name":"Ada"}"#).await.json();
    let run = made["run"].as_i64().unwrap();
    let path = format!("/v1/runs/{run}/rerun");
    let waits = rig.post(&path, "").await;
    rig.ends(&rig.claim().await, 1, "good").await;

    let again =
        || request(Method::POST, &path).header("idempotency-key", "once").body(Body::empty()).expect("a request");
    let (first, second) = (rig.ask(again()).await, rig.ask(again()).await);
    let other = rig.post(&path, "other").await.json();

    assert_eq!((waits.status, &waits.json()["error"]["code"]), (StatusCode::CONFLICT, &json!("run-is-not-over")));
    assert_eq!((first.status, second.status), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!((first.json(), second.header("idempotency-replayed")), (second.json(), "true"));
    assert_eq!(first.json()["reruns"], json!({"run": run, "task": "hello"}));
    assert_eq!(first.header("location"), format!("/v1/runs/{}", first.json()["run"]));
    let shown = rig.get(&format!("/v1/runs/{}", first.json()["run"])).await.json();
    assert_eq!((&shown["run"]["reruns"], &shown["run"]["parent"]), (&json!(run), &json!(run)));
    assert_eq!(
        (&shown["run"]["cause"], &shown["run"]["note"]),
        (&json!("demand"), &json!(format!("rerun of run {run}")))
    );
    assert_eq!(shown["input"]["json"], json!({"name": "Ada"}));
    let shown = rig.get(&format!("/v1/runs/{}", other["run"])).await.json();
    assert_eq!((&shown["input"]["kind"], &shown["input"]["text"]), (&json!("text"), &json!("other")));
    let parent = rig.get(&format!("/v1/runs/{run}")).await.json();
    let children: Vec<Value> =
        parent["children"].as_array().unwrap().iter().map(|child| json!([child["run"], child["kind"]])).collect();
    assert_eq!(children, [json!([first.json()["run"], "rerun"]), json!([other["run"], "rerun"])]);
}

#[tokio::test]
async fn an_empty_input_is_given_by_saying_so() {
    let rig = Rig::new();
    let made = rig.post("/v1/tasks/hello/runs?input=given", "").await.json();
    let first = rig.post("/v1/tasks/hello/runs", "old").await.json();
    rig.ends(&rig.claim().await, 1, "good").await;
    rig.ends(&rig.claim().await, 2, "good").await;
    let path = format!("/v1/runs/{}/rerun", first["run"]);
    let (same, empty) = (rig.post(&path, "").await.json(), rig.post(&format!("{path}?input=given"), "").await.json());
    let input = async |made: &Value| {
        let run = sexton_domain::run::RunId(made["run"].as_i64().unwrap());
        rig.store.input(run).await.unwrap().unwrap_or_default()
    };

    assert_eq!((input(&made).await, input(&empty).await), (vec![], vec![]));
    assert_eq!(input(&same).await, b"old");
    assert_eq!(rig.post(&format!("{path}?input=none"), "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_rerun_belongs_to_the_tenant_of_its_run_and_needs_its_task() {
    let rig = Rig::new();
    let run = rig.succeeded(None, "good").await;

    let of_another = rig.post(&format!("/v1/runs/{run}/rerun?tenant=acme"), "").await;
    rig.catalog.replace(BTreeMap::new());
    let without_task = rig.post(&format!("/v1/runs/{run}/rerun"), "").await;

    assert_eq!(of_another.json()["error"]["code"], "no-such-run");
    assert_eq!(without_task.json()["error"]["code"], "no-such-task");
    assert_eq!(rig.post(&format!("/v1/runs/{run}/rerun?nonsense=1"), "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_binary_input_is_shown_by_its_size_and_digest() {
    let rig = Rig::new();
    let made =
        rig.ask(request(Method::POST, "/v1/tasks/hello/runs").body(Body::from(&b"\xff"[..])).unwrap()).await.json();

    let input = rig.get(&format!("/v1/runs/{}", made["run"])).await.json()["input"].clone();

    assert_eq!((&input["kind"], &input["bytes"], &input["text"]), (&json!("binary"), &json!(1), &Value::Null));
    assert_eq!(input["sha256"].as_str().map(str::len), Some(64));
}

/// A minute of `tick`, which is due every ten seconds: its end is not of the range.
const MINUTE: &str = "from=2026-11-22T09:00:00Z&to=2026-11-22T09:01:00Z";

#[tokio::test]
async fn a_backfill_is_shown_before_it_is_made_and_makes_no_run_twice() {
    let rig = Rig::new();
    let instant = Timestamp::from_millis(NOW.as_millis() - 3_600_000 + 20_000);
    let task = rig.catalog.tasks().values().find(|task| task.key.task.as_str() == "tick").cloned().unwrap();
    rig.store.enqueue(vec![sexton_store::NewRun::scheduled(&task, instant)], NOW).await.unwrap();
    let path = format!("/v1/tasks/tick/backfill?{MINUTE}&at_once=2");

    let plan = rig.post(&format!("{path}&dry_run=true"), "").await;
    let runs = rig.get("/v1/runs?task=tick").await.json()["runs"].as_array().unwrap().len();
    let made = rig.post(&path, "").await;
    let again = rig.post(&path, "").await;

    let expected = json!({"task": "tick", "from": "2026-11-22T09:00:00.000Z", "to": "2026-11-22T09:01:00.000Z", "at_once": 2,
        "instants": 6, "existing": 1, "forgotten": 0, "forgotten_until": null, "also_forgotten": false, "runs": 5, "first": "2026-11-22T09:00:00.000Z", "last": "2026-11-22T09:00:50.000Z", "dry_run": true});
    assert_eq!((plan.status, plan.json(), runs), (StatusCode::OK, expected.clone(), 1));
    assert_eq!(
        (made.status, &made.json()["runs"], &made.json()["dry_run"]),
        (StatusCode::ACCEPTED, &json!(5), &json!(false))
    );
    assert_eq!(
        (again.status, &again.json()["runs"], &again.json()["existing"]),
        (StatusCode::OK, &json!(0), &json!(6))
    );
    let listed = rig.get("/v1/runs?task=tick").await.json()["runs"].clone();
    let waits: Vec<&Value> = listed.as_array().unwrap().iter().filter(|run| run["backfill"] == true).collect();
    assert_eq!(waits.len(), 5);
    let in_turn = waits.iter().filter(|run| run["why"].as_str().is_some_and(|why| why.contains("its turn"))).count();
    assert_eq!(in_turn, 3, "two have had their turn: {waits:?}");
    let first = waits.last().unwrap();
    assert_eq!(
        (&first["due_at"], &first["cause"], &first["note"]),
        (&json!("2026-11-22T09:00:00.000Z"), &json!("schedule"), &json!("backfill"))
    );
}

#[tokio::test]
async fn a_backfill_that_makes_no_sense_is_refused_with_the_reason() {
    let rig = Rig::new();
    for (path, code, part) in [
        ("hello/backfill?from=2026-11-22", "not-by-clock", "`hello` is due on demand"),
        ("tick/backfill?from=2026-11-22T09:00:00Z&to=2026-11-22T08:00:00Z", "bad-range", "`from` is before `to`"),
        ("tick/backfill?from=2026-11-22&to=2026-11-23", "bad-range", "is ahead"),
        ("tick/backfill?from=2026-01-01", "bad-range", "more than 10000 instants"),
        (&format!("tick/backfill?{MINUTE}&at_once=17"), "bad-range", "the 16 runs of `tick`"),
        (&format!("tick/backfill?{MINUTE}&at_once=0"), "bad-range", "`at_once` is 1 or more"),
        ("tick/backfill?from=noonish", "bad-instant", "`from`"),
        ("tick/backfill", "bad-query", "from"),
        ("tack/backfill?from=2026-11-22", "no-such-task", "tack"),
    ] {
        let answer = rig.post(&format!("/v1/tasks/{path}"), "").await.json();
        let error = &answer["error"];
        assert_eq!(error["code"], code, "{path}: {answer}");
        assert!(error["message"].as_str().unwrap().contains(part), "{path}: {answer}");
    }
    assert_eq!(rig.get("/v1/runs").await.json()["runs"], json!([]));
}

#[tokio::test]
async fn a_backfill_whose_inputs_would_fill_the_store_is_refused() {
    let rig = Rig::new();
    let mut tasks = (*rig.catalog.tasks()).clone();
    for task in tasks.values_mut() {
        *task = Arc::new(Task { input: vec![b'x'; 1 << 20], ..(**task).clone() });
    }
    rig.catalog.replace(tasks);
    let backfill = async |to: &str| {
        let range = format!("from=2026-11-22T09:00:00Z&to=2026-11-22T{to}:00Z&dry_run=true");
        rig.post(&format!("/v1/tasks/tick/backfill?{range}"), "").await
    };

    let (large, small) = (backfill("09:45").await, backfill("09:30").await);

    assert!(large.json()["error"]["message"].as_str().unwrap().contains("256 MiB"), "{}", large.text());
    assert_eq!(small.json()["runs"], 180);
}

#[tokio::test]
async fn a_backfill_is_cancelled_as_far_as_it_has_not_begun() {
    let rig = Rig::new();
    rig.post(&format!("/v1/tasks/tick/backfill?{MINUTE}"), "").await;
    let delete = async |task: &str| {
        let path = format!("/v1/tasks/{task}/backfill");
        rig.ask(request(Method::DELETE, &path).body(Body::empty()).expect("a request")).await
    };

    let (first, second, unknown) = (delete("tick").await, delete("tick").await, delete("tack").await);

    assert_eq!(first.json(), json!({"task": "tick", "cancelled": 5}));
    assert_eq!(second.json(), json!({"task": "tick", "cancelled": 0}));
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let again = rig.post(&format!("/v1/tasks/tick/backfill?{MINUTE}"), "").await.json();
    assert_eq!((&again["runs"], &again["existing"]), (&json!(5), &json!(1)));
}

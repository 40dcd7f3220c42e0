//! Tests added schedules, at an instant that does not move.

use super::*;
use sexton_domain::task::Pattern;
use sexton_store::added::{AddSchedule, AddedSchedules as _, ScheduleFilter};

impl Rig {
    async fn put_schedule(&self, path: &str, body: &Value) -> Answer {
        let put = request(Method::PUT, &format!("/v1/schedules/{path}")).body(Body::from(body.to_string()));
        self.ask(put.expect("a request")).await
    }
}

#[tokio::test]
async fn a_schedule_says_when_it_is_due_in_its_zone() {
    let rig = Rig::new();
    let body = json!({
        "task": "hello", "cron": "0 12 * * *", "zone": "Europe/Berlin", "delay": "1m 30s", "start": "in 1d",
        "end": "2027-01-01T00:00:00+01:00", "times": 3, "data": {"n": 1},
    });

    let made = rig.put_schedule("noon", &body).await;

    assert_eq!((made.status, made.header("location")), (StatusCode::CREATED, "/v1/schedules/noon"));
    let made = made.json();
    assert_eq!((&made["effect"], &made["schedule"]["trigger"]["text"]), (&json!("added"), &json!("cron 0 12 * * *")));
    let mut schedule = rig.get("/v1/schedules/noon").await.json();
    let data = schedule.as_object_mut().and_then(|schedule| schedule.remove("data"));
    assert_eq!((data, &schedule), (Some(json!({"type": "json", "json": {"n": 1}})), &made["schedule"]));
    // Noon in Berlin is 11:00 in UTC. It is 10:00 now, and the start is a day ahead.
    let next = json!({"at": "2026-11-23T11:00:00.000Z", "local": "2026-11-23T12:00:00+01:00", "starts_at": "2026-11-23T11:01:30.000Z"});
    assert_eq!(schedule["next"], next);
    assert_eq!(
        (&schedule["delay_ms"], &schedule["times"], &schedule["data_bytes"]),
        (&json!(90_000), &json!(3), &json!(7))
    );
    assert_eq!(schedule["end"], "2026-12-31T23:00:00.000Z");
}

#[tokio::test]
async fn a_request_that_is_sent_again_does_nothing_more() {
    let rig = Rig::new();
    let body = json!({"task": "hello", "at": "2026-11-22T10:00:05Z"});
    assert_eq!(rig.put_schedule("once", &body).await.status, StatusCode::CREATED);

    let again = rig.put_schedule("once", &body).await;
    rig.catalog.replace(BTreeMap::new());
    let without_its_task = rig.put_schedule("once", &body).await;
    let other = rig.put_schedule("other", &body).await;

    assert_eq!((again.status, &again.json()["effect"]), (StatusCode::OK, &json!("existing")));
    assert_eq!(
        (without_its_task.status, &without_its_task.json()["schedule"]["state"]),
        (StatusCode::OK, &json!("resting"))
    );
    assert_eq!((other.status, &other.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no-such-task")));
}

#[tokio::test]
async fn a_change_over_another_change_is_a_conflict() {
    let rig = Rig::new();
    let first = rig.put_schedule("k", &json!({"task": "hello", "every": "1h"})).await.json();
    let seen = &first["schedule"]["version"];
    let change = |every: &str| json!({"task": "hello", "every": every, "replace": true, "version": seen});

    let mine = rig.put_schedule("k", &change("2h")).await;
    let theirs = rig.put_schedule("k", &change("3h")).await;
    let path = format!("/v1/schedules/k?version={seen}");
    let deleted = rig.ask(request(Method::DELETE, &path).body(Body::empty()).expect("a request")).await;

    assert_eq!((mine.status, &mine.json()["effect"]), (StatusCode::OK, &json!("replaced")));
    for late in [theirs, deleted] {
        assert_eq!((late.status, &late.json()["error"]["code"]), (StatusCode::CONFLICT, &json!("schedule-changed")));
    }
    assert_eq!(rig.get("/v1/schedules/k").await.json()["trigger"]["text"], "every 2h");
}

#[tokio::test]
async fn schedules_of_tenants_are_apart() {
    let rig = Rig::new();
    rig.catalog.change(|tasks| {
        let mut task = testkit::task("theirs");
        task.key.tenant = acme();
        tasks.insert(task.key.clone(), Arc::new(task));
    });
    let own = json!({"task": "hello", "every": "1h"});
    assert_eq!(rig.put_schedule("k", &own).await.status, StatusCode::CREATED);

    let foreign = rig.put_schedule("k?tenant=acme", &own).await;
    let theirs = rig.put_schedule("k?tenant=acme", &json!({"task": "theirs", "every": "2h"})).await;

    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!((theirs.status, theirs.header("location")), (StatusCode::CREATED, "/v1/schedules/k?tenant=acme"));
    let listed = rig.get("/v1/schedules?tenant=acme").await.json();
    assert_eq!(
        (listed["schedules"].as_array().map(Vec::len), &listed["schedules"][0]["task"]),
        (Some(1), &json!("theirs"))
    );
    assert_eq!(rig.get("/v1/schedules/k").await.json()["task"], "hello");
    let gone = request(Method::DELETE, "/v1/schedules/k?tenant=acme").body(Body::empty());
    assert_eq!(rig.ask(gone.expect("a request")).await.status, StatusCode::OK);
    assert_eq!(rig.get("/v1/schedules/k").await.status, StatusCode::OK);
}

#[tokio::test]
async fn pages_of_schedules_follow_one_another() {
    let rig = Rig::new();
    for key in ["c", "a", "b"] {
        rig.put_schedule(key, &json!({"task": "hello", "every": "1h"})).await;
    }

    let first = rig.get("/v1/schedules?limit=2").await.json();
    let rest = rig.get(&format!("/v1/schedules?limit=2&after={}", first["next"].as_str().expect("more"))).await.json();

    let keys = |page: &Value| -> Vec<Value> {
        page["schedules"].as_array().expect("a list").iter().map(|schedule| schedule["key"].clone()).collect()
    };
    assert_eq!((keys(&first), keys(&rest)), (vec![json!("a"), json!("b")], vec![json!("c")]));
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn a_schedule_with_a_type_rests_with_its_reason_until_a_task_takes_the_type() {
    let rig = Rig::new();
    let body = json!({"type": "mail-a", "every": "1h", "first": "2026-11-22T10:30:00Z", "data": {"to": 1}});

    let made = rig.put_schedule("k", &body).await;
    let rests = rig.get("/v1/schedules/k").await.json();
    rig.catalog.change(|tasks| {
        let mut task = Task::clone(&task("hello", Trigger::OnDemand));
        task.types = vec![Pattern("mail-*".to_owned())];
        tasks.insert(task.key.clone(), Arc::new(task));
    });
    let goes = rig.get("/v1/schedules/k").await.json();
    let listed = rig.get("/v1/schedules").await.json()["schedules"][0].clone();

    assert_eq!(made.status, StatusCode::CREATED);
    let note = made.json()["notes"][0].as_str().expect("a note").to_owned();
    assert!(note.starts_with("no manifest has a route for the type `mail-a`"), "{note}");
    assert_eq!((&rests["state"], &rests["task"], &rests["type"]), (&json!("resting"), &Value::Null, &json!("mail-a")));
    assert_eq!(rests["reason"], "no manifest has a route for the type `mail-a`");
    assert_eq!(rests["data"], json!({"type": "json", "json": {"to": 1}}));
    assert_eq!((&goes["state"], &goes["task"], goes.get("reason")), (&json!("active"), &json!("hello"), None));
    assert_eq!((&goes["first"], &goes["next"]["at"]), (&json!("2026-11-22T10:30:00.000Z"), &goes["first"]));
    assert_eq!((listed.get("data"), &listed["data_bytes"]), (None, &json!(8)), "a list shows no data");
    let two = rig.put_schedule("x", &json!({"type": "mail-a", "task": "hello", "every": "1h"})).await;
    assert_eq!((two.status, &two.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("bad-schedule")));
}

#[tokio::test]
async fn the_payload_of_runs_is_called_data_or_input() {
    let rig = Rig::new();
    let of = |word: &str| json!({"task": "hello", "every": "1h", word: {"n": 1}});

    let made = rig.put_schedule("k", &of("data")).await;
    let again = rig.put_schedule("k", &of("input")).await;
    let both = rig.put_schedule("k", &json!({"task": "hello", "every": "1h", "data": "a", "input": "a"})).await;

    assert_eq!((made.status, &made.json()["schedule"]["data_bytes"]), (StatusCode::CREATED, &json!(7)));
    assert_eq!((again.status, &again.json()["effect"]), (StatusCode::OK, &json!("existing")));
    assert_eq!(both.status, StatusCode::BAD_REQUEST, "one of them would be left out without a word");
}

#[tokio::test]
async fn a_schedule_ahead_of_the_clock_shows_that_until_it_is_reset() {
    let rig = Rig::new();
    let made = rig.put_schedule("k", &json!({"task": "hello", "every": "1h"})).await.json();
    let schedule = rig.store.schedules(all_schedules()).await.expect("a list").remove(0);
    // Acts as a host whose clock shows a day later.
    let ahead = Timestamp::from_millis(schedule.cursor.as_millis() + 86_400_000);
    let add = AddSchedule {
        key: schedule.key.clone(),
        target: schedule.target.clone(),
        definition: schedule.definition.clone(),
        // The schedule differs, because the same schedule again would change nothing.
        data: Some(b"other".to_vec()),
        cursor: ahead,
        replace: true,
        version: None,
        guest: None,
        now: ahead,
    };
    rig.store.add_schedule(add).await.expect("its key is free");
    let reset = |path: &str| request(Method::POST, path).body(Body::empty()).expect("a request");

    let before = rig.get("/v1/schedules").await.json()["schedules"][0].clone();
    let moved = rig.ask(reset("/v1/schedules/k/reset")).await;
    let again = rig.ask(reset("/v1/schedules/k/reset")).await;
    let absent = rig.ask(reset("/v1/schedules/other/reset")).await;

    let said = before["set_back"].as_str().expect("it says why it makes no runs");
    assert_eq!(
        said,
        "the clock was set back by 1d: instants up to 2026-11-23T10:00:00+00:00 were handled already; `sexton schedule reset k` \
         lets it continue from now"
    );
    assert_eq!(made["schedule"]["set_back"], Value::Null);
    let moved = (moved.status, moved.json());
    assert_eq!(
        (moved.0, &moved.1["effect"], &moved.1["schedule"]["set_back"]),
        (StatusCode::OK, &json!("reset"), &Value::Null)
    );
    assert_eq!(moved.1["schedule"]["next"]["at"], made["schedule"]["next"]["at"]);
    assert!(moved.1["schedule"]["version"].as_u64() > before["version"].as_u64());
    assert_eq!((again.status, &again.json()["effect"]), (StatusCode::OK, &json!("existing")));
    assert_eq!((absent.status, &absent.json()["error"]["code"]), (StatusCode::NOT_FOUND, &json!("no-such-schedule")));
}

fn all_schedules() -> ScheduleFilter {
    ScheduleFilter { tenant: Name::default_tenant(), task: None, by_tasks: false, after: None, limit: 9 }
}

//! Tests the descriptions of the host, its health and its locks.

use super::*;

#[tokio::test]
async fn the_graph_of_locks_shows_holders_and_waiters() {
    let rig = Rig::new();
    let run = rig.waiting().await;
    let claim = rig.claim().await;
    let lock = LockName { tenant: Name::default_tenant(), kind: LockKind::Named, name: "ledger".to_owned() };
    let taken = rig.store.acquire_lock(lock, LockMode::Shared, claim.key, NOW).await.expect("a store that works");
    let LockTaken::Yes { fence } = taken else { panic!("{taken:?}") };

    let graph = rig.get("/v1/locks/graph").await.json();

    let at = "2026-11-22T10:00:00.000Z";
    assert_eq!(
        graph,
        json!({ "locks": [{
            "tenant": "default", "kind": "named", "name": "ledger",
            "holders": [{ "run": run, "task": "hello", "mode": "shared", "fence": fence, "since": at }],
            "waiters": [{ "run": 99, "task": "tick", "mode": "exclusive", "since": at, "place": 1, "stuck": false }],
        }], "circles": [] })
    );
}

#[tokio::test]
async fn the_host_describes_itself() {
    let rig = Rig::new();
    rig.waiting().await;
    assert_eq!(rig.get("/v1/health").await.json(), json!({ "status": "ok" }));
    let host = rig.get("/v1/host").await.json();
    assert_eq!((&host["name"], &host["pid"], &host["runs"]["waiting"]), (&json!("box"), &json!(7), &json!(1)));
    assert_eq!(rig.get("/v1/locks").await.json(), json!({ "locks": [] }));
    assert_eq!(rig.get("/v1/plugins").await.json()["plugins"][0]["name"], "broken");
}

#[tokio::test]
async fn health_shows_what_has_panicked_and_fails_while_a_part_is_down() {
    let rig = Rig::new();
    rig.supervisor.note("a run's pipeline", &guarded::<()>(|| panic!("no good")).unwrap_err());

    let after = rig.get("/v1/health").await;
    assert_eq!(after.status, StatusCode::OK);
    let part = &after.json()["parts"][0];
    assert_eq!((&part["part"], &part["panics"], &part["down"]), (&json!("a run's pipeline"), &json!(1), &json!(false)));
    assert!(part["message"].as_str().is_some_and(|message| message.starts_with("no good")), "{part}");
    assert!(part["first_at"].is_string() && part["last_at"].is_string(), "{part}");

    let (_over, stop) = tokio::sync::watch::channel(false);
    async fn fails() {
        panic!("again")
    }
    let part = rig.supervisor.part("sweeper", stop, fails);
    let down = async {
        loop {
            let answer = rig.get("/livez").await;
            if answer.status != StatusCode::OK {
                return answer.json();
            }
            tokio::task::yield_now().await;
        }
    };
    let down = tokio::time::timeout(BOUND, down).await.expect("it goes down");
    assert_eq!(down["status"], "down");
    let error = &down["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("unhealthy"), &json!("panicked and is down for now: `sweeper`"))
    );
    part.abort();
}

#[tokio::test]
async fn health_fails_while_a_loop_hangs_and_says_which() {
    let rig = Rig::new();
    let (_over, stop) = tokio::sync::watch::channel(false);
    let begun = Arc::new(tokio::sync::Notify::new());
    let begins = Arc::clone(&begun);
    let part = rig.supervisor.part("sweeper", stop, move || {
        let begins = Arc::clone(&begins);
        async move {
            sexton_system::supervisor::works();
            begins.notify_one();
            std::future::pending().await
        }
    });
    begun.notified().await;

    assert_eq!(rig.get("/livez").await.status, StatusCode::OK);
    rig.supervisor.passes(Duration::from_secs(600));
    let hangs = rig.get("/livez").await;

    assert_eq!(hangs.status, StatusCode::SERVICE_UNAVAILABLE);
    let hangs = hangs.json();
    assert_eq!(
        (&hangs["status"], &hangs["hung"]),
        (&json!("down"), &json!([{ "part": "sweeper", "silent_ms": 600_000 }]))
    );
    assert_eq!(
        hangs["error"]["message"],
        "hangs, so that the host should be started again: `sweeper` has not finished a round for 10m"
    );
    part.abort();
}

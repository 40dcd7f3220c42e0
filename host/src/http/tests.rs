//! Tests the API over a real store: its responses, its refusals, and that no request delays others.

mod any;
mod bad;
mod connections;
mod hosts;
mod logs;
mod pages;
mod pauses;
mod placement;
mod schedules;
mod tenants;

use crate::store::claims::Claims as _;
use crate::store::history::History as _;
use crate::store::locks::Locks as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::attempt::{RunHandle, Stop};
use crate::catalog::Catalog;
use crate::lifecycle::Transition;
use crate::machine::budget::Budgets;
use crate::machine::drain::HostDuty;
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::ops::Ops;
use crate::plugins::PluginInfo;
use crate::run::{Claim, Kept, Outcome, Output, Report, RunId};
use crate::schedule::Trigger;
use crate::store::sqlite::{SqliteOptions, SqliteStore};
use crate::store::{ClaimRequest, LockKind, LockMode, LockName, LockTaken, LockWait};
use crate::supervisor::{Supervisor, guarded};
use crate::task::{Name, Overlap, Task};
use crate::tenant::{TenantLimits, Tenants};
use crate::testkit::{self, TestClock};
use crate::time::{Clock, Timestamp};

use super::{ApiState, HostInfo, WaitingPlaces, router};

/// The time of every rig: 2026-11-22T10:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

/// Longer than anything here takes, so that a test ends whose event never comes.
const BOUND: Duration = Duration::from_secs(20);

/// The number of requests of a rig that may wait at once.
const WAITING: usize = 10;

/// A host's API without the host: a store in a file, tasks `hello` and `tick`, and a plugin in quarantine.
pub(crate) struct Rig {
    pub(crate) store: Arc<SqliteStore>,
    live: Arc<LiveRuns>,
    catalog: Arc<Catalog>,
    budgets: Arc<Budgets>,
    pause: Arc<HostPause>,
    duty: Arc<HostDuty>,
    supervisor: Arc<Supervisor>,
    pub(crate) router: Router,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

fn acme() -> Name {
    Name::new("acme").expect("a name")
}

fn task(name: &str, trigger: Trigger) -> Arc<Task> {
    Arc::new(Task {
        description: Some("<b>bold</b>".to_owned()),
        trigger,
        zone: chrono_tz::Europe::Berlin,
        overlap: Overlap::Allow(16),
        input: b"from the manifest".to_vec(),
        ..testkit::task(name)
    })
}

impl Rig {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(dir.path().join("sexton.db"), &SqliteOptions::default()).expect("a new store");
        let (live, catalog) = (Arc::new(LiveRuns::default()), Arc::new(Catalog::default()));
        let tasks = [task("hello", Trigger::OnDemand), task("tick", Trigger::Every(Duration::from_secs(10)))];
        catalog.replace(tasks.into_iter().map(|task| (task.key.clone(), task)).collect());
        let quarantined = PluginInfo {
            published_by: None,
            name: "broken".to_owned(),
            tenant: Name::default_tenant(),
            digest: None,
            size: 8,
            kind: None,
            tasks: Vec::new(),
            loaded_at: None,
            quarantine: Some("<script>alert(1)</script> is no component".to_owned()),
        };
        let acme_limits = TenantLimits {
            runs: Some(2),
            fuel_per_minute: Some(1_000_000),
            cache: 1000,
            tasks: 1000,
            backlog: Default::default(),
        };
        let tenants = Arc::new(Tenants::new(2_000_000, BTreeMap::from([(acme(), acme_limits)])));
        let clock: Arc<dyn Clock> = TestClock::at(NOW);
        let budgets = Arc::new(Budgets::new(catalog.clone(), tenants.clone(), clock.clone()));
        let (pause, duty) = (Arc::<HostPause>::default(), Arc::<HostDuty>::default());
        let supervisor = Arc::<Supervisor>::default();
        let ops = Ops {
            store: store.clone(),
            catalog: catalog.clone(),
            live: live.clone(),
            budgets: budgets.clone(),
            clock: clock.clone(),
        };
        let state = ApiState {
            ops,
            store: store.clone(),
            catalog: catalog.clone(),
            live: live.clone(),
            clock,
            plugins: Arc::new(move || vec![quarantined.clone()]),
            lock_waits: Arc::new(|tenant| {
                let lock = LockName { tenant: tenant.clone(), kind: LockKind::Named, name: "ledger".to_owned() };
                let task = Name::new("tick").expect("a name");
                vec![LockWait { lock, mode: LockMode::Exclusive, run: RunId(99), task, since: NOW, place: 1 }]
            }),
            host: HostInfo {
                name: "box".to_owned(),
                labels: Vec::new(),
                version: "0.1.0".to_owned(),
                started_at: NOW,
                pid: 7,
            },
            budgets: budgets.clone(),
            pause: pause.clone(),
            duty: duty.clone(),
            tenants,
            supervisor: supervisor.clone(),
            waiting: WaitingPlaces::of(WAITING),
        };
        Self { store, live, catalog, budgets, pause, duty, supervisor, router: router(Arc::new(state)), _dir: dir }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router has no errors");
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(BOUND, to_bytes(body, usize::MAX)).await.expect("the answer ends");
        Answer { status: parts.status, headers: parts.headers, body: body.expect("a whole body") }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(request(Method::GET, path).body(Body::empty()).expect("a request")).await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(request(Method::POST, path).body(Body::from(body.to_owned())).expect("a request")).await
    }

    /// Makes a run of `hello` that waits.
    pub(crate) async fn waiting(&self) -> RunId {
        let made = self.post("/v1/tasks/hello/runs", "").await.json();
        RunId(made["run"].as_i64().expect("a run"))
    }

    /// Claims the one run that is due, as a worker does.
    pub(crate) async fn claim(&self) -> Claim {
        let tasks: BTreeMap<_, _> = self.catalog.tasks().keys().map(|key| (key.clone(), 10)).collect();
        let request = ClaimRequest {
            host: "box".to_owned(),
            tasks: Arc::new(tasks),
            limit: 1,
            policies: Arc::default(),
            tenants: BTreeMap::new(),
            lease: Duration::from_secs(30),
            now: NOW,
        };
        self.store.claim(request).await.expect("a store that works").claims.pop().expect("a run that is due")
    }

    pub(crate) async fn finish(&self, claim: &Claim, transition: Transition, report: Report) {
        let finish = testkit::finish(claim.key, transition, report);
        self.store.finish(Arc::new(finish)).await.expect("the claim holds");
    }

    /// Makes a run of `hello` that has succeeded with `output`.
    pub(crate) async fn succeeded(&self, content_type: Option<&str>, body: &str) -> RunId {
        self.waiting().await;
        let claim = self.claim().await;
        let output = Output { content_type: content_type.map(str::to_owned), body: body.as_bytes().to_vec() };
        self.finish(&claim, Transition::Succeed(output), report(Outcome::Succeeded, String::new())).await;
        claim.key.run
    }

    fn goes_live(&self, claim: &Claim) -> Arc<RunHandle> {
        let handle = Arc::new(RunHandle::new(claim.key, claim.task.clone(), 1 << 16));
        self.live.insert(handle.clone());
        handle
    }
}

fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:7070")
}

pub(crate) fn report(outcome: Outcome, log: String) -> Report {
    let log = Kept { text: log, cut: false };
    Report { message: Some("<i>said</i>".to_owned()), log, ..testkit::report(outcome, NOW) }
}

#[tokio::test]
async fn a_trigger_makes_a_run_and_repeating_its_key_makes_no_second() {
    let rig = Rig::new();

    let trigger = || request(Method::POST, "/v1/tasks/hello/runs").header("idempotency-key", "order-5");
    let first = rig.ask(trigger().body(Body::from("x")).expect("a request")).await;
    let again = rig.ask(trigger().body(Body::from("x")).expect("a request")).await;

    let run = first.json()["run"].clone();
    assert_eq!((first.status, &first.json()["created"]), (StatusCode::ACCEPTED, &json!(true)));
    assert_eq!(first.header("location"), format!("/v1/runs/{run}"));
    assert_eq!(
        (again.status, again.json()),
        (StatusCode::OK, json!({ "run": run, "created": false, "replaced": [], "paused": false, "paused_why": null }))
    );
    let id = RunId(run.as_i64().expect("a number"));
    assert_eq!(rig.store.input(id).await.expect("a store that works"), Some(b"x".to_vec()));
}

#[tokio::test]
async fn a_trigger_without_a_body_brings_the_manifests_input() {
    let rig = Rig::new();
    let id = rig.waiting().await;
    assert_eq!(rig.store.input(id).await.expect("a store that works"), Some(b"from the manifest".to_vec()));
}

#[tokio::test]
async fn a_run_can_be_asked_for_at_an_instant_and_after_a_while() {
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
async fn killing_cancels_what_waits_stops_what_runs_here_and_leaves_what_is_over() {
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

#[tokio::test]
async fn a_cache_entry_is_written_read_conditionally_changed_and_deleted() {
    let rig = Rig::new();
    let put = |condition: Option<(&'static str, String)>, body: &'static str| {
        let mut put = request(Method::PUT, "/v1/cache/front/a%20b?ttl=1m");
        if let Some((name, value)) = condition {
            put = put.header(name, value);
        }
        rig.ask(put.body(Body::from(body)).expect("a request"))
    };
    let absent = || Some(("if-none-match", "*".to_owned()));
    let first = put(absent(), "one").await.json();
    assert_eq!(first["key"], "front/a b");
    assert_eq!(put(absent(), "two").await.status, StatusCode::PRECONDITION_FAILED);
    let version = format!("\"{}\"", first["version"]);
    assert_eq!(put(Some(("if-match", version.clone())), "two").await.status, StatusCode::OK);
    assert_eq!(put(Some(("if-match", version)), "three").await.status, StatusCode::PRECONDITION_FAILED);

    let read = rig.get("/v1/cache/front%2Fa%20b").await;
    assert_eq!(read.text(), "two");
    assert_eq!(read.header("x-sexton-expires-at"), "2026-11-22T10:01:00.000Z");
    assert_eq!(read.header("content-security-policy"), "sandbox");
    let list = rig.get("/v1/cache?prefix=front/").await.json();
    assert_eq!((&list["entries"][0]["key"], &list["entries"][0]["size"]), (&json!("front/a b"), &json!(3)));

    let delete = || rig.ask(request(Method::DELETE, "/v1/cache/front/a%20b").body(Body::empty()).expect("a request"));
    assert_eq!(delete().await.status, StatusCode::OK);
    assert_eq!(delete().await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_cache_takes_no_more_than_its_quota() {
    let rig = Rig::new();
    let put = |key: &str| {
        let put = request(Method::PUT, &format!("/v1/cache/{key}"));
        rig.ask(put.body(Body::from(vec![0; 1 << 20])).expect("a request"))
    };
    assert_eq!(put("a").await.status, StatusCode::OK);
    let full = put("b").await;
    assert_eq!((full.status, &full.json()["error"]["code"]), (StatusCode::INSUFFICIENT_STORAGE, &json!("cache-full")));
}

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
async fn the_host_tells_about_itself() {
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
            crate::supervisor::works();
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
        "hangs, so that the host should be started again: `sweeper` has not come round for 10m"
    );
    part.abort();
}

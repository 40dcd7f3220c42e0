//! Tests the API over a real store: its responses, its refusals, and that no request delays others.

mod any;
mod bad;
mod batches;
mod cache;
mod connections;
mod health;
mod hosts;
mod idempotency;
mod lists;
mod logs;
mod pages;
mod pauses;
mod placement;
mod runs;
mod schedules;
mod tenants;
mod versions;
mod views;

use sexton_store::claims::Claims as _;
use sexton_store::history::History as _;
use sexton_store::locks::Locks as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::machine::budget::Budgets;
use crate::machine::drain::HostDuty;
use crate::machine::host_pause::HostPause;
use crate::machine::live::LiveRuns;
use crate::ops::Ops;
use crate::plugins::PluginInfo;
use crate::testkit::{self, TestClock};
use sexton_domain::lifecycle::Transition;
use sexton_domain::run::{CappedText, Claim, Outcome, Output, Report, RunId};
use sexton_domain::schedule::Trigger;
use sexton_domain::task::{Name, Overlap, Task};
use sexton_domain::tenant::{TenantLimits, Tenants};
use sexton_domain::time::{Clock, Timestamp};
use sexton_runtime::attempt::{RunHandle, Stop};
use sexton_runtime::catalog::Catalog;
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_store::{ClaimRequest, LockKind, LockMode, LockName, LockTaken, LockWait};
use sexton_system::supervisor::{Supervisor, guarded};

use super::openapi::tests::is_as_documented;
use super::{ApiState, EventFeed, HostInfo, WaitSlots, router};

/// The time of every rig: 2026-11-22T10:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);

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
    pub(crate) events: EventFeed,
    _dir: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
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
        let catalog = Arc::new(Catalog::default());
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
        let ops = Ops::new("box".to_owned(), store.clone(), catalog.clone(), tenants.clone(), clock.clone());
        let (live, budgets, duty) = (ops.live.clone(), ops.budgets.clone(), ops.duty.clone());
        let pause = Arc::<HostPause>::default();
        let supervisor = Arc::<Supervisor>::default();
        let events = EventFeed::new(store.clone());
        let state = ApiState {
            ops,
            store: store.clone(),
            catalog: catalog.clone(),
            live: live.clone(),
            clock,
            not_used: Arc::new({
                let quarantined = quarantined.clone();
                move |tenant: &Name| Vec::from_iter(Some(quarantined.clone()).filter(|plugin| plugin.tenant == *tenant))
            }),
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
            waiting: WaitSlots::of(WAITING),
            events: events.clone(),
        };
        let router = router(Arc::new(state), crate::dashboard::routes());
        Self { store, live, catalog, budgets, pause, duty, supervisor, router, events, _dir: dir }
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Answer {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let response = self.router.clone().oneshot(request).await.expect("the router has no errors");
        let (parts, body) = response.into_parts();
        let body = tokio::time::timeout(BOUND, to_bytes(body, usize::MAX)).await.expect("the answer ends");
        let answer = Answer { status: parts.status, headers: parts.headers, body: body.expect("a whole body") };
        is_as_documented(&method, &uri, answer.status.as_u16(), answer.header("content-type"), &answer.body);
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
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
        let tasks: Vec<_> = self.catalog.tasks().keys().map(|key| (key.clone(), 10)).collect();
        let request = ClaimRequest { host: "box".to_owned(), limit: 1, ..testkit::claim_request(tasks, NOW) };
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

pub(crate) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "localhost:7070")
}

pub(crate) fn report(outcome: Outcome, log: String) -> Report {
    let log = CappedText { text: log, cut: false };
    Report { message: Some("<i>said</i>".to_owned()), log, ..testkit::report(outcome, NOW) }
}

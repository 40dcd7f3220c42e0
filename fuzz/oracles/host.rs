//! Provides the API of a host over a store in a folder, with tasks of two tenants, and runs in all states.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sexton_runtime::catalog::Catalog;
use sexton::http::{ApiState, EventFeed, HostInfo, router};
use sexton_domain::lifecycle::Transition;
use sexton::machine::live::LiveRuns;
use sexton::ops::Ops;
use sexton::plugins::PluginInfo;
use sexton::plugins::manifest::Manifest;
use sexton_domain::run::{Accounts, Cause, Claim, CappedText, Outcome, Output, Report};
use sexton_runtime::attempt::RunHandle;
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_store::{ClaimRequest, Finish, NewRun, Store};
use sexton_domain::supervision::Supervision;
use sexton_domain::task::{Name, TaskKey};
use sexton_domain::tenant::{TenantLimits, Tenants};
use sexton_domain::time::{Clock, Timestamp};

const TASKS: &str = r#"
[tasks.hello]
description = "<b>greets</b>"
overlap = "allow(9)"
[tasks.tick]
every = "10s"
[tasks.report]
cron = "H 3 * * mon"
zone = "Europe/Berlin"
[tasks.later]
after = "10m"
[chains.row]
links = ["hello", "tick"]
"#;

#[derive(Debug)]
struct Stopped;

const NOW: Timestamp = Timestamp::from_millis(1_805_883_330_000);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        NOW
    }
}

pub struct Api {
    pub runtime: tokio::runtime::Runtime,
    pub router: Router,
    _directory: tempfile::TempDir,
}

impl Api {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // In memory if there is such a place, because each change waits for the disk.
        let memory = Path::new("/dev/shm");
        let directory = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let directory = directory.expect("a directory");
        let store = SqliteStore::open(directory.path().join("sexton.db"), &SqliteOptions::default()).expect("a store");
        let [acme, plugin] = ["acme", "f"].map(|name| Name::new(name).expect("a name"));
        let manifest = Manifest::parse("f.toml", TASKS).expect("a manifest");
        let tasks = [Name::default_tenant(), acme.clone()];
        let tasks = tasks.iter().flat_map(|tenant| manifest.tasks(tenant, &plugin, Path::new("/plugins")));
        let catalog = Arc::new(Catalog::default());
        catalog.replace(tasks.map(|task| (task.key.clone(), Arc::new(task))).collect());
        let limits = TenantLimits {
            runs: Some(2),
            fuel_per_minute: Some(1_000_000),
            cache: 1000,
            tasks: 100,
            backlog: Default::default(),
        };
        let tenants = Arc::new(Tenants::new(2_000_000, BTreeMap::from([(acme, limits)])));
        let clock: Arc<dyn Clock> = Arc::new(Stopped);
        let ops = Ops::new(host().name, store.clone(), Arc::clone(&catalog), Arc::clone(&tenants), Arc::clone(&clock));
        let (live, budgets, duty) = (Arc::clone(&ops.live), Arc::clone(&ops.budgets), Arc::clone(&ops.duty));
        runtime.block_on(make_runs(&*store, &catalog, &live));
        let state = ApiState {
            ops,
            events: EventFeed::new(store.clone()),
            store,
            live,
            budgets,
            catalog,
            clock,
            plugins: Arc::new(|| vec![quarantined()]),
            not_used: Arc::new(|tenant: &Name| Vec::from_iter(Some(quarantined()).filter(|plugin| plugin.tenant == *tenant))),
            lock_waits: Arc::new(|_| Vec::new()),
            host: host(),
            tenants,
            pause: Arc::default(),
            duty,
            supervisor: Arc::default(),
            waiting: Default::default(),
        };
        Self { runtime, router: router(Arc::new(state), sexton::dashboard::routes()), _directory: directory }
    }
}

/// Makes the runs 1 to 5 of `hello`: succeeded, failed, under way, waiting and waiting.
async fn make_runs(store: &dyn Store, catalog: &Catalog, live: &LiveRuns) {
    let hello = TaskKey { tenant: Name::default_tenant(), task: Name::new("hello").expect("a name") };
    for _ in 0..5 {
        let run = NewRun { input: b"{\"page\": 3}".to_vec(), ..NewRun::of(hello.clone(), NOW, Cause::Demand) };
        store.enqueue(vec![run], NOW).await.expect("a run is made");
    }
    let output = Output { content_type: Some("application/json".to_owned()), body: b"{\"pages\": 3}".to_vec() };
    let log = "{\"at\":\"2027-03-24T10:15:30.000Z\",\"level\":\"info\",\"message\":\"hello\"}\nno JSON\n".to_owned();
    let first = claim(store, catalog).await;
    finish(store, &first, Transition::Succeed(output), report(Outcome::Succeeded, String::new())).await;
    let second = claim(store, catalog).await;
    finish(store, &second, Transition::Fail, report(Outcome::FailedPermanent, log)).await;
    let third = claim(store, catalog).await;
    live.insert(Arc::new(RunHandle::new(third.key, third.task.clone(), 1 << 16)));
}

async fn claim(store: &dyn Store, catalog: &Catalog) -> Claim {
    let request = ClaimRequest {
        host: "box".to_owned(),
        tasks: Arc::new(catalog.tasks().keys().map(|key| (key.clone(), 10)).collect()),
        limit: 1,
        policies: Arc::default(),
        tenants: BTreeMap::new(),
        lease: Duration::from_secs(30),
        now: NOW,
    };
    store.claim(request).await.expect("a claim").claims.pop().expect("a run is due")
}

async fn finish(store: &dyn Store, claim: &Claim, transition: Transition, report: Report) {
    let supervision = Supervision::default();
    let finish = Finish { claim: claim.key, transition, report, supervision, expired_by: None, death: None };
    store.finish(Arc::new(finish)).await.expect("the claim holds");
}

fn report(outcome: Outcome, log: String) -> Report {
    Report {
        outcome,
        started_at: NOW,
        ended_at: NOW,
        message: Some("<i>said</i>".to_owned()),
        backtrace: None,
        accounts: Accounts::default(),
        log: CappedText { text: log, cut: false },
        stdout: CappedText::default(),
        stderr: CappedText::default(),
    }
}

fn quarantined() -> PluginInfo {
    PluginInfo {
        published_by: None,
        name: "broken".to_owned(),
        tenant: Name::default_tenant(),
        digest: None,
        size: 8,
        kind: None,
        tasks: Vec::new(),
        loaded_at: None,
        quarantine: Some("<script>alert(1)</script> is no component".to_owned()),
    }
}

fn host() -> HostInfo {
    HostInfo { name: "box".to_owned(), labels: Vec::new(), version: "0.1.0".to_owned(), started_at: NOW, pid: 7 }
}

//! Any request at all to the API over a real store: an answer that is whole, and an error of one line where it is refused.
//!
//! An input reads like a request: `METHOD PATH`, lines of headers, an empty line, a body. Requests follow one another on one
//! store, as they do on a host, and the store is made anew after some thousand.

#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use libfuzzer_sys::fuzz_target;
use sexton::catalog::Catalog;
use sexton::http::{ApiState, HostInfo, router};
use sexton::machine::budget::Budgets;
use sexton::plugins::manifest::Manifest;
use sexton::store::sqlite::{SqliteOptions, SqliteStore};
use sexton::task::Name;
use sexton::tenant::{TenantLimits, Tenants};
use sexton::time::{Clock, Timestamp};
use tower::ServiceExt;

/// Requests to one store.
const REQUESTS: usize = 5000;

/// How long an answer is waited for: those that follow a log or await a run come when those are over.
const PATIENCE: Duration = Duration::from_millis(200);

const TASKS: &str = "[tasks.hello]\noverlap = \"allow(9)\"\n[tasks.tick]\nevery = \"10s\"\n[chains.row]\nlinks = [\"hello\", \"tick\"]\n";

#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_805_883_330_000)
    }
}

struct Api {
    runtime: tokio::runtime::Runtime,
    router: Router,
    left: usize,
    _directory: tempfile::TempDir,
}

thread_local! {
    static API: RefCell<Option<Api>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    let Some(request) = request(bytes) else { return };
    API.with_borrow_mut(|api| {
        if api.as_ref().is_none_or(|api| api.left == 0) {
            *api = Some(Api::new());
        }
        let api = api.as_mut().expect("it was just made");
        api.left -= 1;
        let router = api.router.clone();
        // One that waits, or follows, is left.
        let _ = api.runtime.block_on(async { tokio::time::timeout(PATIENCE, answered(router, request)).await });
    });
});

async fn answered(router: Router, request: Request<Body>) {
    let said = format!("{} {}", request.method(), request.uri());
    let (head, body) = router.oneshot(request).await.expect("the router has no errors").into_parts();
    let body = to_bytes(body, 64 << 20).await.expect("the body is whole");
    assert!(head.status.as_u16() < 500, "{said}: {} {}", head.status, String::from_utf8_lossy(&body));
    if head.status.as_u16() >= 400 && !body.is_empty() {
        let text = std::str::from_utf8(&body).expect("an error is text");
        assert!(text.starts_with("{\"error\":{\"code\":\"") && text.len() < 8000, "{said}: {text}");
        assert!(!text.trim_end().contains(char::is_control), "{said}: {text:?}");
    }
}

fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let body = bytes.get(end + 2..).unwrap_or_default();
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.lines();
    let (method, path) = lines.next()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).ok()
}

impl Api {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let store = SqliteStore::open(directory.path().join("sexton.db"), &SqliteOptions::default()).expect("a store");
        let catalog = Arc::new(Catalog::default());
        let [acme, plugin] = ["acme", "f"].map(|name| Name::new(name).expect("a name"));
        let manifest = Manifest::parse("f.toml", TASKS).expect("a manifest");
        let tasks = manifest.tasks(&Name::default_tenant(), &plugin, Path::new("/plugins"));
        catalog.replace(tasks.into_iter().map(|task| (task.key.clone(), Arc::new(task))).collect());
        let limits = TenantLimits { runs: Some(2), fuel_per_minute: Some(1_000_000), cache: 1000 };
        let tenants = Arc::new(Tenants::new(2_000_000, BTreeMap::from([(acme, limits)])));
        let clock: Arc<dyn Clock> = Arc::new(Stopped);
        let host = HostInfo {
            name: "box".to_owned(),
            labels: Vec::new(),
            version: "0.1.0".to_owned(),
            started_at: clock.now(),
            pid: 7,
        };
        let state = ApiState {
            store,
            live: Arc::default(),
            budgets: Arc::new(Budgets::new(Arc::clone(&catalog), Arc::clone(&tenants), Arc::clone(&clock))),
            catalog,
            clock,
            plugins: Arc::new(Vec::new),
            lock_waits: Arc::new(|_| Vec::new()),
            host,
            tenants,
            pause: Arc::default(),
            duty: Arc::default(),
            supervisor: Arc::default(),
            waiting: Default::default(),
        };
        Self { runtime, router: router(Arc::new(state)), left: REQUESTS, _directory: directory }
    }
}

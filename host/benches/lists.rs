//! Measures lists of runs where a million are stored: of 1,000 tasks of 50 tenants, one in a thousand failed, over twenty
//! days. Each word of the filter is measured, and combinations of them, for every tenant and several pages deep: from the
//! store, and through the HTTP API of the release binary for one tenant.
//!
//! The runs are written into a store in SQLite, and `sexton migrate` moves them to PostgreSQL. One request of each kind
//! is not counted, as on a host that has been up for a while.
//!
//! `cargo bench --bench lists -- quick` is a trial with a tenth of the runs, not for figures.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[path = "lists/cases.rs"]
mod cases;
#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;
#[path = "lists/fill.rs"]
mod fill;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cases::{CASES, filter};
use common::{Process, Spread, target};
use sexton_domain::run::RunId;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;
use sexton_store::Store;
use sexton_store::lists::ListRuns;
use sexton_store::postgres::{DatabaseUrl, PostgresOptions, PostgresStore};
use sexton_store::sqlite::{SqliteOptions, SqliteStore};
use sexton_testkit::postgres::{Cluster, Durable};

/// The runs of a page, and the pages that are read of a list.
const LIMIT: usize = 50;
const PAGES: usize = 4;

/// The lists that are read through the API for each case.
const LISTS: usize = 25;

/// All runs are kept. There is no log line for each request.
const CONFIG: &str = "[retention]\nruns = 1_000_000\nbytes = \"100 GiB\"\n\
                      [log]\nfilter = \"warn,sexton::host=info\"\n";

const SCHEMA: &str = "lists";

fn main() {
    let quick = std::env::args().any(|word| word == "quick");
    let runs = if quick { 100_000 } else { 1_000_000 };
    let place = tempfile::Builder::new().prefix("sexton-lists-").tempdir_in(target()).unwrap();
    let place = place.path();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // An earlier start creates the tables.
    drop(Process::start(place, CONFIG));
    let file = place.join("var/sexton.db");
    let began = Instant::now();
    fill::sqlite(&file, runs);
    println!("{runs} runs are stored after {:.0} s", began.elapsed().as_secs_f64());

    let store = SqliteStore::open(&file, &SqliteOptions::default()).unwrap();
    runtime.block_on(fill::waiting(&*store));
    let sqlite = runtime.block_on(measure("SQLite", store));
    let pages = through_api("SQLite", &Process::start(place, CONFIG));

    let cluster = Cluster::start(Durable(true));
    let began = Instant::now();
    move_to(&cluster, &file);
    println!("\nthey are in PostgreSQL after {:.0} s", began.elapsed().as_secs_f64());
    let options = PostgresOptions {
        url: DatabaseUrl::new(&cluster.url()).unwrap(),
        schema: SCHEMA.to_owned(),
        ca: None,
        host: "bench".to_owned(),
    };
    let store = runtime.block_on(PostgresStore::open(&options)).unwrap();
    let postgres = runtime.block_on(measure("PostgreSQL", store));
    let config = format!("[store]\nurl = \"{}\"\nschema = \"{SCHEMA}\"\n{CONFIG}", cluster.url());
    let pages = pages.max(through_api("PostgreSQL", &Process::start(&place.join("other"), &config)));

    println!();
    println!("figure list_worst_p99_ms_sqlite {sqlite:.1} ms");
    println!("figure list_worst_p99_ms_postgres {postgres:.1} ms");
    println!("figure page_worst_p99_ms {pages:.1} ms");
}

/// Moves all records to a schema of `cluster`, and has the database do what it would do by itself after a while.
fn move_to(cluster: &Cluster, file: &Path) {
    let moved = Command::new(env!("CARGO_BIN_EXE_sexton"))
        .args(["migrate", "--from", &format!("sqlite:{}", file.display()), "--to", &cluster.url()])
        .args(["--schema", SCHEMA, "--force"])
        .output()
        .unwrap();
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stderr));
    cluster.psql("VACUUM (ANALYZE)");
    cluster.psql("CHECKPOINT");
}

/// Prints what one case took, and returns the larger of its 99th percentile and `worst`.
fn told(case: &str, times: Vec<f64>, runs: usize, worst: f64) -> f64 {
    let (pages, spread) = (times.len(), Spread::of(times));
    let case = if case.is_empty() { "(all)" } else { case };
    println!("{case:<58} {pages:>6} {runs:>8} {spread:>22}");
    spread.p99.max(worst)
}

fn heads(what: &str) {
    println!("\n{:<58} {:>6} {:>8} {:>22}", what, "pages", "runs", "ms p50 / p99 / max");
}

/// Reads each list of each tenant from the store. Returns the worst 99th percentile of a page, in milliseconds.
async fn measure<S: Store + 'static>(name: &str, store: Arc<S>) -> f64 {
    heads(&format!("lists of the store, {name}"));
    let mut worst = 0.0;
    for case in CASES {
        page(&*store, case, &fill::tenant(1), None).await;
        let (mut times, mut runs) = (Vec::new(), 0);
        for tenant in (0..fill::TENANTS).map(fill::tenant) {
            let mut before = None;
            for _ in 0..PAGES {
                let began = Instant::now();
                let (found, next) = page(&*store, case, &tenant, before).await;
                times.push(began.elapsed().as_secs_f64() * 1000.0);
                runs += found;
                before = next;
                if before.is_none() {
                    break;
                }
            }
        }
        worst = told(case, times, runs, worst);
    }
    worst
}

/// Returns the number of runs of a page, and the run before which the next page begins.
async fn page(store: &dyn Store, case: &str, tenant: &Name, before: Option<RunId>) -> (usize, Option<RunId>) {
    let now = now();
    let list = ListRuns { filter: filter(case, tenant, now), before, limit: LIMIT, now };
    let page = store.list_runs(list).await.unwrap();
    (page.runs.len(), page.next)
}

/// Reads lists of the default tenant through the API of a host. Returns the worst 99th percentile of a page.
fn through_api(name: &str, host: &Process) -> f64 {
    heads(&format!("pages of the API, {name}"));
    let mut worst = 0.0;
    // A host lists the runs of chains that it has, and this one has none.
    for case in CASES.iter().filter(|case| !case.contains("chain=")) {
        let path = format!("/v1/runs?limit={LIMIT}&{case}").trim_end_matches('&').to_owned();
        host.get(&path);
        let (mut times, mut runs) = (Vec::new(), 0);
        for _ in 0..LISTS {
            let mut cursor = String::new();
            for _ in 0..PAGES {
                let began = Instant::now();
                let body = host.get(&format!("{path}{cursor}"));
                times.push(began.elapsed().as_secs_f64() * 1000.0);
                let page: serde_json::Value = serde_json::from_str(&body).unwrap();
                runs += page["runs"].as_array().unwrap().len();
                match page["cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
        }
        worst = told(case, times, runs, worst);
    }
    worst
}

fn now() -> Timestamp {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_millis(i64::try_from(millis).unwrap())
}

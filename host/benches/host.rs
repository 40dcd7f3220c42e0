//! Measures the costs of a whole host: durable runs a second, the time to the first run, and doing nothing.
//!
//! Prints tables for people, and `figure NAME VALUE UNIT` lines for programs. The disk's own time for an fdatasync is
//! printed beside every durable figure, because disks differ and vary.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[path = "host/alone.rs"]
mod alone;
#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::disk::fdatasync;
use common::{Process, guest, target};
use sexton::config::Config;
use sexton::host::Host;
use sexton_domain::run::{Cause, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_store::{NewRun, RunFilter};

/// The runs that are made for the durable figure, and the number of them in one request.
const RUNS: usize = 100_000;
const REQUEST: usize = 500;

const PLUGINS: usize = 100;

fn main() -> ExitCode {
    if let Some(exit) = sexton_runtime::runtime::compile_if_asked() {
        return exit;
    }
    let place = tempfile::Builder::new().prefix("sexton-bench-").tempdir_in(target()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (rate, syncs) = runtime.block_on(durable(place.path()));
    let starts = first_runs(place.path());
    let (rss, cpu) = idle(place.path());

    println!("figure durable_runs_per_s_sqlite {rate:.0} runs/s");
    println!("figure fsyncs_per_1000_runs {syncs:.1} fsyncs");
    println!("figure first_run_cold_ms {:.0} ms", ms(starts.cold.0));
    println!("figure first_run_warm_ms {:.0} ms", ms(starts.warm.0));
    println!("figure cold_start_ratio {:.2} x", starts.cold.1.as_secs_f64() / starts.alone.as_secs_f64());
    println!("figure cold_due_first_ms {:.0} ms", ms(starts.due_first));
    println!("figure idle_rss_mb {rss:.1} MB");
    println!("figure idle_cpu_percent {cpu:.3} %");
    ExitCode::SUCCESS
}

/// Returns the runs a second from creation to end, with `synchronous=FULL`, and the number of waits for the disk.
async fn durable(place: &Path) -> (f64, f64) {
    let place = place.join("durable");
    fs::create_dir_all(place.join("plugins")).unwrap();
    fs::copy(guest("noop"), place.join("plugins/noop.wasm")).unwrap();
    fs::write(place.join("plugins/noop.toml"), "[tasks.noop]\noverlap = \"allow(512)\"\n").unwrap();
    let host = Host::start(config(&place)).await.unwrap();
    let key = TaskKey { tenant: Name::default_tenant(), task: Name::new("noop").unwrap() };
    let mut catalog = host.catalog.changes();
    while host.catalog.get(&key).is_none() {
        catalog.changed().await.unwrap();
    }
    work_off(&host, &key, RUNS / 10).await; // warm

    println!("durable no-op runs on SQLite (synchronous=FULL), from made to over, {RUNS} each");
    println!("{:>12} {:>12} {:>14} {:>18}", "runs/s", "commits", "fsyncs/1000", "fdatasync p50 ms");
    let mut best: (f64, f64) = (0.0, 0.0);
    for _ in 0..3 {
        let disk = fdatasync(&place).p50;
        let before = host.store.stats();
        let took = work_off(&host, &key, RUNS).await;
        let after = host.store.stats();
        let rate = RUNS as f64 / took.as_secs_f64();
        let syncs = (after.syncs - before.syncs) as f64 * 1000.0 / RUNS as f64;
        println!("{rate:>12.0} {:>12} {syncs:>14.1} {:>18.2}", after.commits - before.commits, disk);
        if rate > best.0 {
            best = (rate, syncs);
        }
    }
    host.stop(Duration::ZERO, std::future::pending()).await;
    best
}

/// Makes `runs` runs, while they are carried out, and waits until all have ended.
async fn work_off(host: &Host, key: &TaskKey, runs: usize) -> Duration {
    let start = Instant::now();
    for _ in 0..runs / REQUEST {
        let now = host.clock.now();
        let run = NewRun::of(key.clone(), now, Cause::Demand);
        host.store.enqueue(vec![run; REQUEST], now).await.unwrap();
    }
    let mut changes = host.store.changes();
    loop {
        let mut left = 0;
        for state in [RunState::Waiting, RunState::Running] {
            let filter = RunFilter { state: Some(state), limit: 1, ..RunFilter::default() };
            left += host.store.runs(filter).await.unwrap().len();
        }
        if left == 0 {
            return start.elapsed();
        }
        // A query at every commit would be part of the measurement.
        let _ = tokio::time::timeout(Duration::from_millis(5), changes.changed()).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The time that starts of a host take, from the start of the process.
struct Starts {
    /// The time to compile all plugins of a cold start and nothing beside.
    alone: Duration,
    /// The time until the first run is over, and until all are.
    cold: (Duration, Duration),
    warm: (Duration, Duration),
    /// The time of a cold start until the only run that is due is over. Its plugin is the largest, and the last by name.
    due_first: Duration,
}

/// Measures starts with 100 plugins that are all due at the start, and with one that is due among others that are not.
fn first_runs(place: &Path) -> Starts {
    let alone = alone::compile(&(0..PLUGINS).map(|n| component(n, 0)).collect::<Vec<_>>(), &place.join("alone"));
    let first = place.join("first");
    put(&first, |_| "on-start = true\n", 0);
    println!("\nfrom the start of the process, {PLUGINS} plugins that are due at once");
    println!("{:>6} {:>20} {:>22} {:>22}", "", "first run over, ms", "all runs over, ms", "compiled alone, ms");
    let mut took = Vec::new();
    for name in ["cold", "warm"] {
        let (host, start) = start(&first);
        let until = |runs| until_succeeded(&first, runs).duration_since(start);
        let (one, all) = (until(1), until(PLUGINS));
        let beside = if name == "cold" { format!("{:.0}", ms(alone)) } else { String::new() };
        println!("{name:>6} {:>20.0} {:>22.0} {beside:>22}", ms(one), ms(all));
        took.push((one, all));
        drop(host);
        forget_runs(&first);
    }
    let due = place.join("due");
    put(&due, |n| if n == PLUGINS - 1 { "on-start = true\n" } else { "" }, 10_000);
    let (host, start) = start(&due);
    let due_first = until_succeeded(&due, 1).duration_since(start);
    println!("the largest of {PLUGINS} plugins that were never compiled is the only one due: {:.0} ms", ms(due_first));
    drop(host);
    Starts { alone, cold: took[0], warm: took[1], due_first }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Starts a host in `place`, and returns when that was.
fn start(place: &Path) -> (Process, Instant) {
    std::thread::sleep(Duration::from_millis(300)); // the files must be quiet for the first look to take them
    let start = Instant::now();
    (Process::start(place, ""), start)
}

/// Puts the plugins into a directory, each with a task of its name with the lines that `manifest` returns. The last one
/// is larger by `more` bytes.
fn put(place: &Path, manifest: impl Fn(usize) -> &'static str, more: usize) {
    fs::create_dir_all(place.join("plugins")).unwrap();
    for n in 0..PLUGINS {
        let more = if n == PLUGINS - 1 { more } else { 0 };
        fs::write(place.join(format!("plugins/n{n:03}.wasm")), component(n, more)).unwrap();
        fs::write(place.join(format!("plugins/n{n:03}.toml")), format!("[tasks.n{n:03}]\n{}", manifest(n))).unwrap();
    }
}

/// Returns the nth component. Custom sections make each different, so that each is compiled, and larger by `more` bytes.
fn component(n: usize, more: usize) -> Vec<u8> {
    let mut component = fs::read(guest("hello")).unwrap();
    for _ in 0..1 + more / 100 {
        let name = format!("n{n:03}{}", "x".repeat(if more > 0 { 96 } else { 0 }));
        let length = u8::try_from(name.len()).unwrap();
        component.extend([0, length + 1, length]);
        component.extend(name.as_bytes());
    }
    component
}

/// Removes the database of a host that has ended.
fn forget_runs(place: &Path) {
    fs::remove_file(place.join("var/sexton.db")).unwrap();
    for rest in ["-wal", "-shm"] {
        let _ = fs::remove_file(place.join(format!("var/sexton.db{rest}")));
    }
}

/// Returns memory and processor time of a host with 100 plugins and nothing to do.
fn idle(place: &Path) -> (f64, f64) {
    let place = place.join("first");
    for n in 0..PLUGINS {
        fs::write(place.join(format!("plugins/n{n:03}.toml")), format!("[tasks.n{n:03}]\n")).unwrap();
    }
    let host = Process::start(&place, "");
    // The query is rare, because the memory of its responses would stay, and this measures a host with nothing to do.
    while host.get("/v1/plugins").matches("\"digest\":\"").count() < PLUGINS {
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(Duration::from_secs(3));
    let (start, before) = (Instant::now(), cpu(&host));
    std::thread::sleep(Duration::from_secs(20));
    let cpu = (cpu(&host) - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    let rss = host.rss_mb();
    println!("\nidle, {PLUGINS} plugins loaded: {rss:.1} MB resident, {cpu:.3} % of a core over 20 s");
    (rss, cpu)
}

/// Waits until this many runs have succeeded. The store is read and not the API, whose answers would take the host's
/// processor time.
fn until_succeeded(place: &Path, runs: usize) -> Instant {
    let (start, database) = (Instant::now(), place.join("var/sexton.db"));
    let store = rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    loop {
        let over: i64 = store.query_row("SELECT count(*) FROM runs WHERE state = 2", [], |row| row.get(0)).unwrap();
        if over as usize >= runs {
            return Instant::now();
        }
        assert!(start.elapsed() < Duration::from_secs(120), "{over} of {runs} runs have succeeded");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the processor time that the host has used.
fn cpu(host: &Process) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10) // Linux counts in hundredths of a second
}

fn config(place: &Path) -> Config {
    let mut config = Config::default();
    config.host.plugins = place.join("plugins");
    config.host.var = place.join("var");
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config
}

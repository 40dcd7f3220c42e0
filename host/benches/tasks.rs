//! Measures a host with 100,000 tasks beside one with ten: how long a trigger, a run, a look at a task, a pause and a
//! resume, a list of runs, and an enqueue by a guest take; how long its thousand plugins take to load; and its memory.
//!
//! Both hosts are the release binary, each with a store of its own, and are up at the same time. The rounds take turns,
//! so that whatever else the machine does is beside both. Half of the tasks have a crontab that is not due. All plugins
//! are copies of one component, which a host compiles once, so that the load shows what tasks cost and not what compiling
//! does.
//!
//! `cargo bench --bench tasks -- sqlite` measures one kind of store, `postgres` the other. `quick` is a trial with a tenth
//! of the tasks, not for figures.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[path = "tasks/asking.rs"]
mod asking;
#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;
#[path = "tasks/plugins.rs"]
mod plugins;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use asking::{Asker, KINDS, Took};
use common::disk::fdatasync;
use common::{Process, target};
use sexton_testkit::postgres::{Cluster, Durable};

/// The plugins of the large host, and the tasks of each.
const PLUGINS: usize = 1_000;
const TASKS: usize = 100;

/// The tasks of the small host, all of one plugin.
const FEW: usize = 10;

/// The rounds, and the samples of each kind in a round on each host.
const ROUNDS: usize = 7;
const SAMPLES: usize = 40;

/// The longest that a host may take until it has all its tasks, and then nothing to do.
const PATIENCE: Duration = Duration::from_secs(900);

/// The words of the command line.
const WORDS: [&str; 3] = ["sqlite", "postgres", "quick"];

fn main() -> ExitCode {
    // Cargo itself adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let Some(other) = words.iter().find(|word| !WORDS.contains(&word.as_str())) {
        eprintln!("`{other}` is no part of this bench; name `sqlite`, `postgres` or `quick`");
        return ExitCode::FAILURE;
    }
    let is_named = |part: &str| words.iter().any(|word| word == part);
    let all = !is_named("sqlite") && !is_named("postgres");
    let plugins = if is_named("quick") { PLUGINS / 10 } else { PLUGINS };
    let place = tempfile::Builder::new().prefix("sexton-tasks-").tempdir_in(target()).unwrap();
    let mut measured = Vec::new();
    if all || is_named("sqlite") {
        measured.push(("", measure("SQLite", &place.path().join("sqlite"), plugins, |_| String::new())));
    }
    if all || is_named("postgres") {
        let cluster = Cluster::start(Durable(true));
        let store = |host: &str| {
            format!("[host]\nname = \"{host}\"\n[store]\nurl = \"{}\"\nschema = \"{host}\"\n", cluster.url())
        };
        measured.push(("_postgres", measure("PostgreSQL", &place.path().join("postgres"), plugins, store)));
    }
    for (suffix, measured) in &measured {
        measured.figures(suffix);
    }
    ExitCode::SUCCESS
}

/// The measurements of both hosts on one kind of store.
struct Measured {
    few: Took,
    many: Took,
    /// The time from the start of the process until all plugins were in use, for the first time and after a restart.
    load: Duration,
    again: Duration,
    /// The bytes of resident memory that each task takes beyond the memory of the small host.
    bytes: f64,
}

impl Measured {
    /// Prints the figures, with this behind each name.
    fn figures(&self, suffix: &str) {
        for kind in KINDS {
            let ratio = self.many.median(kind) / self.few.median(kind);
            println!("figure tasks_100k_{kind}_ratio{suffix} {ratio:.2} x");
        }
        println!("figure tasks_100k_load_s{suffix} {:.1} s", self.load.as_secs_f64());
        println!("figure tasks_100k_load_again_s{suffix} {:.1} s", self.again.as_secs_f64());
        println!("figure tasks_100k_bytes_each{suffix} {:.0} bytes", self.bytes);
    }
}

/// Measures both hosts in `place`. `store` returns the configuration of the store of the host that has this name.
fn measure(store_name: &str, place: &Path, plugins: usize, store: impl Fn(&str) -> String) -> Measured {
    let config = |host: &str| format!("{}[tenants.default]\ntasks = 200_000\n", store(host));
    let (few, many) = (place.join("few"), place.join("many"));
    plugins::put(&few, 1, FEW);
    plugins::put(&many, plugins, TASKS);
    let tasks = plugins * TASKS;
    println!("\n{store_name}: one host with {FEW} tasks, one with {tasks} in {plugins} plugins");

    let (first, load) = start(&many, &config("many"), plugins);
    settle(&first);
    drop(first);
    let (many_host, again) = start(&many, &config("many"), plugins);
    settle(&many_host);
    let (few_host, _) = start(&few, &config("few"), 1);
    settle(&few_host);
    let rss = (few_host.rss_mb(), many_host.rss_mb());
    let bytes = (rss.1 - rss.0) * f64::from(1 << 20) / tasks as f64;
    println!(
        "loaded in {:.1} s, after a restart in {:.1} s; resident {:.0} and {:.0} MB, {bytes:.0} bytes a task",
        load.as_secs_f64(),
        again.as_secs_f64(),
        rss.0,
        rss.1
    );

    let mut askers = [Asker::of(&few_host, 1, FEW), Asker::of(&many_host, plugins, TASKS)];
    // The first requests find connections closed and statements unprepared.
    askers.iter_mut().for_each(|asker| drop(asker.round(SAMPLES / 4)));
    let (mut small, mut large) = (Took::default(), Took::default());
    println!("{:>5} {:>14} {}", "round", "fdatasync, ms", KINDS.map(|kind| format!("{kind:>18}")).join(" "));
    for round in 1..=ROUNDS {
        let disk = fdatasync(place).p50;
        let [of_few, of_many] = askers.each_mut().map(|asker| asker.round(SAMPLES));
        let both = |kind| {
            let medians = format!("{:.2} / {:.2}", of_few.median(kind), of_many.median(kind));
            format!("{medians:>18}")
        };
        println!("{round:>5} {disk:>14.3} {}", KINDS.map(both).join(" "));
        small.add(of_few);
        large.add(of_many);
    }
    Measured { few: small, many: large, load, again, bytes }
}

/// Starts a host, and waits until it uses its plugins. Returns how long that took.
fn start(place: &Path, config: &str, plugins: usize) -> (Process, Duration) {
    // A file that was written a moment ago may be half-written, so a host leaves it alone.
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    let host = Process::start(place, config);
    // The list of plugins has the names of all tasks, which would be part of the measurement; the log has a line each.
    let log: PathBuf = place.join("log");
    loop {
        let text = fs::read_to_string(&log).unwrap();
        assert!(!text.contains("Quarantined plugin"), "{text}");
        // One more than those with the tasks: the plugin whose task enqueues.
        if text.matches("Loaded plugin `").count() > plugins {
            return (host, began.elapsed());
        }
        assert!(began.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a host has nothing to do: all schedules are begun.
fn settle(host: &Process) {
    const LOOK: Duration = Duration::from_millis(500);
    let (began, mut before, mut quiet) = (Instant::now(), ticks(host), 0);
    while quiet < 4 {
        assert!(began.elapsed() < PATIENCE, "the host goes on working");
        std::thread::sleep(LOOK);
        let now = ticks(host);
        // A twentieth of a core, in hundredths of a second.
        quiet = if now - before <= 2 { quiet + 1 } else { 0 };
        before = now;
    }
}

/// Returns the processor time that a host has used, in hundredths of a second.
fn ticks(host: &Process) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

//! Measures how hung plugins affect others: a short task that is due every 20 ms, an API call and a lock beside 0, 1,
//! 10, 100 and 1000 of them.
//!
//! The hung ones come within one second, spin until their deadline, and a third of them take all the memory that they
//! may have first. Everything goes through the real binary: plugins are dropped, schedules fire, runs are claimed,
//! made, and written to SQLite. The figures of runs are read from there afterwards; those of the API are what a client
//! saw.
//!
//! With a thousand, there are three more conditions: beside two processes of other people, each of which wants half of
//! a core; with the hung ones in a thousand tenants; and with short tasks that have never run before, each of which is
//! due once. `cargo bench --bench hung -- 100` measures one number of hung plugins only, `-- busy tenants` the
//! conditions that are named; `-- late` also lists the short runs that were late, with the parts of their delay.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;
#[path = "hung/machine.rs"]
mod machine;
#[path = "hung/neighbours.rs"]
mod neighbours;
#[path = "hung/runs.rs"]
mod runs;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use common::bare::BareCalls;
use common::{Process, Spread, await_plugins, drop_plugin, guest, target};
use machine::{Machine, Stolen};
use neighbours::Neighbours;
use runs::Runs;
use sexton_testkit::folder;

const LEVELS: [usize; 5] = [0, 1, 10, 100, 1000];

/// The deadline of the hung ones, and the time over which they come.
const DEADLINE: Duration = Duration::from_secs(8);
const ARRIVE: Duration = Duration::from_secs(1);

/// The interval of the requests that must stay quick.
const EVERY: Duration = Duration::from_millis(20);

/// The memory of the hung ones.
const MEMORY_MB: usize = 16;

/// The circumstances in which the others are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    /// Nothing else runs on the machine.
    Alone,
    /// Two processes of other people want half of each core.
    Busy,
    /// Each hung task belongs to a tenant of its own.
    Tenants,
    /// Each run of the short task is the first of its task.
    New,
}

impl Condition {
    const ALL: [Self; 4] = [Self::Alone, Self::Busy, Self::Tenants, Self::New];

    fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Busy => "busy",
            Self::Tenants => "tenants",
            Self::New => "new",
        }
    }

    /// Returns the beginning of the names of its figures.
    fn prefix(self) -> String {
        match self {
            Self::Alone => "hung1000_".to_owned(),
            other => format!("hung1000_{}_", other.name()),
        }
    }

    /// Returns the time from the drop of the plugins to the first arrival, in which the host must have loaded them.
    fn lead(self) -> Duration {
        Duration::from_secs(if self == Self::Tenants { 45 } else { 4 })
    }
}

fn main() {
    neighbours::be_one_if_told();
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let only: Option<usize> = asked.iter().find_map(|word| word.parse().ok());
    let named = |condition: &Condition| asked.iter().any(|word| word == condition.name());
    let conditions: Vec<Condition> = match Condition::ALL.into_iter().filter(named).collect::<Vec<_>>() {
        none if none.is_empty() && only.is_none() => Condition::ALL.to_vec(),
        none if none.is_empty() => vec![Condition::Alone],
        some => some,
    };
    let calls = BareCalls::with_own_engine(&fs::read(guest("noop")).unwrap()).unwrap();

    println!("beside hung plugins (a third with {MEMORY_MB} MiB each), in ms; each column p50 / p99 / max");
    println!(
        "{:>8} {:>5} {:>18} {:>20} {:>18} {:>18} {:>18} {:>22}  machine before; stolen meanwhile",
        "",
        "hung",
        "due run late",
        "since it was claimed",
        "API call",
        "lock taken, let go",
        "past the deadline",
        "RSS MB before/peak/after"
    );
    let mut figures = String::new();
    let list_late = asked.iter().any(|word| word == "late");
    for condition in conditions {
        let last = of_condition(condition, only, &calls, list_late);
        figures.push_str(&last.figures(condition));
    }
    print!("{figures}");
}

/// Measures a condition with a host of its own, and returns what was measured last.
fn of_condition(condition: Condition, only: Option<usize>, calls: &BareCalls, list_late: bool) -> Level {
    let place = tempfile::Builder::new().prefix("sexton-hung-").tempdir_in(target()).unwrap();
    let place = place.path();
    fs::create_dir_all(place.join("plugins")).unwrap();
    let _neighbours = (condition == Condition::Busy).then(|| Neighbours::start(2));
    let levels = match (condition, only) {
        (_, Some(only)) => vec![only],
        (Condition::Alone, None) => LEVELS.to_vec(),
        _ => vec![1000],
    };
    let tenants = if condition == Condition::Tenants { tenants(levels[0]) } else { String::new() };
    let host = Process::start(place, &tenants);
    if condition != Condition::New {
        drop_plugin(place, "tick", "swarm", &due_every());
        await_plugins(&host, 1);
    }
    let mut last = Level::default();
    for hung in levels {
        let machine = Machine::measure(place, calls);
        let stolen = Stolen::now();
        let runs;
        (last, runs) = measure(&host, place, condition, hung);
        let (percent, seconds) = stolen.since();
        let name = condition.name();
        println!("{name:>8} {}  {machine}; {percent:.1} % of {seconds:.0} s", last.line(hung));
        if list_late {
            runs.short.iter().filter(|run| run.is_late()).for_each(|run| println!("{run}"));
        }
    }
    last
}

/// The grants of a short run, which takes a lock and lets it go.
const SHORT: &str = "input = \"lock\"\ngrants = { locks = [\"bench\"], cache = [\"bench\"] }\n";

/// Returns the manifest of the short task.
fn due_every() -> String {
    format!("[tasks.tick]\nevery = \"{}ms\"\n{SHORT}overlap = \"allow(100)\"\n", EVERY.as_millis())
}

/// Returns the manifest of short tasks that are due once each, one after the other from `from` to `to`.
fn due_once(from: SystemTime, to: SystemTime) -> String {
    let count = to.duration_since(from).unwrap().as_millis() / EVERY.as_millis();
    let task = |n: u32| format!("[tasks.tick{n:04}]\nat = \"{}\"\n{SHORT}", instant(from + EVERY * n));
    (0..u32::try_from(count).unwrap()).map(task).collect()
}

/// Returns the sections of the configuration for a tenant of each hung task.
fn tenants(count: usize) -> String {
    (0..count).map(|n| format!("[tenants.t{n:04}]\nplugins = \"tenants/t{n:04}\"\n")).collect()
}

fn instant(at: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(at).to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[derive(Clone, Copy, Debug, Default)]
struct Level {
    late: Spread,
    since_claim: Spread,
    api: Spread,
    lock: Spread,
    past: Spread,
    rss: [f64; 3],
}

impl Level {
    fn line(&self, hung: usize) -> String {
        let Self { late, since_claim, api, lock, past, rss } = self;
        let rss = format!("{:.0} / {:.0} / {:.0}", rss[0], rss[1], rss[2]);
        format!("{hung:>5} {late:>18} {since_claim:>20} {api:>18} {lock:>18} {past:>18} {rss:>22}")
    }

    fn figures(&self, condition: Condition) -> String {
        let prefix = condition.prefix();
        let mut text = String::new();
        for (name, value) in [
            ("due_late_p99_ms", self.late.p99),
            ("claimed_to_started_p99_ms", self.since_claim.p99),
            ("lock_p99_ms", self.lock.p99),
            ("overshoot_max_ms", self.past.max),
            ("api_p99_ms", self.api.p99),
        ] {
            let _ = writeln!(text, "figure {prefix}{name} {value:.1} ms");
        }
        if condition == Condition::Alone {
            let _ = writeln!(text, "figure {prefix}rss_left_mb {:.1} MB", self.rss[2] - self.rss[0]);
        }
        text
    }
}

fn measure(host: &Process, place: &Path, condition: Condition, hung: usize) -> (Level, Runs) {
    let rss_before = host.rss_mb();
    let from = SystemTime::now() + condition.lead();
    let to = from + ARRIVE + DEADLINE + Duration::from_millis(500);
    if condition == Condition::New {
        drop_plugin(place, "tick", "swarm", &due_once(from, to));
    }
    let dropped = drop_hung(place, condition, hung, from);
    await_hung(host, condition, &dropped);
    std::thread::sleep(from.duration_since(SystemTime::now()).expect("the plugins were loaded in time"));

    let over = AtomicBool::new(false);
    let task = if condition == Condition::New { "tick0000" } else { "tick" };
    let (api, peak) = std::thread::scope(|scope| {
        let api = scope.spawn(|| ask(host, task, &over));
        let peak = scope.spawn(|| peak_rss(host, &over));
        std::thread::sleep(to.duration_since(SystemTime::now()).unwrap_or_default());
        over.store(true, Ordering::Relaxed);
        (api.join().unwrap(), peak.join().unwrap())
    });
    let database = place.join("var/sexton.db");
    await_ends(&database, from, hung);
    for plugin in dropped {
        for kind in ["wasm", "toml"] {
            fs::remove_file(plugin.with_extension(kind)).unwrap();
        }
    }
    std::thread::sleep(Duration::from_secs(3)); // what is given back is given back by now
    let rss = [rss_before, peak, host.rss_mb()];

    let runs = Runs::read(&database, from, to, DEADLINE);
    assert_eq!(runs.hung.len(), hung, "runs of hung plugins");
    assert!(runs.hung_well, "a hung plugin did not end at its deadline");
    let due = to.duration_since(from).unwrap().as_millis() / EVERY.as_millis();
    assert!(runs.late.len() as u128 >= due * 9 / 10, "{} of {due} short runs", runs.late.len());
    let level = Level {
        late: Spread::of(runs.late.clone()),
        since_claim: Spread::of(runs.since_claim.clone()),
        api: Spread::of(api),
        lock: Spread::of(runs.took.clone()),
        past: Spread::of(runs.hung.clone()),
        rss,
    };
    (level, runs)
}

/// Drops the hung plugins, and returns their paths without the ending.
fn drop_hung(place: &Path, condition: Condition, hung: usize, from: SystemTime) -> Vec<PathBuf> {
    if condition != Condition::Tenants {
        if hung == 0 {
            return Vec::new();
        }
        let plugin = format!("hung{hung}");
        drop_plugin(place, &plugin, "swarm", &(0..hung).map(|n| hung_task(n, hung, from)).collect::<String>());
        return vec![place.join("plugins").join(plugin)];
    }
    let component = fs::read(guest("swarm")).unwrap();
    let of_tenant = |n: usize| {
        let directory = place.join(format!("tenants/t{n:04}"));
        fs::create_dir_all(&directory).unwrap();
        folder::put(&directory, "hung", &component, Some(&hung_task(n, hung, from))).unwrap();
        directory.join("hung")
    };
    (0..hung).map(of_tenant).collect()
}

/// Waits until all plugins are in use.
fn await_hung(host: &Process, condition: Condition, dropped: &[PathBuf]) {
    if condition != Condition::Tenants {
        return await_plugins(host, 1 + dropped.len());
    }
    let start = Instant::now();
    for n in 0..dropped.len() {
        let path = format!("/v1/plugins?tenant=t{n:04}");
        while !host.get(&path).contains("\"digest\":\"") {
            assert!(start.elapsed() < condition.lead(), "{}", host.get(&path));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Returns the section of a hung task that is due at its place within [`ARRIVE`].
fn hung_task(n: usize, hung: usize, from: SystemTime) -> String {
    let step = ARRIVE / u32::try_from(hung).unwrap();
    let at = instant(from + step * u32::try_from(n).unwrap());
    let input = if n.is_multiple_of(3) { "fill" } else { "spin" };
    format!(
        "[tasks.h{n:04}]\nat = \"{at}\"\ninput = \"{input}\"\nretry = {{ attempts = 1 }}\n\
         grants = {{ locks = [\"bench\"], cache = [\"bench\"] }}\n\
         limits = {{ deadline = \"{}ms\", memory = \"{MEMORY_MB} MiB\", fuel = 1_000_000_000_000 }}\n",
        DEADLINE.as_millis()
    )
}

/// Calls the API repeatedly, and returns the duration of each call.
fn ask(host: &Process, task: &str, over: &AtomicBool) -> Vec<f64> {
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("{}/v1/tasks/{task}", host.url);
    let mut took = Vec::new();
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let start = Instant::now();
        agent.get(&url).call().unwrap().body_mut().read_to_vec().unwrap();
        took.push(start.elapsed().as_secs_f64() * 1e3);
        next += EVERY;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    took
}

fn peak_rss(host: &Process, over: &AtomicBool) -> f64 {
    let mut peak: f64 = 0.0;
    while !over.load(Ordering::Relaxed) {
        peak = peak.max(host.rss_mb());
        std::thread::sleep(Duration::from_millis(100));
    }
    peak
}

/// Waits until all hung runs are stored.
fn await_ends(database: &Path, from: SystemTime, hung: usize) {
    let start = Instant::now();
    while Runs::ended(database, from) < i64::try_from(hung).unwrap() {
        assert!(start.elapsed() < Duration::from_secs(120), "{hung} hung runs do not end");
        std::thread::sleep(Duration::from_millis(100));
    }
}

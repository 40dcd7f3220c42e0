//! Measures how hung plugins affect others: a short task that is due every 20 ms, an API call and a lock beside 0, 1,
//! 10, 100 and 1000 of them.
//!
//! The hung ones come within one second, spin until their deadline, and a third of them take all the memory that they
//! may have first. Everything goes through the real binary: plugins are dropped, schedules fire, runs are claimed,
//! made, and written to SQLite. The figures of runs are read from there afterwards; those of the API are what a client
//! saw.
//!
//! `cargo bench --bench hung -- 100` measures one number of hung plugins only.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Process, Spread, await_plugins, drop_plugin, target};

const LEVELS: [usize; 5] = [0, 1, 10, 100, 1000];

/// The deadline of the hung ones, and the time over which they come.
const DEADLINE: Duration = Duration::from_secs(8);
const ARRIVE: Duration = Duration::from_secs(1);

/// The time from the drop of the plugin to the first arrival, in which the host must have seen it.
const LEAD: Duration = Duration::from_secs(4);

/// The interval of the requests that must stay quick.
const EVERY: Duration = Duration::from_millis(20);

/// The memory of the hung ones.
const MEMORY_MB: usize = 16;

fn main() {
    let only: Option<usize> = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let place = tempfile::Builder::new().prefix("sexton-hung-").tempdir_in(target()).unwrap();
    let place = place.path();
    fs::create_dir_all(place.join("plugins")).unwrap();
    let host = Process::start(place, "");
    beside(place);
    await_plugins(&host, 1);

    println!("beside hung plugins (a third with {MEMORY_MB} MiB each), in ms; each column p50 / p99 / max");
    println!(
        "{:>5} {:>20} {:>20} {:>20} {:>20} {:>20} {:>24}",
        "hung",
        "due run late",
        "since it was claimed",
        "API call",
        "lock taken, let go",
        "past the deadline",
        "RSS MB before/peak/after"
    );
    let mut last = Level::default();
    for (nth, hung) in LEVELS.into_iter().enumerate() {
        if only.is_none_or(|only| only == hung) {
            last = measure(&host, place, nth, hung);
            println!("{}", last.line(hung));
        }
    }
    println!("figure hung1000_due_late_p99_ms {:.0} ms", last.late.p99);
    println!("figure hung1000_claimed_to_started_p99_ms {:.0} ms", last.since_claim.p99);
    println!("figure hung1000_api_p99_ms {:.1} ms", last.api.p99);
    println!("figure hung1000_overshoot_max_ms {:.0} ms", last.past.max);
    println!("figure hung1000_rss_left_mb {:.1} MB", last.rss[2] - last.rss[0]);
}

/// Runs the requests that must stay quick.
fn beside(place: &Path) {
    let every = EVERY.as_millis();
    let manifest = format!(
        "[tasks.tick]\nevery = \"{every}ms\"\ninput = \"lock\"\ngrants = {{ locks = [\"bench\"], cache = [\"bench\"] }}\noverlap = \"allow(100)\"\n"
    );
    drop_plugin(place, "tick", "swarm", &manifest);
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
        format!("{hung:>5} {late:>20} {since_claim:>20} {api:>20} {lock:>20} {past:>20} {rss:>24}")
    }
}

fn measure(host: &Process, place: &Path, nth: usize, hung: usize) -> Level {
    let rss_before = host.rss_mb();
    let from = SystemTime::now() + LEAD;
    let plugin = format!("hung{hung}");
    if hung > 0 {
        drop_plugin(place, &plugin, "swarm", &hung_tasks(hung, from));
        await_plugins(host, 2);
    }
    let to = from + ARRIVE + DEADLINE + Duration::from_millis(500);
    std::thread::sleep(from.duration_since(SystemTime::now()).expect("the plugin was seen in time"));

    let over = AtomicBool::new(false);
    let (api, peak) = std::thread::scope(|scope| {
        let api = scope.spawn(|| ask(host, &over));
        let peak = scope.spawn(|| peak_rss(host, &over));
        std::thread::sleep(to.duration_since(SystemTime::now()).unwrap_or_default());
        over.store(true, Ordering::Relaxed);
        (api.join().unwrap(), peak.join().unwrap())
    });
    await_ends(host, hung);
    if hung > 0 {
        for kind in ["wasm", "toml"] {
            fs::remove_file(place.join(format!("plugins/{plugin}.{kind}"))).unwrap();
        }
    }
    std::thread::sleep(Duration::from_secs(3)); // what is given back is given back by now
    let rss = [rss_before, peak, host.rss_mb()];

    let runs = Runs::read(&place.join("var/sexton.db"), from, to);
    assert!(nth > LEVELS.len() || runs.hung.len() >= hung, "{} of {hung} hung plugins ran", runs.hung.len());
    assert!(runs.hung_well, "a hung plugin did not end at its deadline");
    assert!(runs.late.len() as u128 >= (to.duration_since(from).unwrap().as_millis() / EVERY.as_millis()) * 9 / 10);
    Level {
        late: Spread::of(runs.late),
        since_claim: Spread::of(runs.since_claim),
        api: Spread::of(api),
        lock: Spread::of(runs.took),
        past: Spread::of(runs.hung),
        rss,
    }
}

/// Returns a manifest of `hung` tasks that are due, one after the other, within [`ARRIVE`].
fn hung_tasks(hung: usize, from: SystemTime) -> String {
    let mut text = String::new();
    let (ms, step) = (DEADLINE.as_millis(), ARRIVE / u32::try_from(hung).unwrap());
    for n in 0..hung {
        let at = chrono::DateTime::<chrono::Utc>::from(from + step * u32::try_from(n).unwrap());
        let at = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let input = if n % 3 == 0 { "fill" } else { "spin" };
        let _ = writeln!(
            text,
            "[tasks.h{n:04}]\nat = \"{at}\"\ninput = \"{input}\"\nretry = {{ attempts = 1 }}\ngrants = {{ locks = [\"bench\"], cache = [\"bench\"] }}\n\
             limits = {{ deadline = \"{ms}ms\", memory = \"{MEMORY_MB} MiB\", fuel = 1_000_000_000_000 }}"
        );
    }
    text
}

/// Calls the API repeatedly, and returns the duration of each call.
fn ask(host: &Process, over: &AtomicBool) -> Vec<f64> {
    let agent = ureq::Agent::new_with_defaults();
    let url = format!("{}/v1/tasks/tick", host.url);
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
fn await_ends(host: &Process, hung: usize) {
    let start = Instant::now();
    while host.get("/v1/runs?state=running&limit=1000").matches("\"h0").count() > 0 {
        assert!(start.elapsed() < Duration::from_secs(120), "{hung} hung runs do not end");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The store's figures about the runs of one level, in milliseconds.
struct Runs {
    /// The time from the instant at which a short run was due to the start of its guest.
    late: Vec<f64>,
    /// The part of that since the claim, including the claim's commit: the rest of the delay that the store does not
    /// explain.
    since_claim: Vec<f64>,
    /// The time from there to its end: it takes a lock and releases it.
    took: Vec<f64>,
    /// The time after their deadlines at which the hung ones ended.
    hung: Vec<f64>,
    /// Whether all of these ended as they should.
    hung_well: bool,
}

impl Runs {
    fn read(database: &Path, from: SystemTime, to: SystemTime) -> Self {
        let ms = |at: SystemTime| i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
        let store = rusqlite::Connection::open(database).unwrap();
        let mut query = store
            .prepare(
                "SELECT t.name = 'tick', r.due_at, r.claimed_at, a.started_at, a.ended_at, a.message FROM runs r \
                 JOIN attempts a ON a.run = r.id JOIN tasks t ON t.id = r.task WHERE r.due_at >= ?1 AND r.due_at < ?2",
            )
            .unwrap();
        let mut runs =
            Self { late: Vec::new(), since_claim: Vec::new(), took: Vec::new(), hung: Vec::new(), hung_well: true };
        let mut rows = query.query([ms(from), ms(to)]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let number = |column: usize| row.get::<_, i64>(column).unwrap() as f64;
            if row.get(0).unwrap() {
                runs.late.push(number(3) - number(1));
                runs.since_claim.push(number(3) - number(2));
                runs.took.push(number(4) - number(3));
            } else {
                runs.hung.push(number(4) - number(2) - DEADLINE.as_secs_f64() * 1e3);
                let said: String = row.get(5).unwrap();
                runs.hung_well &= said.contains("at its deadline");
            }
        }
        runs
    }
}

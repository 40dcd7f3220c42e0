//! Measures the costs of added schedules: 1,000, 100,000 and 1,000,000 of them in one host.
//!
//! The table is filled by one transaction before the host starts; the rest is the real binary on its real store. A
//! tenth of them is due once, spread over one minute (of 100,000: 1,000 a second for ten seconds). The others have
//! crontabs and intervals that are not due in that time. Their task does nothing, and its runs may lag behind: the
//! delay of a schedule is taken from the store, `created_at - due_at`.
//!
//! `cargo bench --bench schedules -- 1000` measures one number of them only.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Process, Spread, await_plugins, drop_plugin, target};

const LEVELS: [usize; 3] = [1_000, 100_000, 1_000_000];

/// The time for which nothing is due while the idle host is measured.
const IDLE: Duration = Duration::from_secs(20);

/// The time over which the tenth comes due.
const MINUTE: Duration = Duration::from_secs(60);

/// All runs are kept, to be counted.
const CONFIG: &str = "[retention]\nruns = 1000000\nbytes = \"100 GiB\"\n";

/// The time over which it does so to show a rate of 1,000 a second.
const BURST: Duration = Duration::from_secs(10);

fn main() {
    let only: Option<usize> = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    println!(
        "{:>9} {:>10} {:>10} {:>12} {:>12} {:>24} {:>14} {:>14}",
        "schedules", "start s", "bytes each", "load CPU s", "idle CPU %", "late ms p50/p99/max", "fire CPU us", "fired"
    );
    let empty = measure(0);
    let mut measured = Vec::new();
    for n in LEVELS.into_iter().filter(|n| only.is_none_or(|only| only == *n)) {
        let level = measure(n);
        println!("{}", level.line(&empty));
        measured.push(level);
    }
    let of = |n: usize| measured.iter().find(|level| level.schedules == n);
    if let Some(million) = of(1_000_000) {
        println!("figure schedule_bytes {:.0} bytes", million.bytes(&empty));
    }
    if let Some(level) = of(100_000) {
        println!("figure fire_late_p99_ms_100k {:.1} ms", level.late.p99);
    }
    if let Some(million) = of(1_000_000) {
        println!("figure start_1m_s {:.2} s", million.start.as_secs_f64());
    }
    if measured.len() > 1 {
        println!("figure growth_exponent {:.3} ", exponent(&measured, &empty));
    }
}

/// The measurements of one number of schedules.
#[derive(Clone, Copy, Debug)]
struct Level {
    schedules: usize,
    /// The time from the start of the process until all schedules are loaded.
    start: Duration,
    /// The resident memory at that time.
    rss_mb: f64,
    /// The processor time until then.
    load_cpu: f64,
    /// The processor time while nothing is due, as a fraction of one core.
    idle: f64,
    late: Spread,
    /// The processor time for firing a tenth, including their runs, beyond that used while nothing is due.
    fire_cpu: f64,
    fired: usize,
}

impl Level {
    fn bytes(&self, empty: &Self) -> f64 {
        (self.rss_mb - empty.rss_mb) * f64::from(1 << 20) / self.schedules as f64
    }

    /// Returns the processor time for all of them: to load each, and to fire a tenth.
    fn cost(&self, empty: &Self) -> f64 {
        (self.load_cpu - empty.load_cpu).max(1e-3) + self.fire_cpu
    }

    fn line(&self, empty: &Self) -> String {
        let Self { schedules, late, fired, .. } = self;
        format!(
            "{schedules:>9} {:>10.2} {:>10.0} {:>12.2} {:>12.2} {late:>24} {:>14.0} {fired:>14}",
            self.start.as_secs_f64(),
            self.bytes(empty),
            self.load_cpu,
            self.idle * 100.0,
            self.fire_cpu * 1e6 / (*fired).max(1) as f64,
        )
    }
}

/// Returns the slope of the cost over the number of schedules, both as logarithms: 1 is proportional.
fn exponent(levels: &[Level], empty: &Level) -> f64 {
    let points: Vec<_> = levels.iter().map(|level| ((level.schedules as f64).ln(), level.cost(empty).ln())).collect();
    let n = points.len() as f64;
    let (x, y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let up: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    up / points.iter().map(|p| (p.0 - x) * (p.0 - x)).sum::<f64>()
}

fn measure(schedules: usize) -> Level {
    let place = tempfile::Builder::new().prefix("sexton-schedules-").tempdir_in(target()).unwrap();
    let place = place.path();
    fs::create_dir_all(place.join("plugins")).unwrap();
    drop_plugin(place, "noop", "noop", "[tasks.noop]\noverlap = \"allow(64)\"\n");
    // An earlier start creates the tables and compiles the plugin.
    await_plugins(&Process::start(place, CONFIG), 1);
    let ready = SystemTime::now() + lead(schedules);
    let over = match schedules {
        0 => Duration::ZERO,
        100_000 => BURST,
        _ => MINUTE,
    };
    fill(&place.join("var/sexton.db"), schedules, ready, over);

    let began = Instant::now();
    let host = Process::start(place, CONFIG);
    await_plugins(&host, 1);
    let start = await_parked(place, schedules, began);
    // By now the memory of the start is released, and all pending writes are done.
    std::thread::sleep(Duration::from_secs(2));
    let (rss_mb, load_cpu) = (host.rss_mb(), cpu(host.id()));
    assert!(ready > SystemTime::now() + IDLE, "the lead was too short for {schedules} schedules on this machine");
    std::thread::sleep(IDLE);
    let idle = (cpu(host.id()) - load_cpu) / IDLE.as_secs_f64();
    let due = schedules / 10;
    let (before, watched) = (cpu(host.id()), Instant::now());
    std::thread::sleep(ready.duration_since(SystemTime::now()).unwrap() + over);
    let late = await_fired(&place.join("var/sexton.db"), due);
    // The time that it would have used anyway is not charged to them.
    let fire_cpu = (cpu(host.id()) - before - idle * watched.elapsed().as_secs_f64()).max(0.0);
    let fired = late.len();
    Level { schedules, start, rss_mb, load_cpu, idle, late: Spread::of(late), fire_cpu, fired }
}

/// Returns the time from filling the table to the first instant: enough to fill it, to start, and to be idle.
fn lead(schedules: usize) -> Duration {
    IDLE + Duration::from_secs(15) + Duration::from_micros(schedules as u64 * 100)
}

/// Inserts the schedules in the format that the host itself writes.
fn fill(database: &Path, schedules: usize, from: SystemTime, over: Duration) {
    let mut store = rusqlite::Connection::open(database).unwrap();
    let (now, from) = (millis(SystemTime::now()), millis(from));
    let due = (schedules / 10).max(1);
    let tx = store.transaction().unwrap();
    {
        let mut insert = tx
            .prepare(
                "INSERT INTO schedules (id, version, tenant, key, task, definition, data, created_at, cursor_at) \
                 VALUES (?1, ?1, 'default', ?2, 'noop', ?3, ?4, ?5, ?5)",
            )
            .unwrap();
        for n in 0..schedules {
            let definition = match n % 10 {
                0 => format!("{{\"at_ms\":{}}}", from + over.as_millis() as i64 * (n as i64 / 10) / due as i64),
                // A time of the day in the month that was half a year ago.
                1..=7 => format!("{{\"cron\":\"{} {} {} {} *\"}}", n % 60, n / 60 % 24, n % 28 + 1, elsewhere(now)),
                8 => format!(
                    "{{\"cron\":\"{} {} 1 {} *\",\"zone\":\"Europe/Berlin\"}}",
                    n % 60,
                    n / 60 % 24,
                    elsewhere(now)
                ),
                // From a day ahead on.
                _ => format!("{{\"every_ms\":3600000,\"start_ms\":{}}}", now + 86_400_000),
            };
            let data = format!("{{\"customer\": {n}}}").into_bytes();
            insert.execute(rusqlite::params![n as i64 + 1, format!("schedule-{n}"), definition, data, now]).unwrap();
        }
    }
    tx.execute("UPDATE counters SET schedules = ?1", [schedules as i64]).unwrap();
    tx.commit().unwrap();
}

/// Returns a month that does not come soon.
fn elsewhere(now: i64) -> u32 {
    use chrono::Datelike;
    (chrono::DateTime::from_timestamp_millis(now).unwrap().month() + 5) % 12 + 1
}

fn millis(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Waits until the host reports that it has loaded them all. Returns how long that took since `began`.
fn await_parked(place: &Path, schedules: usize, began: Instant) -> Duration {
    let line = format!("Loaded {schedules} schedule(s) that were added");
    while schedules > 0 && !fs::read_to_string(place.join("log")).unwrap().contains(&line) {
        assert!(began.elapsed() < Duration::from_secs(600), "{}", fs::read_to_string(place.join("log")).unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    began.elapsed()
}

/// Waits until all that was due has fired and its runs have ended. Returns the delay of each, in milliseconds.
fn await_fired(database: &Path, due: usize) -> Vec<f64> {
    let store = rusqlite::Connection::open_with_flags(database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let began = Instant::now();
    loop {
        let over: i64 = store.query_row("SELECT count(*) FROM runs WHERE state > 1", [], |row| row.get(0)).unwrap();
        if over as usize >= due {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(900), "{over} of {due} runs are over");
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut query = store.prepare("SELECT created_at - due_at FROM runs WHERE schedule IS NOT NULL").unwrap();
    let late =
        query.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(|late| late.unwrap() as f64).collect::<Vec<_>>();
    assert_eq!(late.len(), due, "each schedule that was due has made one run");
    late
}

/// Returns the processor time of a process so far, in seconds.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may contain anything, the 12th and 13th fields are utime and stime.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0 // USER_HZ, which Linux keeps at 100 for everybody
}

//! Runs good and hostile tasks side by side for an hour (or the given number of seconds), and checks whether anything
//! is lost, late, or leaking.
//!
//! `cargo bench --bench soak -- 600` soaks for ten minutes. The host is the real binary with its store on the disk.
//! Good tasks take a lock, count in the cache, and must have run once for every instant at which they were due. Hostile
//! ones spin, take all memory, hoard locks, sleep, recurse, panic and flood the log, again and again.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Process, Spread, await_plugins, drop_plugin, target};

const HOUR: Duration = Duration::from_secs(3600);

/// The good tasks: name, action and interval.
const GOOD: [(&str, &str, Duration); 3] = [
    ("tick", "lock", Duration::from_millis(100)),
    ("count", "count", Duration::from_millis(250)),
    ("slow", "lock", Duration::from_secs(5)),
];

/// The hostile tasks: action, and number of each.
const HOSTILE: [(&str, i64); 7] =
    [("spin", 8), ("fill", 4), ("hoard", 2), ("sleep", 8), ("recurse", 4), ("panic", 2), ("flood", 2)];

/// The deadline of the first hostile task of each kind, and the step to that of the next, in milliseconds.
const DEADLINE: i64 = 1_000;
const DEADLINE_STEP: i64 = 110;

/// The interval of printed lines.
const LINE: Duration = Duration::from_secs(60);

fn main() {
    let seconds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).map_or(HOUR, Duration::from_secs);
    let place = tempfile::Builder::new().prefix("sexton-soak-").tempdir_in(target()).unwrap();
    let place = place.path();
    fs::create_dir_all(place.join("plugins")).unwrap();
    // All history is kept, so that it can be examined in the end.
    let host = Process::start(place, "[retention]\nruns = 1000000\nbytes = \"100 GiB\"\n");
    drop_plugin(place, "good", "swarm", &good());
    drop_plugin(place, "hostile", "swarm", &hostile());
    await_plugins(&host, 2);

    let (from, start) = (SystemTime::now(), Instant::now());
    println!("{:>6} {:>9} {:>8} {:>8} {:>26}", "min", "RSS MB", "threads", "files", "due run late, ms");
    println!("{:>6} {:>9} {:>8} {:>8} {:>26}", "", "", "", "", "p50 / p99 / max");
    let mut lines = Vec::new();
    while start.elapsed() < seconds {
        let since = SystemTime::now();
        std::thread::sleep(LINE.min(seconds.saturating_sub(start.elapsed())));
        let line = Line { rss: host.rss_mb(), threads: host.threads(), files: host.files() };
        let late = late(&place.join("var/sexton.db"), since, SystemTime::now() - Duration::from_secs(2));
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        println!("{minutes:>6.1} {:>9.1} {:>8} {:>8} {late:>26}", line.rss, line.threads, line.files);
        lines.push(line);
    }
    report(&host, place, from, &lines);
}

struct Line {
    rss: f64,
    threads: usize,
    files: usize,
}

fn good() -> String {
    let mut text = String::new();
    for (name, does, every) in GOOD {
        let _ = writeln!(
            text,
            "[tasks.{name}]\nevery = \"{}ms\"\ninput = \"{does}\"\noverlap = \"allow(100)\"\ncatch-up = \"all(1000)\"\n\
             grants = {{ locks = [\"*\"], cache = [\"*\"] }}",
            every.as_millis()
        );
    }
    text
}

fn hostile() -> String {
    let mut text = String::new();
    for (does, count) in HOSTILE {
        for n in 0..count {
            // Longer than the deadline, so that each ends before it comes again; not all at the same instants.
            let _ = writeln!(
                text,
                "[tasks.{does}-{n}]\nevery = \"{}ms\"\ninput = \"{does}\"\nretry = {{ attempts = 1 }}\nbrake = \"off\"\n\
                 grants = {{ locks = [\"*\"], cache = [\"*\"] }}\n\
                 limits = {{ deadline = \"{}ms\", memory = \"32 MiB\", log = \"16 KiB\" }}",
                2_300 + 370 * n,
                DEADLINE + DEADLINE_STEP * n
            );
        }
    }
    text
}

fn report(host: &Process, place: &Path, from: SystemTime, lines: &[Line]) {
    let to = SystemTime::now() - Duration::from_secs(5);
    std::thread::sleep(Duration::from_secs(3)); // what was due by `to` is over
    let database = place.join("var/sexton.db");
    let (mut expected, mut missing, mut doubled) = (0, 0, 0);
    for (name, _, every) in GOOD {
        let (due, lost, twice) = kept(&database, name, every, from, to);
        println!("{name}: due {due} times, {lost} of them lost or not well, {twice} doubled");
        (expected, missing, doubled) = (expected + due, missing + lost, doubled + twice);
    }
    let late = late(&database, from, to);
    // The store commits twice before a run is claimed; from then on it waits for a guest thread.
    let claimed = of_good_runs(&database, "r.claimed_at - r.due_at", from, to);
    let started = of_good_runs(&database, "a.started_at - r.claimed_at", from, to);
    let ended = hostile_ends(&database, from, to);
    println!("hostile attempts by outcome: {ended}");
    let past = overshoot(&database, from, to);
    println!("ended past their deadlines, ms, p50 / p99 / max: {past}");
    let locks = locks_left(host, place);

    // The first quarter is the beginning, in which caches fill.
    let rss = |part: &[Line]| part.iter().map(|line| line.rss).sum::<f64>() / part.len().max(1) as f64;
    let quarter = lines.len() / 4;
    let growth = rss(&lines[lines.len() - quarter.max(1)..])
        - rss(&lines[quarter..(quarter * 2).max(quarter + 1).min(lines.len())]);
    let (first, last) = (&lines[quarter.min(lines.len() - 1)], &lines[lines.len() - 1]);
    println!("good runs late, ms, p50 / p99 / max: {late}; claimed after {claimed}, started {started} after that");
    println!(
        "threads {} then {}, files {} then {}; locks left once the hostile tasks are gone: {locks}",
        first.threads, last.threads, first.files, last.files
    );
    println!("figure soak_minutes {:.0} min", to.duration_since(from).unwrap().as_secs_f64() / 60.0);
    println!("figure soak_due {expected} runs");
    println!("figure soak_lost {missing} runs");
    println!("figure soak_doubled {doubled} runs");
    println!("figure soak_late_p99_ms {:.0} ms", late.p99);
    println!("figure soak_late_max_ms {:.0} ms", late.max);
    println!("figure soak_claimed_to_started_p99_ms {:.0} ms", started.p99);
    println!("figure soak_claimed_to_started_max_ms {:.0} ms", started.max);
    println!("figure soak_overshoot_max_ms {:.0} ms", past.max);
    println!("figure soak_rss_growth_mb {growth:.1} MB");
    println!("figure soak_locks_left {locks} locks");
    assert!(missing == 0 && doubled == 0, "runs were lost or doubled");
    assert!(locks == 0, "locks are held by nobody: {}", host.get("/v1/locks"));
}

fn ms(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Returns how many locks are held once the hostile tasks are removed and their last runs have ended.
fn locks_left(host: &Process, place: &Path) -> usize {
    for file in ["hostile.wasm", "hostile.toml"] {
        fs::remove_file(place.join("plugins").join(file)).unwrap();
    }
    let start = Instant::now();
    loop {
        // The good ones hold theirs for a moment, and under names that a hostile one does not use.
        let left = host.get("/v1/locks").matches("\"task\":\"hoard").count();
        if left == 0 || start.elapsed() > Duration::from_secs(30) {
            return left;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Returns the delays of the good runs that were due in that time, in milliseconds.
fn late(database: &Path, from: SystemTime, to: SystemTime) -> Spread {
    of_good_runs(database, "a.started_at - r.due_at", from, to)
}

/// Evaluates `milliseconds`, an expression, for the good runs that were due in that time.
fn of_good_runs(database: &Path, milliseconds: &str, from: SystemTime, to: SystemTime) -> Spread {
    let store = rusqlite::Connection::open(database).unwrap();
    let names: Vec<String> = GOOD.iter().map(|(name, ..)| format!("'{name}'")).collect();
    let query = format!(
        "SELECT {milliseconds} FROM runs r JOIN attempts a ON a.run = r.id AND a.attempt = 1 \
         JOIN tasks t ON t.id = r.task WHERE t.name IN ({}) AND r.due_at >= ?1 AND r.due_at < ?2",
        names.join(", ")
    );
    let mut query = store.prepare(&query).unwrap();
    let rows = query.query_map([ms(from), ms(to)], |row| row.get::<_, i64>(0)).unwrap();
    Spread::of(rows.map(|value| value.unwrap() as f64).collect())
}

/// Returns the number of instants at which a task was due, of those without a successful run, and of those with more
/// than one.
fn kept(database: &Path, task: &str, every: Duration, from: SystemTime, to: SystemTime) -> (usize, usize, usize) {
    let store = rusqlite::Connection::open(database).unwrap();
    let mut query = store
        .prepare(
            "SELECT r.due_at, count(*) FROM runs r JOIN tasks t ON t.id = r.task WHERE t.name = ?1 \
             AND r.due_at >= ?2 AND r.due_at < ?3 AND r.state = 2 GROUP BY r.due_at",
        )
        .unwrap();
    let rows = query.query_map((task, ms(from), ms(to)), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let runs: std::collections::HashMap<i64, i64> = rows.unwrap().map(Result::unwrap).collect();
    let every = i64::try_from(every.as_millis()).unwrap();
    let first = ms(from).div_euclid(every) + 1;
    let due: Vec<i64> = (first..).map(|n| n * every).take_while(|at| *at < ms(to)).collect();
    let lost = due.iter().filter(|at| !runs.contains_key(at)).count();
    (due.len(), lost, runs.values().filter(|count| **count > 1).count())
}

/// Returns how far past their deadlines runs ended that had to be ended, in milliseconds.
fn overshoot(database: &Path, from: SystemTime, to: SystemTime) -> Spread {
    let store = rusqlite::Connection::open(database).unwrap();
    let mut query = store
        .prepare(
            "SELECT a.ended_at - r.claimed_at - (?3 + ?4 * substr(t.name, instr(t.name, '-') + 1)) \
             FROM runs r JOIN attempts a ON a.run = r.id JOIN tasks t ON t.id = r.task \
             WHERE a.message LIKE '%at its deadline%' AND r.due_at >= ?1 AND r.due_at < ?2",
        )
        .unwrap();
    let rows = query.query_map((ms(from), ms(to), DEADLINE, DEADLINE_STEP), |row| row.get::<_, i64>(0)).unwrap();
    Spread::of(rows.map(|past| past.unwrap() as f64).collect())
}

/// Returns the outcomes of the hostile tasks' attempts, with their numbers.
fn hostile_ends(database: &Path, from: SystemTime, to: SystemTime) -> String {
    let store = rusqlite::Connection::open(database).unwrap();
    let names: Vec<String> = HOSTILE.iter().map(|(name, _)| format!("t.name LIKE '{name}-%'")).collect();
    let query = format!(
        "SELECT substr(t.name, 1, instr(t.name, '-') - 1), count(*), \
         sum(a.message LIKE '%at its deadline%'), max(a.ended_at - r.claimed_at) \
         FROM runs r JOIN attempts a ON a.run = r.id JOIN tasks t ON t.id = r.task \
         WHERE ({}) AND r.due_at >= ?1 AND r.due_at < ?2 GROUP BY 1",
        names.join(" OR ")
    );
    let mut query = store.prepare(&query).unwrap();
    let rows = query.query_map([ms(from), ms(to)], |row| {
        let (name, count, timed_out, longest): (String, i64, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(format!("{name} {count} ({timed_out} at their deadline, the longest took {longest} ms)"))
    });
    rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().join(", ")
}

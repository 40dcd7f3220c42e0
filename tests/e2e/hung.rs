//! Tests that a hung guest ends at its deadline, wherever it hangs, and leaves nothing behind.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::company::alone;
use crate::harness::{Host, attempts, guest, list, outcome, state, took, took_of_its_time};

const DEADLINE: Duration = Duration::from_millis(500);

/// The time after its deadline in which an attempt must end, besides the machine's own delay (see [`Rival`]).
const OVERSHOOT: Duration = Duration::from_millis(50);

/// The attempts of each kind. The median counts, because other programs share the machine with this test; all must end
/// within [`AT_WORST`].
const TRIES: usize = 5;
const AT_WORST: Duration = Duration::from_secs(1);

/// The number of waits of an end, each as long as the worst one of a [`Rival`]: until the guest's thread goes on, until
/// the host's thread does, and until the end is stored.
const WAITS: u32 = 3;

/// A thread that always wants a processor, with the priority of those that run guests. Its waits show what this machine
/// does to any program, which is no fault of the host.
///
/// If the guest's instructions take long, the thread does the same work again and again, with the priority of threads
/// on which guests spin: the host cannot end a guest within an instruction. Only the time that the machine adds to the
/// work counts.
struct Rival {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Rival {
    fn start() -> Self {
        Self::working(5, || ())
    }

    /// Fills, copies and gives back as much memory as the guest does.
    fn copying() -> Self {
        Self::working(10, || {
            let mut memory = vec![1_u8; 64 << 20];
            let half = memory.len() / 2;
            std::hint::black_box(&mut memory).copy_within(..half, half);
        })
    }

    fn working(nice: i32, mut work: impl FnMut() + Send + 'static) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            rustix::process::nice(nice).unwrap();
            let (mut last, mut shortest, mut longest) = (Instant::now(), Duration::MAX, Duration::ZERO);
            while !until.load(Ordering::Relaxed) {
                work();
                let now = Instant::now();
                (shortest, longest) = (shortest.min(now - last), longest.max(now - last));
                last = now;
            }
            longest.saturating_sub(shortest)
        });
        Self { over, thread }
    }

    /// Returns how much longer its longest round took than its shortest.
    fn end(self) -> Duration {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn manifest(name: &str) -> String {
    format!(
        r#"
[tasks.{name}]
overlap = "allow(100)"
[tasks.{name}.retry]
attempts = 1
[tasks.{name}.limits]
deadline = "{}ms"
fuel = 1_000_000_000_000
memory = "256 MiB"
[tasks.{name}.grants]
locks = ["*"]
cache = ["*"]
schedule = ["*"]
http = ["127.0.0.1:1"]
"#,
        DEADLINE.as_millis()
    )
}

/// Runs the task a few times, checks that the attempts ended on time and report the place, and returns them.
fn hangs_and_ends(host: &Host, task: &str, input: &str, where_it_hung: &[&str]) -> Vec<Value> {
    hangs_and_ends_beside(Rival::start, host, task, input, where_it_hung)
}

fn hangs_and_ends_beside(
    rival: fn() -> Rival,
    host: &Host,
    task: &str,
    input: &str,
    where_it_hung: &[&str],
) -> Vec<Value> {
    let mut late = Vec::new();
    let mut all = Vec::new();
    for _ in 0..TRIES {
        let rival = rival();
        let answer = host.run(task, input);
        let machine = rival.end() * WAITS;
        assert_eq!(outcome(&answer), "timed-out", "{input}: {answer}");
        let attempt = attempts(&answer)[0].clone();
        let stack = attempt["backtrace"].as_str().unwrap_or_else(|| panic!("{input}: no stack in {attempt}"));
        for expected in where_it_hung {
            assert!(stack.contains(expected), "{input}: `{expected}` is not in {stack}");
        }
        let over = took(&attempt).saturating_sub(DEADLINE);
        // Both times are cut to milliseconds.
        assert!(
            took_of_its_time(&answer) + Duration::from_millis(2) >= DEADLINE && over <= AT_WORST + machine,
            "{input}: {:?}, on a machine that is late by {machine:?}",
            took(&attempt)
        );
        late.push((over.saturating_sub(machine), over));
        all.push(attempt);
    }
    late.sort();
    println!("{input}: ended past the deadline, without and with what the machine was late, by {late:?}");
    assert!(late[TRIES / 2].0 <= OVERSHOOT, "{input}: {late:?} past the deadline");
    all
}

fn nobody_holds_a_lock(host: &Host) {
    let locks = host.get("/v1/locks");
    assert!(list(&locks, "locks").is_empty(), "{locks}");
}

#[test]
fn a_spinning_guest_ends_at_its_deadline_with_the_place_in_its_stack() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[("probe", "probe", &manifest("probe"))]);
    for attempt in hangs_and_ends(&host, "probe", r#"{"do": "spin"}"#, &["spin", ".rs:"]) {
        assert!(attempt["accounts"]["fuel"].as_u64().unwrap() > 1_000_000, "it is billed for what it used: {attempt}");
    }
}

#[test]
fn a_guest_that_spins_with_a_lock_leaves_it_free() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[("probe", "probe", &manifest("probe"))]);
    hangs_and_ends(&host, "probe", r#"{"do": "lock-hold", "name": "kept", "how": "spin"}"#, &["spin"]);
    nobody_holds_a_lock(&host);
}

#[test]
fn a_guest_that_hangs_before_run_is_called_ends_at_its_deadline() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[("start-hang", "start-hang", &manifest("start-hang"))]);
    hangs_and_ends(&host, "start-hang", "", &[]);
}

#[test]
fn a_guest_that_waits_for_a_lock_ends_at_its_deadline() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[
        ("probe", "probe", &manifest("probe")),
        ("holder", "probe", &manifest("holder").replace("500ms", "1h")),
    ]);
    let holder = host.trigger("holder", r#"{"do": "lock-hold", "name": "wanted", "how": "sleep", "ms": 3600000}"#);
    host.eventually("the lock is held", || (!list(&host.get("/v1/locks"), "locks").is_empty()).then_some(()));

    hangs_and_ends(&host, "probe", r#"{"do": "lock-wait", "name": "wanted", "ms": 3600000}"#, &["lock"]);
    host.cli(&["kill", &holder.to_string()]);
    assert_eq!(state(&host.wait(holder)), "cancelled");
    nobody_holds_a_lock(&host);
}

#[test]
fn a_guest_that_waits_for_an_answer_ends_at_its_deadline() {
    let _alone = alone(); // the clock is looked at
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // accepts in the kernel, and never says a word
    let address = silent.local_addr().unwrap().to_string();
    let host = Host::with_plugins(&[("probe", "probe", &manifest("probe").replace("127.0.0.1:1", &address))]);
    let input = format!(r#"{{"do": "http-get", "url": "http://{address}/"}}"#);
    hangs_and_ends(&host, "probe", &input, &["http"]);
    nobody_holds_a_lock(&host);
}

#[test]
fn a_guest_that_sleeps_ends_at_its_deadline() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[("probe", "probe", &manifest("probe"))]);
    hangs_and_ends(&host, "probe", r#"{"do": "sleep", "ms": 3600000}"#, &["sleep"]);
}

#[test]
fn a_guest_that_copies_much_memory_at_once_ends_at_its_deadline() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[("probe", "probe", &manifest("probe"))]);
    hangs_and_ends_beside(Rival::copying, &host, "probe", r#"{"do": "copy-memory"}"#, &[]);
}

#[test]
fn nothing_of_a_guest_runs_after_its_end() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[("probe", "probe", &manifest("probe"))]);
    let answer = host
        .run("probe", r#"{"do": "cache-write-loop", "key": "pulse", "writer": 1, "count": 1000000000, "bytes": 100}"#);
    assert_eq!(outcome(&answer), "timed-out", "{answer}");
    let pulse = || host.request("GET", "/v1/cache/pulse", b"");
    let at_the_end = pulse();
    assert_eq!(at_the_end.0, 200);

    assert_eq!(state(&host.run("probe", r#"{"do": "echo"}"#)), "succeeded");

    assert_eq!(pulse(), at_the_end);
}

#[test]
fn a_hundred_hung_guests_do_not_keep_a_short_one_waiting() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[
        ("probe", "probe", &manifest("probe").replace("500ms", "20s")),
        ("hello", "hello", "[tasks.hello]\n"),
    ]);
    let twenty = || {
        let mut waits: Vec<Duration> = (0..20)
            .map(|_| {
                let start = Instant::now();
                assert_eq!(state(&host.run("hello", "")), "succeeded");
                start.elapsed()
            })
            .collect();
        waits.sort();
        waits
    };
    let before = twenty();
    let hung: Vec<i64> = (0..100).map(|_| host.trigger("probe", r#"{"do": "spin"}"#)).collect();
    host.eventually("all of them spin", || {
        let runs = host.get("/v1/runs?task=probe&state=running&limit=200");
        (list(&runs, "runs").len() == 100).then_some(())
    });

    let waits = twenty();

    println!(
        "a short run beside 100 hung ones, with three API calls: median {:?}, longest {:?}; without them {:?}, {:?}",
        waits[10], waits[19], before[10], before[19]
    );
    // On a machine so busy that it takes long without them, too, the limit is ten times that.
    assert!(waits[10] < Duration::from_millis(500).max(before[10] * 10), "{waits:?}; without them {before:?}");
    for run in hung {
        host.request("POST", &format!("/v1/runs/{run}/kill"), b"");
    }
}

#[test]
fn a_component_that_cannot_be_compiled_affects_no_other() {
    let _alone = alone(); // the clock is looked at
    let host = Host::with_plugins(&[("hello", "hello", "[tasks.hello]\n")]);
    let mut broken = guest("probe");
    let middle = broken.len() / 2;
    broken[middle..middle + 4000].fill(0xff);

    host.add_bytes("broken", &broken, None);

    assert!(!host.quarantined("broken").is_empty());
    assert_eq!(state(&host.run("hello", "")), "succeeded");
}

//! Tests that runs are charged what they took of the machine.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Host, attempts, outcome};

const MANIFEST: &str = r#"
[tasks.probe.retry]
attempts = 1
[tasks.probe.limits]
deadline = "1s"
fuel = 1_000_000_000_000
[tasks.probe.grants]
locks = ["*"]
cache = ["*"]
schedule = ["*"]
http = ["127.0.0.1:1"]
"#;

/// The fuel of a guest's turn.
const SLICE: u64 = 1_000_000;

/// The most times that guest threads may go to sleep during one run: when it begins, when it moves to the slower
/// threads, and at its end. A thread that is woken for a turn that another one takes goes to sleep once more.
const FEW: u64 = 20;

/// The work of the threads that run guests.
#[derive(Clone, Copy, Debug, Default)]
struct Threads {
    /// The processor time of all of them.
    used: Duration,
    /// The number of times that one of them went to sleep.
    slept: u64,
}

impl Threads {
    /// Reads the values of this host since its start.
    fn of(host: &Host) -> Self {
        let mut all = Self::default();
        for thread in fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap() {
            let thread = thread.unwrap().path();
            let read = |file: &str| fs::read_to_string(thread.join(file)).unwrap_or_default();
            let name = read("comm");
            if name.starts_with("sexton-guest") || name.starts_with("sexton-spent") {
                let nanos = read("schedstat").split(' ').next().and_then(|word| word.parse().ok());
                all.used += Duration::from_nanos(nanos.expect("the system counts what a thread has used"));
                let status = read("status");
                let slept = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                let slept = slept.and_then(|count| count.trim().parse::<u64>().ok());
                all.slept += slept.expect("the system counts how often a thread went to sleep");
            }
        }
        all
    }

    fn since(self, before: Self) -> Self {
        Self { used: self.used.saturating_sub(before.used), slept: self.slept - before.slept }
    }
}

/// Runs a guest that spins alone `until` its end. Returns the accounts of its run, and the work of the threads in that
/// time.
fn spins_alone(host: &Host, until: &str) -> (Value, Threads) {
    let before = Threads::of(host);
    let answer = host.run("probe", r#"{"do": "spin"}"#);
    let meanwhile = Threads::of(host).since(before);
    assert_eq!(outcome(&answer), until, "{answer}");
    (attempts(&answer)[0]["accounts"].clone(), meanwhile)
}

fn host(manifest: &str) -> Host {
    let host = Host::with_plugins(&[("probe", "probe", manifest)]);
    // Work that is done only once is behind the host.
    host.run("probe", r#"{"do": "echo"}"#);
    host
}

#[test]
fn runs_that_are_ended_are_charged_the_processor_time_that_they_took() {
    let host = host(MANIFEST);
    let mut off = Vec::new();

    for _ in 0..5 {
        let (accounts, Threads { used, .. }) = spins_alone(&host, "timed-out");
        let charged = Duration::from_micros(accounts["guest_us"].as_u64().unwrap());
        assert!(charged <= used + used / 100, "{charged:?} were charged, and the threads used no more than {used:?}");
        off.push(used.abs_diff(charged).as_secs_f64() / used.as_secs_f64());
    }

    // The rest is the threads' work for the guest's turns, some two thousand a second. A test in
    // `host/runtime/src/runtime/tests/accounts.rs` checks that a guest is charged for its own time to one part in a hundred,
    // because the host's part can be measured there. In a debug build the host's part takes many times as long, and its
    // length tells nothing.
    off.sort_by(f64::total_cmp);
    println!("not charged, of what the threads used: {off:.4?}");
    assert!(cfg!(debug_assertions) || off[off.len() / 2] <= 0.02, "not charged for a good part of it: {off:?}");
}

#[test]
fn a_guest_that_computes_alone_wakes_no_thread_with_its_turns() {
    // The number of turns is fixed, however long they take on a busy machine.
    let limits = format!("deadline = \"1h\"\nfuel = {}", 25 * FEW * SLICE);
    let host = host(&MANIFEST.replace("deadline = \"1s\"\nfuel = 1_000_000_000_000", &limits));
    let mut slept = Vec::new();

    for _ in 0..3 {
        let (accounts, meanwhile) = spins_alone(&host, "out-of-fuel");
        let turns = accounts["fuel"].as_u64().unwrap() / SLICE;
        assert!(turns > 10 * FEW, "it had too few turns to tell: {accounts}");
        slept.push((meanwhile.slept, turns));
    }

    slept.sort_unstable();
    println!("threads slept so often, with so many turns of the guest: {slept:?}");
    assert!(slept[slept.len() / 2].0 <= FEW, "threads slept so often, with so many turns of the guest: {slept:?}");
}

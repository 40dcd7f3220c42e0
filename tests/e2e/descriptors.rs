//! Tests a host that may open no more files for a while: it waits for them, logs that once, and goes on when there are
//! some.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::harness::{Host, drop_in, guest, list};

/// Allows the host's process only file descriptors below `number`, or as many as the system gives. Those that it has
/// stay open.
fn limit_descriptors(host: &Host, number: Option<u64>) {
    // The first of the two can be changed without a privilege. The second is the one that the host inherited from this
    // process.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let pid = Pid::from_raw(i32::try_from(host.pid()).unwrap());
    prlimit(pid, Resource::Nofile, Rlimit { current: number.or(maximum), maximum }).unwrap();
}

/// Returns the limit below which the host has `free` descriptors that are not in use.
fn limit_that_leaves(host: &Host, free: usize) -> u64 {
    let used: BTreeSet<u64> = fs::read_dir(format!("/proc/{}/fd", host.pid()))
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    (0..).filter(|number| !used.contains(number)).nth(free).unwrap()
}

/// Returns how often the host's threads have gone to sleep by themselves, the processor time that it used in hundredths
/// of a second, and the number of lines of its log.
pub(crate) fn counted(host: &Host) -> (u64, u64, usize) {
    let of = |file: String| fs::read_to_string(file).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap().flatten();
    let wakes: u64 = threads
        .filter_map(|thread| {
            let status = of(format!("{}/status", thread.path().display()));
            status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse::<u64>().ok()
        })
        .sum();
    // User and system time. The state, a letter, is not among the numbers.
    let stat = of(format!("/proc/{}/stat", host.pid()));
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let fields: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    (wakes, fields[10] + fields[11], host.log().lines().count())
}

#[test]
fn a_host_without_free_descriptors_waits_quietly_and_continues_once_some_are_free() {
    let _alone = crate::company::alone(); // processor time and wake-ups are looked at
    let host = Host::with_plugins(&[("it", "hello", "[tasks.it]\n")]);
    let address = host.url.strip_prefix("http://").unwrap();

    limit_descriptors(&host, Some(0));
    let mut waiting = TcpStream::connect(address).unwrap();
    write!(waiting, "GET /v1/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    drop_in(host.directory.path(), "new", &guest("hello"), Some("[tasks.new]\n"));
    for told in ["Could not accept a connection", "Cannot read the plugin directory"] {
        host.eventually(told, || host.log().contains(told).then_some(()));
    }
    let before = counted(&host);
    std::thread::sleep(Duration::from_secs(6)); // more than one poll; what the host does of itself is what is tested
    let after = counted(&host);

    let (wakes, used, lines) = (after.0.saturating_sub(before.0), after.1 - before.1, after.2 - before.2);
    let told = format!("it woke up {wakes} times, used {used} hundredths of a second and wrote {lines} lines");
    println!("in six seconds {told}");
    // Accepting is tried ten times a second, and the directory is read once or twice.
    assert!(wakes < 3000 && used < 120 && lines < 10, "{told}:\n{}", host.log());
    limit_descriptors(&host, None);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    host.loaded("new");
    for once in [
        "Could not accept a connection, trying again and again",
        "Accepting connections again",
        "so its plugins stay as they are",
        "Reading the plugin directory",
    ] {
        assert_eq!(host.log().matches(once).count(), 1, "{once}:\n{}", host.log());
    }
    assert_eq!(list(&host.get("/v1/tasks"), "tasks").len(), 2, "what was there stayed");
}

/// Returns a component that no host has compiled, whatever code they share: it has a section of its own with the
/// current time.
fn never_compiled() -> Vec<u8> {
    let made = format!("made at {:?}", std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap());
    let mut component = guest("noop");
    component.extend([0, u8::try_from(made.len() + 1).unwrap(), u8::try_from(made.len()).unwrap()]);
    component.extend(made.into_bytes());
    component
}

#[test]
fn a_plugin_that_lacked_descriptors_is_tried_again_and_that_is_logged() {
    let host = Host::with_plugins(&[("it", "hello", "[tasks.it]\n")]);

    // Two descriptors are enough to read a file while the API answers, but not to compile a new component.
    limit_descriptors(&host, Some(limit_that_leaves(&host, 2)));
    drop_in(host.directory.path(), "new", &never_compiled(), Some("[tasks.new]\n"));
    let said = host.quarantined("new");

    assert!(said.contains("the cause may be temporary, so the plugin is loaded again in "), "{said}");
    limit_descriptors(&host, None);
    host.loaded_after_all("new");
}

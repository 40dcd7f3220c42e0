//! Tests hosts whose clocks are wrong: the database's time counts.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Fleet, probe};
use crate::harness::{Host, SEXTON, attempts, drop_in, guest, list, state};
use crate::pausing::at;

/// Starts a host whose clock is `seconds` ahead, or behind.
fn skewed(fleet: &Fleet, name: &str, seconds: i64) -> Host {
    let library = std::path::Path::new(SEXTON).with_file_name("libskewed_clock.so");
    assert!(library.exists(), "{} is missing; `cargo build -p skewed-clock` makes it", library.display());
    let (library, seconds) = (library.to_str().unwrap(), seconds.to_string());
    let environment = [("LD_PRELOAD", library), ("SKEWED_CLOCK_SECONDS", &seconds)];
    let directory = fleet.setup(name).directory();
    // The files are there before it starts. By its clock a new file is not young, so that it might read the first of
    // two alone. (The file system's clock is right here; on a machine with a wrong clock it would be wrong, too.)
    drop_in(directory.path(), "own", &guest("probe"), Some(&probe(name)));
    drop_in(directory.path(), "beat", &guest("probe"), Some(BEATS));
    let host = Host::start_in_with(directory, &environment);
    host.loaded("own");
    host.loaded("beat");
    host
}

/// A task that is due twice a second, on all hosts.
const BEATS: &str = "[tasks.beat]\nevery = \"500ms\"\noverlap = \"allow(50)\"\ninput-json = { do = \"echo\" }\n\
     [tasks.beat.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";

/// Checks that an instant is now, give or take the delays of a busy machine, which are far less than the clocks' errors
/// here.
fn is_about_now(instant: DateTime<chrono::FixedOffset>) -> bool {
    (Utc::now() - instant.to_utc()).abs() < TimeDelta::minutes(2)
}

#[test]
fn hosts_whose_clocks_are_an_hour_off_leave_each_others_runs_alone_and_start_none_at_another_time() {
    let fleet = Fleet::new().with_lease("5s");
    let hosts = [fleet.host("right"), skewed(&fleet, "ahead", 3600), skewed(&fleet, "behind", -3600)];
    hosts[0].add("own", "probe", &probe("right"));
    hosts[0].add("beat", "probe", BEATS);
    // Each has a task of its own, so that each has runs. They last longer than a lease.
    let runs: Vec<(i64, &str)> = hosts
        .iter()
        .zip(["right", "ahead", "behind"])
        .flat_map(|(host, name)| (0..3).map(move |_| (host.trigger(name, r#"{"do": "sleep", "ms": 8000}"#), name)))
        .collect();

    for (run, name) in runs {
        let answer = hosts[0].wait(run);
        assert_eq!((state(&answer), attempts(&answer).len()), ("succeeded", 1), "{answer}");
        assert_eq!(attempts(&answer)[0]["host"], name);
        assert!(is_about_now(at(&attempts(&answer)[0]["ended_at"])), "{answer}");
    }
    for host in &hosts {
        assert!(is_about_now(at(&host.get("/v1/host")["now"])), "{}", host.get("/v1/host"));
    }
    let beats = hosts[0].get("/v1/runs?task=beat&limit=1000");
    let dues: Vec<_> = list(&beats, "runs").iter().map(|run| at(&run["due_at"])).collect();
    assert!(dues.len() >= 10, "{beats}");
    let (first, last) = (dues.iter().min().unwrap(), dues.iter().max().unwrap());
    assert!(is_about_now(*last) && *last - *first < TimeDelta::minutes(10), "{first} to {last}");
}

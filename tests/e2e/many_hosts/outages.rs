//! Tests hosts and runs while the database, or the connection to it, is gone for a while.

use std::collections::HashSet;

use serde_json::Value;
use sexton_testkit::postgres::{Cluster, Durable, Mode, shared};
use sexton_testkit::proxy::Proxy;

use super::{Fleet, course, has, probe, stand_aside, take_part};
use crate::harness::{Host, attempts, list, outcome, state};

const RUNS: usize = 60;

const LOAD: &str = "[tasks.load]\noverlap = \"allow(8)\"\n[tasks.load.retry]\nattempts = 100\ndelay = \"1ms\"\n\
     [tasks.load.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\n";

/// Returns a host's answer, unless it is an error.
fn ask(host: &Host, path: &str) -> Option<Value> {
    let (status, body) = host.request("GET", path, b"");
    (status == 200).then(|| serde_json::from_slice(&body).unwrap())
}

fn health(host: &Host) -> u16 {
    host.request("GET", "/v1/health", b"").0
}

#[test]
fn connections_that_are_cut_lose_no_run_and_write_no_outcome_twice() {
    let proxy = Proxy::to(shared().address());
    let fleet = Fleet::on(shared().url_by_way_of("sexton", proxy.address())).with_lease("3s");
    let hosts = ["a", "b"].map(|name| fleet.host(name));
    for host in &hosts {
        host.add("load", "load", LOAD);
    }
    let runs: Vec<i64> = (0..RUNS)
        .map(|n| {
            let input = format!(r#"{{"lock": "lock-{}", "key": "entry", "counter": "count-{n}", "ms": 100}}"#, n % 20);
            hosts[n % 2].trigger("load", &input)
        })
        .collect();

    let mut cut = 0;
    for over in (0..RUNS - 5).step_by(5) {
        hosts[0].eventually("a few more are over", || {
            let succeeded = ask(&hosts[0], "/v1/runs?state=succeeded&limit=1000")?;
            (list(&succeeded, "runs").len() >= over).then_some(())
        });
        cut += proxy.cut();
    }

    assert!(cut >= 10, "only {cut} connections were there to be cut");
    for (n, run) in runs.into_iter().enumerate() {
        let over = || ask(&hosts[1], &format!("/v1/runs/{run}")).filter(|answer| state(answer) == "succeeded");
        let answer = hosts[1].eventually("the run has succeeded", over);
        let numbers: HashSet<u64> = attempts(&answer).iter().map(|one| one["attempt"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len(), attempts(&answer).len(), "an attempt was written twice: {answer}");
        let succeeded = attempts(&answer).iter().filter(|attempt| attempt["outcome"] == "succeeded").count();
        assert_eq!(succeeded, 1, "{answer}");
        let (_, count) = hosts[1].request("GET", &format!("/v1/cache/count-{n}"), b"");
        assert!(String::from_utf8_lossy(&count).parse::<u64>().is_ok_and(|count| count >= 1), "{answer}: {count:?}");
    }
    hosts[0].eventually("no lock is left", || list(&ask(&hosts[0], "/v1/locks")?, "locks").is_empty().then_some(()));
}

#[test]
fn a_host_rides_out_a_database_that_is_gone_for_a_while() {
    let cluster = Cluster::start(Durable(false));
    let fleet = Fleet::on(cluster.url()).with_lease("1m");
    let host = fleet.host("a");
    host.add("probe", "probe", &probe("probe"));
    let pid = host.get("/v1/host")["pid"].clone();
    let run = host.trigger("probe", r#"{"do": "sleep", "ms": 2000}"#);
    has(&host, run);

    cluster.stop(Mode::Immediate);
    host.eventually("it says that its store does not answer", || (health(&host) == 503).then_some(()));
    let refused = host.request("POST", "/v1/tasks/probe/runs", br#"{"do": "echo"}"#);
    cluster.start_again();

    assert!(refused.0 >= 500, "{}: {}", refused.0, String::from_utf8_lossy(&refused.1));
    host.eventually("its store answers again", || (health(&host) == 200).then_some(()));
    assert_eq!(course(&host.wait(run)), [("a", "succeeded")], "what was under way went on");
    assert_eq!(outcome(&host.run("probe", r#"{"do": "echo"}"#)), "succeeded");
    assert_eq!(host.get("/v1/host")["pid"], pid);
}

#[test]
fn a_restart_of_the_database_costs_no_attempt() {
    let cluster = Cluster::start(Durable(false));
    let fleet = Fleet::on(cluster.url()).with_lease("1m");
    let (a, b) = (fleet.host("a"), fleet.host("b"));
    a.add("probe", "probe", &probe("probe"));
    b.add("probe", "probe", &probe("probe"));

    for mode in [Mode::Fast, Mode::Immediate] {
        let runs = [&a, &b].map(|host| host.trigger("probe", r#"{"do": "sleep", "ms": 3000}"#));
        a.eventually("both are under way", || {
            (list(&a.get("/v1/runs?state=running"), "runs").len() == 2).then_some(())
        });
        cluster.restart(mode);

        for run in runs {
            let over = || ask(&b, &format!("/v1/runs/{run}")).filter(|answer| state(answer) == "succeeded");
            let answer = b.eventually("the run has succeeded", over);
            assert_eq!(attempts(&answer).len(), 1, "{mode:?}: {answer}");
        }
    }
}

#[test]
fn no_host_ends_while_the_connection_to_the_database_stalls() {
    let proxy = Proxy::to(shared().address());
    let fleet = Fleet::on(shared().url_by_way_of("sexton", proxy.address())).with_lease("3s");
    let apart = fleet.host("apart");
    let near = Fleet { url: shared().url(), schema: fleet.schema.clone(), lease: "3s" }.host("near");
    apart.add("probe", "probe", &probe("probe"));
    stand_aside(&near);
    near.add("probe", "probe", &probe("probe"));
    let run = apart.trigger("probe", r#"{"do": "sleep", "ms": 2000}"#);
    has(&apart, run);

    proxy.stall(true);
    take_part(&near);
    let answer = near.wait(run);
    proxy.stall(false);

    assert_eq!(course(&answer), [("apart", "lost"), ("near", "succeeded")], "{answer}");
    apart.eventually("its store answers again", || (health(&apart) == 200).then_some(()));
    assert_eq!(near.get(&format!("/v1/runs/{run}")), answer);
    let next = apart.run("probe", r#"{"do": "echo"}"#);
    assert_eq!(outcome(&next), "succeeded", "{next}");
}

//! Tests the list of hosts, and draining one. A host with a store of its own is alone, but behaves as it does with
//! others.

use serde_json::Value;
use sexton_testkit::postgres::{fresh_schema, shared};

use crate::harness::{Host, Setup, attempts, list, run_of, state};
use crate::outcomes::PROBE;
use crate::pausing::{BEATS, does};

/// Returns the host's answer about all hosts.
fn hosts(host: &Host) -> Vec<Value> {
    list(&host.get("/v1/hosts"), "hosts").to_vec()
}

/// Waits until the host has learnt whether it drains.
fn drains(host: &Host, draining: bool) {
    host.eventually("the host has learnt it", || (host.get("/v1/host")["draining"] == draining).then_some(()));
}

#[test]
fn a_host_is_listed_with_its_record_and_later_as_gone() {
    let host = Host::with(&Setup { config: "[host]\nname = \"old\"\nlabels = [\"gpu\", \"eu\"]\n".to_owned() });
    host.add("probe", "probe", PROBE);

    let (listed, _) = does(&host, &["hosts"]);
    let row: Vec<&str> = listed.lines().nth(1).unwrap().split_whitespace().take(2).collect();
    assert_eq!(row, ["old", "up"], "{listed}");
    let (json, _) = does(&host, &["hosts", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let known = &json["hosts"][0];
    assert_eq!(known["labels"], serde_json::json!(["gpu", "eu"]));
    assert!(host.url.ends_with(known["address"].as_str().unwrap()), "{known}");
    assert_eq!(known["started_at"], host.get("/v1/host")["started_at"]);

    host.signal("TERM");
    let (content, log, directory) = host.ended();
    assert!(content, "{log}");
    let config = "[http]\nlisten = \"127.0.0.1:0\"\n[host]\nname = \"new\"\n";
    std::fs::write(directory.path().join("sexton.toml"), config).unwrap();
    let host = Host::start_in(directory);

    let states: Vec<_> = hosts(&host).iter().map(|known| format!("{} {}", known["name"], known["state"])).collect();
    assert_eq!(states, [r#""new" "up""#, r#""old" "gone""#]);
}

#[test]
fn a_draining_host_claims_nothing_and_finishes_its_runs() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE), ("beat", "probe", &BEATS.replace("100ms", "1s"))]);
    let under_way = host.trigger("probe", r#"{"do": "sleep", "ms": 3000}"#);
    host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{under_way}"))) == "running").then_some(()));

    let (said, _) = does(&host, &["drain", "--wait"]);

    assert!(said.starts_with("Host `sexton` is draining: "), "{said}");
    assert!(said.ends_with("Host `sexton` has nothing under way.\n"), "{said}");
    assert_eq!(state(&host.get(&format!("/v1/runs/{under_way}"))), "succeeded", "what runs goes on");
    assert_eq!(hosts(&host)[0]["state"], "draining");
    let asked = host.trigger("probe", r#"{"do": "echo"}"#);
    let forced = host.request("POST", "/v1/tasks/probe/runs?past_limits=true", br#"{"do": "echo"}"#).1;
    let forced = crate::harness::id(&serde_json::from_slice(&forced).unwrap());
    let made = host.eventually("what is due is made all the same", || {
        list(&host.get("/v1/runs?task=beat&state=waiting"), "runs").first().cloned()
    });
    assert_eq!(made["cause"], "schedule");
    // A second is long enough for a host that takes runs.
    assert_eq!(state(&host.get(&format!("/v1/runs/{asked}/wait?timeout=1s"))), "waiting");
    for run in [asked, forced] {
        let waits = host.get(&format!("/v1/runs/{run}"));
        assert_eq!(run_of(&waits)["why"], "this host is draining and takes no runs", "{waits}");
    }
    assert!(does(&host, &["top", "--once"]).0.starts_with("Draining: this host takes no runs.\n"));

    assert_eq!(does(&host, &["drain", "sexton", "--undo"]).0, "Host `sexton` takes runs.\n");
    for run in [asked, forced] {
        assert_eq!(state(&host.wait(run)), "succeeded");
    }
    drains(&host, false);
    assert_eq!(host.cli(&["drain", "nobody"]).status.code(), Some(4));
}

#[test]
fn a_start_ends_the_draining_of_a_host() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    does(&host, &["drain"]);
    drains(&host, true);
    let waits = host.trigger("probe", r#"{"do": "echo"}"#);

    host.signal("TERM");
    let (content, log, directory) = host.ended();

    assert!(content && log.contains("Draining: this host takes no runs until"), "{log}");
    let host = Host::start_in(directory);
    assert_eq!(state(&host.wait(waits)), "succeeded");
    assert_eq!(hosts(&host)[0]["state"], "up");
}

/// Starts a host of the store that is `schema`, with a lease that is short enough to be waited for.
fn one_of_many(name: &str, schema: &str) -> Host {
    let url = shared().url();
    let config =
        format!("[host]\nname = {name:?}\n[store]\nurl = {url:?}\nschema = {schema:?}\n[machine]\nlease = \"3s\"\n");
    let host = Host::with(&Setup { config });
    host.add("probe", "probe", &PROBE.replace("attempts = 1", "attempts = 3"));
    host
}

#[test]
fn a_host_is_drained_by_way_of_another_which_takes_what_is_due() {
    let schema = fresh_schema();
    let (a, b) = (one_of_many("a", &schema), one_of_many("b", &schema));

    let (said, _) = does(&a, &["drain", "b", "--wait"]);

    assert!(said.ends_with("Host `b` has nothing under way.\n"), "{said}");
    for _ in 0..5 {
        let run = b.run("probe", r#"{"do": "echo"}"#);
        assert_eq!((state(&run), &run_of(&run)["host"]), ("succeeded", &Value::from("a")), "{run}");
    }
    let states: Vec<_> = hosts(&b).iter().map(|known| known["state"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(states, ["up", "draining"]);
    let page = String::from_utf8(a.request("GET", "/hosts", b"").1).unwrap();
    assert!(page.contains("action=\"/hosts/b/undrain\"") && !page.contains("action=\"/hosts/a/undrain\""), "{page}");
}

#[test]
fn a_second_host_of_a_name_ends_the_first() {
    let schema = fresh_schema();
    let first = one_of_many("twin", &schema);
    let run = first.trigger("probe", r#"{"do": "sleep", "ms": 5000}"#);
    first.eventually("it runs", || (state(&first.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));

    let second = one_of_many("twin", &schema);
    let (content, log, _) = first.ended();

    assert!(!content && log.contains("Another process has taken the name `twin` in this store"), "{log}");
    assert!(log.lines().any(|line| line.starts_with("error: another process has taken the name `twin`")), "{log}");
    let answer = second.wait(run);
    assert_eq!((state(&answer), &attempts(&answer)[0]["outcome"]), ("succeeded", &Value::from("lost")), "{answer}");
    assert_eq!(hosts(&second).len(), 1);
}

//! Tests earlier versions of cache entries, which manifests and people keep, on both stores.

use serde_json::{Value, json};
use sexton_testkit::postgres::{fresh_schema, shared};

use crate::harness::{Host, Setup, guest, id, list, outcome};
use crate::outcomes::PROBE;

/// A probe that keeps two earlier versions of some of its entries.
fn manifest() -> String {
    PROBE.replace("cache = [\"*\"]", "cache = [\"*\", { keys = \"kept/*\", keep = 2 }]")
}

/// Returns a host on each kind of store, with the plugin `probe`.
fn on_both_stores(manifest: &str) -> [Host; 2] {
    let database = format!("[store]\nurl = {:?}\nschema = {:?}\n", shared().url(), fresh_schema());
    [String::new(), database].map(|config| {
        let host = Host::with(&Setup { config });
        host.add_bytes("probe", &guest("probe"), Some(manifest));
        host.loaded("probe");
        host
    })
}

/// Has the probe do something, and returns its answer.
fn done(host: &Host, input: &Value) -> Value {
    let answer = host.run("probe", &input.to_string());
    assert_eq!(outcome(&answer), "succeeded", "{answer}");
    serde_json::from_slice(&host.output(id(&answer))).unwrap()
}

fn set(host: &Host, key: &str, value: &str) -> u64 {
    done(host, &json!({"do": "cache-set", "key": key, "value": value})).as_u64().unwrap()
}

fn said(host: &Host, args: &[&str], code: i32) -> String {
    let output = host.cli(args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

fn versions(host: &Host, path: &str) -> Vec<u64> {
    let history = host.get(path);
    list(&history, "versions").iter().map(|version| version["version"].as_u64().unwrap()).collect()
}

#[test]
fn the_versions_that_a_manifest_keeps_are_listed_read_and_restored() {
    for host in on_both_stores(&manifest()) {
        let written: Vec<u64> = ["one", "two", "three", "four"].map(|value| set(&host, "kept/page", value)).to_vec();
        let [_, two, three, four] = written[..] else { panic!("{written:?}") };

        assert_eq!(versions(&host, "/v1/cache-history/kept/page"), [four, three, two]);
        let shown = said(&host, &["cache", "history", "kept/page"], 0);
        assert!(shown.contains("current") && shown.contains(&two.to_string()), "{shown}");
        assert_eq!(said(&host, &["cache", "get", "kept/page", "--version", &two.to_string()], 0), "two");
        let (status, old) = host.request("GET", &format!("/v1/cache/kept/page?version={three}"), b"");
        assert_eq!((status, old.as_slice()), (200, &b"three"[..]));

        let restored = said(&host, &["cache", "restore", "kept/page", "--version", &two.to_string()], 0);
        assert!(restored.contains(&format!("from version {two}")), "{restored}");
        assert_eq!(said(&host, &["cache", "get", "kept/page"], 0), "two");
        let gone = said(&host, &["cache", "restore", "kept/page", "--version", &two.to_string()], 4);
        assert!(gone.contains(&format!("no version {two}")), "it made room for the one that it replaced: {gone}");
        assert_eq!(versions(&host, "/v1/cache-history/kept/page")[1..], [four, three]);

        said(&host, &["cache", "delete", "kept/page"], 0);
        said(&host, &["cache", "history", "kept/page"], 4);
        said(&host, &["cache", "get", "kept/page", "--version", &four.to_string()], 4);
        set(&host, "other", "one");
        set(&host, "other", "two");
        assert_eq!(versions(&host, "/v1/cache-history/other").len(), 1, "no manifest keeps versions of it");
    }
}

#[test]
fn a_task_lists_reads_and_restores_the_versions_of_its_keys() {
    for host in on_both_stores(&manifest()) {
        let one = set(&host, "kept/a", "one");
        let two = set(&host, "kept/a", "two");

        let history = done(&host, &json!({"do": "cache-history", "key": "kept/a"}));
        assert_eq!(history, json!([{"version": two, "size": 3}, {"version": one, "size": 3}]));
        let old = done(&host, &json!({"do": "cache-get-version", "key": "kept/a", "version": one}));
        assert_eq!(old, json!("one"));
        let three = done(&host, &json!({"do": "cache-restore", "key": "kept/a", "version": one}));
        assert!(three.as_u64() > Some(two), "{three}");
        assert_eq!(said(&host, &["cache", "get", "kept/a"], 0), "one");
        let never = host.run("probe", &json!({"do": "cache-restore", "key": "kept/a", "version": 1}).to_string());
        assert_ne!(outcome(&never), "succeeded", "{never}");
    }
}

#[test]
fn versions_that_a_person_keeps_count_against_the_quota() {
    let config = "[cache]\nquota = \"1 KiB\"\n".to_owned();
    let host = Host::with(&Setup { config });
    let value = "v".repeat(300);

    said(&host, &["cache", "set", "motd", &value, "--keep", "1"], 0);
    said(&host, &["cache", "set", "motd", &value], 0);
    let full = said(&host, &["cache", "set", "other", &"v".repeat(500)], 1);
    assert!(full.contains("cache"), "{full}");
    said(&host, &["cache", "set", "motd", &value, "--keep", "0"], 0);

    said(&host, &["cache", "set", "other", &"v".repeat(500)], 0);
    said(&host, &["cache", "set", "motd", "x", "--keep", "101"], 2);
}

#[test]
fn a_manifest_that_keeps_too_many_versions_is_refused_with_its_line() {
    let host = Host::start();
    let manifest = PROBE.replace("cache = [\"*\"]", "cache = [{ keys = \"*\", keep = 101 }]");

    host.add_bytes("probe", &guest("probe"), Some(&manifest));

    let why = host.quarantined("probe");
    assert!(why.contains("101 is out of range") && why.contains("keep"), "{why}");
}

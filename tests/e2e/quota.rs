//! Tests the quota of a granted directory, and a task that fills it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Host, attempts, id, outcome};

const KIB: u64 = 1024;

/// Returns a task `name` that may write to `place`, with these lines for the directory.
fn manifest(name: &str, place: &Path, bounds: &str) -> String {
    format!(
        "[tasks.{name}]\noverlap = \"allow(16)\"\n[tasks.{name}.retry]\nattempts = 1\n[tasks.{name}.limits]\ndeadline = \"60s\"\n\
         [tasks.{name}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n\
         [[tasks.{name}.grants.directories]]\nhost = {place:?}\nguest = \"/data\"\nwrite = true\n{bounds}\n"
    )
}

/// Starts a host whose task `probe` may write to a directory `data`, which is created.
fn host(bounds: &str) -> (Host, std::path::PathBuf) {
    let host = Host::start();
    let place = host.directory.path().join("data");
    fs::create_dir(&place).unwrap();
    host.add("probe", "probe", &manifest("probe", &place, bounds));
    (host, place)
}

/// Returns the result of each of the steps of a run that succeeded, and the run.
fn steps(host: &Host, steps: Value) -> (Vec<String>, Value) {
    let run = host.run("probe", &json!({ "do": "files", "steps": steps }).to_string());
    assert_eq!(outcome(&run), "succeeded", "{run}");
    (serde_json::from_slice(&host.output(id(&run))).unwrap(), run)
}

fn done(host: &Host, wanted: Value) -> Vec<String> {
    steps(host, wanted).0.iter().map(|done| if done == "ok" { "ok" } else { refused(done) }.to_owned()).collect()
}

/// Returns the reason of an operation that the quota refused. The C library of guests does not ask a stream why it
/// failed, and reports every such failure alike; the run's log shows whether it was the quota.
fn refused(done: &str) -> &str {
    let is_full = done.starts_with("QuotaExceeded") || done.contains("I/O error (os error 29)");
    if is_full { "full" } else { done }
}

/// Returns the bytes of the files of a directory, and the number of its entries.
fn holds(place: &Path) -> (u64, usize) {
    let all: Vec<_> = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().metadata().unwrap()).collect();
    (all.iter().filter(|stat| stat.is_file()).map(fs::Metadata::len).sum(), all.len())
}

fn write(name: &str, kib: u64) -> Value {
    json!({ "op": "write", "path": format!("/data/{name}"), "bytes": kib * KIB })
}

#[test]
fn writes_beyond_a_directorys_quota_are_refused_until_it_is_emptied() {
    let (host, place) = host("quota = \"100 KiB\"");
    // Files that existed before count.
    fs::write(place.join("old"), [0; 30 * 1024]).unwrap();

    let (done, run) = steps(&host, json!([write("a", 60), write("b", 20), write("a", 50), write("c", 10)]));

    assert_eq!(done.iter().map(|done| refused(done)).collect::<Vec<_>>(), ["ok", "full", "ok", "ok"], "{done:?}");
    assert!(holds(&place).0 <= 100 * KIB, "{:?}", holds(&place));
    let log = attempts(&run)[0]["log"]["text"].as_str().unwrap();
    let line = "raise `quota = \\\"100 KiB\\\"` of that directory in [[tasks.probe.grants.directories]] in probe.toml";
    assert!(log.contains("`/data` is full: its files take") && log.contains(line), "{log}");
    let failed =
        host.run("probe", r#"{"do": "write-file", "path": "/data/d", "content": "0123456789012345678901234567890"}"#);
    assert_eq!(outcome(&failed), "succeeded", "{failed}");
    let big = json!({ "do": "write-file", "path": "/data/e", "content": "x".repeat(30 << 10) }).to_string();
    let failed = host.run("probe", &big);
    let message = attempts(&failed)[0]["message"].as_str().unwrap();
    assert!(outcome(&failed) != "succeeded" && message.contains("`/data` is full"), "{message}");

    // A user removes it by hand, with the host up.
    fs::remove_file(place.join("old")).unwrap();
    host.eventually("there is room again", || (outcome(&host.run("probe", &big)) == "succeeded").then_some(()));
    assert!(holds(&place).0 <= 100 * KIB, "{:?}", holds(&place));
    // A user of the API sees this.
    let task = host.get("/v1/tasks/probe");
    let granted = &task["grants"]["directories"][0];
    assert_eq!((&granted["quota"], &granted["entries"]), (&json!(100 * KIB), &json!(100_000)), "{task}");
}

#[test]
fn each_way_to_make_a_directory_larger_is_refused_at_its_quota() {
    let (host, place) = host("quota = \"64 KiB\"");
    fs::write(place.join("there"), [0; 32 * 1024]).unwrap();
    for step in [
        json!({ "op": "write", "path": "/data/new", "bytes": 40_000 }),
        json!({ "op": "append", "path": "/data/new", "bytes": 40_000 }),
        json!({ "op": "append", "path": "/data/there", "bytes": 40_000 }),
        json!({ "op": "write-at", "path": "/data/new", "at": 40_000 }),
        json!({ "op": "write-at", "path": "/data/there", "at": 1_u64 << 40 }),
        json!({ "op": "set-len", "path": "/data/new", "bytes": 1_u64 << 40 }),
        json!({ "op": "copy", "path": "/data/there", "to": "/data/new" }),
        json!({ "op": "nameless", "path": "/data/new", "bytes": 40_000 }),
    ] {
        // A byte more than a copy has room for.
        fs::write(place.join("rest"), "x").unwrap();
        let (done, run) = steps(&host, json!([step]));
        assert_eq!(refused(&done[0]), "full", "{step}");
        let log = attempts(&run)[0]["log"]["text"].as_str().unwrap();
        assert!(log.contains("refused: `/data` is full: its files take"), "{step}: {log}");
        assert!(holds(&place).0 <= 64 * KIB, "{step}: {:?}", holds(&place));
        fs::remove_file(place.join("new")).ok();
    }
}

#[test]
fn a_directory_may_hold_so_many_files_directories_and_links_and_no_more() {
    let (host, place) = host("entries = 10");
    let several = |names: &[&str]| {
        let one = |name: &&str| json!({ "op": name, "path": "/data/there", "to": "/data/new" });
        names.iter().map(one).collect::<Value>()
    };
    let create = json!({ "op": "create", "path": "/data/f", "count": 20 });
    assert_eq!(done(&host, json!([create])), ["full"]);
    assert_eq!(holds(&place).1, 10);
    fs::rename(place.join("f0"), place.join("there")).unwrap();

    let ways = json!([
        { "op": "create-dir", "path": "/data/new" },
        { "op": "symlink", "path": "there", "to": "/data/new" },
        { "op": "link", "path": "/data/there", "to": "/data/new" },
        { "op": "write", "path": "/data/new", "bytes": 0 },
    ]);
    assert_eq!(done(&host, ways), ["full"; 4]);
    // There is room in place of another file, and where one was removed.
    assert_eq!(done(&host, several(&["rename"])), ["ok"]);
    let back = json!([
        { "op": "rename", "path": "/data/new", "to": "/data/f1" },
        { "op": "create-dir", "path": "/data/d" },
        { "op": "remove-dir", "path": "/data/d" },
        { "op": "symlink", "path": "f2", "to": "/data/l" },
        { "op": "remove", "path": "/data/l" },
        { "op": "link", "path": "/data/f2", "to": "/data/l" },
        { "op": "write", "path": "/data/more", "bytes": 1 },
    ]);
    assert_eq!(done(&host, back), ["ok", "ok", "ok", "ok", "ok", "ok", "full"]);
    assert_eq!(holds(&place).1, 10);
}

#[test]
fn removed_or_truncated_bytes_may_be_written_again_at_once() {
    let (host, place) = host("quota = \"100 KiB\"");
    let mut all = Vec::new();
    for _ in 0..20 {
        all.extend([
            write("a", 90),
            json!({ "op": "remove", "path": "/data/a" }),
            write("b", 90),
            json!({ "op": "set-len", "path": "/data/b", "bytes": 0 }),
            write("c", 90),
            json!({ "op": "create", "path": "/data/other", "count": 1 }),
            // The file has no name any more and is not open.
            json!({ "op": "rename", "path": "/data/other0", "to": "/data/c" }),
        ]);
    }

    let done = done(&host, all.into());

    assert!(done.iter().all(|done| done == "ok"), "{done:?}");
    assert_eq!(holds(&place).0, 0);
}

#[test]
fn runs_of_two_tasks_that_write_to_one_directory_stay_within_its_quota_together() {
    let (host, place) = host("quota = \"200 KiB\"");
    // Over another path, and into a directory within.
    fs::create_dir(place.join("in")).unwrap();
    let link = host.directory.path().join("link");
    std::os::unix::fs::symlink(place.join("in"), &link).unwrap();
    host.add("other", "probe", &manifest("other", &link, "quota = \"200 KiB\""));
    let append = |name: String| json!({ "op": "append", "path": format!("/data/{name}"), "bytes": 50_000 });

    let runs: Vec<_> = (0..32)
        .map(|n| {
            let own = json!({ "do": "files", "steps": [append(n.to_string()), append("all".to_owned())] });
            host.trigger(["probe", "other"][n % 2], &own.to_string())
        })
        .collect();
    let mut refusals = 0;
    for run in runs {
        let answer = host.wait(run);
        assert_eq!(outcome(&answer), "succeeded", "{answer}");
        let done: Vec<String> = serde_json::from_slice(&host.output(run)).unwrap();
        refusals += done.iter().filter(|done| refused(done) == "full").count();
    }

    let (all, within) = (holds(&place).0, holds(&place.join("in")).0);
    assert!(all + within <= 200 * KIB, "{all} and {within}");
    // A piece of 1000 bytes did not fit any more.
    assert!(all + within > 199 * KIB - 1000 && refusals >= 60, "{all} and {within}, {refusals} refused");
}

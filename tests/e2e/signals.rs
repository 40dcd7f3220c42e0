//! Tests a host's signals: it pauses, goes on, and reads its configuration again.

use std::fs;

use serde_json::Value;

use crate::harness::{Host, list, run_of, state};
use crate::outcomes::PROBE;
use crate::pausing::{BEATS, does, now, scheduled};
use crate::tenants::{acmes, add_acmes, trigger_acmes, with_acme};

/// A task that is due once a year, and so never during a test.
const YEARLY: &str = "[tasks.yearly]\ncron = \"0 0 1 1 *\"\ninput-json = { do = \"echo\" }\n\
     [tasks.yearly.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";

/// Waits until the host is paused, or goes on. Returns the begin of the pause.
fn stands_still(host: &Host, still: bool) -> Value {
    host.eventually("the signal has come", || {
        let since = host.get("/v1/host")["paused_at"].clone();
        (since.is_string() == still).then_some(since)
    })
}

/// Waits until a line of the log has all of these.
fn logs(host: &Host, parts: &[&str]) {
    host.eventually(&format!("the log tells {parts:?}"), || {
        host.log().lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
    });
}

fn runs(host: &Host, task: &str) -> Vec<Value> {
    list(&host.get(&format!("/v1/runs?task={task}")), "runs").to_vec()
}

/// Changes `sexton.toml` and tells the host.
fn reload(host: &Host, config: &str) {
    let file = host.directory.path().join("sexton.toml");
    fs::write(file, format!("[http]\nlisten = \"127.0.0.1:0\"\n{config}")).unwrap();
    host.signal("HUP");
}

#[test]
fn a_signal_pauses_the_host_and_another_resumes_it_with_one_run_of_each_schedule() {
    let host = Host::with_plugins(&[
        ("beat", "probe", BEATS),
        ("yearly", "probe", YEARLY),
        ("still", "probe", &YEARLY.replace("yearly", "still")),
        ("probe", "probe", PROBE),
    ]);
    does(&host, &["pause", "still"]);
    let under_way = host.trigger("probe", r#"{"do": "sleep", "ms": 4000}"#);
    host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{under_way}"))) == "running").then_some(()));

    host.signal("USR1");
    let since = stands_still(&host, true);
    host.signal("USR1");
    logs(&host, &["Paused already"]);
    let asked = host.trigger("probe", r#"{"do": "echo"}"#);
    let paused = now(&host) + chrono::Duration::seconds(1);

    // Long enough for many instants to come due.
    assert_eq!(state(&host.wait(under_way)), "succeeded", "what runs goes on");
    assert_eq!(scheduled(&host, "beat", paused), Vec::<Value>::new());
    let waits = host.get(&format!("/v1/runs/{asked}"));
    let why = format!("this host is paused by a signal since {}", since.as_str().unwrap());
    assert_eq!((state(&waits), &run_of(&waits)["held_back"]["reason"]), ("waiting", &Value::from(why.clone())));
    let (_, note) = does(&host, &["trigger", "probe", "--input", r#"{"do": "echo"}"#]);
    assert!(note.contains(&why), "{note}");
    assert!(does(&host, &["top", "--once"]).0.starts_with("Paused by a signal since "));
    assert!(String::from_utf8(host.request("GET", "/", b"").1).unwrap().contains("Paused by a signal since "));
    assert_eq!(runs(&host, "yearly"), Vec::<Value>::new());

    let resumed = now(&host);
    host.signal("USR2");
    stands_still(&host, false);
    assert_eq!(state(&host.wait(asked)), "succeeded");
    let yearly = host.eventually("the yearly task has run", || {
        runs(&host, "yearly").into_iter().find(|run| run["state"] == "succeeded")
    });
    assert_eq!(yearly["cause"], "schedule", "{yearly}");
    assert!(
        yearly["note"].as_str().unwrap_or_default().starts_with("its host was paused by a signal since "),
        "{yearly}"
    );
    host.eventually("the beat goes on", || (scheduled(&host, "beat", resumed).len() > 5).then_some(()));
    for run in scheduled(&host, "beat", paused) {
        assert!(crate::pausing::at(&run["due_at"]) > resumed, "what was due meanwhile is left out: {run}");
    }
    assert_eq!([runs(&host, "yearly").len(), runs(&host, "still").len()], [1, 0]);
    host.signal("USR2");
    logs(&host, &["Not paused by a signal"]);
    assert_eq!(runs(&host, "yearly").len(), 1);
}

#[test]
fn a_pause_by_a_signal_ends_with_the_process_which_can_be_stopped_during_it() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    host.signal("USR1");
    stands_still(&host, true);
    let waits = host.trigger("probe", r#"{"do": "echo"}"#);

    host.signal("TERM");
    let (content, log, directory) = host.ended();

    assert!(content, "{log}");
    let host = Host::start_in(directory);
    assert_eq!(state(&host.wait(waits)), "succeeded");
    assert_eq!(host.get("/v1/host")["paused_at"], Value::Null);
}

#[test]
fn a_hangup_applies_the_keys_that_can_change_and_reports_the_others() {
    let host = with_acme("runs = 1\n");
    add_acmes(&host, "probe", "probe", PROBE);
    let sleeps = [(); 2].map(|()| trigger_acmes(&host, "probe", r#"{"do": "sleep", "ms": 45000}"#));
    host.eventually("the second waits", || {
        run_of(&acmes(&host, sleeps[1]))["held_back"]["reason"].as_str()?.contains("1 of at most 1").then_some(())
    });
    let tenant = "[tenants.acme]\nplugins = \"acme\"\nruns = 2\n";

    reload(&host, &format!("[runtime]\nslots = 9\n[machine]\ngrace = \"123ms\"\n[log]\nfilter = \"debug\"\n{tenant}"));

    logs(
        &host,
        &["`machine.grace`, `log.filter`, `tenants.acme.runs` changed; `runtime.slots` can only change with a restart"],
    );
    host.eventually("the second runs", || (state(&acmes(&host, sleeps[1])) == "running").then_some(()));
    host.add("probe", "probe", PROBE);
    logs(&host, &["DEBUG", "Loading plugin `probe`"]);

    // A wrong configuration changes nothing, and the host reports it in one line.
    reload(&host, "[machine]\ngrace = 5\n");
    logs(
        &host,
        &["WARN", "Cannot read the configuration again, so it stays as it was: ", "sexton.toml:4: `machine.grace`"],
    );
    let tenants = host.get("/v1/tenants");
    assert_eq!(list(&tenants, "tenants")[0]["runs"], 2, "{tenants}");

    host.signal("TERM");
    let (content, log, _) = host.ended();
    assert!(content && log.contains("Waiting up to 123ms for 2 run(s)"), "{log}");
}

#[test]
fn a_hangup_without_a_change_changes_nothing() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);

    host.signal("HUP");

    logs(&host, &["INFO", "read the configuration again on SIGHUP: nothing changed"]);
    assert_eq!(state(&host.run("probe", r#"{"do": "echo"}"#)), "succeeded");
}

//! Tests the host's log for people: readable, escaped, and no longer than the trouble that it reports.

use crate::harness::{Host, Setup, drop_in, guest, id};

const PROBE: &str = r#"
[tasks.probe]
[tasks.probe.retry]
attempts = 1
[tasks.probe.grants]
locks = ["*"]
cache = ["*"]
schedule = ["*"]
http = ["127.0.0.1:1"]
"#;

#[test]
fn a_failure_is_logged_in_the_words_of_the_guest_and_harmlessly() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);

    let run = host.run("probe", r#"{"do": "panic", "message": "it's \"late\" \u001b[2J\u202e"}"#);

    let line = host.eventually("the failure is logged", || {
        host.log().lines().find(|line| line.contains(&format!("Run {} of", id(&run)))).map(str::to_owned)
    });
    assert!(line.contains(r#"it's "late""#), "quotes are left as they are: {line}");
    assert!(!host.log().contains(['\u{1b}', '\u{202e}']), "nothing is left that a terminal would obey: {line:?}");
}

#[test]
fn the_lines_to_add_to_a_manifest_are_logged_as_lines() {
    let host = Host::start();
    host.add_bytes("probe", &guest("probe"), Some("[tasks.probe]\n"));
    host.quarantined("probe");

    let log = host.log();
    assert!(log.contains("\n    | [tasks.probe.grants]\n    | cache = [\"*\"]\n"), "{log}");
}

#[test]
fn runs_that_succeed_are_summed_up_and_not_logged_one_by_one() {
    let host = Host::with_plugins(&[("hello", "hello", "[tasks.hello]\noverlap = \"allow(10)\"\n")]);
    let runs: Vec<i64> = (0..3).map(|_| host.trigger("hello", "")).collect();
    runs.into_iter().for_each(|run| drop(host.wait(run)));

    host.signal("TERM");
    let (_, log, _) = host.ended();

    assert!(!log.contains("Run 1 of"), "{log}");
    assert!(log.contains("3 attempts ended in the last ") && log.contains(": 3 succeeded; started at most "), "{log}");
}

#[test]
fn a_run_of_less_than_a_millisecond_is_not_shown_as_zero() {
    let directory = Setup::default().directory();
    drop_in(directory.path(), "noop", &guest("noop"), Some("[tasks.noop]\n"));
    let host = Host::start_in_with(directory, &[("SEXTON_LOG", "debug")]);
    host.loaded("noop");
    let run = id(&host.run("noop", ""));

    let line = host.eventually("the run is logged", || {
        host.log().lines().find(|line| line.contains(&format!("Run {run} of"))).map(str::to_owned)
    });

    assert!(line.contains(" succeeded in ") && line.contains("ms") && !line.contains("0ns"), "{line}");
}

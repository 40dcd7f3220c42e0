//! Tests the explanation of a schedule before it runs: in words, with its instants, gaps and folds; offline and from a
//! host.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Host, SEXTON, list};

fn explain(args: &[&str]) -> Output {
    // No host listens there, because none is needed.
    let mut command = Command::new(SEXTON);
    command.env("SEXTON_URL", "http://127.0.0.1:1").args(["schedule", "explain"]).args(args).output().unwrap()
}

fn shown(args: &[&str]) -> String {
    let output = explain(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_schedule_is_explained_in_words_with_gap_and_fold_of_its_zone() {
    let berlin = ["--zone", "Europe/Berlin", "--next", "2"];

    let gap = shown(&[&["30 2 * * *", "--from", "2027-03-27 12:00"][..], &berlin].concat());
    let fold = shown(&[&["30 2 * * *", "--from", "2027-10-30 12:00"][..], &berlin].concat());
    let twice = shown(&[&["*/30 * * * *", "--from", "2027-10-31 02:15"][..], &berlin].concat());

    // The widths of the columns are not compared.
    let plain: Vec<String> = gap.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    insta::assert_snapshot!(plain.join("\n"), @"
    crontab `30 2 * * *` in Europe/Berlin: at 02:30 every day

    IN EUROPE/BERLIN IN UTC
    Sun 2027-03-28 03:00:00 +02:00 CEST 2027-03-28 01:00:00Z the clock skips 02:30: run at 03:00
    Mon 2027-03-29 02:30:00 +02:00 CEST 2027-03-29 00:30:00Z
    ");
    let meant = shown(&["2027-03-28 02:30", "--zone", "Europe/Berlin", "--from", "2027-03-01"]);
    assert!(meant.contains("the clock skips 02:30: run at 03:00"), "{meant}");
    assert!(fold.contains("Sun 2027-10-31 02:30:00 +02:00 CEST"), "{fold}");
    assert_eq!(fold.matches("02:30 comes twice: run the first time").count(), 1, "{fold}");
    assert!(twice.contains("02:30 comes twice: run both times, this is the first"), "{twice}");
    assert!(twice.contains("Sun 2027-10-31 02:00:00 +01:00 CET"), "{twice}");
}

#[test]
fn explain_recognizes_crontabs_intervals_and_instants_and_names_the_kind() {
    assert!(shown(&["@monthly"]).starts_with("crontab `@monthly` in UTC: at 00:00 on the 1st of every month\n"));
    assert!(shown(&["every 10m", "--next", "3"]).starts_with("interval `every 10m` in UTC: every 10 minutes\n"));
    let friday = shown(&["friday 17:00", "--from", "2027-03-24T10:00:00Z", "--zone", "europe/berlin"]);
    let said = "instant `friday 17:00` in Europe/Berlin: once, at Fri 2027-03-26 17:00:00 +01:00 CET\n";
    assert!(friday.starts_with(said), "{friday}");
    assert!(friday.contains("2027-03-26 16:00:00Z"), "{friday}");
    assert!(shown(&["in 2 hours"]).contains("in 2h") || shown(&["in 2 hours"]).contains("in 1h 59m"));
    let passed = shown(&["1999-12-31 23:59"]);
    assert!(passed.contains("which has passed") && passed.contains("never fires again"), "{passed}");

    for (wrong, words) in [
        (&["61 * * * *"][..], "minute `61`"),
        (&["soon"], "`soon` is not understood"),
        (&["every monday"], "`monday` is not a length of time"),
        (&["@daily", "--zone", "Berlin"], "did you mean `Europe/Berlin`?"),
        (&["@daily", "--from", "today 00:00"], "has passed"),
        (&["@daily", "--month", "2027-3"], "2027-03"),
    ] {
        let output = explain(wrong);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(words), "{wrong:?}: {said}");
    }
}

#[test]
fn a_month_is_drawn_and_a_thousand_instants_are_listed_as_json() {
    let march = shown(&["30 2 * * sun", "--zone", "Europe/Berlin", "--month", "2027-03", "--next", "1"]);
    let lines: Vec<&str> = march.lines().collect();
    assert_eq!(lines[2], "March 2027, Europe/Berlin", "{march}");
    assert!(march.contains(" 28 x1") && !march.contains(" 27 x") && march.contains("4 times in all"), "{march}");
    assert!(march.contains(" 28: the clock skips 02:30: run at 03:00"), "{march}");
    assert!(lines[2..10].iter().all(|line| line.len() <= 80), "{march}");

    let json = shown(&["* * * * *", "--next", "1000", "--json", "--from", "2027-03-28", "--zone", "Europe/Berlin"]);
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(list(&answer, "next").len(), 1000);
    assert_eq!((&answer["words"], &answer["trigger"]["kind"]), (&"every minute".into(), &"cron".into()));
    assert_eq!(answer["next"][0]["local"], "2027-03-28T00:01:00+01:00");
}

#[test]
fn check_says_what_schedules_mean_and_reads_instants_by_the_zone_of_their_task() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good.toml");
    let bad = directory.path().join("bad.toml");
    // The last Sunday of March has the gap, and is among the next five whenever this runs.
    let tasks = "[tasks.report]\ncron = \"30 2 * * mon\"\nzone = \"Europe/Berlin\"\n\
                 [tasks.gap]\ncron = \"30 2 * 3 sun\"\nzone = \"Europe/Berlin\"\n\
                 [tasks.once]\nat = \"2127-07-04 14:30\"\nzone = \"Europe/Berlin\"\n";
    fs::write(&good, tasks).unwrap();
    fs::write(&bad, "[tasks.late]\nat = \"tomorrow 4am\"\n").unwrap();

    let fine = Command::new(SEXTON).arg("check").arg(&good).output().unwrap();
    let broken = Command::new(SEXTON).arg("check").arg(&bad).output().unwrap();

    let shown = String::from_utf8_lossy(&fine.stdout);
    assert!(fine.status.success(), "{}", String::from_utf8_lossy(&fine.stderr));
    for words in [
        "cron 30 2 * * mon",
        "at 02:30 every Monday",
        "at 02:30 every Sunday in March",
        "the clock skips 02:30: run at 03:00",
        "2127-07-04T14:30:00+0",
        "once, at Fri 2127-07-04 14:30:00 +0",
    ] {
        assert!(shown.contains(words), "`{words}` is not in:\n{shown}");
    }
    let said = String::from_utf8_lossy(&broken.stderr);
    assert_eq!(broken.status.code(), Some(1));
    assert!(said.contains("bad.toml:2:") && said.contains("another instant each time"), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{said}");
}

#[test]
fn a_host_explains_schedules_and_those_of_its_tasks() {
    let manifest = "[tasks.report]\ncron = \"30 2 * * mon\"\nzone = \"Europe/Berlin\"\n";
    let host = Host::with_plugins(&[("report", "hello", manifest)]);
    let path = "/v1/schedule/explain?schedule=30+2+*+*+*&zone=Europe/Berlin";

    let gap = host.get(&format!("{path}&next=2&from=2027-03-27"));
    let fold = host.get(&format!("{path}&next=1&from=2027-10-31"));
    let task = host.get("/v1/tasks/report");

    assert_eq!(gap["words"], "at 02:30 every day");
    assert_eq!((&gap["zone"], &gap["trigger"]["kind"]), (&"Europe/Berlin".into(), &"cron".into()));
    assert_eq!(gap["next"][0]["mark"], Value::Null);
    assert_eq!(gap["next"][1]["at"], "2027-03-28T01:00:00.000Z");
    assert_eq!(gap["next"][1]["local"], "2027-03-28T03:00:00+02:00");
    assert_eq!(gap["next"][1]["mark"]["kind"], "gap");
    assert_eq!(fold["next"][0]["mark"]["text"], "02:30 comes twice: run the first time");
    assert_eq!(list(&host.get("/v1/schedule/explain?schedule=@daily"), "next").len(), 5);
    let (status, body) = host.request("GET", "/v1/schedule/explain?schedule=soon", b"");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (400, &"bad-schedule".into()));
    assert_eq!(task["words"], "at 02:30 every Monday");
    assert_eq!(list(&task, "next").len(), 5);
    let cli = host.cli(&[
        "schedule",
        "explain",
        "30 2 * * *",
        "--zone",
        "Europe/Berlin",
        "--from",
        "2027-03-27",
        "--next",
        "2",
        "--json",
    ]);
    assert_eq!(serde_json::from_slice::<Value>(&cli.stdout).unwrap(), gap, "offline it is the same");
}

/// The name decides for ever where `H` falls: `report` is due at 07:31.
#[test]
fn the_place_of_an_h_is_that_of_the_named_task_and_without_a_name_a_note_says_so() {
    let named = shown(&["H H * * *", "--task", "report"]);
    let of_a_tenant = shown(&["H H * * *", "--task", "acme/report"]);
    let nameless = shown(&["H H * * *"]);

    assert!(named.contains("at 07:31 every day"), "{named}");
    assert!(!of_a_tenant.contains("at 07:31 every day"), "{of_a_tenant}");
    assert!(nameless.contains("note: where `H` and `~` fall depends on the task's name"), "{nameless}");
}

#[test]
fn help_says_how_to_ask_when_a_schedule_is_due() {
    let help = Command::new(SEXTON).arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("sexton schedule explain"));
}

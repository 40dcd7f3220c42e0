//! Tests that every face reads schedules alike, and reports deviations from their text wherever it shows them.

use std::fs;
use std::process::{Command, Output};

use chrono::{Datelike, NaiveDate, Utc, Weekday};
use serde_json::{Value, json};

use crate::harness::{Host, SEXTON};

fn sexton(args: &[&str]) -> Output {
    Command::new(SEXTON).args(args).output().unwrap()
}

fn shown(args: &[&str]) -> String {
    let output = sexton(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn explained(args: &[&str]) -> String {
    shown(&[&["schedule", "explain", "--from", "2027-01-01"][..], args].concat())
}

#[test]
fn a_crontab_without_a_star_is_explained_as_a_crontab() {
    let office = explained(&["10-50/20 8-18 1-31 1-12 1-5"]);
    assert!(office.starts_with("crontab `10-50/20 8-18 1-31 1-12 1-5` in UTC: "), "{office}");
    let new_year = explained(&["TZ=Europe/Berlin 0 9 1 1 1"]);
    assert!(
        new_year.starts_with("crontab `TZ=Europe/Berlin 0 9 1 1 1` in Europe/Berlin: at 09:00 on the 1st of January"),
        "{new_year}"
    );
    let weekend = explained(&["0 8 * * fri-sun", "--next", "3"]);
    assert!(
        weekend.contains("Fri 2027-01-01") && weekend.contains("Sat 2027-01-02") && weekend.contains("Sun 2027-01-03"),
        "{weekend}"
    );
    let last = explained(&["0 18 L * *", "--next", "1"]);
    assert!(last.contains("on the last day of every month") && last.contains("2027-01-31 18:00:00"), "{last}");
    assert!(explained(&["@every 5m"]).starts_with("interval `@every 5m` in UTC: every 5 minutes"));
    assert!(explained(&["weekly", "--next", "1"]).contains("Mon 2027-01-04 00:00:00"));
}

#[test]
fn the_zone_in_a_crontab_is_shown_and_a_second_one_has_a_note() {
    let text = "CRON_TZ=Asia/Tokyo 0 9 * * *";
    let both = explained(&[text, "--tz", "Europe/Berlin", "--next", "1", "--month", "2027-01"]);
    assert!(both.starts_with(&format!("crontab `{text}` in Asia/Tokyo: at 09:00 every day")), "{both}");
    for words in [
        "note: the crontab names Asia/Tokyo, which overrides the zone Europe/Berlin beside it",
        "January 2027, Asia/Tokyo",
        "IN ASIA/TOKYO",
        "09:00:00 +09:00 JST",
    ] {
        assert!(both.contains(words), "`{words}` is not in:\n{both}");
    }
    let json: Value =
        serde_json::from_str(&explained(&[text, "--tz", "Europe/Berlin", "--json", "--next", "1"])).unwrap();
    assert_eq!((&json["zone"], &json["next"][0]["local"]), (&"Asia/Tokyo".into(), &"2027-01-01T09:00:00+09:00".into()));
    assert_eq!(json["notes"].as_array().map(Vec::len), Some(1));
    assert!(!explained(&[text]).contains("note:"));
}

#[test]
fn schedule_explain_takes_seconds_a_task_and_a_start() {
    let seconds = explained(&["*/20 0 9 * * *", "--seconds", "--next", "2"]);
    assert!(seconds.contains("2027-01-01 09:00:00Z") && seconds.contains("2027-01-01 09:00:20Z"), "{seconds}");
    let six = sexton(&["schedule", "explain", "*/20 0 9 * * *"]);
    assert_eq!(six.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&six.stderr).contains("--seconds"));
    let report = explained(&["H 3 * * *", "--task", "report", "--next", "1"]);
    assert!(report.contains("2027-01-01 03:31:00Z") && !report.contains("note:"), "{report}");
    assert!(explained(&["0~59 3 * * *"]).contains("depends on the task's name"));
    let mondays = explained(&["every 2w", "--start", "2027-03-15 09:00", "--tz", "Europe/Berlin", "--next", "2"]);
    assert!(
        mondays.contains("Mon 2027-03-15 09:00:00 +01:00 CET")
            && mondays.contains("Mon 2027-03-29 09:00:00 +02:00 CEST"),
        "{mondays}"
    );
    assert!(shown(&["--version"]).contains("tzdata 20"), "{}", shown(&["--version"]));
}

/// Returns the day of next year on which the clocks of Berlin skip 02:30: the last Sunday of March.
fn skipping_day() -> NaiveDate {
    let year = Utc::now().year() + 1;
    let mut last_seven = (25..=31).map(|day| NaiveDate::from_ymd_opt(year, 3, day).unwrap());
    last_seven.find(|day| day.weekday() == Weekday::Sun).unwrap()
}

/// Returns a manifest with tasks that are over, never due, due on that day, and by the clocks of two zones.
fn manifest(day: NaiveDate) -> String {
    let (year, day) = (day.year(), day.day());
    format!(
        "[tasks.over]\nat = \"2020-01-01 00:00\"\n\
         [tasks.never]\ncron = \"0 9 1 1 *\"\nend = \"2127-01-01 00:00\"\nstart = \"2126-02-01\"\n\
         [tasks.skipping]\ncron = \"30 2 {day} 3 *\"\nzone = \"Europe/Berlin\"\ndst = \"skip\"\nstart = \"{year}-01-01\"\n\
         [tasks.zones]\ncron = \"CRON_TZ=Asia/Tokyo 0 9 * * *\"\nzone = \"Europe/Berlin\"\n"
    )
}

#[test]
fn deviations_from_a_manifest_are_shown_by_check_log_and_api() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("odd.toml");
    let (day, manifest) = (skipping_day(), manifest(skipping_day()));
    fs::write(&file, &manifest).unwrap();
    let host = Host::with_plugins(&[("odd", "hello", &manifest)]);

    let checked = shown(&["check", file.to_str().unwrap()]);
    let tasks = String::from_utf8(host.cli(&["tasks"]).stdout).unwrap();

    let over = "was due once, at 2020-01-01T00:00:00+00:00, which has passed";
    let never = "is not due any more before it ends at 2127-01-01T00:00:00+00:00";
    let zones = "the crontab names Asia/Tokyo, which overrides the zone Europe/Berlin beside it";
    for words in [over, never, zones] {
        assert!(checked.contains(words), "`{words}` is not in:\n{checked}");
        assert!(tasks.contains(words), "`{words}` is not in:\n{tasks}");
        assert!(host.log().contains(words), "`{words}` is not in:\n{}", host.log());
    }
    for (task, words) in [("over", over), ("never", never)] {
        assert_eq!(host.get(&format!("/v1/tasks/{task}"))["done"], words);
    }
    let task = host.get("/v1/tasks/zones");
    assert_eq!((&task["zone"], &task["remarks"]), (&"Asia/Tokyo".into(), &json!([zones])));
    // The next instant of a schedule that skips a year shows the mark.
    let left_out = format!("the clock skips 02:30 on {day}: left out");
    assert!(checked.contains(&left_out), "{checked}");
    assert_eq!(host.get("/v1/tasks/skipping")["next"][0]["mark"]["text"], left_out.as_str());
    assert_eq!(host.get("/v1/host")["tzdata"].as_str().map(str::len), Some(5));
}

#[test]
fn check_and_add_report_that_an_instant_in_a_gap_is_moved() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gap.toml");
    let gap = format!("{} 02:30", skipping_day());
    fs::write(&file, format!("[tasks.t]\nat = \"{gap}\"\nzone = \"Europe/Berlin\"\n")).unwrap();
    let host = Host::with_plugins(&[("hello", "hello", "[tasks.hello]\n")]);

    let checked = shown(&["check", file.to_str().unwrap()]);
    let added = host.cli(&["add", "gap", "--task", "hello", "--at", &gap, "--timezone", "Europe/Berlin"]);
    let zones = host.cli(&[
        "add",
        "zones",
        "--task",
        "hello",
        "--cron",
        "TZ=Asia/Tokyo 0 9 * * *",
        "--timezone",
        "Europe/Berlin",
    ]);

    let moved = format!("`at`: the clock skips 02:30 in `{gap}`: 03:00 is meant");
    assert!(checked.contains(&format!("note: `t`: {moved}")), "{checked}");
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(added.status.success() && said(&added).contains(&format!("note: {moved}")), "{}", said(&added));
    let note = "note: the crontab names Asia/Tokyo, which overrides the zone Europe/Berlin beside it";
    assert!(zones.status.success() && said(&zones).contains(note), "{}", said(&zones));
    let shape = host.get("/v1/schedules/zones");
    assert_eq!(shape["zone"], "Asia/Tokyo");
    assert!(shape["next"]["local"].as_str().unwrap().ends_with("T09:00:00+09:00"), "{shape}");
    let listed = String::from_utf8(host.cli(&["list"]).stdout).unwrap();
    assert!(listed.contains("Asia/Tokyo"), "{listed}");
    // The same request again changes nothing, as before.
    let again = json!({"task": "hello", "cron": "TZ=Asia/Tokyo 0 9 * * *", "zone": "Europe/Berlin"});
    assert_eq!(host.request("PUT", "/v1/schedules/zones", again.to_string().as_bytes()).0, 200);
    let every = json!({"task": "hello", "cron": "@every 5m", "start": "2127-01-01 00:02"});
    let (status, body) = host.request("PUT", "/v1/schedules/every", every.to_string().as_bytes());
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &body["error"]["code"]), (400, &"bad-instant".into()), "more than ten years ahead: {body}");
}

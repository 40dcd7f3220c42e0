//! Tests filters and pages of lists, and the labels of tasks and runs, on both stores.

use serde_json::{Value, json};

use crate::harness::{Host, guest, id, list};
use crate::over_time::both;
use crate::pausing::does;

/// Tasks with labels, in a chain that takes an hour for its second round.
const MANIFEST: &str = r#"
labels = { team = "web" }
[tasks.report-day]
input-json = { do = "echo" }
[tasks.report-week]
overlap = "allow(16)"
labels = { env = "prod" }
input-json = { do = "echo" }
[tasks.bad]
overlap = "allow(16)"
labels = { team = "ops" }
input-json = { do = "panic", message = "the disk is full" }
retry = { attempts = 1 }
[chains.nightly]
links = ["report-day", { task = "bad", fail-cooldown = "1h" }]
"#;

/// Returns a manifest with the grants that the probe asks for.
fn granted(manifest: &str) -> String {
    let grants = "grants = { locks = [\"*\"], cache = [\"*\"], schedule = [\"*\"], http = [\"127.0.0.1:1\"] }";
    manifest.replace("input-json", &format!("{grants}\ninput-json"))
}

/// Adds the tasks, and waits for the first round of the chain.
fn add_reports(host: &Host) {
    host.add("reports", "probe", &granted(MANIFEST));
    host.eventually("the chain has had its first round", || {
        let runs = host.get("/v1/runs?chain=nightly&state=succeeded,failed");
        (list(&runs, "runs").len() == 2).then_some(())
    });
}

fn ids(page: &Value) -> Vec<i64> {
    list(page, "runs").iter().map(id).collect()
}

/// Returns the ids of the runs that the command line lists with these words.
fn listed(host: &Host, words: &str) -> Vec<i64> {
    let words: Vec<&str> = ["runs", "--json"].into_iter().chain(words.split_whitespace()).collect();
    ids(&serde_json::from_str(&does(host, &words).0).unwrap())
}

#[test]
fn runs_are_found_by_each_word_of_the_filter() {
    for host in both() {
        add_reports(&host);
        let chain = ids(&host.get("/v1/runs?chain=nightly"));
        let [failed, day] = chain[..] else { panic!("two runs of the chain: {chain:?}") };
        let on = format!("--on {} --outcome failed", host.get("/v1/host")["name"].as_str().unwrap());
        does(&host, &["schedule", "add", "extra", "--task", "report-week", "--in", "1s"]);
        let week = host.eventually("the added schedule has made a run that succeeded", || {
            ids(&host.get("/v1/runs?key=extra&state=succeeded")).first().copied()
        });
        let demanded = host.wait(host.trigger("bad", r#"{"do": "panic", "message": "no such file"}"#));
        let demanded = id(&demanded);

        for (words, expected) in [
            ("--task report-*", vec![week, day]),
            ("--task bad", vec![demanded, failed]),
            ("--state failed --since 1h", vec![demanded, failed]),
            ("--outcome failed --since 1h", vec![demanded, failed]),
            ("--outcome trapped --cause demand", vec![demanded]),
            ("--outcome succeeded", vec![week, day]),
            ("--outcome out-of-fuel,lost", vec![]),
            ("--cause schedule", vec![week, failed, day]),
            ("--key extra", vec![week]),
            ("--chain nightly", vec![failed, day]),
            ("--chain nightly --outcome failed", vec![failed]),
            ("--label team=web", vec![week, day]),
            ("--label team=web --label env=prod", vec![week]),
            ("--label env=prod --task report-day", vec![]),
            ("--until 1h", vec![]),
            ("--longer-than 1h", vec![]),
            ("--text DISK", vec![failed]),
            ("--text file --outcome crashed --task b*", vec![demanded]),
            ("--begun --limit 2", vec![demanded, week]),
            (on.as_str(), vec![demanded, failed]),
            ("--on elsewhere", vec![]),
        ] {
            assert_eq!(listed(&host, words), expected, "{words}");
        }
    }
}

#[test]
fn a_list_goes_on_from_its_cursor_although_runs_arrive() {
    for host in both() {
        let trigger = || host.trigger("probe", r#"{"do": "echo"}"#);
        let mut made: Vec<i64> = (0..5).map(|_| trigger()).collect();
        made.reverse();

        let mut page = host.get("/v1/runs?task=probe&cause=demand&limit=2");
        let mut seen = ids(&page);
        while let Some(cursor) = page["cursor"].as_str().map(str::to_owned) {
            trigger();
            page = host.get(&format!("/v1/runs?task=probe&cause=demand&limit=2&cursor={cursor}"));
            seen.extend(ids(&page));
        }

        assert_eq!(seen, made, "each run once, and none that came later");
        let (status, body) = host.request("GET", "/v1/runs?cursor=elsewhere", b"");
        let refused: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &refused["error"]["code"]), (400, &json!("bad-cursor")));
    }
}

#[test]
fn labels_are_shown_and_a_run_keeps_those_that_it_was_made_with() {
    for host in both() {
        add_reports(&host);
        let (told, _) = does(&host, &["trigger", "report-week", "--label", "env=test", "--label", "ticket=7"]);
        let run = told.split_whitespace().nth(2).unwrap().to_owned();
        host.wait(run.parse().unwrap());
        let without = granted("[tasks.report-week]\ninput-json = { do = \"echo\" }\n");
        host.add_bytes("reports", &guest("probe"), Some(&without));
        host.eventually("the task has no labels any more", || {
            let task = host.get("/v1/tasks/report-week");
            task.get("labels").is_none().then_some(())
        });

        let labels = "env=test, team=web, ticket=7";
        let shown = does(&host, &["show", &run]).0;
        assert!(shown.contains(&format!("labels      {labels}\n")), "{shown}");
        let listed = does(&host, &["runs", "--label", "ticket=7"]).0;
        assert!(listed.contains("LABELS") && listed.contains(labels), "{listed}");
        let json = host.get("/v1/runs?label=env%3Dtest");
        assert_eq!(json["runs"][0]["labels"], json!({ "env": "test", "team": "web", "ticket": "7" }));
        let refused = host.cli(&["trigger", "report-week", "--label", "Team=web"]);
        assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    }
}

#[test]
fn tasks_are_listed_by_their_labels_and_page_by_page() {
    for host in both() {
        add_reports(&host);
        let names = |page: &Value| -> Vec<String> {
            list(page, "tasks").iter().map(|task| task["name"].as_str().unwrap().to_owned()).collect()
        };

        assert_eq!(names(&host.get("/v1/tasks?label=team%3Dweb")), ["report-day", "report-week"]);
        assert_eq!(names(&host.get("/v1/tasks?task=*-week&label=env%3Dprod")), ["report-week"]);
        let first = host.get("/v1/tasks?limit=2");
        let rest = host.get(&format!("/v1/tasks?cursor={}", first["cursor"].as_str().unwrap()));
        assert_eq!(
            (names(&first).concat(), names(&rest).concat()),
            ("badprobe".into(), "report-dayreport-week".into())
        );
        let shown = does(&host, &["tasks", "report-*", "--label", "env=prod"]).0;
        assert!(shown.contains("report-week") && !shown.contains("report-day"), "{shown}");
        assert!(shown.contains("LABELS") && shown.contains("env=prod, team=web"), "{shown}");
    }
}

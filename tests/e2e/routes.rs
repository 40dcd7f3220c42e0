//! Tests schedules with types, which manifests route to tasks, and schedules that tasks add, on both stores.

use serde_json::{Value, json};
use sexton_testkit::postgres::{fresh_schema, shared};

use crate::harness::{Host, Setup, guest, id, list, outcome};
use crate::tenants::{acmes_when_over, add_acmes, trigger_acmes, with_acme};

/// A task that does what its input says, sixteen at a time.
fn task(name: &str, more: &str) -> String {
    format!(
        "[tasks.{name}]\noverlap = \"allow(16)\"\n[tasks.{name}.retry]\nattempts = 1\n\
         [tasks.{name}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"mailer\"]\nhttp = [\"127.0.0.1:1\"]\n{more}"
    )
}

const ROUTES: &str = "[routes]\n\"mail-*\" = \"mailer\"\n";

/// Returns a host on each kind of store.
fn on_both_stores() -> [Host; 2] {
    let database = format!("[store]\nurl = {:?}\nschema = {:?}\n", shared().url(), fresh_schema());
    [String::new(), database].map(|config| Host::with(&Setup { config }))
}

fn put(host: &Host, name: &str, manifest: &str) {
    host.add_bytes(name, &guest("probe"), Some(manifest));
    host.loaded(name);
}

fn said(host: &Host, args: &[&str], code: i32) -> String {
    let output = host.cli(args);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

/// Waits until a schedule has made a run of `task` that succeeded, and returns that run.
fn succeeded(host: &Host, task: &str, key: &str) -> Value {
    let note = format!("added schedule `{key}`");
    host.eventually(&format!("a run of `{key}` succeeded"), || {
        let all = host.get(&format!("/v1/runs?task={task}&limit=1000"));
        let of_key = |run: &&Value| run["note"].as_str().is_some_and(|said| said.starts_with(&note));
        list(&all, "runs").iter().filter(of_key).find(|run| run["state"] == "succeeded").cloned()
    })
}

/// Has a task do something, and returns its answer.
fn done(host: &Host, task: &str, input: &Value) -> Value {
    let answer = host.run(task, &input.to_string());
    assert_eq!(outcome(&answer), "succeeded", "{answer}");
    serde_json::from_slice(&host.output(id(&answer))).unwrap()
}

#[test]
fn a_schedule_with_a_type_waits_visibly_until_a_manifest_routes_it() {
    for host in on_both_stores() {
        put(&host, "other", &task("other", ""));
        let data = r#"{"do": "echo", "value": "hello"}"#;
        let add = ["schedule", "add", "welcome", "--type", "mail-welcome", "--every", "300ms", "--input", data];

        let told = said(&host, &add, 0);
        assert!(told.contains("no manifest has a route for the type `mail-welcome`"), "{told}");
        said(&host, &["schedule", "add", "works", "--task", "other", "--every", "300ms", "--input", data], 0);
        succeeded(&host, "other", "works");

        let waits = host.get("/v1/schedules/welcome");
        assert_eq!(
            (&waits["state"], &waits["task"], &waits["type"]),
            (&json!("resting"), &Value::Null, &json!("mail-welcome"))
        );
        assert!(waits["reason"].as_str().unwrap().contains("no manifest has a route"), "{waits}");
        assert_eq!(waits["data"], json!({"type": "json", "json": {"do": "echo", "value": "hello"}}));
        let shown = said(&host, &["schedule", "list", "welcome"], 0);
        assert!(shown.contains("resting: no manifest has a route") && shown.contains("hello"), "{shown}");
        let listed = said(&host, &["list"], 0);
        assert!(listed.contains("type mail-welcome") && !listed.contains("hello"), "{listed}");
        assert_eq!(host.get("/v1/schedules")["schedules"][0].get("data"), None, "a list shows no data");

        put(&host, "mailer", &task("mailer", ROUTES));
        succeeded(&host, "mailer", "welcome");

        let goes = host.get("/v1/schedules/welcome");
        assert_eq!((&goes["state"], &goes["task"]), (&json!("active"), &json!("mailer")));
        said(&host, &["delete", "welcome"], 0);
    }
}

#[test]
fn a_first_run_has_a_time_of_its_own() {
    for host in on_both_stores() {
        put(&host, "mailer", &task("mailer", ""));
        let data = r#"{"do": "echo"}"#;
        let add = ["add", "k", "--task", "mailer", "--cron", "0 9 * * mon", "--delay", "1h", "--input", data];

        said(&host, &[&add[..], &["-a", "in 1s"]].concat(), 0);

        let run = succeeded(&host, "mailer", "k");
        assert_eq!(run["due_at"], host.get("/v1/schedules/k")["first"]);
        let next = host.get("/v1/schedules/k")["next"].clone();
        assert!(
            next["starts_at"].as_str().unwrap().ends_with("T10:00:00.000Z"),
            "the delay is that of the others: {next}"
        );
        let wrong = said(&host, &["add", "x", "--task", "mailer", "--in", "1h", "--first", "in 1m"], 2);
        assert!(wrong.contains("--first"), "{wrong}");
    }
}

#[test]
fn a_task_adds_lists_and_deletes_schedules_within_its_grant() {
    for host in on_both_stores() {
        put(&host, "signup", &task("signup", ""));
        put(&host, "mailer", &task("mailer", ""));
        let add = |key: &str, task: &str, replace: bool| {
            let input = json!({"do": "echo", "value": "from a task"});
            json!({"do": "add-schedule", "key": key, "task": task, "every-ms": 1000, "input": input, "replace": replace})
        };
        said(&host, &["add", "of-a-person", "--task", "mailer", "--every", "1h"], 0);

        assert_eq!(done(&host, "signup", &add("reminder", "mailer", false)), json!(true));
        assert_eq!(done(&host, "signup", &add("reminder", "mailer", false)), json!(false), "it is there already");
        succeeded(&host, "mailer", "reminder");
        assert_eq!(host.get("/v1/schedules/reminder")["added_by"], "signup");
        let listed = done(&host, "mailer", &json!({"do": "list-schedules"}));
        assert_eq!(listed, json!([{"key": "reminder", "task": "mailer", "due": true}]));

        for refused in [add("x", "signup", false), add("of-a-person", "mailer", true)] {
            let answer = host.run("signup", &refused.to_string());
            assert_eq!(outcome(&answer), "failed-permanent", "{answer}");
        }
        let gone = json!({"do": "delete-schedule", "key": "of-a-person"});
        assert_eq!(done(&host, "signup", &gone), json!(false), "a person's schedule is none of theirs");
        assert_eq!(done(&host, "signup", &json!({"do": "delete-schedule", "key": "reminder"})), json!(true));
        let rest = said(&host, &["list"], 0);
        assert!(rest.contains("of-a-person") && !rest.contains("reminder"), "{rest}");
    }
}

#[test]
fn two_tenants_have_a_schedule_each_under_the_same_key() {
    let host = with_acme("");
    put(&host, "mailer", &task("mailer", ""));
    put(&host, "signup", &task("signup", ""));
    let grants = task("mailer", "") + &task("signup", "");
    add_acmes(&host, "both", "probe", &grants);
    let add = |of: &[&str], every: &str| {
        said(&host, &[of, &["schedule", "add", "k", "--task", "mailer", "--every", every]].concat(), 0)
    };
    let of_acme = ["--tenant", "acme"];
    add(&[], "1h");
    add(&of_acme, "2h");

    let [own, acmes] =
        ["", "?tenant=acme"].map(|query| host.get(&format!("/v1/schedules/k{query}"))["trigger"].clone());
    let wish = json!({"do": "add-schedule", "key": "k", "task": "mailer", "every-ms": 1000, "input": {"do": "echo"}, "replace": true});
    let taken = trigger_acmes(&host, "signup", &wish.to_string());
    let taken = acmes_when_over(&host, taken);
    said(&host, &[&of_acme[..], &["schedule", "delete", "k"]].concat(), 0);
    let run = trigger_acmes(&host, "signup", &wish.to_string());
    let added = acmes_when_over(&host, run);

    assert_ne!(own, acmes);
    assert_eq!((outcome(&taken), outcome(&added)), ("failed-permanent", "succeeded"), "{taken} {added}");
    let [own_now, acmes_now] = ["", "?tenant=acme"].map(|query| host.get(&format!("/v1/schedules/k{query}")));
    assert_eq!((&own_now["trigger"], &own_now["added_by"]), (&own, &Value::Null), "a tenant changes its own only");
    assert_eq!(acmes_now["added_by"], "signup");
    assert_eq!(done(&host, "signup", &json!({"do": "list-schedules"})), json!([]), "acme's is none of this tenant's");
}

#[test]
fn a_route_to_a_task_that_the_manifest_has_not_is_refused_with_its_line() {
    let host = Host::start();
    host.add_bytes("mailer", &guest("probe"), Some(&task("mailer", "[routes]\n\"mail-*\" = \"mailr\"\n")));

    let why = host.quarantined("mailer");
    assert!(why.contains("this manifest has no task `mailr`"), "{why}");
}

//! Tests tenants: each has its own directory, names and limits, and none is in another's way.

use std::fs;
use std::process::Command;

use chrono::{DateTime, FixedOffset};
use serde_json::Value;

use crate::harness::{Host, SEXTON, Setup, attempts, guest, id, list, outcome, run_of, state};
use crate::outcomes::PROBE;

/// Puts a plugin into the directory `acme`, and waits until it is in use.
pub(crate) fn add_acmes(host: &Host, name: &str, component: &str, manifest: &str) {
    let directory = host.directory.path().join("acme");
    fs::write(directory.join(format!("{name}.toml")), manifest).unwrap();
    fs::write(directory.join(format!(".{name}")), guest(component)).unwrap();
    fs::rename(directory.join(format!(".{name}")), directory.join(format!("{name}.wasm"))).unwrap();
    host.eventually("acme's plugin is in use", || {
        let plugins = host.get("/v1/plugins?tenant=acme");
        let plugin = list(&plugins, "plugins").iter().find(|plugin| plugin["name"] == name)?;
        assert!(plugin["quarantine"].is_null(), "{plugin}");
        plugin["digest"].as_str().map(drop)
    });
}

pub(crate) fn with_acme(limits: &str) -> Host {
    Host::with(&Setup { config: format!("[tenants.acme]\nplugins = \"acme\"\n{limits}") })
}

pub(crate) fn trigger_acmes(host: &Host, task: &str, input: &str) -> i64 {
    let (status, body) = host.request("POST", &format!("/v1/tasks/{task}/runs?tenant=acme"), input.as_bytes());
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    id(&serde_json::from_slice(&body).unwrap())
}

pub(crate) fn acmes(host: &Host, run: i64) -> Value {
    host.get(&format!("/v1/runs/{run}?tenant=acme"))
}

pub(crate) fn acmes_when_over(host: &Host, run: i64) -> Value {
    host.eventually("acme's run is over", || {
        let answer = acmes(host, run);
        run_of(&answer)["ended_at"].is_string().then_some(answer)
    })
}

fn at(field: &Value) -> DateTime<FixedOffset> {
    DateTime::parse_from_rfc3339(field.as_str().unwrap_or_else(|| panic!("{field} is no instant"))).unwrap()
}

#[test]
fn nothing_of_one_tenant_is_seen_or_reached_by_another() {
    let host = with_acme("");
    let manifest = PROBE.replace("schedule = [\"probe\"]", "schedule = [\"*\"]");
    host.add("probe", "probe", &manifest);
    // The same plugin and the same task, and one that only this tenant has.
    add_acmes(
        &host,
        "probe",
        "probe",
        &format!(
            "{manifest}\n[tasks.secret.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n"
        ),
    );
    let holder = trigger_acmes(&host, "probe", r#"{"do": "lock-hold", "name": "ledger", "how": "sleep", "ms": 40000}"#);
    host.eventually("acme holds its lock", || {
        host.get("/v1/locks?tenant=acme").to_string().contains("ledger").then_some(())
    });
    let set = trigger_acmes(&host, "probe", r#"{"do": "cache-set", "key": "word", "value": "acmes"}"#);
    assert_eq!(state(&acmes_when_over(&host, set)), "succeeded");

    let lock = host.run("probe", r#"{"do": "lock-wait", "name": "ledger", "ms": 0}"#);
    let word = host.run("probe", r#"{"do": "cache-get", "key": "word"}"#);
    let secret = host.run("probe", r#"{"do": "enqueue", "task": "secret"}"#);
    let own = host.run("probe", r#"{"do": "enqueue", "task": "probe", "input": {"do": "echo"}}"#);

    assert!(String::from_utf8_lossy(&host.output(id(&lock))).contains("fence"), "acme's lock is another lock");
    assert_eq!(host.output(id(&word)), b"null", "acme's entry is another entry");
    assert_eq!((state(&secret), state(&own)), ("failed", "succeeded"), "{secret}");
    assert_eq!(list(&host.get("/v1/runs?tenant=acme&task=secret"), "runs").len(), 0);
    for path in ["/v1/locks", "/v1/locks/graph", "/v1/cache", "/v1/tasks", "/v1/runs"] {
        let answer = host.get(path).to_string();
        assert!(
            !answer.contains("acme") && !answer.contains("secret") && !answer.contains("ledger"),
            "{path}: {answer}"
        );
    }
    assert_eq!(host.request("GET", &format!("/v1/runs/{holder}"), b"").0, 404);
    assert_eq!(host.cli(&["kill", &holder.to_string()]).status.code(), Some(4));
    assert!(host.cli(&["--tenant", "acme", "kill", &holder.to_string()]).status.success());
    let tasks = String::from_utf8(host.cli(&["tasks", "--tenant", "acme"]).stdout).unwrap();
    assert!(tasks.contains("secret"), "{tasks}");
}

#[test]
fn a_tenant_over_its_fuel_waits_with_the_reason_while_anothers_task_is_on_time() {
    const HOG: &str = "[tasks.hog]\noverlap = \"allow(2)\"\ninput = '{\"do\": \"spin\"}'\n[tasks.hog.retry]\nattempts = 1\n\
        [tasks.hog.limits]\nfuel = 170_000_000\n[tasks.hog.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";
    let host = with_acme("fuel-per-minute = 300_000_000\n");
    host.add("tick", "hello", "[tasks.tick]\nevery = \"1s\"\n");
    add_acmes(&host, "hog", "probe", HOG);
    // Two runs use up the minute's worth and 40 million more, which takes eight seconds to come in.
    let spent = [(); 2].map(|()| trigger_acmes(&host, "hog", ""));
    for run in spent {
        assert_eq!(outcome(&acmes_when_over(&host, run)), "out-of-fuel");
    }

    let held_back = |run| {
        host.eventually("it says why it waits, or is over", || {
            let answer = acmes(&host, run);
            let why = run_of(&answer)["held_back"].clone();
            (why.is_object() || state(&answer) == "failed").then_some(Some(why).filter(Value::is_object))
        })
    };
    // A claim that was on its way when the budget was used up may still take one run.
    let (third, why) = std::iter::repeat_with(|| trigger_acmes(&host, "hog", ""))
        .take(3)
        .find_map(|run| Some((run, held_back(run)?)))
        .expect("a run of a tenant that owes fuel waits");
    let shown = String::from_utf8(host.cli(&["--tenant", "acme", "show", &third.to_string()]).stdout).unwrap();
    let tasks = String::from_utf8(host.cli(&["--tenant", "acme", "tasks"]).stdout).unwrap();
    let answer = acmes_when_over(&host, third);

    assert_eq!(why["reason"], "tenant `acme` is over its budget of 300000000 fuel a minute");
    for shown in [shown, tasks] {
        assert!(shown.contains("is over its budget of 300000000 fuel a minute until "), "{shown}");
    }
    let claimed = at(&run_of(&answer)["claimed_at"]);
    assert!(claimed >= at(&why["until"]), "{answer}, {why}");
    let since = at(&run_of(&acmes(&host, spent[0]))["claimed_at"]);
    let runs = host.get("/v1/runs?task=tick&state=succeeded");
    let mut meanwhile =
        list(&runs, "runs").iter().filter(|run| (since..claimed).contains(&at(&run["due_at"]))).peekable();
    assert!(meanwhile.peek().is_some(), "{runs}");
    for run in meanwhile {
        // The bound is generous as everywhere, because other tests compile at the same time. The budget alone would
        // have held it back for seconds.
        let late = at(&run["claimed_at"]) - at(&run["due_at"]);
        assert!(late < chrono::Duration::seconds(3), "{late}: {run}");
    }
}

#[test]
fn a_tenant_has_no_more_runs_at_once_than_it_may_and_leaves_the_other_places_to_others() {
    let host = with_acme("runs = 2\n");
    host.add("probe", "probe", PROBE);
    add_acmes(&host, "probe", "probe", &format!("{PROBE}{}", PROBE.replace("tasks.probe", "tasks.other")));
    let flood: Vec<i64> = ["probe", "other"]
        .into_iter()
        .flat_map(|task| (0..5).map(move |_| task))
        .map(|task| trigger_acmes(&host, task, r#"{"do": "sleep", "ms": 1000}"#))
        .collect();

    let why = host.eventually("one of them says why it waits", || {
        let waiting = host.get("/v1/runs?tenant=acme&state=waiting");
        list(&waiting, "runs").iter().find_map(|run| run["held_back"]["reason"].as_str().map(str::to_owned))
    });
    let mine = host.run("probe", r#"{"do": "echo"}"#);

    assert_eq!(why, "tenant `acme` has 2 of at most 2 concurrent runs under way on this host");
    let left = list(&host.get("/v1/runs?tenant=acme&state=waiting"), "runs").len();
    assert!(state(&mine) == "succeeded" && left > 0, "it came before {left} of another tenant that waited longer");
    let mut turns: Vec<_> = flood
        .iter()
        .flat_map(|run| {
            let answer = acmes_when_over(&host, *run);
            let attempt = &attempts(&answer)[0];
            [(at(&attempt["started_at"]), 1), (at(&attempt["ended_at"]), -1)]
        })
        .collect();
    turns.sort();
    let most = turns.iter().scan(0, |running, (_, turn)| {
        *running += turn;
        Some(*running)
    });
    assert_eq!(most.max(), Some(2));
}

#[test]
fn tenants_whose_directories_are_not_apart_are_refused() {
    for (directory, expected) in [
        ("plugins", "overlaps that of tenant `default`"),
        ("plugins/acme", "overlaps that of tenant `default`"),
        ("var/acme", "is in `var`, where only the host may write"),
        (".", "where authors may write; choose another `[host] var`"),
    ] {
        let place = tempfile::tempdir().unwrap();
        let config = format!("[http]\nlisten = \"127.0.0.1:0\"\n[tenants.acme]\nplugins = \"{directory}\"\n");
        fs::write(place.path().join("sexton.toml"), config).unwrap();

        let ended = Command::new(SEXTON).arg("run").current_dir(place.path()).output().unwrap();

        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "`{expected}` is not in {said}");
    }
}

#[test]
fn top_shows_an_operator_the_runs_of_all_tenants_and_a_tenant_what_others_use_together() {
    let host = with_acme("");
    add_acmes(&host, "probe", "probe", &PROBE.replace("\"2s\"", "\"50s\""));
    let run = trigger_acmes(&host, "probe", r#"{"do": "spin"}"#);
    let used = |live: &Value| live["attempts"][0]["guest_us"].as_u64().unwrap_or_default();
    host.eventually("acme's run computes", || (used(&host.get("/v1/live?tenant=acme")) > 1000).then_some(()));

    let top = |args: &[&str]| String::from_utf8(host.cli(args).stdout).unwrap();
    let (all, own) = (top(&["top", "--once"]), top(&["top", "--once", "--tenant", "default"]));
    let live = host.get("/v1/live?tenant=default");

    assert!(all.contains("acme") && all.contains("probe"), "{all}");
    assert!(own.starts_with("Nothing of this tenant is running.\nOf other tenants: 1 attempt, "), "{own}");
    assert!(!own.contains("acme") && !own.contains("probe"), "no names are told: {own}");
    assert_eq!((list(&live, "attempts").len(), &live["others"]["attempts"]), (0, &Value::from(1)), "{live}");
    assert!(live["others"]["guest_us"].as_u64().unwrap() > 1000, "{live}");
    host.request("POST", &format!("/v1/runs/{run}/kill?tenant=acme&now=true"), b"");
}

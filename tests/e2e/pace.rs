//! Tests schedules that depend on earlier runs: `after`, chains and `pace`.

use serde_json::Value;

use crate::harness::{Host, list, outcome, state};

/// Returns a task of the probe with these lines, one attempt a run, and all grants.
fn task(name: &str, lines: &str) -> String {
    format!(
        "[tasks.{name}]\n{lines}\nretry = {{ attempts = 1 }}\nlimits = {{ deadline = \"50s\" }}\n\
         grants = {{ locks = [\"*\"], cache = [\"*\"], schedule = [\"*\"], http = [\"127.0.0.1:1\"] }}\n"
    )
}

/// Returns the runs of a task, oldest first.
fn runs(host: &Host, task: &str) -> Vec<Value> {
    let mut runs = list(&host.get(&format!("/v1/runs?task={task}&limit=1000")), "runs").to_vec();
    runs.reverse();
    runs
}

fn count(runs: &[Value], state: &str) -> usize {
    runs.iter().filter(|run| run["state"] == state).count()
}

fn chain(host: &Host, name: &str) -> Value {
    let chains = host.get("/v1/chains");
    let chain = list(&chains, "chains").iter().find(|chain| chain["name"] == name);
    chain.unwrap_or_else(|| panic!("no chain `{name}` in {chains}")).clone()
}

fn cli(host: &Host, args: &[&str]) -> String {
    let output = host.cli(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the notes of the runs of `nightly`, oldest first.
fn notes(host: &Host) -> Vec<String> {
    let mut runs = [runs(host, "good"), runs(host, "bad")].concat();
    runs.retain(|run| run["note"].as_str().is_some_and(|note| note.contains("`nightly`")));
    runs.sort_by_key(|run| run["id"].as_i64());
    runs.iter().map(|run| run["note"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn runs_follow_the_ends_of_others_also_after_the_host_was_killed() {
    let manifest = [
        task("follow", "after = { success = \"200ms\", fail = \"1m\" }\ninput-json = { do = \"echo\" }"),
        task(
            "steady",
            "pace = { min = 1, max = 2, from = \"200ms\", to = \"2s\" }\ninput-json = { do = \"sleep\", ms = 45000 }",
        ),
        task("good", "input-json = { do = \"echo\" }"),
        task("bad", "input-json = { do = \"fail-permanent\" }"),
        "[chains.nightly]\nlinks = [\"good\", { task = \"bad\", fail-cooldown = \"100ms\" }, \"good\"]\n\
         success-cooldown = \"300ms\"\n[chains.halts]\nlinks = [\"good\", \"bad\"]\non-failure = \"stop\"\n"
            .to_owned(),
    ]
    .concat();
    let host = Host::with_plugins(&[("all", "probe", &manifest)]);

    host.eventually("runs have followed each other", || {
        (count(&runs(&host, "follow"), "succeeded") >= 3).then_some(())
    });
    host.eventually("the chain is in its third round", || {
        (chain(&host, "nightly")["round"].as_u64()? >= 3).then_some(())
    });
    let halted = host
        .eventually("the other one is paused", || Some(chain(&host, "halts")).filter(|chain| chain["paused"] == true));
    let steady = host.eventually("two are going", || {
        Some(host.get("/v1/tasks/steady")).filter(|task| task["following"]["alive"] == 2)
    });

    let why = halted["paused_why"].as_str().unwrap();
    assert!(why.ends_with("of link 2 of 2, `bad`, failed in round 1"), "{why}");
    assert_eq!(halted["links"][1]["last"]["state"], "failed", "{halted}");
    assert_eq!((&steady["overlap"], &steady["following"]["next"]), (&"allow(2)".into(), &Value::Null), "{steady}");
    assert!(steady["following"]["started"].is_string(), "{steady}");
    let shown = cli(&host, &["chains"]);
    assert!(
        shown.contains("nightly") && shown.contains("3 of 3") && shown.contains("`halts` is paused: run "),
        "{shown}"
    );
    assert!(cli(&host, &["tasks"]).contains("when one ends, 2 going"), "{}", cli(&host, &["tasks"]));
    assert_eq!(host.log().matches("alert=\"chain-stopped\"").count(), 1, "{}", host.log());
    assert!(host.log().contains("alert=\"link-failed\""), "{}", host.log());

    let (followed, round) = (runs(&host, "follow").len(), chain(&host, "nightly")["round"].as_u64().unwrap());
    let host = Host::start_in(host.kill());
    host.eventually("runs follow each other again", || (runs(&host, "follow").len() >= followed + 3).then_some(()));
    host.eventually("the chain goes on", || (chain(&host, "nightly")["round"].as_u64()? > round + 1).then_some(()));

    let all = notes(&host);
    let expected: Vec<String> =
        (0..all.len()).map(|nth| format!("link {} of 3 of `nightly`, round {}", nth % 3 + 1, nth / 3 + 1)).collect();
    assert_eq!(all, expected);
    assert_eq!(chain(&host, "halts")["paused"], true);
    let going = runs(&host, "steady");
    assert!(count(&going, "running") + count(&going, "waiting") <= 2, "{going:?}");
}

#[test]
fn a_chain_is_paused_and_resumed_like_a_task_and_begins_with_the_link_that_failed() {
    let manifest = [
        task("good", "input-json = { do = \"echo\" }"),
        task("bad", "input-json = { do = \"fail-transient\" }"),
        "[chains.halts]\nlinks = [\"good\", \"bad\"]\non-failure = \"stop\"\n".to_owned(),
    ]
    .concat();
    let host = Host::with_plugins(&[("all", "probe", &manifest)]);
    host.eventually("it has stopped", || (chain(&host, "halts")["paused"] == true).then_some(()));
    assert_eq!((runs(&host, "good").len(), runs(&host, "bad").len()), (1, 1));

    cli(&host, &["resume", "halts"]);
    host.eventually("it has failed again", || {
        (runs(&host, "bad").len() == 2 && chain(&host, "halts")["paused"] == true).then_some(())
    });
    assert_eq!(runs(&host, "good").len(), 1);

    // It was corrected in the meantime and goes on; and an operator can pause it, too.
    host.add("all", "probe", &manifest.replace("fail-transient", "echo").replace("\"stop\"", "\"go-on\""));
    host.eventually("that is in use", || (chain(&host, "halts")["on_failure"] == "go-on").then_some(()));
    cli(&host, &["resume", "halts"]);
    host.eventually("it is in its second round", || (chain(&host, "halts")["round"] == 2).then_some(()));
    cli(&host, &["pause", "halts"]);
    let paused = chain(&host, "halts");
    assert_eq!((&paused["paused"], &paused["paused_why"]), (&Value::Bool(true), &Value::Null), "{paused}");
}

#[test]
fn a_faulty_chain_is_reported_wherever_people_look() {
    let host = Host::with_plugins(&[("one", "hello", "[tasks.a]\n[chains.x]\nlinks = [\"absent\"]\n")]);

    host.add_bytes("two", &crate::harness::guest("hello"), Some("[tasks.x]\n"));
    assert_eq!(host.quarantined("two"), "plugin `one` has a chain `x` already; rename one of them");
    host.add_bytes("three", &crate::harness::guest("hello"), Some("[tasks.b]\n[chains.a]\nlinks = [\"b\"]\n"));
    assert_eq!(host.quarantined("three"), "plugin `one` has a task `a` already; rename one of them");
    host.add_bytes("four", &crate::harness::guest("hello"), Some("[chains.four]\nlinks = [\"b\"]\n"));
    assert_eq!(host.quarantined("four"), "there is a task `four` and a chain `four`; rename one of them");

    assert_eq!(chain(&host, "x")["waits_for"], "no plugin that loads has a task `absent`");
    assert!(cli(&host, &["chains"]).contains("no plugin that loads has a task `absent`"));
}

#[test]
fn a_run_ends_with_the_version_it_began_with_unless_the_task_says_replace() {
    let sleeps = "after = \"100ms\"\ninput-json = { do = \"sleep\", ms = 3000 }";
    let keeps = task("keeps", sleeps);
    let swaps = task("swaps", "after = \"100ms\"\noverlap = \"replace\"\ninput-json = { do = \"sleep\", ms = 45000 }");
    let host = Host::with_plugins(&[("keeps", "probe", &keeps), ("swaps", "probe", &swaps)]);
    let running =
        |task: &str| host.eventually("it runs", || runs(&host, task).into_iter().find(|run| run["state"] == "running"));
    let (kept, swapped) = (running("keeps")["id"].as_i64().unwrap(), running("swaps")["id"].as_i64().unwrap());

    // The new version is another component, which does not know the input.
    host.add("keeps", "hello", "[tasks.keeps]\nafter = \"100ms\"\n");
    host.add("swaps", "hello", "[tasks.swaps]\nafter = \"100ms\"\noverlap = \"replace\"\n");

    let swapped = host.wait(swapped);
    assert_eq!((state(&swapped), outcome(&swapped)), ("cancelled", "killed"), "{swapped}");
    assert!(swapped["run"]["message"].as_str().unwrap().starts_with("replaced by run "), "{swapped}");
    let next = host.eventually("its successor has ended", || {
        runs(&host, "swaps").into_iter().find(|run| run["state"] == "succeeded")
    });
    let text = String::from_utf8(host.output(next["id"].as_i64().unwrap())).unwrap();
    assert!(text.to_lowercase().contains("hello"), "{text}");
    let kept = host.wait(kept);
    assert_eq!((state(&kept), outcome(&kept)), ("succeeded", "succeeded"), "{kept}");
}

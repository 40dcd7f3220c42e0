//! Tests the plugin directory: files that are dropped in, changed, broken and removed.

use std::fs;

use crate::harness::{Host, guest, id, list, state};

const ON_DEMAND: &str =
    "[tasks.it]\n[tasks.it.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"it\"]\nhttp = [\"127.0.0.1:1\"]\n";

#[test]
fn a_new_version_is_used_by_the_next_run_and_runs_under_way_keep_theirs() {
    let host = Host::with_plugins(&[("it", "probe", ON_DEMAND)]);
    let old = host.trigger("it", r#"{"do": "sleep", "ms": 2000}"#);
    host.eventually("the run is under way", || {
        (state(&host.get(&format!("/v1/runs/{old}"))) == "running").then_some(())
    });
    let digest = host.plugin("it").unwrap()["digest"].clone();

    host.add_bytes("it", &guest("hello"), Some(ON_DEMAND));
    host.eventually("the new version is in use", || (host.plugin("it")?["digest"] != digest).then_some(()));
    let new = host.run("it", "");

    assert_eq!(state(&new), "succeeded", "{new}");
    assert!(String::from_utf8_lossy(&host.output(id(&new))).contains("hello"));
    assert_eq!(state(&host.wait(old)), "succeeded");
}

#[test]
fn a_half_written_component_is_loaded_when_it_is_complete() {
    let host = Host::start();
    let whole = guest("hello");
    fs::write(host.plugin_path("it.wasm"), &whole[..whole.len() / 2]).unwrap();
    let reason = host.quarantined("it");
    assert!(!reason.contains('\n') && reason.contains("it.wasm"), "{reason}");

    fs::write(host.plugin_path("it.wasm"), &whole).unwrap();

    host.eventually("it is in use", || host.plugin("it")?["quarantine"].is_null().then_some(()));
    assert_eq!(state(&host.run("it", "")), "succeeded");
}

#[test]
fn a_broken_update_is_quarantined_and_the_version_before_stays_in_use() {
    let host = Host::with_plugins(&[("it", "hello", ON_DEMAND)]);

    host.add_bytes("it", b"not wasm at all", Some(ON_DEMAND));
    let reason = host.quarantined("it");

    assert!(reason.contains("it.wasm"), "{reason}");
    assert_eq!(state(&host.run("it", "")), "succeeded");
}

#[test]
fn the_tasks_of_a_removed_plugin_disappear_and_its_runs_wait() {
    let host = Host::with_plugins(&[("it", "hello", ON_DEMAND), ("other", "hello", "[tasks.other]\n")]);

    fs::remove_file(host.plugin_path("it.wasm")).unwrap();
    fs::remove_file(host.plugin_path("it.toml")).unwrap();
    host.eventually("the task is gone", || {
        let tasks = host.get("/v1/tasks");
        (!list(&tasks, "tasks").iter().any(|task| task["task"] == "it" || task["name"] == "it")).then_some(())
    });
    let (status, _) = host.request("POST", "/v1/tasks/it/runs", b"");

    assert_eq!(status, 404);
    assert_eq!(state(&host.run("other", "")), "succeeded");
}

#[test]
fn a_plugin_that_lost_one_file_is_not_used_any_more() {
    let host = Host::with_plugins(&[("it", "probe", ON_DEMAND), ("other", "hello", "[tasks.other]\n")]);

    fs::remove_file(host.plugin_path("it.toml")).unwrap();
    assert!(host.quarantined("it").contains("[tasks.it.grants]"), "without the manifest there are no grants");
    assert_eq!(host.request("POST", "/v1/tasks/it/runs", b"").0, 404);

    fs::remove_file(host.plugin_path("other.wasm")).unwrap();
    assert!(host.quarantined("other").contains("other.wasm"));
    assert_eq!(host.request("POST", "/v1/tasks/other/runs", b"").0, 404);
}

#[test]
fn missing_grants_are_named_in_one_message_with_the_lines_to_add() {
    let host = Host::start();
    host.add_bytes("probe", &guest("probe"), None);

    let reason = host.quarantined("probe");

    for expected in [
        "sexton:task/locks",
        "sexton:task/cache",
        "wasi:http",
        "[tasks.probe.grants]",
        "cache = [",
        "locks = [",
        "http = [",
    ] {
        assert!(reason.contains(expected), "`{expected}` is not in {reason}");
    }
}

#[test]
fn two_plugins_with_a_task_of_the_same_name_do_not_harm_each_other() {
    let host = Host::with_plugins(&[("one", "hello", "[tasks.same]\n")]);

    host.add_bytes("two", &guest("hello"), Some("[tasks.same]\n"));
    let reason = host.quarantined("two");
    assert!(reason.contains("`one`") && reason.contains("`same`"), "{reason}");

    fs::remove_file(host.plugin_path("one.wasm")).unwrap();
    fs::remove_file(host.plugin_path("one.toml")).unwrap();
    host.eventually("the second is in use", || host.plugin("two")?["quarantine"].is_null().then_some(()));
    assert_eq!(state(&host.run("same", "")), "succeeded");
}

#[test]
fn of_plugins_with_the_same_task_one_is_used_and_the_others_name_it() {
    let host = Host::start();

    for name in ["a", "b", "c", "d"] {
        host.add_bytes(name, &guest("hello"), Some("[tasks.same]\n"));
    }

    let used = host.eventually("one is used and three are not", || {
        let plugins = host.get("/v1/plugins");
        let (out, used): (Vec<_>, Vec<_>) =
            list(&plugins, "plugins").iter().cloned().partition(|plugin| plugin["quarantine"].is_string());
        (out.len() == 3 && used.len() == 1).then(|| (used[0]["name"].as_str().unwrap().to_owned(), out))
    });
    for plugin in &used.1 {
        assert!(plugin["quarantine"].as_str().unwrap().contains(&format!("`{}`", used.0)), "{plugin}");
    }
    assert_eq!(state(&host.run("same", "")), "succeeded");
}

#[test]
fn a_host_that_looks_at_its_directory_does_not_take_that_for_a_change() {
    let _alone = crate::company::alone(); // processor time is looked at
    let host = Host::with_plugins(&[("it", "hello", "[tasks.it]\n")]);
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
        let fields: Vec<u64> =
            stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|n| n.parse().ok()).collect();
        // User and system time, in hundredths of a second. The state, a letter, is not among the numbers.
        fields[10] + fields[11]
    };

    let before = used();
    std::thread::sleep(std::time::Duration::from_secs(3)); // what it does of itself in this time is what is tested
    let idle = used() - before;

    println!("idle, the host used {idle} hundredths of a second in three seconds");
    assert!(idle < 60, "{idle} hundredths of a second of processor time in three seconds");
}

#[test]
fn a_file_with_a_capital_extension_is_reported_once_with_its_right_name() {
    let host = Host::with_plugins(&[("noop", "noop", "[tasks.noop]\n")]);

    std::fs::write(host.plugin_path("shout.WASM"), b"not even a component").unwrap();
    std::fs::write(host.plugin_path("shout.TOML"), b"").unwrap();

    let told = |name: &str| host.log().lines().filter(|line| line.contains(&format!("Ignoring `{name}`"))).count();
    host.eventually("both are told", || (told("shout.WASM") + told("shout.TOML") == 2).then_some(()));
    assert!(host.log().contains("rename it to `shout.wasm`"), "{}", host.log());
    // The directory is read again, and still has them.
    host.add("later", "noop", "[tasks.later]\n");
    assert_eq!((told("shout.WASM"), told("shout.TOML")), (1, 1), "{}", host.log());
}

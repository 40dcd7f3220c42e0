//! Tests plugins that hosts share, and tasks that are for some hosts only.

use std::fs;

use sexton_testkit::postgres::shared;

use super::{Fleet, course, probe, stand_aside};
use crate::harness::{Host, Setup, guest, list, run_of, state};

/// A task `it` that may do whatever the probe does.
const IT: &str =
    "[tasks.it]\n[tasks.it.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"it\"]\nhttp = [\"127.0.0.1:1\"]\n";

impl Fleet {
    /// Starts a host that shares its plugins, with further lines of `[host]`.
    fn sharing(&self, name: &str, further: &str) -> Host {
        let Setup { config } = self.setup(name);
        let host = format!("[host]\npublish = true\n{further}\n");
        Host::with(&Setup { config: config.replace("[host]\n", &host) })
    }
}

/// Waits until a host uses a plugin with this component.
fn uses(host: &Host, plugin: &str, digest: &str) {
    host.eventually("it uses that version", || {
        let known = host.plugin(plugin)?;
        (known["digest"] == digest && known["quarantine"].is_null()).then_some(())
    });
}

/// Returns the digest of the component that a host uses.
fn digest(host: &Host, plugin: &str) -> String {
    host.plugin(plugin).unwrap()["digest"].as_str().unwrap().to_owned()
}

fn take_away(host: &Host, plugin: &str) {
    for kind in ["wasm", "toml"] {
        fs::remove_file(host.plugin_path(&format!("{plugin}.{kind}"))).unwrap();
    }
}

#[test]
fn a_plugin_that_is_dropped_on_one_host_is_run_by_another() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.sharing("a", ""), fleet.sharing("b", ""));

    a.add("probe", "probe", &probe("probe"));
    b.loaded("probe");
    stand_aside(&a);
    let answer = a.run("probe", r#"{"do": "echo"}"#);

    assert_eq!(course(&answer), [("b", "succeeded")]);
    for host in [&a, &b] {
        assert_eq!(host.plugin("probe").unwrap()["published_by"], "a");
        let shown = String::from_utf8(host.cli(&["plugins"]).stdout).unwrap();
        assert!(shown.contains("published by a"), "{shown}");
    }
    assert_eq!(fs::read_dir(b.plugin_path("")).unwrap().count(), 0, "what others publish is kept apart");
}

#[test]
fn the_last_drop_on_any_host_is_used_by_all_and_a_bad_drop_by_none() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.sharing("a", ""), fleet.sharing("b", ""));
    a.add("it", "probe", IT);
    b.loaded("it");
    let first = digest(&a, "it");
    uses(&b, "it", &first);

    a.add_bytes("it", b"not wasm at all", Some(IT));
    assert!(a.quarantined("it").contains("it.wasm"));
    assert_eq!(digest(&a, "it"), first);
    assert!(b.plugin("it").unwrap()["quarantine"].is_null());
    assert_eq!(state(&a.run("it", r#"{"do": "echo"}"#)), "succeeded");

    b.add_bytes("it", &guest("hello"), Some(IT));
    b.eventually("b uses it", || (digest(&b, "it") != first).then_some(()));
    let second = digest(&b, "it");
    a.eventually("a uses it", || (digest(&a, "it") == second).then_some(()));
    assert_eq!(a.plugin("it").unwrap()["published_by"], "b");
}

#[test]
fn a_plugin_that_is_removed_where_it_was_dropped_is_withdrawn_on_all_hosts() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.sharing("a", ""), fleet.sharing("b", ""));
    a.add("it", "probe", IT);
    b.loaded("it");

    take_away(&a, "it");

    for host in [&a, &b] {
        host.eventually("it is gone", || host.plugin("it").is_none().then_some(()));
        assert_eq!(host.request("POST", "/v1/tasks/it/runs", b"").0, 404);
    }
}

#[test]
fn a_host_that_was_down_uses_the_published_plugins_when_it_starts() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.sharing("a", ""), fleet.sharing("b", ""));
    a.add("it", "probe", IT);
    a.add("gone", "hello", "[tasks.gone]\n");
    b.loaded("it");
    b.loaded("gone");
    let down = b.kill();

    let first = digest(&a, "it");
    a.add_bytes("it", &guest("hello"), Some(IT));
    a.eventually("a uses it", || (digest(&a, "it") != first).then_some(()));
    take_away(&a, "gone");
    a.eventually("it is gone", || a.plugin("gone").is_none().then_some(()));
    let b = Host::start_in(down);

    uses(&b, "it", &digest(&a, "it"));
    assert!(b.plugin("gone").is_none());
}

#[test]
fn a_host_that_does_not_publish_keeps_its_own_to_itself() {
    let fleet = Fleet::new();
    let (a, b, own) = (fleet.sharing("a", ""), fleet.sharing("b", ""), fleet.host("own"));
    own.add("probe", "probe", &probe("mine"));

    a.add("it", "probe", IT);
    b.loaded("it");

    assert!(own.plugin("it").is_none() && a.plugin("probe").is_none() && b.plugin("probe").is_none());
    let mine = own.plugin("probe").unwrap();
    assert!(mine["published_by"].is_null(), "{mine}");
    assert_eq!(course(&own.run("mine", r#"{"do": "echo"}"#)), [("own", "succeeded")]);
}

#[test]
fn a_task_that_asks_for_labels_is_run_by_a_host_that_has_all_of_them() {
    let fleet = Fleet::new();
    let (plain, gpu) = (fleet.sharing("plain", ""), fleet.sharing("gpu", "labels = [\"gpu\"]"));
    let manifest = probe("probe").replace("[tasks.probe]\n", "[tasks.probe]\nruns-on = [\"gpu\"]\n")
        + &probe("both").replace("[tasks.both]\n", "[tasks.both]\nruns-on = [\"gpu\", \"eu\"]\n");
    plain.add("probe", "probe", &manifest);
    gpu.loaded("probe");

    let runs: Vec<i64> = (0..10).map(|_| plain.trigger("probe", r#"{"do": "echo"}"#)).collect();
    for run in runs {
        assert_eq!(course(&plain.wait(run)), [("gpu", "succeeded")]);
    }
    let both = plain.trigger("both", r#"{"do": "echo"}"#);
    for host in [&plain, &gpu] {
        let answer = host.get(&format!("/v1/runs/{both}"));
        let why = run_of(&answer)["why"].as_str().unwrap_or_default().to_owned();
        assert!(why.contains("`gpu`, `eu`") && why.contains("no host with all of them is up"), "{answer}");
    }
    let _both = fleet.sharing("both", "labels = [\"eu\", \"gpu\"]");

    assert_eq!(course(&plain.wait(both)), [("both", "succeeded")]);
}

#[test]
fn a_component_that_was_changed_in_the_database_is_refused_and_the_host_continues() {
    let fleet = Fleet::new();
    let (a, b) = (fleet.sharing("a", ""), fleet.sharing("b", ""));
    a.add("it", "probe", IT);
    b.loaded("it");
    let (first, down) = (digest(&a, "it"), b.kill());
    a.add_bytes("it", &guest("hello"), Some(IT));
    a.eventually("a uses it", || (digest(&a, "it") != first).then_some(()));
    let second = digest(&a, "it");

    let changed = shared().psql_in(
        &fleet.schema,
        &format!("UPDATE component_parts SET body = body || 'evil'::bytea WHERE digest = '{second}' RETURNING part"),
    );
    assert!(!changed.is_empty(), "its component is in the database");
    let b = Host::start_in(down);
    let reason = b.quarantined("it");

    assert!(reason.contains("it was changed in the store") && reason.contains(&second), "{reason}");
    b.eventually("the version before stays in use", || (b.plugin("it")?["digest"] == first).then_some(()));
    stand_aside(&a);
    assert_eq!(course(&b.run("it", r#"{"do": "echo"}"#)), [("b", "succeeded")]);

    a.add_bytes("it", &guest("hello"), Some(&format!("{IT}[tasks.another]\n{}", IT.replace("tasks.it", "tasks.more"))));
    uses(&b, "it", &second);
    let tasks = b.get("/v1/tasks");
    assert_eq!(list(&tasks, "tasks").len(), 3, "{tasks}");
}

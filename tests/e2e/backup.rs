//! Tests backups of a host's store, and a host that continues from a restored one, by the command or by hand.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Host, SEXTON, Setup, list, state};

const TASK: &str = "[tasks.load]\noverlap = \"allow(4)\"\n[tasks.load.retry]\nattempts = 100\ndelay = \"1ms\"\n\
     [tasks.load.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\n";

fn input(n: usize, ms: u64) -> String {
    format!(r#"{{"lock": "lock-{n}", "key": "entry-{n}", "counter": "count-{n}", "ms": {ms}}}"#)
}

/// Runs the command line without a host.
fn sexton(directory: &Path, args: &[&str]) -> Output {
    Command::new(SEXTON).args(args).current_dir(directory).env_remove("SEXTON_STORE_URL").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// Returns the commands between backticks in a message for people.
fn commands(line: &str) -> Vec<String> {
    line.split('`').skip(1).step_by(2).filter(|text| text.starts_with("sexton ")).map(str::to_owned).collect()
}

#[test]
fn a_backup_copied_over_the_store_of_a_killed_host_is_refused_with_the_way_out() {
    let host = Host::with(&Setup::default());
    host.add("load", "load", TASK);
    host.run("load", &input(1, 1));
    let made = host.cli(&["backup", "copy.db"]);
    assert!(made.status.success(), "{}", said(&made));
    let last = (0..20).map(|n| host.trigger("load", &input(n, 60_000))).max().unwrap();
    host.eventually("some of them run", || {
        (!list(&host.get("/v1/runs?state=running"), "runs").is_empty()).then_some(())
    });
    let directory = host.kill();
    let database = directory.path().join("var/sexton.db");
    let log = fs::read(directory.path().join("var/sexton.db-wal")).unwrap();
    assert!(log.len() > 32, "the log of a killed host has changes that are not in the database");

    fs::copy(directory.path().join("copy.db"), &database).unwrap();
    let refused = sexton(directory.path(), &["run", "--config", "sexton.toml"]);

    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let said_so = said(&refused);
    let line = said_so.lines().find(|line| line.contains("sexton restore")).unwrap_or_else(|| panic!("{said_so}"));
    assert_eq!(fs::read(directory.path().join("var/sexton.db-wal")).unwrap(), log, "nothing was changed");
    let command = commands(line).remove(0);
    let args: Vec<&str> = command.split(' ').skip(1).collect();
    let restored = sexton(directory.path(), &args);
    assert!(restored.status.success(), "{}", said(&restored));
    let host = Host::start_in(directory);
    host.loaded("load");
    let runs = host.get("/v1/runs?limit=100");
    assert_eq!(list(&runs, "runs").len(), 1, "as when the backup was made: {runs}");
    let next = host.trigger("load", &input(2, 1));
    assert!(next > last, "a run got the number of another: {next}");
    assert_eq!(state(&host.wait(next)), "succeeded");
}

#[test]
fn a_backup_of_a_busy_host_is_complete_and_its_runs_continue_after_a_restore() {
    let host = Host::with(&Setup::default());
    host.add("load", "load", TASK);
    let runs: Vec<i64> = (0..200).map(|n| host.trigger("load", &input(n, 20))).collect();
    host.eventually("some are over and some are not", || {
        let over = list(&host.get("/v1/runs?state=succeeded&limit=1000"), "runs").len();
        (over > 4).then_some(())
    });

    let made = host.cli(&["backup", "copy.db"]);

    assert!(made.status.success(), "{}", said(&made));
    let in_use = host.cli(&["restore", "copy.db"]);
    assert_eq!(in_use.status.code(), Some(6), "{}", said(&in_use));
    assert!(said(&in_use).contains("is in use by the process with id"), "{}", said(&in_use));
    let directory = host.kill();
    let restored = sexton(directory.path(), &["restore", "copy.db"]);
    assert!(restored.status.success(), "{}", said(&restored));
    assert!(said(&restored).contains("Kept aside: `var/sexton.db.before-restore-"), "{}", said(&restored));
    let host = Host::start_in(directory);
    for run in runs {
        assert_eq!(state(&host.wait(run)), "succeeded");
    }
}

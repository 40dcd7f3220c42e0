//! Tests stopping in three steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::harness::{Host, Setup, attempts, guest, state};
use crate::outcomes::PROBE;

#[test]
fn a_host_that_is_asked_to_stop_lets_runs_end() {
    let host = Host::with_plugins(&[("probe", "probe", PROBE)]);
    let run = host.trigger("probe", r#"{"do": "sleep", "ms": 1000}"#);
    host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));

    host.signal("TERM");
    let (content, log, directory) = host.ended();

    assert!(content, "{log}");
    let host = Host::start_in(directory);
    let answer = host.wait(run);
    assert_eq!((state(&answer), attempts(&answer).len()), ("succeeded", 1), "{answer}");
}

#[test]
fn runs_that_outlast_the_grace_are_interrupted_and_repeated_by_the_next_host() {
    let host = Host::with(&Setup { config: "[machine]\ngrace = \"300ms\"".to_owned() });
    host.add("probe", "probe", &PROBE.replace("\"50s\"", "\"1h\""));
    // The run is longer than the grace, and ends by itself when it is repeated.
    let run = host.trigger("probe", r#"{"do": "sleep", "ms": 3000}"#);
    let spinning = host.trigger("probe", r#"{"do": "spin"}"#);
    for run in [run, spinning] {
        host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));
    }

    host.signal("INT");
    let (content, log, directory) = host.ended();

    assert!(content, "{log}");
    let host = Host::start_in(directory);
    let answer = host.wait(run);
    assert_eq!(state(&answer), "succeeded", "{answer}");
    assert_eq!(attempts(&answer)[0]["outcome"], "lost", "{answer}");
    assert_eq!(
        crate::harness::run_of(&answer)["failures"],
        0,
        "an interrupted attempt is not the task's failure: {answer}\n{log}"
    );
    host.request("POST", &format!("/v1/runs/{spinning}/kill"), b"");
}

#[test]
fn a_host_ends_in_time_while_its_plugins_files_are_swapped_for_pipes() {
    let host = Host::with_plugins(&[("it", "hello", "[tasks.it]\n")]);
    let plugins = host.directory.path().join("plugins");
    let (swapping, swapped) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let (goes_on, times) = (Arc::clone(&swapping), Arc::clone(&swapped));
    // A blocking read of such a pipe would wait for ever, because no process has the other end.
    let swaps = std::thread::spawn(move || {
        let component = guest("hello");
        while goes_on.load(Ordering::Relaxed) {
            let (pipe, file) = (plugins.join(".pipe"), plugins.join(".file"));
            mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
            std::fs::rename(&pipe, plugins.join("it.wasm")).unwrap();
            std::fs::write(&file, &component).unwrap();
            // The time is long ago, so that the host loads the file at once.
            std::fs::File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            std::fs::rename(&file, plugins.join("it.wasm")).unwrap();
            times.fetch_add(1, Ordering::Relaxed);
        }
        mkfifoat(CWD, plugins.join(".last"), Mode::RUSR | Mode::WUSR).unwrap();
        std::fs::rename(plugins.join(".last"), plugins.join("it.wasm")).unwrap();
    });
    let before = swapped.load(Ordering::Relaxed);
    host.eventually("it was swapped often", || (swapped.load(Ordering::Relaxed) > before + 200).then_some(()));

    host.signal("TERM");
    let (content, log, _directory) = host.ended();

    swapping.store(false, Ordering::Relaxed);
    swaps.join().unwrap();
    assert!(content, "{log}");
}

#[test]
fn a_host_ends_in_time_after_a_plugins_file_was_swapped_for_a_pipe() {
    let host = Host::with_plugins(&[("it", "hello", "[tasks.it]\n")]);
    mkfifoat(CWD, host.plugin_path(".pipe"), Mode::RUSR | Mode::WUSR).unwrap();
    std::fs::rename(host.plugin_path(".pipe"), host.plugin_path("it.wasm")).unwrap();
    let reason = host.quarantined("it");

    host.signal("TERM");
    let (content, log, _directory) = host.ended();

    assert!(reason.contains("not a file"), "{reason}");
    assert!(content, "{log}");
}

#[test]
fn a_host_whose_compiled_code_would_lie_where_authors_write_does_not_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("plugins")).unwrap();

    let refused = std::process::Command::new(crate::harness::SEXTON)
        .args(["run", "--listen", "127.0.0.1:0", "--plugins", "plugins", "--var", "plugins/var"])
        .current_dir(directory.path())
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert!(said.lines().any(|line| line.starts_with("error:") && line.contains("plugins/var")), "{said}");
}

#[test]
fn a_second_host_on_the_same_store_is_refused_in_one_line() {
    let host = Host::start();

    let second = std::process::Command::new(crate::harness::SEXTON)
        .args(["run", "--config", "sexton.toml"])
        .current_dir(host.directory.path())
        .output()
        .unwrap();

    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success());
    assert!(said.lines().any(|line| line.starts_with("error:") && line.contains("sexton.db")), "{said}");
}

#[test]
fn systemd_is_notified_of_start_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let socket = std::os::unix::net::UnixDatagram::bind(directory.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let mut child = std::process::Command::new(crate::harness::SEXTON)
        .args(["run", "--listen", "127.0.0.1:0"])
        .current_dir(directory.path())
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = || {
        let mut text = [0; 256];
        let size = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..size]).into_owned()
    };

    assert!(told().contains("READY=1"));
    assert!(std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(told().contains("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_host_that_slept_for_longer_than_its_leases_keeps_its_runs() {
    let host = Host::with(&Setup { config: "[machine]\nlease = \"1s\"".to_owned() });
    host.add("probe", "probe", &PROBE.replace("\"50s\"", "\"1m\""));
    let runs: Vec<i64> = (0..5).map(|_| host.trigger("probe", r#"{"do": "sleep", "ms": 5000}"#)).collect();
    for run in &runs {
        host.eventually("it runs", || (state(&host.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));
    }

    host.signal("STOP");
    std::thread::sleep(std::time::Duration::from_secs(3)); // the sleep of the machine that this is about
    host.signal("CONT");

    for run in runs {
        let answer = host.wait(run);
        assert_eq!((state(&answer), attempts(&answer).len()), ("succeeded", 1), "{answer}");
    }
}

//! Tests that nothing of the host ends unseen: faults that once ended a loop do not any more, and the log's reader may
//! go away.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, mkfifoat, utimensat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{Host, PATIENCE, SEXTON, Setup, guest, id, list, request, state};

/// A directory in which files may have any time: tmpfs keeps any value.
const TMPFS: &str = "/dev/shm";

#[test]
fn a_file_from_the_beginning_of_time_does_not_end_the_loop_of_its_directory() {
    let plugins = tempfile::tempdir_in(TMPFS).unwrap();
    let host = Host::with(&Setup { config: format!("[host]\nplugins = {:?}\n", plugins.path()) });
    let drop_in = |name: &str, seconds: Option<i64>| {
        let (half, file) = (plugins.path().join("half"), plugins.path().join(format!("{name}.wasm")));
        fs::write(&half, guest("hello")).unwrap();
        if let Some(tv_sec) = seconds {
            let time = Timespec { tv_sec, tv_nsec: 0 };
            let times = Timestamps { last_access: time, last_modification: time };
            utimensat(CWD, &half, &times, AtFlags::empty()).unwrap();
        }
        fs::rename(half, file).unwrap();
    };

    for (name, seconds) in [("first", i64::MIN), ("early", -1), ("last", i64::MAX)] {
        drop_in(name, Some(seconds));
        host.loaded(name);
    }
    drop_in("plain", None);

    host.loaded("plain");
    assert_eq!(host.get("/v1/health"), serde_json::json!({ "status": "ok" }));
    fs::remove_file(plugins.path().join("first.wasm")).unwrap();
    host.eventually("what is taken away is gone", || host.plugin("first").is_none().then_some(()));
}

/// A host whose stderr is a named pipe that readers open and close.
struct Piped {
    directory: tempfile::TempDir,
    child: Child,
    url: String,
}

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Piped {
    fn start() -> (Self, File) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stderr");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        fs::create_dir(directory.path().join("plugins")).unwrap();
        fs::write(directory.path().join("plugins/hello.wasm"), guest("hello")).unwrap();
        fs::write(directory.path().join("plugins/hello.toml"), "[tasks.hello]\nevery = \"1s\"\n").unwrap();
        fs::write(directory.path().join("sexton.toml"), "[http]\nlisten = \"127.0.0.1:0\"\n").unwrap();
        let mut reader = read_end(&path);
        let child = Command::new(SEXTON)
            .args(["run", "--config", "sexton.toml"])
            .current_dir(directory.path())
            .env("SEXTON_LOG", "debug")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(OpenOptions::new().write(true).open(&path).unwrap())
            .spawn()
            .unwrap();
        let mut host = Self { directory, child, url: String::new() };
        let said = host.said(&mut reader, " is up: http://");
        let (_, rest) = said.split_once(" is up: ").unwrap();
        host.url = rest.split(['/', ',']).nth(2).map(|address| format!("http://{address}")).unwrap();
        (host, reader)
    }

    /// Returns the host's log up to a line with `word`.
    fn said(&mut self, reader: &mut File, word: &str) -> String {
        let (start, mut said) = (Instant::now(), Vec::new());
        loop {
            // There may be nothing to read, or no writer yet.
            let _ = reader.read_to_end(&mut said);
            let text = String::from_utf8_lossy(&said);
            if text.lines().any(|line| line.contains(word)) && text.ends_with('\n') {
                return text.into_owned();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the host has ended: {text}");
            assert!(start.elapsed() < PATIENCE, "the host does not say `{word}`: {text}");
            std::thread::sleep(Duration::from_millis(20)); // nothing tells when there is more to read
        }
    }

    fn get(&self, path: &str) -> serde_json::Value {
        let (status, body) = request(&format!("{}{path}", self.url), "GET", b"");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    fn eventually(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(self.child.try_wait().unwrap().is_none(), "the host has ended before {what}");
            assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(20)); // as above
        }
    }
}

/// Returns a reader that does not block.
fn read_end(path: &std::path::Path) -> File {
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
    OpenOptions::new().read(true).custom_flags(nonblock).open(path).unwrap()
}

#[test]
fn a_host_whose_log_has_no_reader_continues_and_reports_lost_lines_later() {
    let (mut host, reader) = Piped::start();

    drop(reader);
    let before = list(&host.get("/v1/runs?state=succeeded&limit=1000"), "runs").len();
    host.eventually("its schedule has gone on", |host| {
        list(&host.get("/v1/runs?state=succeeded&limit=1000"), "runs").len() >= before + 3
    });
    let (status, made) = request(&format!("{}/v1/tasks/hello/runs", host.url), "POST", b"");
    assert!((200..300).contains(&status));
    let run = id(&serde_json::from_slice(&made).unwrap());
    host.eventually("what a person asks for is done", |host| {
        state(&host.get(&format!("/v1/runs/{run}"))) == "succeeded"
    });
    let health = host.get("/v1/health");
    assert!(health["lost_log_lines"].as_u64().is_some_and(|lost| lost > 0), "{health}");
    assert_eq!((&health["status"], &health["parts"]), (&"ok".into(), &serde_json::Value::Null), "{health}");

    let mut reader = read_end(&host.directory.path().join("stderr"));
    let said = host.said(&mut reader, "lost_lines=");
    assert!(said.contains("line(s) of this log were lost"), "{said}");
}

#[test]
fn a_command_whose_reader_has_gone_away_does_not_panic() {
    let host = Host::with_plugins(&[("it", "hello", "[tasks.it]\n")]);
    host.run("it", "");
    assert!(host.cli(&["pause", "it"]).status.success());
    let commands: [&[&str]; 10] = [
        &["runs"],
        &["tasks", "--json"],
        &["show", "1"],
        &["plugins"],
        &["hosts"],
        &["schema"],
        &["--help"],
        &["completions", "bash"],
        &["schedule", "explain", "0 9 * * *"],
        &["trigger", "it"],
    ];
    for command in commands {
        for stderr_too in [false, true] {
            let (reader, writer) = std::io::pipe().unwrap();
            let (told, tells) = std::io::pipe().unwrap();
            let stderr = if stderr_too { Stdio::from(writer.try_clone().unwrap()) } else { Stdio::from(tells) };
            drop(reader);
            let mut child = Command::new(SEXTON)
                .args(command)
                .env("SEXTON_URL", &host.url)
                .stdin(Stdio::null())
                .stdout(writer)
                .stderr(stderr)
                .spawn()
                .unwrap();

            let status = child.wait().unwrap();

            let mut said = String::new();
            if !stderr_too {
                (&told).read_to_string(&mut said).unwrap();
            }
            assert!(!said.contains("panicked") && status.code() != Some(101), "{command:?} {status}: {said}");
        }
    }
}

#[test]
fn five_hundred_waiting_requests_delay_no_others() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let manifest = "[tasks.it]\n[tasks.it.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\n";
    let host = Host::with_plugins(&[("it", "load", manifest)]);
    let run = host.trigger("it", r#"{"lock": "one", "key": "one", "counter": "one", "ms": 600000}"#);
    host.eventually("it is under way", || (state(&host.get(&format!("/v1/runs/{run}"))) == "running").then_some(()));
    let address = host.url.strip_prefix("http://").unwrap();

    let mut waiting = Vec::new();
    for place in 0..520 {
        let path = if place % 2 == 0 { "wait?timeout=5m" } else { "log?follow=true" };
        let mut connection = TcpStream::connect(address).unwrap();
        write!(connection, "GET /v1/runs/{run}/{path} HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
        waiting.push(connection);
    }
    host.eventually("one more is refused", || {
        let (status, body) = host.request("GET", &format!("/v1/runs/{run}/wait?timeout=1ms"), b"");
        (status == 503 && String::from_utf8_lossy(&body).contains("too-many-waiting")).then_some(())
    });

    assert_eq!(host.get("/v1/health")["status"], "ok");
    assert!(host.cli(&["kill", &run.to_string()]).status.success());
    host.eventually("it is killed", || (state(&host.get(&format!("/v1/runs/{run}"))) == "cancelled").then_some(()));
}

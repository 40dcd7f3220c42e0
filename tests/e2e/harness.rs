//! Starts a real host in a directory of its own, and talks to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
pub(crate) use sexton_testkit::PATIENCE;
use sexton_testkit::process::{Log, Process};
use sexton_testkit::{api, folder};

use crate::company::{InCompany, in_company};
use crate::compiled;

/// The binary under test.
pub(crate) const SEXTON: &str = env!("CARGO_BIN_EXE_sexton");

/// A host process, its plugin directory and its store. Killed when dropped.
pub(crate) struct Host {
    /// The directory of the host.
    pub directory: Arc<tempfile::TempDir>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    process: Process,
    log: Log,
    _company: Option<InCompany>,
}

/// Settings of a host that differ from the defaults.
#[derive(Default)]
pub(crate) struct Setup {
    /// Further lines of `sexton.toml`.
    pub config: String,
}

impl Setup {
    /// Creates a directory for a host with these settings and no plugins. The host need not compile what another test's
    /// host has compiled, unless the settings are about compiling.
    pub(crate) fn directory(&self) -> Arc<tempfile::TempDir> {
        let directory = self.new_directory();
        if !self.config.contains("compile-") {
            compiled::lend(directory.path());
        }
        directory
    }

    /// Does the same with no file but the settings.
    pub(crate) fn new_directory(&self) -> Arc<tempfile::TempDir> {
        let directory = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let config = format!("{}{}\n", folder::ANY_PORT, self.config);
        folder::prepare(directory.path(), &config).expect("a configuration and a plugin directory");
        directory
    }
}

impl Host {
    /// Starts a host with an empty plugin directory.
    pub(crate) fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// Starts a host with further settings.
    pub(crate) fn with(setup: &Setup) -> Self {
        Self::start_in(setup.directory())
    }

    /// Starts a host that has these plugins in its directory from the start.
    pub(crate) fn with_plugins(plugins: &[(&str, &str, &str)]) -> Self {
        let directory = Setup::default().directory();
        for (name, component, manifest) in plugins {
            drop_in(directory.path(), name, &guest(component), Some(manifest));
        }
        let host = Self::start_in(directory);
        for (name, ..) in plugins {
            host.loaded(name);
        }
        host
    }

    /// Starts a host in a directory that another one may have used before.
    pub(crate) fn start_in(directory: Arc<tempfile::TempDir>) -> Self {
        Self::start_in_with(directory, &[])
    }

    /// Does the same with further variables in its environment.
    pub(crate) fn start_in_with(directory: Arc<tempfile::TempDir>, environment: &[(&str, &str)]) -> Self {
        Self::start_by(Command::new(SEXTON), directory, environment)
    }

    /// Starts a host that gets no notifications from the file system, as if another program of the user had used them
    /// up. Returns `None` if the system does not allow that.
    pub(crate) fn start_without_notifications(directory: Arc<tempfile::TempDir>) -> Option<Self> {
        let without = |run: &str| {
            let mut command = Command::new("unshare");
            let none = format!("echo 0 > /proc/sys/user/max_inotify_instances && exec {run} \"$@\"");
            command.args(["--user", "--map-root-user", "sh", "-c", &none, "sh"]);
            command
        };
        let possible = without("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        possible.then(|| Self::start_by(without(SEXTON), directory, &[]))
    }

    /// Does the same with another command, which becomes a host with the arguments that it gets.
    pub(crate) fn start_by(
        mut command: Command,
        directory: Arc<tempfile::TempDir>,
        environment: &[(&str, &str)],
    ) -> Self {
        let company = in_company();
        command
            .env_remove("SEXTON_STORE_URL")
            .env("SECRET_OF_THE_HOST", "must not be seen by guests")
            .envs(environment.iter().copied());
        let log = Log::default();
        let process = Process::start(command, directory.path(), log.keep()).expect("the host's binary starts");
        match process.address().wait(PATIENCE) {
            Some(url) => Self { directory, url, process, log, _company: company },
            None => panic!("the host did not come up:\n{}", log.text()),
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns what it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.text()
    }

    /// Returns a path in its plugin directory.
    pub(crate) fn plugin_path(&self, file: &str) -> PathBuf {
        self.directory.path().join("plugins").join(file)
    }

    /// Puts a built guest into the plugin directory, and waits until it is in use.
    pub(crate) fn add(&self, name: &str, component: &str, manifest: &str) {
        self.add_bytes(name, &guest(component), Some(manifest));
        self.loaded(name);
    }

    /// Puts a component into the plugin directory as an author would: whole, by renaming.
    pub(crate) fn add_bytes(&self, name: &str, component: &[u8], manifest: Option<&str>) {
        drop_in(self.directory.path(), name, component, manifest);
    }

    /// Waits until a plugin is in use as it lies in the directory.
    pub(crate) fn loaded(&self, name: &str) {
        self.eventually(&format!("plugin `{name}` is in use"), || {
            let plugin = self.plugin(name)?;
            if let Some(reason) = plugin["quarantine"].as_str() {
                panic!("plugin `{name}` is quarantined: {reason}");
            }
            plugin["digest"].as_str().map(drop)
        });
    }

    /// Waits until a plugin that was quarantined is in use.
    pub(crate) fn loaded_after_all(&self, name: &str) {
        self.eventually(&format!("plugin `{name}` is in use after all"), || {
            let plugin = self.plugin(name)?;
            (plugin["digest"].is_string() && plugin["quarantine"].is_null()).then_some(())
        });
    }

    /// Returns the host's answer about a plugin, if it knows it.
    pub(crate) fn plugin(&self, name: &str) -> Option<Value> {
        let plugins = self.get("/v1/plugins");
        list(&plugins, "plugins").iter().find(|plugin| plugin["name"] == name).cloned()
    }

    /// Waits until a plugin is quarantined, and returns the reason.
    pub(crate) fn quarantined(&self, name: &str) -> String {
        self.eventually(&format!("plugin `{name}` is quarantined"), || {
            self.plugin(name)?["quarantine"].as_str().map(str::to_owned)
        })
    }

    /// Asks until there is an answer.
    pub(crate) fn eventually<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "waited {PATIENCE:?} in vain until {what}; the host said:\n{}",
                self.log()
            );
            // There is no event to wait for, so the question is repeated; the bound above ends it.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a `GET`, and returns the JSON.
    pub(crate) fn get(&self, path: &str) -> Value {
        let (status, body) = self.request("GET", path, b"");
        assert_eq!(status, 200, "GET {path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("the API speaks JSON")
    }

    /// Sends any request, and returns status and body.
    pub(crate) fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        request(&format!("{}{path}", self.url), method, body)
    }

    /// Triggers a run, and returns its id.
    pub(crate) fn trigger(&self, task: &str, input: &str) -> i64 {
        let (status, body) = self.request("POST", &format!("/v1/tasks/{task}/runs"), input.as_bytes());
        assert!((200..300).contains(&status), "{status}: {}", String::from_utf8_lossy(&body));
        let answer: Value = serde_json::from_slice(&body).expect("the API speaks JSON");
        id(&answer)
    }

    /// Waits until a run is over, and returns the host's answer about it.
    pub(crate) fn wait(&self, run: i64) -> Value {
        let start = Instant::now();
        loop {
            let answer = self.get(&format!("/v1/runs/{run}/wait?timeout=10s"));
            if matches!(state(&answer), "succeeded" | "failed" | "cancelled") {
                return self.get(&format!("/v1/runs/{run}"));
            }
            assert!(start.elapsed() < PATIENCE, "run {run} is not over: {answer}\n{}", self.log());
        }
    }

    /// Triggers a run and waits until it is over.
    pub(crate) fn run(&self, task: &str, input: &str) -> Value {
        self.wait(self.trigger(task, input))
    }

    /// Returns the output of a run.
    pub(crate) fn output(&self, run: i64) -> Vec<u8> {
        let (status, body) = self.request("GET", &format!("/v1/runs/{run}/output"), b"");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        body
    }

    /// Calls the command line with this host.
    pub(crate) fn cli(&self, args: &[&str]) -> Output {
        Command::new(SEXTON)
            .args(args)
            .current_dir(self.directory.path())
            .env("SEXTON_URL", &self.url)
            .stdin(Stdio::null())
            .output()
            .expect("the command line starts")
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill(mut self) -> Arc<tempfile::TempDir> {
        self.process.kill().expect("SIGKILL");
        Arc::clone(&self.directory)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name).expect("kill");
    }

    /// Waits until the process has ended by itself. Returns whether it succeeded, and its log.
    pub(crate) fn ended(mut self) -> (bool, String, Arc<tempfile::TempDir>) {
        let status = self.process.wait(PATIENCE).expect("the host's status");
        let status = status.unwrap_or_else(|| panic!("the host does not end:\n{}", self.log()));
        (status.success(), self.log(), Arc::clone(&self.directory))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended before. The code that it compiled is taken over once it writes no more.
        let _ = self.process.kill();
        compiled::collect(self.directory.path());
    }
}

/// Sends one request to any server.
pub(crate) fn request(url: &str, method: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let answer = api::ask(&api::client(PATIENCE), method, url, body);
    let answer = answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    (answer.status().as_u16(), answer.into_body())
}

/// Returns the list in an answer, whether it is the answer or one of its fields.
pub(crate) fn list<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer.as_array().or_else(|| answer[field].as_array()).map_or(&[], Vec::as_slice)
}

/// Returns the run in an answer, whether it is the answer or one of its fields.
pub(crate) fn run_of(answer: &Value) -> &Value {
    if answer["run"].is_object() { &answer["run"] } else { answer }
}

/// Returns a run's id.
pub(crate) fn id(answer: &Value) -> i64 {
    let run = run_of(answer);
    run["id"].as_i64().or_else(|| answer["run"].as_i64()).unwrap_or_else(|| panic!("no run in {answer}"))
}

/// Returns a run's state.
pub(crate) fn state(answer: &Value) -> &str {
    run_of(answer)["state"].as_str().unwrap_or_else(|| panic!("no state in {answer}"))
}

/// Returns the attempts in the host's answer about a run.
pub(crate) fn attempts(answer: &Value) -> &[Value] {
    list(answer, "attempts")
}

/// Returns the last attempt's outcome.
pub(crate) fn outcome(answer: &Value) -> &str {
    attempts(answer)
        .last()
        .and_then(|attempt| attempt["outcome"].as_str())
        .unwrap_or_else(|| panic!("no attempt in {answer}"))
}

/// Returns the duration of an attempt.
pub(crate) fn took(attempt: &Value) -> Duration {
    let at = |field: &str| {
        let text = attempt[field].as_str().unwrap_or_else(|| panic!("no {field} in {attempt}"));
        chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339")
    };
    (at("ended_at") - at("started_at")).to_std().expect("it ended after it started")
}

/// Returns the time of the last attempt at a run since its host had claimed it, which is when its deadline begins. On a
/// busy machine the guest starts a good while later.
pub(crate) fn took_of_its_time(answer: &Value) -> Duration {
    let at = |value: &Value| {
        let text = value.as_str().unwrap_or_else(|| panic!("an instant is missing in {answer}"));
        chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339")
    };
    let ended = attempts(answer).last().map(|attempt| at(&attempt["ended_at"])).expect("an attempt");
    (ended - at(&run_of(answer)["claimed_at"])).to_std().expect("it ended after it was claimed")
}

/// Returns the directory that `make guests` and `make examples` build into.
pub(crate) fn guests() -> PathBuf {
    folder::guests(Path::new(SEXTON))
}

/// Returns a built guest.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    folder::guest(&guests(), name).unwrap_or_else(|why| panic!("{why}"))
}

/// Puts a plugin into the directory of a host, which may not have been started yet.
pub(crate) fn drop_in(directory: &Path, name: &str, component: &[u8], manifest: Option<&str>) {
    folder::put(&directory.join("plugins"), name, component, manifest).expect("a plugin is written");
}

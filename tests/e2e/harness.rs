//! Starts a real host in a directory of its own, and talks to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::company::{InCompany, in_company};
use crate::compiled;

/// The time that a test waits for an event that must happen. It is generous, because machines that run tests are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The binary under test.
pub(crate) const SEXTON: &str = env!("CARGO_BIN_EXE_sexton");

/// A host process, its plugin directory and its store. Killed when dropped.
pub(crate) struct Host {
    /// The directory of the host.
    pub directory: Arc<tempfile::TempDir>,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
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
        fs::create_dir(directory.path().join("plugins")).expect("a plugin directory");
        fs::write(directory.path().join("sexton.toml"), config(&self.config)).expect("a configuration");
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
        let mut child = command
            .args(["run", "--config", "sexton.toml"])
            .current_dir(directory.path())
            .env_remove("SEXTON_URL")
            .env_remove("SEXTON_STORE_URL")
            .env_remove("NOTIFY_SOCKET")
            .env("SECRET_OF_THE_HOST", "must not be seen by guests")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the host's binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (found, url) = std::sync::mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains(" is up: ")
                    && let Some(at) = line.find("http://")
                {
                    let url = line[at..].split(['/', ',']).nth(2).unwrap_or_default().to_owned();
                    let _ = found.send(format!("http://{url}"));
                }
                kept.lock().expect("the log").push(line);
            }
        });
        match url.recv_timeout(PATIENCE) {
            Ok(url) => Self { directory, url, child, log, _company: company },
            Err(_) => {
                let _ = child.kill();
                panic!("the host did not come up:\n{}", log.lock().expect("the log").join("\n"));
            }
        }
    }

    /// Returns the process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("the log").join("\n")
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
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the host is gone");
        Arc::clone(&self.directory)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits until the process has ended by itself. Returns whether it succeeded, and its log.
    pub(crate) fn ended(mut self) -> (bool, String, Arc<tempfile::TempDir>) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the host's status") {
                return (status.success(), self.log(), Arc::clone(&self.directory));
            }
            assert!(start.elapsed() < PATIENCE, "the host does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10)); // as in `eventually`
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        compiled::collect(self.directory.path());
    }
}

/// Sends one request to any server.
pub(crate) fn request(url: &str, method: &str, body: &[u8]) -> (u16, Vec<u8>) {
    // Buffers of the usual size are cleared for each request, which is most of a request's cost without optimization.
    let config = ureq::Agent::config_builder().input_buffer_size(8 << 10).output_buffer_size(8 << 10);
    let agent: ureq::Agent = config.http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
    let request = http::Request::builder().method(method).uri(url).body(body.to_vec()).expect("a request");
    let mut response = agent.run(request).unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().expect("a body");
    (response.status().as_u16(), body)
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
    let binary = Path::new(SEXTON);
    binary.parent().and_then(Path::parent).expect("target/debug/sexton lies in target").join("guests")
}

/// Returns a built guest.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let path = guests().join(format!("{name}.wasm"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `make guests` builds it", path.display()))
}

/// Puts a plugin into the directory of a host, which may not have been started yet.
pub(crate) fn drop_in(directory: &Path, name: &str, component: &[u8], manifest: Option<&str>) {
    let plugins = directory.join("plugins");
    if let Some(manifest) = manifest {
        fs::write(plugins.join(format!(".{name}.toml.new")), manifest).expect("a manifest");
        fs::rename(plugins.join(format!(".{name}.toml.new")), plugins.join(format!("{name}.toml"))).expect("a rename");
    }
    fs::write(plugins.join(format!(".{name}.wasm.new")), component).expect("a component");
    fs::rename(plugins.join(format!(".{name}.wasm.new")), plugins.join(format!("{name}.wasm"))).expect("a rename");
}

fn config(further: &str) -> String {
    format!("[http]\nlisten = \"127.0.0.1:0\"\n{further}\n")
}

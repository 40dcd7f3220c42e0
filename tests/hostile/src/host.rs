//! Starts the host under attack, or talks to one that is up.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sexton_testkit::process::{Log, Process};
use sexton_testkit::{PATIENCE, api, folder};

use crate::ground::Environment;
use crate::room::Room;
use crate::vitals::Vitals;

/// The quota of the cache on a host that is started here, in bytes: the same as in `sexton.toml`.
pub(crate) const CACHE_QUOTA: u64 = 16 << 20;

/// A host, with the means to talk to it.
pub(crate) struct Host {
    url: String,
    pub(crate) plugins: PathBuf,
    pub(crate) ground: Environment,
    pub(crate) pid: u32,
    /// The guest in Rust, and one that does nothing.
    pub(crate) guest: Vec<u8>,
    pub(crate) noop: Vec<u8>,
    /// The command line, if there is one here.
    pub(crate) sexton: Option<PathBuf>,
    agent: ureq::Agent,
    own: Option<Own>,
}

/// The built files that are needed besides a host.
pub(crate) struct BuiltFiles {
    /// The binary, if there is one here.
    pub(crate) sexton: Option<PathBuf>,
    /// The library that replaces the system's resolver.
    pub(crate) resolver: PathBuf,
    /// The directory of the guests.
    pub(crate) guests: PathBuf,
}

/// A host that was started here.
struct Own {
    process: Process,
    /// Dropped after the process, which is in it.
    _room: Option<Room>,
    log: Log,
}

impl Host {
    /// Starts a host in `directory`.
    pub(crate) fn start(with: &BuiltFiles, directory: &Path) -> Result<Self> {
        Self::start_in(None, include_str!("../sexton.toml"), with, directory)
    }

    /// Starts a host in `directory` that has no more memory than `room`, if there is such a thing.
    pub(crate) fn starve(room: Option<Room>, with: &BuiltFiles, directory: &Path) -> Result<Self> {
        Self::start_in(room, include_str!("../starved.toml"), with, directory)
    }

    fn start_in(room: Option<Room>, config: &str, with: &BuiltFiles, directory: &Path) -> Result<Self> {
        let sexton = with.sexton.as_ref().context("no `sexton` beside this program: `make hostile` builds it")?;
        let resolver = &with.resolver;
        let plugins = directory.join("plugins");
        folder::prepare(directory, config)?;
        ensure!(resolver.exists(), "{} is not there: `make hostile` builds it", resolver.display());
        let enter = room.as_ref().map(Room::enter).unwrap_or_default();
        // The process may have as few open files as is common. The host must raise that limit if it needs more.
        let few_files = format!(r#"{enter}ulimit -Sn 1024; exec "$0" "$@""#);
        let mut command = Command::new("sh");
        command
            .args(["-c", &few_files])
            .arg(sexton)
            .env("LD_PRELOAD", resolver)
            .env("SECRET_OF_THE_HOST", crate::ground::SECRET)
            // With this, errors contain the host's stack, which no guest may read.
            .env("RUST_BACKTRACE", "1");
        let log = Log::default();
        let process = Process::start(command, directory, log.keep());
        let process = process.with_context(|| format!("cannot start {}", sexton.display()))?;
        let own = Own { process, _room: room, log };
        let url = own.process.address().wait(PATIENCE);
        let url = url.with_context(|| format!("the host did not come up:\n{}", own.log.text()))?;
        Self::at(url, plugins, directory, with, Some(own))
    }

    /// Returns the host that is up at `url` and watches `plugins`.
    pub(crate) fn against(url: &str, plugins: &Path, with: &BuiltFiles, directory: &Path) -> Result<Self> {
        Self::at(url.trim_end_matches('/').to_owned(), plugins.to_owned(), directory, with, None)
    }

    fn at(url: String, plugins: PathBuf, directory: &Path, with: &BuiltFiles, own: Option<Own>) -> Result<Self> {
        let address = url.trim_start_matches("http://").to_owned();
        let ground = Environment::prepare(&directory.join("ground"), &address)?;
        let agent = api::client(PATIENCE);
        let guest = |name: &str| folder::guest(&with.guests, name).map_err(anyhow::Error::msg);
        let sexton = with.sexton.clone();
        let mut host =
            Self { url, plugins, ground, pid: 0, guest: guest("hostile")?, noop: guest("noop")?, sexton, agent, own };
        let pid = host.get("/v1/host")?["pid"].as_u64().context("the host has no pid")?;
        host.pid = u32::try_from(pid)?;
        Ok(host)
    }

    /// Returns whether it was started here.
    pub(crate) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Returns `http://ADDRESS:PORT`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn vitals(&self) -> Result<Vitals> {
        Vitals::of(self.pid)
    }

    /// Returns its log from line `from` on, if it was started here.
    pub(crate) fn log(&self, from: usize) -> Vec<String> {
        self.own.as_ref().map(|own| own.log.lines_from(from)).unwrap_or_default()
    }

    /// Sends any request, and returns status, headers and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<http::Response<Vec<u8>>> {
        let answer = api::ask(&self.agent, method, &format!("{}{path}", self.url), body);
        answer.with_context(|| format!("the host does not answer {method} {path}"))
    }

    /// Checks that it accepts a new connection, and answers on it at once.
    pub(crate) fn answers_newcomers(&self) -> Result<()> {
        let most = Duration::from_secs(2);
        let asked = || -> std::io::Result<String> {
            let address = self.ground.host.parse().map_err(std::io::Error::other)?;
            let mut stream = TcpStream::connect_timeout(&address, most)?;
            stream.set_read_timeout(Some(most))?;
            write!(stream, "GET /v1/health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = asked().context("the host does not answer on a new connection")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the host is not well: {answer}");
        Ok(())
    }

    /// Sends a `GET`, and returns the JSON.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let answer = self.ask("GET", path, b"")?;
        let status = answer.status();
        ensure!(status.is_success(), "GET {path}: {status} {}", String::from_utf8_lossy(answer.body()));
        serde_json::from_slice(answer.body()).with_context(|| format!("GET {path}: not JSON"))
    }

    /// Returns the list `field` of a `GET`.
    pub(crate) fn list(&self, path: &str, field: &str) -> Result<Vec<Value>> {
        Ok(self.get(path)?[field].as_array().cloned().unwrap_or_default())
    }

    /// Triggers a run, and returns its id.
    pub(crate) fn trigger(&self, task: &str) -> Result<i64> {
        self.trigger_with(task, b"")
    }

    /// Triggers a run with `input`, and returns its id.
    pub(crate) fn trigger_with(&self, task: &str, input: &[u8]) -> Result<i64> {
        let answer = self.ask("POST", &format!("/v1/tasks/{task}/runs"), input)?;
        let status = answer.status();
        ensure!(status.is_success(), "cannot run {task}: {status} {}", String::from_utf8_lossy(answer.body()));
        let answer: Value = serde_json::from_slice(answer.body())?;
        answer["run"].as_i64().context("no run in the answer")
    }

    /// Triggers `count` runs at once, and returns their ids.
    pub(crate) fn trigger_many(&self, task: &str, count: usize) -> Result<Vec<i64>> {
        let share = count.div_ceil(10).max(1);
        std::thread::scope(|scope| {
            let askers: Vec<_> = (0..count)
                .step_by(share)
                .map(|from| {
                    let mine = share.min(count - from);
                    scope.spawn(move || (0..mine).map(|_| self.trigger(task)).collect::<Result<Vec<_>>>())
                })
                .collect();
            let mut runs = Vec::new();
            for asker in askers {
                runs.extend(asker.join().map_err(|_| anyhow::anyhow!("a thread that asks for runs broke"))??);
            }
            Ok(runs)
        })
    }

    /// Returns the host's answer about a run once it is over.
    pub(crate) fn wait(&self, run: i64) -> Result<Value> {
        let start = Instant::now();
        loop {
            let answer = self.get(&format!("/v1/runs/{run}/wait?timeout=10s"))?;
            if !matches!(answer["run"]["state"].as_str(), Some("waiting" | "running")) {
                return self.get(&format!("/v1/runs/{run}"));
            }
            ensure!(start.elapsed() < PATIENCE, "run {run} is not over after {PATIENCE:?}: {}", answer["run"]);
        }
    }

    /// Asks until there is an answer.
    pub(crate) fn eventually<T>(&self, what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        let start = Instant::now();
        loop {
            if let Some(answer) = ask()? {
                return Ok(answer);
            }
            ensure!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
            // There is no event to wait for, so the question is repeated; the bound above ends it.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the host's answer about a plugin, if it knows it.
    pub(crate) fn plugin(&self, name: &str) -> Result<Option<Value>> {
        Ok(self.list("/v1/plugins", "plugins")?.into_iter().find(|plugin| plugin["name"] == name))
    }

    /// Waits until a plugin is in use or quarantined, and returns the reason, if there is one.
    pub(crate) fn taken_up(&self, name: &str) -> Result<Option<String>> {
        self.eventually(&format!("plugin `{name}` is taken up"), || {
            let Some(plugin) = self.plugin(name)? else { return Ok(None) };
            let reason = plugin["quarantine"].as_str().map(str::to_owned);
            Ok((reason.is_some() || plugin["digest"].is_string()).then_some(reason))
        })
    }

    /// Puts a component into the plugin directory as an author would: whole, by renaming.
    pub(crate) fn put(&self, name: &str, component: &[u8], manifest: &str) -> Result<()> {
        Ok(folder::put(&self.plugins, name, component, Some(manifest))?)
    }

    /// Removes plugins, and waits until the host has forgotten them.
    pub(crate) fn take_away(&self, names: &[String]) -> Result<()> {
        for name in names {
            for ending in ["toml", "wasm"] {
                // One of the files may never have been there.
                let _ = fs::remove_file(self.plugins.join(format!("{name}.{ending}")));
            }
        }
        self.eventually("the plugins are forgotten", || {
            let left = self.list("/v1/plugins", "plugins")?;
            Ok(left.iter().all(|plugin| names.iter().all(|name| plugin["name"] != name.as_str())).then_some(()))
        })
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<Duration> {
        let Some(own) = &mut self.own else { bail!("it was not started here") };
        let start = Instant::now();
        own.process.signal("TERM").context("the host is gone")?;
        let status = own.process.wait(PATIENCE)?.context("the host does not stop")?;
        ensure!(status.success(), "the host ended with {status}");
        Ok(start.elapsed())
    }
}

//! Runs host processes that can be killed and stopped, and that are started again if they did not come up.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sexton_testkit::folder;
use sexton_testkit::process::{Address, Process};

/// The time to wait for an event that must happen. It is generous, because machines that run this are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The wait before a host that did not come up is started again. It ends at once if it finds no database.
const AGAIN: Duration = Duration::from_millis(300);

/// The addresses of the hosts, in their order. Each is set once its host is up, and replaced when that host is killed.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostAddresses(Arc<Mutex<Vec<Address>>>);

impl HostAddresses {
    /// Returns `http://ADDRESS:PORT` of host number `host`, if it is up (it may be stopped).
    pub(crate) fn get(&self, host: usize) -> Option<String> {
        self.all().get(host)?.get()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Address>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All hosts.
#[derive(Debug)]
pub(crate) struct Hosts {
    pub(crate) doors: HostAddresses,
    sexton: PathBuf,
    all: Vec<Host>,
    fallen: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
struct Host {
    name: String,
    directory: PathBuf,
    life: Option<Process>,
    stopped: bool,
    start_at: Option<Instant>,
}

impl Hosts {
    /// Prepares hosts with these names and configurations, each in a directory of its own in `place`; none is up yet.
    pub(crate) fn prepare(sexton: &Path, place: &Path, configs: &[(&str, String)]) -> Result<Self> {
        let mut all = Vec::new();
        for (name, config) in configs {
            let directory = place.join(name);
            folder::prepare(&directory, config)?;
            all.push(Host { name: (*name).to_owned(), directory, life: None, stopped: false, start_at: None });
        }
        let doors = HostAddresses::default();
        doors.all().resize_with(all.len(), Address::default);
        Ok(Self { doors, sexton: sexton.to_owned(), all, fallen: Arc::default() })
    }

    /// Returns the name of a host.
    pub(crate) fn name(&self, host: usize) -> &str {
        &self.all[host].name
    }

    /// Returns the hosts that are up and not stopped.
    pub(crate) fn up(&self) -> Vec<usize> {
        let is_up =
            |host: &Host| !host.stopped && host.life.as_ref().is_some_and(|life| life.address().get().is_some());
        (0..self.all.len()).filter(|n| is_up(&self.all[*n])).collect()
    }

    /// Returns which hosts ended without being killed, and where they panicked.
    pub(crate) fn fallen(&self) -> Vec<String> {
        self.fallen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the next call of `look_after` start a host.
    pub(crate) fn start(&mut self, host: usize) {
        self.all[host].start_at = Some(Instant::now());
    }

    /// Ends a host as a power cut would.
    pub(crate) fn kill(&mut self, host: usize) -> Result<()> {
        self.doors.all()[host] = Address::default();
        let host = &mut self.all[host];
        if let Some(mut life) = host.life.take() {
            life.kill().context("cannot kill a host")?;
        }
        (host.stopped, host.start_at) = (false, None);
        Ok(())
    }

    /// Stops a host (SIGSTOP).
    pub(crate) fn stop(&mut self, host: usize) -> Result<()> {
        self.all[host].stopped = true;
        self.signal(host, "STOP")
    }

    /// Continues a host that was stopped.
    pub(crate) fn go_on(&mut self, host: usize) -> Result<()> {
        self.all[host].stopped = false;
        self.signal(host, "CONT")
    }

    /// Starts the hosts that should be up and are not.
    pub(crate) fn look_after(&mut self) -> Result<()> {
        for n in 0..self.all.len() {
            let host = &mut self.all[n];
            if let Some(life) = &mut host.life
                && let Some(status) = life.status()?
            {
                if life.address().get().is_some() {
                    let words = format!("host `{}` ended by itself: {status}", host.name);
                    self.fallen.lock().unwrap_or_else(PoisonError::into_inner).push(words);
                }
                self.doors.all()[n] = Address::default();
                (host.life, host.start_at) = (None, Some(Instant::now() + AGAIN));
            }
            if host.start_at.is_some_and(|at| at <= Instant::now()) {
                host.start_at = None;
                let life = host.begin(&self.sexton, Arc::clone(&self.fallen))?;
                self.doors.all()[n] = life.address().clone();
                host.life = Some(life);
            }
        }
        Ok(())
    }

    /// Waits until all are up.
    pub(crate) fn all_up(&mut self) -> Result<()> {
        let start = Instant::now();
        while self.up().len() < self.all.len() {
            self.look_after()?;
            ensure!(start.elapsed() < PATIENCE, "not all hosts are up after {PATIENCE:?}: {}", self.last_words());
            // There is no event to wait for, so the question is repeated; the bound above ends it.
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Puts a plugin into the directories of all hosts, whole, by renaming, and waits until it is in use.
    pub(crate) fn put(&self, plugin: &str, component: &[u8], manifest: &str) -> Result<()> {
        for host in &self.all {
            folder::put(&host.directory.join("plugins"), plugin, component, Some(manifest))?;
        }
        let start = Instant::now();
        for n in 0..self.all.len() {
            while !self.uses(n, plugin)? {
                let in_time = start.elapsed() < PATIENCE;
                ensure!(in_time, "`{plugin}` is not in use after {PATIENCE:?}: {}", self.last_words());
                std::thread::sleep(Duration::from_millis(20)); // as in `all_up`
            }
        }
        Ok(())
    }

    fn uses(&self, host: usize, plugin: &str) -> Result<bool> {
        let url = self.doors.get(host).context("a host is down")?;
        let answer = ureq::get(format!("{url}/v1/plugins")).call()?.body_mut().read_to_vec()?;
        let answer: Value = serde_json::from_slice(&answer)?;
        let plugins = answer["plugins"].as_array().context("no list of plugins")?;
        let Some(found) = plugins.iter().find(|found| found["name"] == plugin) else { return Ok(false) };
        ensure!(found["quarantine"].is_null(), "`{plugin}` is quarantined: {}", found["quarantine"]);
        Ok(found["digest"].is_string())
    }

    fn signal(&self, host: usize, name: &str) -> Result<()> {
        // A host that has ended by itself before this is reported as such.
        let Some(life) = &self.all[host].life else { return Ok(()) };
        Ok(life.signal(name)?)
    }

    /// Returns the last line of each host's log.
    fn last_words(&self) -> String {
        let words = self.all.iter().map(|host| {
            let log = fs::read_to_string(host.directory.join("log")).unwrap_or_default();
            format!("\n  {}: {}", host.name, log.lines().last().unwrap_or_default())
        });
        words.collect()
    }
}

impl Host {
    fn begin(&self, sexton: &Path, fallen: Arc<Mutex<Vec<String>>>) -> Result<Process> {
        let mut log = File::options().create(true).append(true).open(self.directory.join("log"))?;
        let name = self.name.clone();
        let keep = move |line: String| {
            if line.contains("panicked at ") {
                fallen.lock().unwrap_or_else(PoisonError::into_inner).push(format!("host `{name}`: {line}"));
            }
            // The log is for people, who miss a line if there is no room for it.
            let _ = writeln!(log, "{line}");
        };
        let process = Process::start(Command::new(sexton), &self.directory, keep);
        process.with_context(|| format!("cannot start {}", sexton.display()))
    }
}

//! Holds what several benches need: the release binary as a process, and the guests.

pub(crate) mod bare;
pub(crate) mod disk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use sexton_testkit::{folder, process};

/// The time that a bench waits for a host to be up, and for its plugins to be in use.
const PATIENCE: Duration = Duration::from_secs(60);

/// The release binary, with a directory of its own. The argument of `start` becomes its configuration.
pub(crate) struct Process {
    process: process::Process,
    pub(crate) url: String,
}

impl Process {
    pub(crate) fn start(place: &Path, config: &str) -> Self {
        folder::prepare(place, &format!("{}{config}", folder::ANY_PORT)).unwrap();
        let sexton = Command::new(env!("CARGO_BIN_EXE_sexton"));
        let process = process::Process::start_with_log_file(sexton, place, &place.join("log"), PATIENCE);
        let process = process.unwrap_or_else(|why| panic!("{why}"));
        let url = process.address().get().unwrap();
        Self { process, url }
    }

    pub(crate) fn get(&self, path: &str) -> String {
        ureq::get(format!("{}{path}", self.url)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.id())).unwrap().count()
    }

    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap().count()
    }

    pub(crate) fn rss_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_sexton")).parent().unwrap().parent().unwrap().to_owned()
}

pub(crate) fn guest(name: &str) -> PathBuf {
    let path = folder::guests(Path::new(env!("CARGO_BIN_EXE_sexton"))).join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is missing; `make guests` builds it", path.display());
    path
}

pub(crate) fn drop_plugin(place: &Path, name: &str, component: &str, manifest: &str) {
    let component = fs::read(guest(component)).unwrap();
    folder::put(&place.join("plugins"), name, &component, Some(manifest)).unwrap();
}

pub(crate) fn await_plugins(host: &Process, count: usize) {
    let start = Instant::now();
    while host.get("/v1/plugins").matches("\"digest\":\"").count() < count {
        assert!(start.elapsed() < PATIENCE, "{}", host.get("/v1/plugins"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The median, the 99th percentile, and the worst, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        values.sort_by(f64::total_cmp);
        let at = |part: f64| values[((values.len() - 1) as f64 * part).round() as usize];
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.1} / {:.1} / {:.1}", self.p50, self.p99, self.max))
    }
}

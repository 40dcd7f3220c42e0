//! What more than one bench needs: the release binary as a process, and the guests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The release binary, with a directory of its own. What `start` gets goes into its configuration.
pub(crate) struct Process {
    child: Child,
    pub(crate) url: String,
}

impl Process {
    pub(crate) fn start(place: &Path, config: &str) -> Self {
        fs::write(place.join("sexton.toml"), format!("[http]\nlisten = \"127.0.0.1:0\"\n{config}")).unwrap();
        let log = fs::File::create(place.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sexton"))
            .args(["run", "--config", "sexton.toml"])
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut host = Self { child, url: String::new() };
        let start = Instant::now();
        loop {
            let said = fs::read_to_string(place.join("log")).unwrap();
            if let Some(at) = said.find("is up: http://") {
                let url = said[at + 14..].split('/').next().unwrap();
                host.url = format!("http://{url}");
                return host;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{said}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn get(&self, path: &str) -> String {
        ureq::get(format!("{}{path}", self.url)).call().unwrap().body_mut().read_to_string().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn rss_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_sexton")).parent().unwrap().parent().unwrap().to_owned()
}

pub(crate) fn guest(name: &str) -> PathBuf {
    let path = target().join(format!("guests/{name}.wasm"));
    assert!(path.exists(), "{} is missing; `make guests` builds it", path.display());
    path
}

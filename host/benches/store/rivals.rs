//! Measures job queues that others use, on the same database in the same run. They come from npm, in exact versions,
//! and the scripts in `rivals/` run them. One that stumbles is tried again, and then shown as such.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use sexton_testkit::peer::{self, Stumbled};
use sexton_testkit::postgres::Cluster;

use crate::common::target;

/// The names of the queues: on npm and as scripts, in figures, and of their schemas.
pub(crate) const NAMES: [Names; 2] = [
    Names { package: "graphile-worker", figure: "graphile", schema: "graphile_worker" },
    Names { package: "pg-boss", figure: "pgboss", schema: "pgboss" },
];

/// The times that a queue is tried.
const TIMES: usize = 3;

/// The names of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) package: &'static str,
    pub(crate) figure: &'static str,
    schema: &'static str,
}

const FILES: [&str; 4] = ["package.json", "measure.mjs", "graphile-worker.mjs", "pg-boss.mjs"];

/// The effort for each figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Effort {
    /// The approximate duration of a measurement.
    pub(crate) seconds: f64,
    /// The jobs whose start is timed.
    pub(crate) samples: usize,
    /// The numbers of worker processes for throughput; the best counts.
    pub(crate) processes: &'static [usize],
}

/// The measurements of one queue.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rival {
    pub(crate) version: String,
    /// Each job is taken and finished by itself.
    pub(crate) per_job: Rate,
    /// Many jobs are taken and finished at once.
    pub(crate) batched: Rate,
    pub(crate) start_ms: StartMs,
}

/// A rate of jobs a second.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Rate {
    pub(crate) jobs_per_s: f64,
    /// The number of processes, and whether the jobs existed before.
    pub(crate) how: String,
}

/// The time from before a job was requested to the call of its handler, one job at a time.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct StartMs {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// The directory in which they are installed.
#[derive(Debug)]
pub(crate) struct Rivals {
    place: PathBuf,
    node: PathBuf,
}

impl Rivals {
    /// Installs them, unless they are there already. The error is a line that says what to do.
    pub(crate) fn install() -> Result<Self, String> {
        let place = target().join("rivals");
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/store/rivals");
        let wanted = fs::read(ours.join("package.json")).unwrap();
        let installed = place.join("installed.json");
        fs::create_dir_all(&place).unwrap();
        for file in FILES {
            fs::copy(ours.join(file), place.join(file)).unwrap();
        }
        if !fs::read(&installed).is_ok_and(|installed| installed == wanted) {
            npm(&place)?;
            fs::write(installed, wanted).unwrap();
        }
        let node = node(&place);
        match Command::new(&node).arg("--version").output() {
            Ok(said) if said.status.success() => Ok(Self { place, node }),
            _ => {
                Err("`node` is missing: install Node.js 22.18 or newer, as rivals are measured in the same run".into())
            }
        }
    }

    /// Measures one in a database.
    ///
    /// # Errors
    ///
    /// It has stumbled each time that it was tried.
    pub(crate) fn measure(&self, names: Names, cluster: &Cluster, effort: Effort) -> Result<Rival, Stumbled> {
        let Names { package, schema, .. } = names;
        let effort = serde_json::to_string(&effort).unwrap();
        let measure = |_| {
            // An earlier try may have left anything.
            cluster.try_psql_in("public", &format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))?;
            let mut command = Command::new(&self.node);
            command.arg(format!("{package}.mjs")).args(["measure", &cluster.url(), &effort]).current_dir(&self.place);
            let line = peer::last_line(&mut command)?;
            serde_json::from_str(&line).map_err(|error| format!("{error} in {line}"))
        };
        peer::tried(TIMES, measure, |nth, why| eprintln!("{package} stumbled ({nth} of {TIMES}): {why}"))
    }
}

fn npm(place: &Path) -> Result<(), String> {
    let done = Command::new("npm")
        .args(["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(place)
        .stdin(Stdio::null())
        .output()
        .map_err(
            |_| "`npm` is missing: install Node.js 20 or newer with npm, as rivals are measured in the same run",
        )?;
    if done.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&done.stderr);
    Err(format!("npm cannot install what is measured beside: {}", why.trim()))
}

/// Returns the Node.js that came with them, because they need a newer one than many machines have; or else the
/// machine's.
fn node(place: &Path) -> PathBuf {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let own = place.join(format!("node_modules/node-{}-{arch}/bin/node", std::env::consts::OS));
    if own.exists() { own } else { "node".into() }
}

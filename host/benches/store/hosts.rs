//! Runs the hosts that are measured: one on SQLite, and one to three on PostgreSQL, beside more and more stored runs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use sexton_testkit::postgres::{Cluster, Durable, Mode};

use crate::common::disk::fdatasync;
use crate::common::{Process, Spread, await_plugins, guest};
use crate::load::{CONFIG, Effort, Front, MANIFEST, Starts, TASK, starts};
use crate::prefill;

/// The most hosts on one database.
const HOSTS: usize = 3;

/// The files of 16 MiB for PostgreSQL's write-ahead log that exist from the start.
const WAL_FILES: usize = 100;

/// The measurement of a number of hosts on a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    store: &'static str,
    pub(crate) hosts: usize,
    /// The runs that the store was filled with.
    pub(crate) filled: usize,
    /// The runs in it when measuring began.
    stored: u64,
    /// The runs a second: the best round, and the worst.
    pub(crate) rate: f64,
    worst: f64,
    /// The same with runs that are requested one by one, if that was measured.
    asked: Option<f64>,
    /// The runs a second that can be requested by the thousand, if that was measured.
    pub(crate) batched: Option<f64>,
    pub(crate) starts: Starts,
    /// The time of an fdatasync, in milliseconds.
    disk: f64,
}

/// Prints the column heads of [`Measured`].
pub(crate) fn heads() {
    println!(
        "{:<10} {:>5} {:>10} {:>9} {:>9} {:>9} {:>9} {:>20} {:>20} {:>14}",
        "store",
        "hosts",
        "stored",
        "runs/s",
        "worst",
        "asked/s",
        "batched/s",
        "due-started, ms",
        "asked-started, ms",
        "fdatasync, ms"
    );
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, hosts, stored, rate, worst, starts: Starts { due, asked: at_most }, disk, .. } = self;
        let [asked, batched] =
            [self.asked, self.batched].map(|rate| rate.map(|rate| format!("{rate:.0}")).unwrap_or_default());
        write!(
            f,
            "{store:<10} {hosts:>5} {stored:>10} {rate:>9.0} {worst:>9.0} {asked:>9} {batched:>9} {due:>20} {at_most:>20} {disk:>14.3}"
        )
    }
}

/// Runs a host in this process on SQLite, which allows no other.
pub(crate) async fn sqlite(place: &Path, fills: &[usize], effort: Effort) -> Vec<Measured> {
    let mut all = Vec::new();
    for filled in fills.iter().copied() {
        let place = place.join(format!("sqlite-{filled}"));
        lay_out(&place, true);
        // An earlier start creates the tables and compiles the plugin.
        await_plugins(&Process::start(&place, CONFIG), 1);
        if filled > 0 {
            prefill::sqlite(&place.join("var/sexton.db"), filled);
        }
        let front = Front::start("alone", &place, "").await;
        front.can_run().await;
        let measured = measure(&front, &front.url(), effort, &place.join("var"), true).await;
        let measured = Measured { store: "SQLite", hosts: 1, filled, ..measured };
        println!("{measured}");
        all.push(measured);
        front.stop().await;
    }
    all
}

/// Runs the release binary, one to three of it, on a schema of `cluster` for each of `fills`.
pub(crate) async fn postgres(cluster: &Cluster, place: &Path, fills: &[usize], effort: Effort) -> Vec<Measured> {
    let places: Vec<PathBuf> = (1..=HOSTS).map(|n| place.join(format!("host{n}"))).collect();
    places.iter().for_each(|place| lay_out(place, true));
    lay_out(&place.join("front"), false);
    let data = data(cluster);
    let mut all = Vec::new();
    for filled in fills.iter().copied() {
        let schema = format!("filled_{filled}");
        let store = format!("[store]\nurl = \"{}\"\nschema = \"{schema}\"\n", cluster.url());
        // Each start has a name of its own, because a host that was ended counts as present for a while.
        let start = |life: &str, hosts: usize| -> Vec<Process> {
            let hosts = places[..hosts].iter().enumerate().map(|(n, place)| {
                let host = Process::start(place, &format!("[host]\nname = \"{life}-{}\"\n{store}{CONFIG}", n + 1));
                await_plugins(&host, 1);
                host
            });
            hosts.collect()
        };
        // An earlier start creates the tables and compiles the plugin.
        drop(start("first", HOSTS));
        if filled > 0 {
            prefill::postgres(cluster, &schema, filled);
        }
        for hosts in 1..=HOSTS {
            settle(cluster);
            let processes = start(&format!("of-{hosts}"), hosts);
            let front = Front::start(&format!("front-{hosts}"), &place.join("front"), &store).await;
            let measured = measure(&front, &processes[0].url, effort, &data, hosts == 1).await;
            let measured = Measured { store: "PostgreSQL", hosts, filled, ..measured };
            println!("{measured}");
            all.push(measured);
            front.stop().await;
        }
        // The schema is dropped, so that no autovacuum works on it during later measurements.
        cluster.psql(&format!("DROP SCHEMA {schema} CASCADE"));
    }
    all
}

/// Starts a server for hosts and rivals alike. It waits for the disk, has somewhat more memory than by default, and the
/// log files of a server that has been up for a while: creating such a file delays every client, and the first one
/// measured would pay for all.
pub(crate) fn server() -> Cluster {
    let cluster = Cluster::start(Durable(true));
    for setting in ["shared_buffers = '256MB'", "min_wal_size = '2GB'", "max_wal_size = '4GB'"] {
        cluster.psql(&format!("ALTER SYSTEM SET {setting}"));
    }
    cluster.restart(Mode::Fast);
    for _ in 0..WAL_FILES {
        // A log file without any writes is not kept for later use.
        cluster.psql("SELECT txid_current()");
        cluster.psql("SELECT pg_switch_wal()");
    }
    cluster.psql("CHECKPOINT");
    cluster
}

/// Returns the directory of its files.
pub(crate) fn data(cluster: &Cluster) -> PathBuf {
    cluster.psql("SHOW data_directory").into()
}

/// Has the database do now what it would do later, in the middle of a measurement.
pub(crate) fn settle(cluster: &Cluster) {
    cluster.psql("VACUUM (ANALYZE)");
    cluster.psql("CHECKPOINT");
}

/// Measures runs that `front` makes and the host at `url` is asked for, on the disk with the directory `data`.
async fn measure(front: &Front, url: &str, effort: Effort, data: &Path, asked: bool) -> Measured {
    let stored = front.stored().await;
    let at = url.to_owned();
    let starts = tokio::task::spawn_blocking(move || starts(&at, effort.samples)).await.unwrap();
    let disk = fdatasync(data).p50;
    let (rate, worst) = front.rate(&effort).await;
    let (asked, batched) = match asked {
        true => (Some(front.rate_asked(url, &effort).await), Some(front.rate_batched(url, effort).await)),
        false => (None, None),
    };
    Measured { store: "", hosts: 0, filled: 0, stored, rate, worst, asked, batched, starts, disk }
}

/// Creates the directory of a host, with the measured plugin or without.
fn lay_out(place: &Path, plugin: bool) {
    fs::create_dir_all(place.join("plugins")).unwrap();
    if plugin {
        fs::copy(guest(TASK), place.join(format!("plugins/{TASK}.wasm"))).unwrap();
        fs::write(place.join(format!("plugins/{TASK}.toml")), MANIFEST).unwrap();
    }
}

impl Measured {
    /// Returns the time from before a run was requested to the end of the millisecond in which it started.
    pub(crate) fn started(&self) -> Spread {
        self.starts.asked
    }
}

//! The hosts that are measured: one on SQLite, and one to three on PostgreSQL, beside more and more stored runs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Process, Spread, await_plugins, guest};
use crate::disk::fdatasync_p50;
use crate::load::{CONFIG, Effort, Front, MANIFEST, Starts, TASK, starts};
use crate::postgres::{Cluster, Durable, Mode};
use crate::prefill;

/// Hosts on one database, at most.
const HOSTS: usize = 3;

/// Files of 16 MiB for PostgreSQL's log of changes that are there from the start.
const WAL_FILES: usize = 100;

/// What was measured of so many hosts on a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    store: &'static str,
    pub(crate) hosts: usize,
    /// Runs that the store was filled with.
    pub(crate) filled: usize,
    /// Runs in it when measuring began.
    stored: u64,
    /// Runs a second: the best round, and the worst.
    pub(crate) rate: f64,
    worst: f64,
    /// The same with runs that are asked for one by one, where that was measured.
    asked: Option<f64>,
    pub(crate) starts: Starts,
    /// How long the disk took for an fdatasync, in milliseconds.
    disk: f64,
}

/// The heads of the columns of what [`Measured`] prints.
pub(crate) fn heads() {
    println!(
        "{:<10} {:>5} {:>10} {:>9} {:>9} {:>9} {:>20} {:>20} {:>14}",
        "store",
        "hosts",
        "stored",
        "runs/s",
        "worst",
        "asked/s",
        "due-started, ms",
        "asked-started, ms",
        "fdatasync, ms"
    );
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, hosts, stored, rate, worst, starts: Starts { due, asked: at_most }, disk, .. } = self;
        let asked = self.asked.map(|rate| format!("{rate:.0}")).unwrap_or_default();
        write!(
            f,
            "{store:<10} {hosts:>5} {stored:>10} {rate:>9.0} {worst:>9.0} {asked:>9} {due:>20} {at_most:>20} {disk:>14.3}"
        )
    }
}

/// A host in this process on SQLite, which lets in no other.
pub(crate) async fn sqlite(place: &Path, fills: &[usize], effort: Effort) -> Vec<Measured> {
    let mut all = Vec::new();
    for filled in fills.iter().copied() {
        let place = place.join(format!("sqlite-{filled}"));
        lay_out(&place, true);
        // One life before, which makes the tables and compiles the plugin.
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

/// The release binary, one to three of it, on a schema of `cluster` for each of `fills`.
pub(crate) async fn postgres(cluster: &Cluster, place: &Path, fills: &[usize], effort: Effort) -> Vec<Measured> {
    let places: Vec<PathBuf> = (1..=HOSTS).map(|n| place.join(format!("host{n}"))).collect();
    places.iter().for_each(|place| lay_out(place, true));
    lay_out(&place.join("front"), false);
    let data = data(cluster);
    let mut all = Vec::new();
    for filled in fills.iter().copied() {
        let schema = format!("filled_{filled}");
        let store = format!("[store]\nurl = \"{}\"\nschema = \"{schema}\"\n", cluster.url());
        // A life of its own each time: a host that was ended counts as alive for a while.
        let start = |life: &str, hosts: usize| -> Vec<Process> {
            let hosts = places[..hosts].iter().enumerate().map(|(n, place)| {
                let host = Process::start(place, &format!("[host]\nname = \"{life}-{}\"\n{store}{CONFIG}", n + 1));
                await_plugins(&host, 1);
                host
            });
            hosts.collect()
        };
        // One life before, which makes the tables and compiles the plugin.
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
        // Nobody is to clean up after it while others are measured.
        cluster.psql(&format!("DROP SCHEMA {schema} CASCADE"));
    }
    all
}

/// A server for hosts and rivals alike: it waits for the disk, has somewhat more memory than it takes by itself, and the files
/// for its log of changes that one has which has been up for a while. To make such a file holds up everybody; the first who is
/// measured would pay for all.
pub(crate) fn server() -> Cluster {
    let cluster = Cluster::start(Durable(true));
    for setting in ["shared_buffers = '256MB'", "min_wal_size = '2GB'", "max_wal_size = '4GB'"] {
        cluster.psql(&format!("ALTER SYSTEM SET {setting}"));
    }
    cluster.restart(Mode::Fast);
    for _ in 0..WAL_FILES {
        // One that nothing was written to is not left for the next.
        cluster.psql("SELECT txid_current()");
        cluster.psql("SELECT pg_switch_wal()");
    }
    cluster.psql("CHECKPOINT");
    cluster
}

/// Where its files are.
pub(crate) fn data(cluster: &Cluster) -> PathBuf {
    cluster.psql("SHOW data_directory").into()
}

/// Have the database do now what it would do later, in the middle of what is measured.
pub(crate) fn settle(cluster: &Cluster) {
    cluster.psql("VACUUM (ANALYZE)");
    cluster.psql("CHECKPOINT");
}

/// What `front` makes and the host at `url` is asked for, on a disk of which `data` is a directory.
async fn measure(front: &Front, url: &str, effort: Effort, data: &Path, asked: bool) -> Measured {
    let stored = front.stored().await;
    let at = url.to_owned();
    let starts = tokio::task::spawn_blocking(move || starts(&at, effort.samples)).await.unwrap();
    let disk = fdatasync_p50(data);
    let (rate, worst) = front.rate(&effort).await;
    let asked = if asked { Some(front.rate_asked(url, &effort).await) } else { None };
    Measured { store: "", hosts: 0, filled: 0, stored, rate, worst, asked, starts, disk }
}

/// The directory of a host, with the plugin that is measured or without.
fn lay_out(place: &Path, plugin: bool) {
    fs::create_dir_all(place.join("plugins")).unwrap();
    if plugin {
        fs::copy(guest(TASK), place.join(format!("plugins/{TASK}.wasm"))).unwrap();
        fs::write(place.join(format!("plugins/{TASK}.toml")), MANIFEST).unwrap();
    }
}

impl Measured {
    /// From before a run was asked for to the end of the millisecond in which it started.
    pub(crate) fn started(&self) -> Spread {
        self.starts.asked
    }
}

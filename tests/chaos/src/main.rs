//! Three hosts on one database under everything that can happen to them: they are killed and stopped, the database is
//! restarted, connections are cut and held up. Then all is healed, and a checker looks at what became of the runs.

mod audit;
mod checker;
mod effects;
mod hosts;
mod load;
#[path = "../../postgres/mod.rs"]
mod postgres;
#[path = "../../proxy/mod.rs"]
mod proxy;
mod report;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};
use clap::Parser;

use checker::{BEAT, History};
use effects::Effects;
use hosts::Hosts;
use load::{Asked, ERRAND};
use postgres::{Cluster, Durable};
use proxy::Proxy;
use trouble::{LEASE, Troubles};

/// The hosts, which are also what the database knows them as.
const HOSTS: [&str; 3] = ["a", "b", "c"];

/// How often the scheduled task is due, in milliseconds.
const EVERY: u64 = 500;

/// The part of the time in which runs are asked for. In the rest those that are under way have their share of trouble.
const ASKING: f64 = 0.85;

/// How long runs may go on once all is healed: leases end, and what waited is done. Where fences are worth nothing, some never
/// come to an end.
const SETTLING: Duration = Duration::from_secs(120);
const SETTLING_BROKEN: Duration = Duration::from_secs(30);

/// Have three hosts on one database live through trouble, and check what became of their runs.
#[derive(Debug, Parser)]
struct Args {
    /// The binary to start hosts from; beside this program if not said.
    #[arg(long)]
    sexton: Option<PathBuf>,
    /// The directory of the guests that `make guests` builds.
    #[arg(long)]
    guests: Option<PathBuf>,
    /// How long there is trouble.
    #[arg(long, value_name = "N", default_value_t = 300)]
    seconds: u64,
    /// Runs that are asked for.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    runs: usize,
    /// Chooses the troubles; by chance if not said.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Have the database break the fences of claims, and succeed if the checker finds that.
    #[arg(long)]
    break_fence: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether it went as it must.
fn run(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("{} hosts, {} runs, {} s of trouble by `--seed {seed}`", HOSTS.len(), args.runs, args.seconds);
    let place = tempfile::Builder::new().prefix("sexton-chaos-").tempdir()?;
    let ground = Ground::prepare()?;
    let mut hosts = ground.hosts(args, place.path())?;
    if args.break_fence {
        audit::break_fence(&ground.cluster)?;
    }
    let time = Duration::from_secs(args.seconds);
    ground.put_errand(args, &hosts, time)?;

    let start = Instant::now();
    let doors = &hosts.doors.clone();
    let mut troubles = Troubles::new(seed, &mut hosts, &ground.cluster, &ground.proxies);
    if args.break_fence {
        troubles = troubles.stops_only();
    }
    let (asked, counts) = thread::scope(|scope| {
        let deadline = start + time + hosts::PATIENCE;
        let asking = scope.spawn(move || load::ask(doors, HOSTS.len(), args.runs, time.mul_f64(ASKING), deadline));
        let counts = troubles.make(time);
        (asking.join().expect("those who ask have nothing to panic about"), counts)
    });
    let counts = counts?;
    let settled = settle(&ground.cluster, &mut hosts, if args.break_fence { SETTLING_BROKEN } else { SETTLING })?;
    println!("{:>8.1} s  {settled}", start.elapsed().as_secs_f64());

    let history = ground.history(&hosts, asked, args.runs)?;
    let found = checker::check(&history);
    report::print(&history, counts, &found);
    let good = found.is_empty() != args.break_fence;
    if !good || args.break_fence {
        report::explain(&found, args.break_fence);
    }
    if !good {
        println!("what the hosts said is in {}", place.keep().display());
    }
    Ok(good)
}

/// What the hosts stand on.
struct Ground {
    cluster: Cluster,
    proxies: Vec<Proxy>,
    effects: Effects,
}

impl Ground {
    fn prepare() -> Result<Self> {
        let cluster = Cluster::start(Durable(true));
        audit::make_users(&cluster, &HOSTS)?;
        let proxies = HOSTS.iter().map(|_| Proxy::to(cluster.address())).collect();
        Ok(Self { cluster, proxies, effects: Effects::listen()? })
    }

    /// Hosts that are up, with nothing to do yet, and a database that keeps what they do.
    fn hosts(&self, args: &Args, place: &Path) -> Result<Hosts> {
        let sexton = match &args.sexton {
            Some(path) => path.clone(),
            None => beside()?.join("sexton"),
        };
        let sexton = sexton.canonicalize().with_context(|| format!("no {}", sexton.display()))?;
        let config = |(name, proxy): (&&'static str, &Proxy)| (*name, self.config(name, proxy));
        let configs: Vec<_> = HOSTS.iter().zip(&self.proxies).map(config).collect();
        let mut hosts = Hosts::prepare(&sexton, place, &configs)?;
        (0..HOSTS.len()).for_each(|host| hosts.start(host));
        hosts.all_up()?;
        audit::begin(&self.cluster)?;
        Ok(hosts)
    }

    fn config(&self, name: &str, proxy: &Proxy) -> String {
        // Everything is kept, so that everything can be looked at in the end. No run is suspected of killing its host, because
        // here hosts are killed on purpose, again and again.
        format!(
            "[host]\nname = {name:?}\n[http]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = {:?}\nschema = {:?}\n\
             [machine]\nlease = \"{}ms\"\nsuspect-after = 0\n[runtime]\nslots = 64\n[retention]\nruns = 1000000\nbytes = \"100 GiB\"\n",
            self.cluster.url_by_way_of(name, proxy.address()),
            audit::SCHEMA,
            LEASE.as_millis(),
        )
    }

    /// Give all hosts the task that is asked for, and the one that is due by itself for so long.
    fn put_errand(&self, args: &Args, hosts: &Hosts, time: Duration) -> Result<()> {
        let guests = match &args.guests {
            Some(path) => path.clone(),
            None => beside()?.parent().context("this program lies in target/debug")?.join("guests"),
        };
        let path = guests.join("errand.wasm");
        let guest = std::fs::read(&path).with_context(|| format!("no {}: `make guests` builds it", path.display()))?;
        let end = (Utc::now() + time).to_rfc3339_opts(SecondsFormat::Secs, true);
        let server = self.effects.address;
        let common = |name: &str| {
            format!(
                "overlap = \"allow(64)\"\nbrake = \"off\"\n\
                 [tasks.{name}.retry]\nattempts = 1000\ndelay = \"100ms\"\nfactor = 1\njitter = 0\n\
                 [tasks.{name}.settings]\nserver = \"http://{server}\"\n\
                 [tasks.{name}.grants]\nlocks = [\"*\"]\ncache = [\"*\"]\nhttp = [\"{server}\"]\n"
            )
        };
        let manifest = format!(
            "[tasks.{ERRAND}]\n{}[tasks.{BEAT}]\nevery = \"{EVERY}ms\"\nend = \"{end}\"\ncatch-up = \"all(1000)\"\n\
             input-json = {{ lock = \"beat\", ms = 20 }}\n{}",
            common(ERRAND),
            common(BEAT)
        );
        hosts.put(ERRAND, &guest, &manifest)
    }

    /// All that is known of what happened.
    fn history(&self, hosts: &Hosts, asked: Asked, wanted: usize) -> Result<History> {
        let mut fallen = hosts.fallen();
        if asked.refused > 0 {
            fallen.push(format!("no host made {} of {wanted} runs", asked.refused));
        }
        Ok(History {
            changes: audit::changes(&self.cluster)?,
            written: audit::written(&self.cluster)?,
            finals: audit::finals(&self.cluster)?,
            effects: self.effects.seen(),
            asked: asked.runs,
            doubled: asked.doubled,
            fallen,
            locks: audit::locks(&self.cluster)?,
            counted: audit::counted(&self.cluster)?,
            every: i64::try_from(EVERY)?,
        })
    }
}

/// Wait until no run is left, for at most so long. How that went, in words.
fn settle(cluster: &Cluster, hosts: &mut Hosts, most: Duration) -> Result<String> {
    let start = Instant::now();
    loop {
        hosts.look_after()?;
        let left = audit::left(cluster)?;
        if left == 0 {
            return Ok(format!("all runs are over, {:.1} s after", start.elapsed().as_secs_f64()));
        }
        if start.elapsed() > most {
            return Ok(format!("{left} runs are not over after {most:?}"));
        }
        // Nothing to listen to: the question is asked again, and the bound above decides.
        thread::sleep(Duration::from_millis(200));
    }
}

/// The directory that this program was built into.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("this program lies in a directory")?.to_owned())
}

//! Exposes three hosts on one database to every failure: they are killed and stopped, the database is restarted,
//! connections are cut and held up. Then everything is healed, and a checker examines the runs.

mod audit;
mod checker;
mod effects;
mod hosts;
mod load;
mod report;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};
use clap::Parser;
use sexton_testkit::folder;
use sexton_testkit::postgres::{Cluster, Durable};
use sexton_testkit::proxy::Proxy;

use checker::{BEAT, History};
use effects::Effects;
use hosts::Hosts;
use load::{Asked, ERRAND};
use trouble::{LEASE, Troubles};

/// The hosts, whose names are also their database users.
const HOSTS: [&str; 3] = ["a", "b", "c"];

/// The interval of the scheduled task, in milliseconds.
const EVERY: u64 = 500;

/// The part of the time in which runs are triggered. In the rest, runs under way meet trouble, too.
const ASKING: f64 = 0.85;

/// The time for which runs may go on once everything is healed: leases end, and waiting runs finish. Without fences
/// some never end.
const SETTLING: Duration = Duration::from_secs(120);
const SETTLING_BROKEN: Duration = Duration::from_secs(30);

/// Have three hosts on one database live through trouble, and check their runs.
#[derive(Debug, Parser)]
struct Args {
    /// The binary to start hosts from [default: the one beside this program].
    #[arg(long)]
    sexton: Option<PathBuf>,
    /// The directory of the guests that `make guests` builds.
    #[arg(long)]
    guests: Option<PathBuf>,
    /// The duration of the trouble in seconds.
    #[arg(long, value_name = "N", default_value_t = 300)]
    seconds: u64,
    /// The number of runs that are triggered.
    #[arg(long, value_name = "N", default_value_t = 2000)]
    runs: usize,
    /// The seed that chooses the troubles [default: random].
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

/// Returns whether the result is as it must be.
fn run(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("{} hosts, {} runs, {} s of trouble by `--seed {seed}`", HOSTS.len(), args.runs, args.seconds);
    let place = tempfile::Builder::new().prefix("sexton-chaos-").tempdir()?;
    let ground = Environment::prepare()?;
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
        println!("the logs of the hosts are in {}", place.keep().display());
    }
    Ok(good)
}

/// The surroundings of the hosts.
struct Environment {
    cluster: Cluster,
    proxies: Vec<Proxy>,
    effects: Effects,
}

impl Environment {
    fn prepare() -> Result<Self> {
        let cluster = Cluster::start(Durable(true));
        audit::make_users(&cluster, &HOSTS)?;
        let proxies = HOSTS.iter().map(|_| Proxy::to(cluster.address())).collect();
        Ok(Self { cluster, proxies, effects: Effects::listen()? })
    }

    /// Starts hosts with nothing to do yet, on a database that records what they do.
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
        // All history is kept, so that it can be examined in the end. No run is suspected of killing its host, because
        // hosts are killed on purpose here, again and again.
        format!(
            "[host]\nname = {name:?}\n[http]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = {:?}\nschema = {:?}\n\
             [machine]\nlease = \"{}ms\"\nsuspect-after = 0\n[runtime]\nslots = 64\n[retention]\nruns = 1000000\nbytes = \"100 GiB\"\n",
            self.cluster.url_by_way_of(name, proxy.address()),
            audit::SCHEMA,
            LEASE.as_millis(),
        )
    }

    /// Gives all hosts the task that is triggered, and the one that is due by itself for `time`.
    fn put_errand(&self, args: &Args, hosts: &Hosts, time: Duration) -> Result<()> {
        let guests = match &args.guests {
            Some(path) => path.clone(),
            None => folder::guests(&std::env::current_exe()?),
        };
        let guest = folder::guest(&guests, "errand").map_err(anyhow::Error::msg)?;
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

    /// Collects everything known about what happened.
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

/// Waits until no run is left, for at most `most`. Returns the result in words.
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
        // There is no event to wait for, so the question is repeated; the bound above ends it.
        thread::sleep(Duration::from_millis(200));
    }
}

/// Returns the directory that this program was built into.
fn beside() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("this program lies in a directory")?.to_owned())
}

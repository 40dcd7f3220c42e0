//! Attacks a host in every known way, and prints the results. See `docs/hostile.md`.

mod attack;
mod conditions;
mod ground;
mod host;
mod leak;
mod list;
mod machine;
mod made;
mod room;
mod vitals;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use sexton_testkit::folder;

use attack::Attack;
use conditions::{Condition, Passed};
use host::{BuiltFiles, Host};
use room::{Room, STARVED};

/// Attack a host in every known way, and print the results.
#[derive(Debug, Parser)]
struct Args {
    /// The binary to start a host from [default: the one beside this program]. With `--against` only its command line
    /// is tried, if there is one.
    #[arg(long)]
    sexton: Option<PathBuf>,
    /// The directory of the guests that `make guests` builds.
    #[arg(long)]
    guests: Option<PathBuf>,
    /// Only attacks whose name contains this (can be given several times).
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// No attack whose name contains this (can be given several times).
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
    /// The number of runs of an attack at once.
    #[arg(long, value_name = "N", default_value_t = 50)]
    at_once: usize,
    /// Attack the host that is up at this address, instead of one that is started for it.
    #[arg(long, value_name = "URL", requires = "plugins")]
    against: Option<String>,
    /// The plugin directory of that host.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Interrupt this many runs instead, and compare the host with what it was before.
    #[arg(long, value_name = "N")]
    leak: Option<usize>,
    /// Print the list of attacks, as it stands in the documentation.
    #[arg(long)]
    list: bool,
}

/// The resident memory that the host may have gained by all attacks together, in KiB: slots of its pool that were used
/// (a megabyte of memory, one of tables, and a stack each), and what its allocator and its store keep at hand.
const GAINED: u64 = 600 << 10;

/// The runs of an attack at once on a starved host: as many as it has slots.
const STARVED_AT_ONCE: usize = 16;

/// The results of one attack.
struct Row {
    name: String,
    conditions: Vec<Result<Passed>>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        print!("{}", list::as_markdown());
        return ExitCode::SUCCESS;
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let directory = tempfile::tempdir()?;
    let arms = arms(args)?;
    let host = match (&args.against, &args.plugins) {
        (Some(url), Some(plugins)) => Host::against(url, plugins, &arms, directory.path())?,
        _ => Host::start(&arms, directory.path())?,
    };
    if let Some(count) = args.leak {
        leak::check(&host, count)?;
        return Ok(true);
    }
    let attacks: Vec<Attack> = list::attacks()
        .into_iter()
        .filter(|attack| args.only.is_empty() || args.only.iter().any(|only| attack.name().contains(only)))
        .filter(|attack| !args.skip.iter().any(|skip| attack.name().contains(skip)))
        .filter(|attack| host.is_own() || !attack.own_host)
        .collect();
    let mut rows = attack_all(&host, &attacks, args.at_once)?;
    if host.is_own() {
        let took = host.stop().context("after the attacks")?;
        println!("the host stopped within {took:.1?} of being asked to");
        starve(&arms, directory.path(), &attacks, &mut rows)?;
    }
    for row in &rows {
        for failure in row.conditions.iter().filter_map(|condition| condition.as_ref().err()) {
            println!("FAILED {}: {failure:#}", row.name);
        }
    }
    let passed = rows.iter().filter(|row| row.conditions.iter().all(Result::is_ok)).count();
    println!("figure hostile_passed {passed} attacks");
    println!("figure hostile_total {} attacks", attacks.len());
    Ok(passed == attacks.len())
}

/// Returns the built files: those where cargo puts them, unless options name others.
fn arms(args: &Args) -> Result<BuiltFiles> {
    let own = std::env::current_exe()?;
    let beside = own.parent().context("this program lies in a directory")?;
    let guests = folder::guests(&own);
    let sexton = match &args.sexton {
        Some(path) => Some(path.canonicalize().with_context(|| format!("no binary at `{}`", path.display()))?),
        // A suite that only attacks a host which is up already needs none.
        None => beside.join("sexton").canonicalize().ok(),
    };
    Ok(BuiltFiles {
        sexton,
        resolver: beside.join("libhostile_resolver.so"),
        guests: args.guests.clone().unwrap_or(guests),
    })
}

/// Runs all attacks, one after the other, and returns the results of each.
fn attack_all(host: &Host, attacks: &[Attack], at_once: usize) -> Result<Vec<Row>> {
    conditions::deploy(host, attacks)?;
    // One round comes before the measurement, for the threads, connections and pages that any run brings.
    host.trigger_many(conditions::PULSE, 20)?.into_iter().try_for_each(|run| host.wait(run).map(drop))?;
    let at_start = host.vitals()?;
    let start = Instant::now();
    println!(
        "{:<22} {:>10} {:>13} {:>13} {:>24} {:>9}",
        "",
        "alone",
        format!("{at_once} at once"),
        "beside",
        "a task beside it is late",
        "peak RSS"
    );

    let mut rows = Vec::new();
    for attack in attacks {
        let conditions = [Condition::Alone, Condition::AtOnce(at_once), Condition::Beside];
        let row = Row {
            name: attack.name(),
            conditions: conditions.map(|condition| conditions::under(condition, host, attack, at_start)).into(),
        };
        row.print();
        rows.push(row);
    }
    conditions::retreat(host, attacks)?;
    let mut at_end = host.vitals()?;
    println!("\n{} attacks in {:.0?}", attacks.len(), start.elapsed());
    println!("the host before   {at_start}");
    println!("the host after    {at_end}");
    let as_before = host.eventually("files are closed and threads gone", || {
        at_end = host.vitals()?;
        Ok((at_end.files <= at_start.files + 8 && at_end.threads <= at_start.threads + 8).then_some(()))
    });
    println!("a moment later    {at_end}");
    as_before?;
    let gained = at_end.rss.saturating_sub(at_start.rss);
    anyhow::ensure!(gained <= GAINED, "the host gained {} MiB, which is over {} MiB", gained >> 10, GAINED >> 10);
    Ok(rows)
}

/// Runs all attacks on a host with little memory, and adds the results to the rows.
fn starve(arms: &BuiltFiles, directory: &Path, attacks: &[Attack], rows: &mut [Row]) -> Result<()> {
    let room = Room::of(STARVED);
    let directory = directory.join("starved");
    std::fs::create_dir(&directory)?;
    match &room {
        Some(_) => println!("\na host whose memory is limited to {} MiB", STARVED >> 20),
        None => {
            println!("\na host that must not take more than {} MiB (no control group can be made here)", STARVED >> 20)
        }
    }
    let host = Host::starve(room, arms, &directory)?;
    conditions::deploy(&host, attacks)?;
    let at_start = host.vitals()?;
    let start = Instant::now();
    for (attack, row) in attacks.iter().zip(rows) {
        let starved = conditions::under(Condition::Starved(STARVED_AT_ONCE), &host, attack, at_start);
        match &starved {
            Ok(passed) => {
                println!("{:<22} {:>7} ms {:>5} MiB", row.name, passed.took.as_millis(), passed.peak >> 10);
            }
            Err(failure) => println!("{:<22} FAILED\n    {failure:#}", row.name),
        }
        row.conditions.push(starved);
    }
    println!(
        "{} attacks in {:.0?}; the host before: {at_start}; after: {}",
        attacks.len(),
        start.elapsed(),
        host.vitals()?
    );
    host.stop().context("after it was starved").map(drop)
}

impl Row {
    fn print(&self) {
        let [alone, at_once, beside] = [0, 1, 2].map(|n| match &self.conditions[n] {
            Ok(passed) => format!("{} ms", passed.took.as_millis()),
            Err(_) => "FAILED".to_owned(),
        });
        let late = self.conditions.iter().flatten().map(|passed| passed.late).max().unwrap_or_default();
        let ms = |duration: Duration| duration.as_millis();
        let late = format!("{} ms, at worst {} ms", ms(late.0), ms(late.1));
        let peak = self.conditions.iter().flatten().map(|passed| passed.peak).max().unwrap_or_default() >> 10;
        println!("{:<22} {alone:>10} {at_once:>13} {beside:>13} {late:>24} {peak:>5} MiB", self.name);
        for failure in self.conditions.iter().filter_map(|condition| condition.as_ref().err()) {
            println!("    {failure:#}");
        }
    }
}

//! Measures durable no-op runs end to end on both stores, beside none, 100,000 and 1,000,000 stored ones: how many a
//! second, from creation to end, and the time until one starts on idle hosts. On the same database it also measures two
//! job queues that others use, with the best of their documented settings.
//!
//! The hosts on PostgreSQL are the release binary, one to three of it. SQLite allows one process only, and runs can be
//! made by the hundred only from within, so the host is in this process there. The column `asked/s` is the rate through
//! the front door: runs that 16 clients request one by one over HTTP. `batched/s` is the rate of asking alone, by the
//! thousand, while the task is paused.
//!
//! `cargo bench --bench store -- sqlite` measures one part, or more: `sqlite`, `postgres`, `rivals`. `quick` is a
//! trial, not for figures.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

#[expect(dead_code, reason = "shared by benches that need different parts")]
mod common;
#[path = "store/hosts.rs"]
mod hosts;
#[path = "store/load.rs"]
mod load;
#[path = "store/prefill.rs"]
mod prefill;
#[path = "store/rivals.rs"]
mod rivals;

use std::process::ExitCode;
use std::time::Duration;

use common::disk::fdatasync;
use common::{Spread, target};
use hosts::Measured;
use load::Effort;
use rivals::{NAMES, Names, Rival, Rivals};
use sexton_testkit::postgres::Cluster;

const MILLION: usize = 1_000_000;

/// The words of the command line.
const WORDS: [&str; 4] = ["sqlite", "postgres", "rivals", "quick"];

fn main() -> ExitCode {
    if let Some(exit) = sexton_runtime::runtime::compile_if_asked() {
        return exit;
    }
    match Asked::from_args().and_then(|asked| bench(&asked)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The parts to measure.
#[derive(Clone, Copy, Debug)]
struct Asked {
    sqlite: bool,
    postgres: bool,
    rivals: bool,
    quick: bool,
}

impl Asked {
    /// Returns all parts, unless some are named.
    fn from_args() -> Result<Self, String> {
        // Cargo itself adds `--bench`.
        let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
        if let Some(other) = words.iter().find(|word| !WORDS.contains(&word.as_str())) {
            return Err(format!("`{other}` is no part of this bench; name `sqlite`, `postgres`, `rivals` or `quick`"));
        }
        let named = |part: &str| words.iter().any(|word| word == part);
        let all = !(named("sqlite") || named("postgres") || named("rivals"));
        let measured = |part| all || named(part);
        let (sqlite, postgres, rivals) = (measured("sqlite"), measured("postgres"), measured("rivals"));
        Ok(Self { sqlite, postgres, rivals, quick: named("quick") })
    }

    fn fills(&self) -> &'static [usize] {
        if self.quick { &[0, 20_000] } else { &[0, 100_000, MILLION] }
    }

    fn effort(&self) -> Effort {
        match self.quick {
            true => Effort { rounds: 1, time: Duration::from_secs(1), samples: 30 },
            false => Effort { rounds: 3, time: Duration::from_secs(4), samples: 300 },
        }
    }

    fn rivals_effort(&self) -> rivals::Effort {
        match self.quick {
            true => rivals::Effort { seconds: 0.5, samples: 30, processes: &[2] },
            false => rivals::Effort { seconds: 3.0, samples: 300, processes: &[1, 2, 4] },
        }
    }
}

fn bench(asked: &Asked) -> Result<(), String> {
    // This comes before any measurement, so that missing programs are reported at once, and installed files are on the
    // disk.
    let rivals = if asked.rivals { Some(Rivals::install()?) } else { None };
    let place = tempfile::Builder::new().prefix("sexton-store-").tempdir_in(target()).unwrap();
    let cluster = (asked.postgres || asked.rivals).then(hosts::server);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();

    let (fills, effort) = (asked.fills(), asked.effort());
    if asked.sqlite || asked.postgres {
        println!("durable no-op runs, from made to over, best of {} rounds; latencies p50 / p99 / max", effort.rounds);
        hosts::heads();
    }
    let (mut sqlite, mut postgres) = (Vec::new(), Vec::new());
    if asked.sqlite {
        sqlite = runtime.block_on(hosts::sqlite(place.path(), fills, effort));
    }
    if let Some(cluster) = cluster.as_ref().filter(|_| asked.postgres) {
        postgres = runtime.block_on(hosts::postgres(cluster, place.path(), fills, effort));
    }
    let mut others = Vec::new();
    if let (Some(rivals), Some(cluster)) = (rivals, &cluster) {
        others = beside(&rivals, cluster, asked.rivals_effort(), at(&postgres, 1, 0));
    }
    figures(&sqlite, &postgres, &others);
    Ok(())
}

/// Returns the measurement of this many hosts beside this many stored runs.
fn at(measured: &[Measured], hosts: usize, filled: usize) -> Option<&Measured> {
    measured.iter().find(|measured| measured.hosts == hosts && measured.filled == filled)
}

/// Measures the rivals, and prints how one host compares with each. Returns those that could be measured.
fn beside(rivals: &Rivals, cluster: &Cluster, effort: rivals::Effort, one: Option<&Measured>) -> Vec<(Names, Rival)> {
    println!("\ndurable no-op jobs beside, from made to done; `x` is one host's runs for each of their jobs");
    println!(
        "{:<24} {:<11} {:>9} {:>6} {:<34} {:>20} {:>14}",
        "", "", "jobs/s", "x", "best with", "asked-started, ms", "fdatasync, ms"
    );
    let mut all = Vec::new();
    for names in NAMES {
        hosts::settle(cluster);
        let disk = fdatasync(&hosts::data(cluster)).p50;
        let name = names.package;
        let rival = match rivals.measure(names, cluster, effort) {
            Ok(rival) => rival,
            Err(stumbled) => {
                let (times, last) = (stumbled.reasons.len(), stumbled.reasons.last().map_or("", String::as_str));
                println!("{name:<24} stumbled {times} times, and is left out: {last}");
                continue;
            }
        };
        let rivals::StartMs { p50, p99, max } = rival.start_ms;
        let start = Spread { p50, p99, max }.to_string();
        let called = format!("{name} {}", rival.version);
        for (mode, rate, start) in [("one by one", &rival.per_job, start), ("batched", &rival.batched, String::new())] {
            let times = one.map(|one| format!("{:.2}", one.rate / rate.jobs_per_s)).unwrap_or_default();
            println!(
                "{called:<24} {mode:<11} {:>9.0} {times:>6} {:<34} {start:>20} {disk:>14.3}",
                rate.jobs_per_s, rate.how
            );
        }
        all.push((names, rival));
    }
    all
}

fn figures(sqlite: &[Measured], postgres: &[Measured], rivals: &[(Names, Rival)]) {
    println!();
    for (Names { figure: name, .. }, rival) in rivals {
        println!("figure {name}_batched_jobs_per_s {:.0} jobs/s", rival.batched.jobs_per_s);
        println!("figure {name}_start_p99_ms {:.1} ms", rival.start_ms.p99);
    }
    if let Some(one) = at(sqlite, 1, 0) {
        println!("figure store_runs_per_s_sqlite {:.0} runs/s", one.rate);
    }
    for hosts in [1, 3] {
        if let Some(of) = at(postgres, hosts, 0) {
            println!("figure store_runs_per_s_postgres_{hosts} {:.0} runs/s", of.rate);
        }
    }
    for (Names { figure: name, .. }, rival) in rivals {
        println!("figure {name}_jobs_per_s {:.0} jobs/s", rival.per_job.jobs_per_s);
    }
    if let Some(one) = at(postgres, 1, 0) {
        println!("figure postgres_start_p99_ms {:.1} ms", one.started().p99);
    }
    // The figures of one host, on the store that loses most.
    let kept = [sqlite, postgres].into_iter().filter_map(|store| {
        let (empty, full) = (at(store, 1, 0)?, at(store, 1, MILLION)?);
        Some(full.rate / empty.rate * 100.0)
    });
    if let Some(least) = kept.min_by(f64::total_cmp) {
        println!("figure throughput_at_1e6_percent {least:.0} %");
    }
    for (name, measured) in [("sqlite", sqlite), ("postgres", postgres)] {
        if let Some(rate) = at(measured, 1, 0).and_then(|of| of.batched) {
            println!("figure asked_in_batches_per_s_{name} {rate:.0} runs/s");
        }
    }
}

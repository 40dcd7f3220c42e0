//! Those who ask for runs, like careful clients do: with a key, and again and again until a host says that the run is made.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hosts::Doors;

/// How many ask at the same time: some wait for a host that is stopped while others get on.
const ASKERS: usize = 4;

/// How long a host may take to answer. One that is stopped takes for ever.
const ANSWER: Duration = Duration::from_secs(2);

/// How long to wait before another host is asked.
const AGAIN: Duration = Duration::from_millis(50);

/// The task whose runs are asked for.
pub(crate) const ERRAND: &str = "errand";

/// Locks that the runs take, all together: so few that some wait for others.
const LOCKS: usize = 40;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The runs that were made.
    pub(crate) runs: BTreeSet<i64>,
    /// Keys for which hosts have told of two runs, in words.
    pub(crate) doubled: Vec<String>,
    /// Runs that no host was found for.
    pub(crate) refused: usize,
}

/// Ask `hosts` for `count` runs, evenly over `time`, and go on for those that are missing until `deadline`.
pub(crate) fn ask(doors: &Doors, hosts: usize, count: usize, time: Duration, deadline: Instant) -> Asked {
    let start = Instant::now();
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER));
    let asker = Asker { doors, hosts, deadline, agent: config.build().into() };
    let mut answers: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    thread::scope(|scope| {
        let all: Vec<_> = (0..ASKERS)
            .map(|me| {
                let asker = &asker;
                scope.spawn(move || {
                    let mine = (me..count).step_by(ASKERS);
                    mine.map(|n| {
                        let due = start + time.mul_f64(n as f64 / count as f64);
                        thread::sleep(due.saturating_duration_since(Instant::now())); // the pace of the load
                        (n, asker.ask(n))
                    })
                    .collect::<Vec<_>>()
                })
            })
            .collect();
        for asker in all {
            answers.extend(asker.join().expect("an asker has nothing to panic about"));
        }
    });
    let mut asked = Asked::default();
    for (n, runs) in answers {
        let different: BTreeSet<i64> = runs.into_iter().collect();
        match different.len() {
            0 => asked.refused += 1,
            1 => {}
            _ => asked.doubled.push(format!("key `chaos-{n}` has runs {different:?}")),
        }
        asked.runs.extend(different);
    }
    asked
}

struct Asker<'a> {
    doors: &'a Doors,
    hosts: usize,
    deadline: Instant,
    agent: ureq::Agent,
}

impl Asker<'_> {
    /// Ask for run number `n` until a host has made it; every fourth once more, of whom else answers. What was told.
    fn ask(&self, n: usize) -> Vec<i64> {
        let mut told = Vec::new();
        let mut tries = n;
        while told.is_empty() && Instant::now() < self.deadline {
            told.extend(self.ask_of(tries % self.hosts, n));
            tries += 1;
            if told.is_empty() {
                thread::sleep(AGAIN);
            }
        }
        if n.is_multiple_of(4) {
            told.extend(self.ask_of(tries % self.hosts, n));
        }
        told
    }

    /// The run, if the host says that it is made.
    fn ask_of(&self, host: usize, n: usize) -> Option<i64> {
        let url = format!("{}/v1/tasks/{ERRAND}/runs", self.doors.get(host)?);
        // Some last for a moment, some for most of a lease; which, only depends on the number.
        let input = format!(r#"{{"lock": "lock-{}", "ms": {}}}"#, n % LOCKS, 50 + n * 7919 % 1400);
        let request = http::Request::post(url).header("Idempotency-Key", format!("chaos-{n}")).body(input).ok()?;
        let mut answer = self.agent.run(request).ok().filter(|answer| answer.status().is_success())?;
        let answer: Value = serde_json::from_slice(&answer.body_mut().read_to_vec().ok()?).ok()?;
        answer["run"].as_i64()
    }
}

//! Triggers runs as careful clients do: with a key, and repeatedly until a host reports that the run is made.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hosts::HostAddresses;

/// The number of concurrent clients: some wait for a host that is stopped while others go on.
const ASKERS: usize = 4;

/// The time in which a host must answer. A stopped one never does.
const ANSWER: Duration = Duration::from_secs(2);

/// The wait before another host is asked.
const AGAIN: Duration = Duration::from_millis(50);

/// The task whose runs are triggered.
pub(crate) const ERRAND: &str = "errand";

/// The locks that the runs take, so few that some runs wait for others.
const LOCKS: usize = 40;

/// The results of the clients.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// The runs that were made.
    pub(crate) runs: BTreeSet<i64>,
    /// The keys for which hosts have reported two runs, in words.
    pub(crate) doubled: Vec<String>,
    /// The runs that no host accepted.
    pub(crate) refused: usize,
}

/// Triggers `count` runs on `hosts`, evenly over `time`, and continues with those that are missing until `deadline`.
pub(crate) fn ask(doors: &HostAddresses, hosts: usize, count: usize, time: Duration, deadline: Instant) -> Asked {
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
    doors: &'a HostAddresses,
    hosts: usize,
    deadline: Instant,
    agent: ureq::Agent,
}

impl Asker<'_> {
    /// Triggers run number `n` until a host has made it, and every fourth once more on any other host. Returns the
    /// reported ids.
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

    /// Returns the run, if the host reports that it is made.
    fn ask_of(&self, host: usize, n: usize) -> Option<i64> {
        let url = format!("{}/v1/tasks/{ERRAND}/runs", self.doors.get(host)?);
        // Some last for a moment, some for most of a lease; the number alone decides which.
        let input = format!(r#"{{"lock": "lock-{}", "ms": {}}}"#, n % LOCKS, 50 + n * 7919 % 1400);
        let request = http::Request::post(url).header("Idempotency-Key", format!("chaos-{n}")).body(input).ok()?;
        let mut answer = self.agent.run(request).ok().filter(|answer| answer.status().is_success())?;
        let answer: Value = serde_json::from_slice(&answer.body_mut().read_to_vec().ok()?).ok()?;
        answer["run"].as_i64()
    }
}

//! Makes runs, waits for them, and times them.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sexton::config::Config;
use sexton::host::Host;
use sexton::http::api_types::batches::Batch;
use sexton::http::api_types::runs::{RunDetail, Triggered};
use sexton_domain::run::{Cause, RunState};
use sexton_domain::task::{Name, TaskKey};
use sexton_store::NewRun;

use crate::common::Spread;

/// The configuration of every host. All runs are kept, because stored runs are part of the measurement. There is no log
/// line for each run, because the rivals write none.
pub(crate) const CONFIG: &str = "[retention]\nruns = 1_000_000\nbytes = \"100 GiB\"\n\
                                 [log]\nfilter = \"warn,sexton::host=info\"\n";

/// The measured task; a guest that does nothing.
pub(crate) const TASK: &str = "noop";

/// Its manifest: as many at once as three hosts have slots.
pub(crate) const MANIFEST: &str = "[tasks.noop]\noverlap = \"allow(3072)\"\n";

/// The runs that are made in one request, and the requests that are under way at once.
const REQUEST: usize = 500;
const REQUESTS: usize = 2;

/// The runs of the first round, which shows how many the others need.
const WARM: usize = 10_000;

/// The connections that request runs one by one.
const CONNECTIONS: usize = 16;

/// The connections that request runs by the thousand, and the runs of each of their requests.
const BATCHING: usize = 4;
const BATCH: usize = 1_000;

/// The pause after each run whose start is timed. It is longer than a run takes, so that the hosts are idle again.
const PAUSE: Duration = Duration::from_millis(10);

/// The effort for each figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// The rounds, of which the best counts.
    pub(crate) rounds: usize,
    /// The approximate duration of a round.
    pub(crate) time: Duration,
    /// The runs whose start is timed.
    pub(crate) samples: usize,
}

/// A host in this process, which makes runs by the hundred and reads the store. It has plugins only if the store allows
/// no other host.
pub(crate) struct Front {
    host: Host,
    key: TaskKey,
}

impl Front {
    /// Starts it as `name` in `place`, where its plugins are, with further lines `config`.
    pub(crate) async fn start(name: &str, place: &Path, config: &str) -> Self {
        let at = |folder: &str| place.join(folder).display().to_string();
        let text = format!(
            "[host]\nname = \"{name}\"\nplugins = \"{}\"\nvar = \"{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n{CONFIG}{config}",
            at("plugins"),
            at("var")
        );
        let config = Config::parse("the bench's configuration", &text).unwrap();
        let key = TaskKey { tenant: Name::default_tenant(), task: Name::new(TASK).unwrap() };
        Self { host: Host::start(config).await.unwrap(), key }
    }

    /// Waits until it can run the task itself.
    pub(crate) async fn can_run(&self) {
        let mut catalog = self.host.catalog.changes();
        while self.host.catalog.get(&self.key).is_none() {
            catalog.changed().await.unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.host.address)
    }

    pub(crate) async fn stop(self) {
        self.host.stop(Duration::ZERO, std::future::pending()).await;
    }

    /// Returns the number of runs in the store.
    pub(crate) async fn stored(&self) -> u64 {
        self.host.store.counts().await.unwrap().values().sum()
    }

    /// Returns the runs a second from the first creation to the last end: the best round, and the worst.
    pub(crate) async fn rate(&self, effort: &Effort) -> (f64, f64) {
        let mut rates = vec![self.work_off(WARM).await];
        for _ in 0..effort.rounds {
            let runs = rates.iter().fold(0.0, |a: f64, b| a.max(*b)) * effort.time.as_secs_f64();
            rates.push(self.work_off((runs as usize).clamp(WARM, 200_000)).await);
        }
        rates.remove(0);
        let (best, worst) = rates.iter().fold((0.0, f64::INFINITY), |(a, b): (f64, f64), c| (a.max(*c), b.min(*c)));
        (best, worst)
    }

    /// Makes `runs` runs while they are carried out, and waits until all have ended. Returns the rate a second.
    async fn work_off(&self, runs: usize) -> f64 {
        let (requests, start) = (runs / REQUEST, Instant::now());
        let mut making = tokio::task::JoinSet::new();
        for maker in 0..REQUESTS {
            let (store, clock, key) = (self.host.store.clone(), self.host.clock.clone(), self.key.clone());
            making.spawn(async move {
                for _ in (maker..requests).step_by(REQUESTS) {
                    let now = clock.now();
                    let run = NewRun::of(key.clone(), now, Cause::Demand);
                    store.enqueue(vec![run; REQUEST], now).await.unwrap();
                }
            });
        }
        making.join_all().await;
        self.all_over().await;
        (requests * REQUEST) as f64 / start.elapsed().as_secs_f64()
    }

    /// Waits until no run waits or is running. It reads the sums that the store keeps, because going through the runs
    /// repeatedly would be part of the measurement.
    async fn all_over(&self) {
        let start = Instant::now();
        loop {
            let counts = self.host.store.counts().await.unwrap();
            let left: u64 = counts.iter().filter(|(state, _)| !state.is_over()).map(|(_, count)| count).sum();
            if left == 0 {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(300), "{left} runs are left");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Does the same with runs that are requested one by one from the host at `url`, over 16 connections.
    pub(crate) async fn rate_asked(&self, url: &str, effort: &Effort) -> f64 {
        // About as many as can be requested in that time, because the remaining work is small.
        let runs = (effort.time.as_secs_f64() * 3_000.0) as usize / CONNECTIONS * CONNECTIONS;
        let start = Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            let url = format!("{url}/v1/tasks/{TASK}/runs");
            asking.spawn_blocking(move || {
                let agent = ureq::Agent::new_with_defaults();
                for _ in 0..runs / CONNECTIONS {
                    agent.post(&url).send_empty().unwrap().body_mut().read_to_string().unwrap();
                }
            });
        }
        asking.join_all().await;
        self.all_over().await;
        runs as f64 / start.elapsed().as_secs_f64()
    }

    /// Returns how many runs a second can be requested by the thousand from the host at `url`, and waits until they
    /// have ended.
    pub(crate) async fn rate_batched(&self, url: &str, effort: Effort) -> f64 {
        let url = url.to_owned();
        let rate = tokio::task::spawn_blocking(move || batched(&url, &effort)).await.unwrap();
        self.all_over().await;
        rate
    }
}

/// Requests runs by the thousand from the host at `url`, over four connections. Returns how many were made a second:
/// the best round. No run starts in that time, because the task is paused, so that
/// nothing but asking is measured.
fn batched(url: &str, effort: &Effort) -> f64 {
    let agent = ureq::Agent::new_with_defaults();
    let post = |path: &str| drop(agent.post(format!("{url}{path}")).send_empty().unwrap());
    post(&format!("/v1/tasks/{TASK}/pause"));
    let run = format!("{{\"task\":\"{TASK}\"}}");
    let body = format!("{{\"runs\":[{}]}}", vec![run; BATCH].join(","));
    // About as many as can be requested in that time.
    let batches = ((effort.time.as_secs_f64() * 30.0) as usize / BATCHING).max(1);
    let round = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..BATCHING {
                scope.spawn(|| {
                    let agent = ureq::Agent::new_with_defaults();
                    for _ in 0..batches {
                        let answer = agent.post(format!("{url}/v1/runs")).send(body.as_str()).unwrap();
                        let text = answer.into_body().into_with_config().limit(1 << 24).read_to_string().unwrap();
                        let made: Batch = serde_json::from_str(&text).unwrap();
                        assert_eq!(made.created, BATCH);
                    }
                });
            }
        });
        (BATCHING * batches * BATCH) as f64 / start.elapsed().as_secs_f64()
    };
    let best = (0..effort.rounds).map(|_| round()).fold(0.0, f64::max);
    post(&format!("/v1/tasks/{TASK}/resume"));
    best
}

/// The times until a run's guest was started, in milliseconds. The store keeps whole milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Starts {
    /// The time from the instant at which the run was due, as the store has both.
    pub(crate) due: Spread,
    /// The time from before the request to the end of the millisecond in which it started, an upper bound.
    pub(crate) asked: Spread,
}

/// Requests one run at a time from the host at `url`, while nothing else is due.
pub(crate) fn starts(url: &str, samples: usize) -> Starts {
    let agent = ureq::Agent::new_with_defaults();
    let read = |path: &str| agent.get(format!("{url}{path}")).call().unwrap().body_mut().read_to_string().unwrap();
    let (mut due, mut asked) = (Vec::new(), Vec::new());
    for sample in 0..samples + 20 {
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1e3;
        let answer = agent.post(format!("{url}/v1/tasks/{TASK}/runs")).send_empty().unwrap();
        let made: Triggered = serde_json::from_str(&answer.into_body().read_to_string().unwrap()).unwrap();
        let began = Instant::now();
        let found = loop {
            // The run is read afterwards, because a client that waits for it keeps its host awake.
            std::thread::sleep(PAUSE);
            let found: RunDetail = serde_json::from_str(&read(&format!("/v1/runs/{}", made.run))).unwrap();
            if found.run.state.is_over() {
                break found;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "run {} is not over", made.run);
        };
        assert_eq!(found.run.state, RunState::Succeeded);
        if sample >= 20 {
            // The first few warm up.
            let started = found.attempts[0].started_at.as_millis();
            due.push((started - found.run.due_at.as_millis()) as f64);
            asked.push((started + 1) as f64 - before);
        }
    }
    Starts { due: Spread::of(due), asked: Spread::of(asked) }
}

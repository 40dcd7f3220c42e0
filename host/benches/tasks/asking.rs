//! Asks a host about its tasks, and times the answers.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::de::DeserializeOwned;
use sexton::http::api_types::runs::{RunDetail, Triggered};
use sexton_domain::run::RunState;

use crate::common::{Process, Spread};
use crate::plugins::{ASKER, name};

/// The kinds of requests, as figures name them: a trigger until it is answered, and until its run is over; a look at a
/// task; a pause, and its end; the list of the newest runs; a run that a guest enqueues.
pub(crate) const KINDS: [&str; 7] = ["trigger", "start", "show", "pause", "resume", "runs", "enqueue"];

/// The runs that a guest enqueues at a time.
const ENQUEUED: u64 = 5;

/// The durations of requests, in milliseconds, by kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Took(BTreeMap<&'static str, Vec<f64>>);

impl Took {
    fn note(&mut self, kind: &'static str, ms: f64) {
        self.0.entry(kind).or_default().push(ms);
    }

    /// Adds the durations of `other`.
    pub(crate) fn add(&mut self, other: Self) {
        for (kind, mut took) in other.0 {
            self.0.entry(kind).or_default().append(&mut took);
        }
    }

    /// Returns the median of a kind.
    pub(crate) fn median(&self, kind: &str) -> f64 {
        Spread::of(self.0.get(kind).cloned().unwrap_or_default()).p50
    }
}

/// Asks one host, about a task after the other in no order.
pub(crate) struct Asker {
    agent: ureq::Agent,
    url: String,
    plugins: usize,
    tasks: usize,
    /// The number of tasks that were asked about.
    asked: usize,
}

impl Asker {
    /// Creates one for a host with so many plugins, with so many tasks each.
    pub(crate) fn of(host: &Process, plugins: usize, tasks: usize) -> Self {
        Self { agent: ureq::Agent::new_with_defaults(), url: host.url.clone(), plugins, tasks, asked: 0 }
    }

    /// Makes `samples` requests of each kind.
    pub(crate) fn round(&mut self, samples: usize) -> Took {
        let mut took = Took::default();
        for _ in 0..samples {
            let task = format!("/v1/tasks/{}", self.next());
            let (began, run) = (Instant::now(), self.post::<Triggered>(&format!("{task}/runs"), "").run);
            took.note("trigger", ms(began));
            self.until_over(run.0);
            took.note("start", ms(began));
            for kind in ["pause", "resume"] {
                let began = Instant::now();
                self.post::<serde_json::Value>(&format!("{task}/{kind}"), "");
                took.note(kind, ms(began));
            }
            for (kind, path) in [("show", &*task), ("runs", "/v1/runs?limit=20")] {
                let began = Instant::now();
                self.get::<serde_json::Value>(path);
                took.note(kind, ms(began));
            }
            took.note("enqueue", self.enqueue());
        }
        took
    }

    /// Has a guest enqueue runs of a task. Returns the time that each took it, without the time of the guest itself.
    fn enqueue(&mut self) -> f64 {
        let input = format!("{{\"do\": \"enqueue\", \"task\": \"{}\", \"times\": {ENQUEUED}}}", self.next());
        let run = self.post::<Triggered>(&format!("/v1/tasks/{ASKER}/runs"), &input).run;
        let detail = self.until_over(run.0);
        assert_eq!(detail.run.state, RunState::Succeeded, "{detail:?}");
        // The runs that it made are over before others are timed.
        for child in &detail.children {
            self.until_over(child.run.0);
        }
        detail.attempts[0].accounts.host_us as f64 / 1e3 / ENQUEUED as f64
    }

    /// Returns the name of the next task. A step that shares no divisor with the number of tasks visits all of them.
    fn next(&mut self) -> String {
        const STEP: usize = 7919;
        self.asked += 1;
        let at = self.asked * STEP % (self.plugins * self.tasks);
        name(at / self.tasks, at % self.tasks)
    }

    fn until_over(&self, run: i64) -> RunDetail {
        loop {
            let detail: RunDetail = self.get(&format!("/v1/runs/{run}/wait?timeout=10s"));
            if detail.run.state.is_over() {
                return detail;
            }
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).call().unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> T {
        let mut answer = self.agent.post(format!("{}{path}", self.url)).send(body).unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }
}

fn ms(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}

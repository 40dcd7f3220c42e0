//! Profiles how a guest spends its time, in a format that the Firefox Profiler opens.
//!
//! The format is its "processed profile" (<https://github.com/firefox-devtools/profiler>, `src/types/profile.js`), at a
//! version that later ones read: tables as columns, in which rows refer to rows of other tables by number. Each
//! sample's weight is the milliseconds that it stands for, so that computing, waiting and queueing can be compared,
//! although computing is sampled more often.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::attempt::stack::{Place, Stack};
use crate::attempt::{Activity, RunHandle, Sample, Samples, TooManyObservers};
use sexton_domain::time::Timestamp;

use super::diagnosis::wait_text;

/// Time between two samples of a guest that computes.
const COMPUTING: Duration = Duration::from_millis(1);

/// Time between two samples of a guest that does not compute.
const RESTING: Duration = Duration::from_millis(5);

/// Time without a sample after which a computing guest counts as having no turn.
const SILENCE: Duration = Duration::from_millis(10);

/// The most samples of one profile: a minute and a half of computing, in some ten megabytes.
const MOST_SAMPLES: usize = 100_000;

/// The version of the format.
const VERSION: u32 = 55;

/// The kinds of samples, as numbers of the profile's categories.
const COMPUTES: usize = 0;
const WAITS: usize = 1;
const QUEUES: usize = 2;

impl RunHandle {
    /// Watches the guest for `length`, or until it ends, and returns its profile in the Firefox Profiler's format.
    /// `now` is the current time.
    ///
    /// # Errors
    ///
    /// [`TooManyObservers`] if too many watch the guest already.
    pub async fn profile(&self, length: Duration, now: Timestamp) -> Result<Value, TooManyObservers> {
        let look = self.sampler.look(Some(COMPUTING), MOST_SAMPLES)?;
        let start = Instant::now();
        let mut beat = tokio::time::interval(RESTING);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while start.elapsed() < length && !self.sampler.is_over() {
            beat.tick().await;
            if let Some((doing, stack)) = self.waiting_call(SILENCE) {
                look.put(doing, self.used(), &stack);
            } else if look.last().unwrap_or(start).elapsed() >= SILENCE {
                look.put(Activity::Queued, self.used(), &Stack::default());
            }
        }
        let end = Instant::now();
        let taken = look.taken();
        let places = self.places(&taken).await;
        let name = format!("{}, run {}, attempt {}", self.task, self.key.run, self.key.attempt);
        let (pid, tid) = (self.key.run.to_string(), self.key.attempt.to_string());
        // Built on a blocking thread, because a long profile has tens of megabytes.
        let profile = tokio::task::spawn_blocking(move || {
            let mut tables = Tables::default();
            tables.read(&taken, &places, start, end);
            tables.profile(&name, &pid, &tid, now, end.saturating_duration_since(start))
        });
        Ok(profile.await.unwrap_or_else(|_| json!({})))
    }
}

/// A column of distinct values.
#[derive(Debug)]
struct Interned<T> {
    rows: Vec<T>,
    known: HashMap<T, usize>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), known: HashMap::new() }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    /// Returns the number of `row`, which is added if it is new.
    fn number(&mut self, row: T) -> usize {
        if let Some(number) = self.known.get(&row) {
            return *number;
        }
        self.rows.push(row.clone());
        self.known.insert(row, self.rows.len() - 1);
        self.rows.len() - 1
    }

    fn column<V: Into<Value>>(&self, of: impl Fn(&T) -> V) -> Value {
        Value::Array(self.rows.iter().map(|row| of(row).into()).collect())
    }

    fn same(&self, value: impl Into<Value>) -> Value {
        Value::Array(vec![value.into(); self.rows.len()])
    }
}

/// A function, by the numbers of its name and of its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Func {
    name: usize,
    file: Option<usize>,
}

/// A line of a function in which a sample of a category was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Frame {
    func: usize,
    line: Option<u32>,
    category: usize,
    /// The number of functions around it that it is inlined into.
    inlined: usize,
}

/// A stack: a frame, and the stack that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    frame: usize,
    prefix: Option<usize>,
}

#[derive(Debug, Default)]
struct Tables {
    strings: Interned<String>,
    funcs: Interned<Func>,
    frames: Interned<Frame>,
    stacks: Interned<Node>,
    /// For each sample: its stack, the milliseconds since the sample before, and those until the next.
    samples: Vec<(Option<usize>, f64, f64)>,
}

impl Tables {
    fn read(&mut self, taken: &Samples, places: &[Vec<Place>], start: Instant, end: Instant) {
        let mut before = start;
        let next = taken.samples.iter().skip(1).map(|sample| sample.at).chain([end]);
        for (sample, next) in taken.samples.iter().zip(next) {
            let stack = self.stack(sample, places);
            let since = millis(sample.at.saturating_duration_since(before));
            self.samples.push((stack, since, millis(next.saturating_duration_since(sample.at))));
            before = sample.at;
        }
    }

    fn stack(&mut self, sample: &Sample, places: &[Vec<Place>]) -> Option<usize> {
        let mut prefix = None;
        // Goes from the outermost frame to the innermost; inlined functions come after the ones that contain them.
        for frame in sample.stack.iter().rev() {
            for (inlined, place) in places.get(*frame as usize).into_iter().flatten().rev().enumerate() {
                prefix = Some(self.frame(place, COMPUTES, inlined, prefix));
            }
        }
        let host = |function: String| Place { function, file: None, line: None };
        match &sample.doing {
            Activity::Computing => prefix,
            Activity::Waiting { .. } => Some(self.frame(&host(wait_text(&sample.doing)), WAITS, 0, prefix)),
            Activity::Queued => Some(self.frame(&host("queued, no turn on a processor".to_owned()), QUEUES, 0, None)),
        }
    }

    fn frame(&mut self, place: &Place, category: usize, inlined: usize, prefix: Option<usize>) -> usize {
        let name = self.strings.number(place.function.clone());
        let file = place.file.clone().map(|file| self.strings.number(file));
        let func = self.funcs.number(Func { name, file });
        let frame = self.frames.number(Frame { func, line: place.line, category, inlined });
        self.stacks.number(Node { frame, prefix })
    }

    fn profile(&self, name: &str, pid: &str, tid: &str, now: Timestamp, length: Duration) -> Value {
        let categories = [("computing", "blue"), ("waiting", "yellow"), ("queued", "grey")]
            .map(|(name, color)| json!({ "name": name, "color": color, "subcategories": ["Other"] }));
        json!({
            "meta": {
                "version": 24,
                "preprocessedProfileVersion": VERSION,
                "product": format!("sexton: {name}"),
                "startTime": now.as_millis(),
                "interval": millis(COMPUTING),
                "categories": categories,
                "markerSchema": [],
                "processType": 0,
                "debug": false,
                "symbolicated": true,
                "usesOnlyOneStackType": true,
                "sourceCodeIsNotOnSearchfox": true,
                "pausedRanges": [],
                "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns" },
                "extensions": { "length": 0, "baseURL": [], "id": [], "name": [] },
                "initialVisibleThreads": [0],
                "initialSelectedThreads": [0],
            },
            "libs": [],
            "pages": [],
            "counters": [],
            "profilerOverhead": [],
            "threads": [self.thread(name, pid, tid, length)],
        })
    }

    fn thread(&self, name: &str, pid: &str, tid: &str, length: Duration) -> Value {
        let samples = &self.samples;
        let nothing: [(); 0] = [];
        json!({
            "name": name,
            "processName": name,
            "processType": "default",
            "isMainThread": true,
            "pid": pid,
            "tid": tid,
            "registerTime": 0.0,
            "unregisterTime": millis(length),
            "processStartupTime": 0.0,
            "processShutdownTime": millis(length),
            "pausedRanges": nothing,
            "showMarkersInTimeline": false,
            "stringArray": self.strings.rows,
            "samples": {
                "length": samples.len(),
                "weightType": "tracing-ms",
                "stack": samples.iter().map(|(stack, ..)| *stack).collect::<Vec<_>>(),
                "timeDeltas": samples.iter().map(|(_, since, _)| *since).collect::<Vec<_>>(),
                "weight": samples.iter().map(|(.., weight)| *weight).collect::<Vec<_>>(),
            },
            "stackTable": {
                "length": self.stacks.rows.len(),
                "prefix": self.stacks.column(|node| node.prefix),
                "frame": self.stacks.column(|node| node.frame),
            },
            "frameTable": self.frame_table(),
            "funcTable": self.func_table(),
            "nativeSymbols": { "length": 0, "address": nothing, "functionSize": nothing, "libIndex": nothing, "name": nothing },
            "resourceTable": { "length": 0, "lib": nothing, "name": nothing, "host": nothing, "type": nothing },
            "markers": {
                "length": 0, "category": nothing, "data": nothing, "name": nothing,
                "startTime": nothing, "endTime": nothing, "phase": nothing,
            },
        })
    }

    fn frame_table(&self) -> Value {
        let frames = &self.frames;
        json!({
            "length": frames.rows.len(),
            // No addresses are needed, because the profile has the names already.
            "address": frames.same(-1),
            "nativeSymbol": frames.same(Value::Null),
            "inlineDepth": frames.column(|frame| frame.inlined),
            "category": frames.column(|frame| frame.category),
            "subcategory": frames.same(0),
            "func": frames.column(|frame| frame.func),
            "innerWindowID": frames.same(0),
            "line": frames.column(|frame| frame.line),
            "column": frames.same(Value::Null),
        })
    }

    fn func_table(&self) -> Value {
        let funcs = &self.funcs;
        json!({
            "length": funcs.rows.len(),
            "name": funcs.column(|func| func.name),
            "fileName": funcs.column(|func| func.file),
            "isJS": funcs.same(false),
            "relevantForJS": funcs.same(false),
            "resource": funcs.same(-1),
            "lineNumber": funcs.same(Value::Null),
            "columnNumber": funcs.same(Value::Null),
        })
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

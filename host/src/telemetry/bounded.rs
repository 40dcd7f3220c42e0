//! Bounds the log: no line of this program or a library is written so often that it fills a disk.
//!
//! Guests can cause lines of libraries: an invalid request is a warning of `wasmtime-wasi-http`, and a guest can make
//! tens of thousands a second. Each place in the program may log a number of lines at once, and then at a rate. Lines
//! that are left out are counted and reported from time to time.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;
use tracing::callsite::Identifier;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::OptionalWriter;

use sexton_system::supervisor::{AfterPanic, Supervisor};

/// The number of lines that a place may log.
#[derive(Clone, Copy)]
struct Rate {
    /// The lines at once.
    burst: f64,
    per_second: f64,
}

/// The rate of the program's own places. It lets a line for each run of a busy host through, as long as that is no
/// flood.
const OWN: Rate = Rate { burst: 1000.0, per_second: 100.0 };

/// The rate of libraries' places. They have little to report, and guests decide how often.
const LIBRARY: Rate = Rate { burst: 50.0, per_second: 1.0 };

/// The prefix of the targets of the program's own places.
const OWN_TARGET: &str = "sexton";

/// The time from the first line that is left out to the report of their number.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// A writer of log lines that leaves some out.
pub(super) struct Bounded<M> {
    writer: M,
    places: Arc<Places>,
}

/// The places that have logged.
#[derive(Default)]
struct Places {
    places: Mutex<HashMap<Identifier, Place>>,
    /// Notified when a line is left out and no report is pending.
    left_out: Condvar,
}

/// A place that has logged.
struct Place {
    target: String,
    tokens: f64,
    at: Instant,
    left_out: u64,
}

impl Place {
    /// Returns whether the place may log now.
    fn admits(&mut self, rate: Rate, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * rate.per_second).min(rate.burst);
        self.at = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        } else {
            self.left_out += 1;
        }
        admitted
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        // The data is consistent after a panic, because every change is one number.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, line: &Metadata<'_>, now: Instant) -> bool {
        let rate = if line.target().starts_with(OWN_TARGET) { OWN } else { LIBRARY };
        let new = || Place { target: line.target().to_owned(), tokens: rate.burst, at: now, left_out: 0 };
        let mut places = self.lock();
        let place = places.entry(line.callsite()).or_insert_with(new);
        let admitted = place.admits(rate, now);
        if place.left_out == 1 {
            self.left_out.notify_one();
        }
        admitted
    }

    /// Returns how many lines were left out since the last call, by target.
    fn take(&self) -> Vec<(String, u64)> {
        let mut places = self.lock();
        let left_out = places.values_mut().filter(|place| place.left_out > 0);
        left_out.map(|place| (place.target.clone(), std::mem::take(&mut place.left_out))).collect()
    }

    /// Waits until a line is left out.
    fn wait(&self) {
        let nothing = |places: &mut HashMap<_, Place>| places.values().all(|place| place.left_out == 0);
        drop(self.left_out.wait_while(self.lock(), nothing));
    }
}

impl<M> Bounded<M> {
    pub(super) fn new(writer: M) -> Self {
        Self { writer, places: Arc::default() }
    }

    /// Reports left out lines on a thread of its own, because a line that is logged while another is being written
    /// would be mixed into that.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn tell(&self) -> std::io::Result<()> {
        let places = Arc::clone(&self.places);
        let told = Supervisor::of_process().thread("sexton-log", AfterPanic::Again, move || {
            loop {
                places.wait();
                std::thread::sleep(TOLD_AFTER); // lines that are left out meanwhile are told with the first
                for (target, lines) in places.take() {
                    tracing::warn!(log.target = %target, lines, "Left out {lines} more log lines like the last ones of `{target}`");
                }
            }
        });
        told.map(drop)
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Bounded<M> {
    type Writer = OptionalWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OptionalWriter::some(self.writer.make_writer())
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> Self::Writer {
        match self.places.admits(line, Instant::now()) {
            true => OptionalWriter::some(self.writer.make_writer_for(line)),
            false => OptionalWriter::none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the lines that `log` writes, and the numbers left out.
    fn written(log: impl FnOnce()) -> (String, Vec<(String, u64)>) {
        let text = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&text);
        let writer = Bounded::new(move || Kept(Arc::clone(&kept)));
        let places = Arc::clone(&writer.places);
        tracing::subscriber::with_default(tracing_subscriber::fmt().with_writer(writer).finish(), log);
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        (text, places.take())
    }

    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_library_that_floods_the_log_is_cut_and_others_are_not() {
        let (text, left_out) = written(|| {
            for _ in 0..10_000 {
                tracing::warn!(target: "library", "dropping error");
            }
            tracing::warn!(target: "library", "another");
            tracing::warn!(target: "sexton::machine", "own");
        });

        let flood = text.lines().filter(|line| line.contains("dropping error")).count();
        assert!((50..60).contains(&flood), "{flood} lines were written");
        assert_eq!(left_out, [("library".to_owned(), 10_000 - flood as u64)]);
        for word in ["another", "own"] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_place_of_the_program_itself_that_floods_the_log_is_cut_too_and_its_other_places_are_not() {
        let start = Instant::now();

        let (text, left_out) = written(|| {
            for _ in 0..100_000 {
                tracing::warn!(target: "sexton::machine::executor", "a run failed");
            }
            tracing::warn!(target: "sexton::machine::executor", "another place");
        });

        let flood = text.lines().filter(|line| line.contains("a run failed")).count();
        // The place could log some more lines while the test logged.
        let most = OWN.burst + OWN.per_second * start.elapsed().as_secs_f64();
        assert!(flood as f64 >= OWN.burst && flood as f64 <= most + 1.0, "{flood} lines were written");
        assert_eq!(left_out, [("sexton::machine::executor".to_owned(), 100_000 - flood as u64)]);
        assert!(text.contains("another place"));
    }

    #[test]
    fn a_place_that_was_cut_may_log_again_after_a_while() {
        let start = Instant::now();
        let mut place = Place { target: "library".to_owned(), tokens: 2.0, at: start, left_out: 0 };
        let rate = Rate { burst: 2.0, per_second: 1.0 };
        let mut admits = |ms| place.admits(rate, start + Duration::from_millis(ms));

        assert_eq!([admits(0), admits(0), admits(0)], [true, true, false]);
        assert_eq!([admits(900), admits(1100), admits(1200)], [false, true, false]);
        assert_eq!([admits(60_000), admits(60_000), admits(60_000)], [true, true, false]);
    }
}

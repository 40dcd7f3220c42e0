//! Writes the lines of the log to stderr, and never fails or blocks because of it.
//!
//! The reader of the log may go away (`| head`, a journal that restarts), stop reading (a pager), or have no room (a
//! full disk). The host then goes on without its log. A line that cannot be written is counted, and once lines can be
//! written again the first one tells how many were lost.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

/// The time that the first line waits for a reader that does not read. A busy reader catches up in less; all threads
/// that log wait for that time.
const PATIENCE: Duration = Duration::from_millis(100);

/// The bytes that a pipe takes without blocking once it is ready: POSIX's PIPE_BUF on Linux.
const PIECE: usize = 4096;

/// The lines that were lost since the process began.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Returns how many lines of the log could not be written since this process began.
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The output of lines, and the state of its reader.
#[derive(Debug)]
pub(super) struct Lines<T = Stderr> {
    json: bool,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    to: T,
    /// The lines that were lost and not reported yet.
    untold: u64,
    /// Whether the reader does not read, so that lines no longer wait for it.
    stuck: bool,
    /// Whether a line was begun and not ended.
    torn: bool,
}

/// An output of lines.
pub(super) trait LineSink {
    /// Returns whether a piece can be written within `patience` without blocking after that.
    fn is_ready(&mut self, patience: Duration) -> bool;
    /// Writes a piece.
    fn put(&mut self, piece: &[u8]) -> io::Result<()>;
}

/// The stderr of the process.
#[derive(Debug)]
pub(super) struct Stderr;

impl LineSink for Stderr {
    fn is_ready(&mut self, patience: Duration) -> bool {
        let stderr = io::stderr();
        let mut asked = [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)];
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.subsec_nanos().into() };
        match poll(&mut asked, Some(&patience)) {
            // A pipe without a reader is ready, and writing to it fails.
            Ok(ready) => ready > 0,
            // If the readiness cannot be queried, a write reports the error.
            Err(_) => true,
        }
    }

    fn put(&mut self, piece: &[u8]) -> io::Result<()> {
        io::stderr().write_all(piece)
    }
}

impl Lines {
    pub(super) fn new(json: bool) -> Self {
        Self::to(Stderr, json)
    }
}

impl<T: LineSink> Lines<T> {
    fn to(to: T, json: bool) -> Self {
        Self { json, state: Mutex::new(State { to, untold: 0, stuck: false, torn: false }) }
    }

    /// Writes a line, or counts it as lost.
    fn write(&self, line: &[u8]) {
        // A panic during a write tears a line at worst.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.untold > 0 {
            let told = self.lost_line_report(state.untold);
            if state.write(told.as_bytes()).is_ok() {
                state.untold = 0;
            }
        }
        if state.untold > 0 || state.write(line).is_err() {
            state.untold += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the line that reports the number of lost ones. It is not an event of `tracing`, because it is written
    /// during one.
    fn lost_line_report(&self, lost: u64) -> String {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let message = format!("{lost} line(s) of this log were lost, because they could not be written");
        match self.json {
            true => format!(
                "{{\"timestamp\":\"{now}\",\"level\":\"WARN\",\"lost_lines\":{lost},\"message\":\"{message}\"}}\n"
            ),
            false => format!("{now}  WARN {message} lost_lines={lost}\n"),
        }
    }
}

impl<T: LineSink> State<T> {
    fn write(&mut self, line: &[u8]) -> Result<(), ()> {
        if self.torn {
            self.put(b"\n")?;
            self.torn = false;
        }
        for (place, piece) in line.chunks(PIECE).enumerate() {
            if let Err(()) = self.put(piece) {
                self.torn |= place > 0;
                return Err(());
            }
        }
        Ok(())
    }

    fn put(&mut self, piece: &[u8]) -> Result<(), ()> {
        let patience = if self.stuck { Duration::ZERO } else { PATIENCE };
        self.stuck = !self.to.is_ready(patience);
        match self.stuck {
            true => Err(()),
            false => self.to.put(piece).map_err(drop),
        }
    }
}

/// A writer of one line at a time, because `tracing-subscriber` passes whole lines.
#[derive(Debug)]
pub(super) struct Line<'a>(&'a Lines);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that takes pieces while it exists and reads, and remembers the patience of each query.
    #[derive(Debug, Default)]
    struct Reader {
        gone: bool,
        stuck: bool,
        room: Option<usize>,
        got: String,
        asked: Vec<Duration>,
    }

    impl LineSink for Reader {
        fn is_ready(&mut self, patience: Duration) -> bool {
            self.asked.push(patience);
            !self.stuck && self.room != Some(0)
        }

        fn put(&mut self, piece: &[u8]) -> io::Result<()> {
            if self.gone {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.room = self.room.map(|pieces| pieces - 1);
            self.got.push_str(std::str::from_utf8(piece).unwrap());
            Ok(())
        }
    }

    fn lines(json: bool) -> Lines<Reader> {
        Lines::to(Reader::default(), json)
    }

    fn change(lines: &Lines<Reader>, change: impl FnOnce(&mut Reader)) {
        change(&mut lines.state.lock().unwrap().to);
    }

    fn got(lines: &Lines<Reader>) -> String {
        std::mem::take(&mut lines.state.lock().unwrap().to.got)
    }

    #[test]
    fn lines_without_a_reader_are_counted_and_reported_to_the_next_one() {
        let lines = lines(false);
        let before = lost_lines();
        change(&lines, |reader| reader.gone = true);

        lines.write(b"one\n");
        lines.write(b"two\n");
        assert_eq!((got(&lines), lost_lines() >= before + 2), (String::new(), true));
        change(&lines, |reader| reader.gone = false);
        lines.write(b"three\n");
        lines.write(b"four\n");

        let said = got(&lines);
        let mut said = said.lines();
        let told = said.next().unwrap();
        assert!(
            told.ends_with(" WARN 2 line(s) of this log were lost, because they could not be written lost_lines=2"),
            "{told}"
        );
        assert_eq!(said.collect::<Vec<_>>(), ["three", "four"]);
    }

    #[test]
    fn lost_lines_of_a_json_log_are_reported_as_json() {
        let lines = lines(true);
        change(&lines, |reader| reader.gone = true);
        lines.write(b"{}\n");
        change(&lines, |reader| reader.gone = false);

        lines.write(b"{}\n");

        let said = got(&lines);
        let told: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
        assert_eq!((&told["lost_lines"], &told["level"]), (&1.into(), &"WARN".into()));
    }

    #[test]
    fn a_reader_that_does_not_read_is_waited_for_once() {
        let lines = lines(false);
        change(&lines, |reader| reader.stuck = true);

        for _ in 0..5 {
            lines.write(b"lost\n");
        }

        change(&lines, |reader| {
            assert_eq!(reader.asked[0], PATIENCE);
            assert!(reader.asked[1..].iter().all(Duration::is_zero), "{:?}", reader.asked);
            (reader.stuck, reader.got) = (false, String::new());
        });
        lines.write(b"again\n");
        assert!(got(&lines).ends_with("lost_lines=5\nagain\n"));
    }

    #[test]
    fn a_long_line_that_was_cut_off_is_ended_before_the_next() {
        let lines = lines(false);
        let long = "x".repeat(3 * PIECE);
        change(&lines, |reader| reader.room = Some(2));

        lines.write(format!("{long}\n").as_bytes());
        change(&lines, |reader| reader.room = None);
        lines.write(b"next\n");

        let said = got(&lines);
        assert!(said.starts_with(&format!("{}\n", "x".repeat(2 * PIECE))), "{}", &said[2 * PIECE..]);
        assert!(said.ends_with("lost_lines=1\nnext\n"));
    }
}

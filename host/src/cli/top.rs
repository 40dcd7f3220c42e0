//! Implements `top`: prints the attempts that are under way, once or until the user ends it.

use std::collections::HashMap;
use std::io::{IsTerminal, Read};
use std::task::Poll;
use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::TopArgs;
use super::client::{Client, decode};
use super::error::CliError;
use super::screen::{Screen, one_line};
use super::stack::waits;
use crate::http::api_types::approximate;
use crate::http::api_types::live::{Live, LiveAttempt, Others};
use sexton_domain::run::RunId;

/// The time for which fuel is counted before it is printed once.
const ONCE: Duration = Duration::from_millis(500);

/// The time to wait for a key before the screen is drawn again, in tenths of a second.
const REDRAW: u8 = 10;

/// Ctrl-C, if the terminal sends it as a byte.
const CTRL_C: u8 = 3;

const PATH: &str = "/v1/live";

pub(super) fn top(client: &Client, args: TopArgs, screen: &Screen) -> Result<(), CliError> {
    if args.list.json {
        return screen.json(&client.text(PATH)?);
    }
    let mut rates = Rates::default();
    if !args.once && screen.terminal {
        return watch(client, &mut rates, screen);
    }
    rates.of(&look(client)?);
    std::thread::sleep(ONCE);
    let live = look(client)?;
    let rows = rates.of(&live);
    screen.text(&format!("{}{}", paused_line(&live), table_text(&rows, live.others, screen)))
}

fn look(client: &Client) -> Result<Live, CliError> {
    decode(&client.text(PATH)?)
}

/// The fuel of each attempt at the last look, to compute how fast it is used.
#[derive(Debug, Default)]
struct Rates(HashMap<(RunId, u32), (u64, u64)>);

impl Rates {
    /// Returns each attempt with the fuel it uses in a second, the fastest first.
    fn of<'a>(&mut self, live: &'a Live) -> Vec<(u64, &'a LiveAttempt)> {
        let mut seen = HashMap::new();
        let rate = |attempt: &'a LiveAttempt| {
            let key = (attempt.run, attempt.attempt);
            let (age, fuel) = self.0.get(&key).copied().unwrap_or_default();
            seen.insert(key, (attempt.age_ms, attempt.fuel));
            let (age, fuel) = (attempt.age_ms.saturating_sub(age), attempt.fuel.saturating_sub(fuel));
            (fuel.saturating_mul(1000) / age.max(1), attempt)
        };
        let mut rows: Vec<_> = live.attempts.iter().map(rate).collect();
        self.0 = seen;
        rows.sort_by_key(|(rate, attempt)| (std::cmp::Reverse(*rate), attempt.run));
        rows
    }
}

/// Returns a line that says that nothing starts, if that is so.
fn paused_line(live: &Live) -> String {
    match live.paused_at {
        Some(since) => format!("Paused by a signal since {since}: nothing starts here.\n"),
        None if live.draining => "Draining: this host takes no runs.\n".to_owned(),
        None => String::new(),
    }
}

fn table_text(rows: &[(u64, &LiveAttempt)], others: Others, screen: &Screen) -> String {
    let others = match others.attempts {
        0 => String::new(),
        1 => format!("Of other tenants: 1 attempt, {} of processor time.\n", used(others.guest_us)),
        many => format!("Of other tenants: {many} attempts, {} of processor time.\n", used(others.guest_us)),
    };
    match rows.is_empty() {
        true if others.is_empty() => "Nothing is running.\n".to_owned(),
        true => format!("Nothing of this tenant is running.\n{others}"),
        false => format!("{}{others}", table(rows, screen)),
    }
}

fn used(guest_us: u64) -> String {
    approximate(Duration::from_micros(guest_us))
}

fn table(rows: &[(u64, &LiveAttempt)], screen: &Screen) -> String {
    let columns =
        ["RUN", "TENANT", "TASK", "AGE", "LANE", "FUEL/S", "FUEL", "MEMORY", "IN GUEST", "CALLS", "LOCK WAIT", "DOING"];
    let mut table = screen.table(&columns, "DOING");
    for (rate, attempt) in rows {
        let doing = attempt.waiting.as_ref().map_or("computes".to_owned(), waits);
        table.add_row(vec![
            Cell::new(attempt.run),
            Cell::new(&attempt.tenant),
            Cell::new(&attempt.task),
            Cell::new(approximate(Duration::from_millis(attempt.age_ms))),
            Cell::new(one_line(&attempt.lane)),
            Cell::new(short(*rate)).set_alignment(CellAlignment::Right),
            Cell::new(short(attempt.fuel)).set_alignment(CellAlignment::Right),
            Cell::new(bytesize::ByteSize(attempt.memory).display().iec()),
            Cell::new(used(attempt.guest_us)),
            Cell::new(short(attempt.host_calls)).set_alignment(CellAlignment::Right),
            Cell::new(approximate(Duration::from_millis(attempt.lock_wait_ms))),
            if attempt.ending { screen.alarm(&format!("to end; {doing}")) } else { Cell::new(doing) },
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

/// Formats a count in about four characters, because people compare the magnitudes.
fn short(number: u64) -> String {
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1000, "k")];
    match units.into_iter().find(|(unit, _)| number >= *unit) {
        Some((unit, sign)) if number < 10 * unit => {
            format!("{}.{}{sign}", number / unit, number % unit * 10 / unit)
        }
        Some((unit, sign)) => format!("{}{sign}", number / unit),
        None => number.to_string(),
    }
}

/// Redraws until `q` or Ctrl-C.
fn watch(client: &Client, rates: &mut Rates, screen: &Screen) -> Result<(), CliError> {
    let keys = Keys::take(screen)?;
    loop {
        let live = look(client)?;
        let text = table_text(&rates.of(&live), live.others, screen);
        let heading = format!("{}{} under way; q ends\n\n", paused_line(&live), live.attempts.len());
        screen.text(&frame(&format!("{heading}{text}"), height()))?;
        if keys.end() {
            return Ok(());
        }
    }
}

/// Returns the rows of the terminal, or no limit if it does not report them.
fn height() -> usize {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_row > 1 => usize::from(size.ws_row),
        _ => usize::MAX,
    }
}

/// Returns the sequence that draws `text` over the previous frame, as much of it as fits. Clearing first would flicker.
fn frame(text: &str, height: usize) -> String {
    let lines: Vec<&str> = text.lines().take(height.saturating_sub(1)).collect();
    format!("\u{1b}[H{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\n"))
}

/// Holds the keyboard in raw mode and an alternate screen. Dropping it restores both.
struct Keys<'a> {
    /// The previous state of the terminal. `None` if there is no keyboard: nothing was changed, and only a signal ends
    /// the command.
    before: Option<Termios>,
    screen: &'a Screen,
}

impl<'a> Keys<'a> {
    fn take(screen: &'a Screen) -> Result<Self, CliError> {
        if !std::io::stdin().is_terminal() {
            screen.text("\u{1b}[2J")?;
            return Ok(Self { before: None, screen });
        }
        let failed = |e: std::io::Error| CliError::failed(format!("cannot use the terminal: {e}"));
        let before = tcgetattr(std::io::stdin()).map_err(|e| failed(e.into()))?;
        let mut keys = before.clone();
        // Ctrl-C is a key, too, because a signal would leave the terminal in its current state.
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = REDRAW;
        tcsetattr(std::io::stdin(), OptionalActions::Now, &keys).map_err(|e| failed(e.into()))?;
        let keys = Self { before: Some(before), screen };
        keys.restore_on_signals().map_err(failed)?;
        screen.text("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(keys)
    }

    /// Restores the terminal also if a signal ends the command, which drops nothing. A terminal that shows no keys is
    /// hard to use.
    fn restore_on_signals(&self) -> std::io::Result<()> {
        let Some(before) = self.before.clone() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        // From here on the signals no longer end the process, so none of them may be missed.
        let signals = {
            let _on = runtime.enter();
            [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt(), SignalKind::quit()]
                .into_iter()
                .map(|kind| Ok((signal(kind)?, kind)))
                .collect::<std::io::Result<Vec<_>>>()?
        };
        let screen = self.screen.clone();
        std::thread::Builder::new().name("sexton-signals".into()).spawn(move || {
            let kind = runtime.block_on(first(signals));
            restore_terminal(&before, &screen);
            // The exit code is the one that a shell reports for a program that a signal has ended.
            std::process::exit(128 + kind.as_raw_value());
        })?;
        Ok(())
    }

    /// Waits for a key, or until the next redraw. Returns whether to end.
    fn end(&self) -> bool {
        if self.before.is_none() {
            std::thread::sleep(Duration::from_millis(u64::from(REDRAW) * 100));
            return false;
        }
        let mut keys = [0; 16];
        match std::io::stdin().lock().read(&mut keys) {
            Ok(count) => keys[..count].iter().any(|key| matches!(*key, b'q' | b'Q' | CTRL_C)),
            Err(e) => e.kind() != std::io::ErrorKind::Interrupted,
        }
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            restore_terminal(before, self.screen);
        }
    }
}

fn restore_terminal(before: &Termios, screen: &Screen) {
    // If the terminal is gone, there is nothing to restore.
    let _ = screen.text("\u{1b}[?25h\u{1b}[?1049l");
    let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
}

/// Returns the first signal.
async fn first(mut signals: Vec<(Signal, SignalKind)>) -> SignalKind {
    std::future::poll_fn(|cx| {
        let came = signals.iter_mut().find_map(|(signal, kind)| signal.poll_recv(cx).is_ready().then_some(*kind));
        came.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Rates, frame, short, table_text};
    use crate::cli::screen::Screen;
    use crate::http::api_types::live::{Live, Others};

    fn live(age: u64, fuel: &[u64]) -> Live {
        let attempt = |(run, fuel): (usize, &u64)| {
            json!({
                "run": run + 1, "task": "probe", "tenant": "default", "attempt": 1, "age_ms": age, "lane": "spent",
                "fuel": fuel, "memory": 1 << 20, "guest_us": 1_500_000, "host_calls": 3, "lock_wait_ms": 0,
                "bytes_in": 0, "bytes_out": 0, "lookers": 0, "ending": false,
                "waiting": { "call": "locks.acquire", "what": "\u{1b}[2J\nx", "for_ms": 2000 },
            })
        };
        let attempts: Vec<_> = fuel.iter().enumerate().map(attempt).collect();
        serde_json::from_value(json!({ "attempts": attempts })).expect("the API's own shape")
    }

    #[test]
    fn attempts_are_in_the_order_of_the_fuel_they_used_since_the_last_look() {
        let mut rates = Rates::default();
        let (first, second) = (live(1000, &[9_000_000, 1000]), live(1500, &[9_000_500, 3_001_000]));

        let runs = |rows: Vec<(u64, &crate::http::api_types::live::LiveAttempt)>| {
            rows.into_iter().map(|(rate, attempt)| (attempt.run.0, rate)).collect::<Vec<_>>()
        };

        assert_eq!(runs(rates.of(&first)), [(1, 9_000_000), (2, 1000)], "of their whole lives, at the first look");
        assert_eq!(runs(rates.of(&second)), [(2, 6_000_000), (1, 1000)]);
    }

    #[test]
    fn a_guest_cannot_draw_on_the_screen() {
        let live = live(1000, &[5]);
        let shown = table_text(&Rates::default().of(&live), Others::default(), &Screen::plain());

        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert_eq!(shown.lines().count(), 2, "{shown}");
        assert!(shown.contains("has been waiting in locks.acquire for \\u001b[2J\\nx for 2.0s"), "{shown}");
    }

    #[test]
    fn a_host_that_is_busy_for_other_tenants_does_not_look_idle() {
        let others = Others { attempts: 3, guest_us: 12_000_000 };
        let shown = |fuel: &[u64]| table_text(&Rates::default().of(&live(1000, fuel)), others, &Screen::plain());

        let line = "Of other tenants: 3 attempts, 12s of processor time.\n";
        assert_eq!(shown(&[]), format!("Nothing of this tenant is running.\n{line}"));
        assert!(shown(&[5]).ends_with(line), "{}", shown(&[5]));
    }

    #[test]
    fn no_more_is_drawn_than_the_screen_has_room_for() {
        let text = "a\nb\nc\nd\n";
        assert_eq!(frame(text, 3), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\u{1b}[J");
        assert!(frame(text, usize::MAX).contains('d'));
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0, 999, 1000, 12_345, 1_250_000, 50_000_000_000].map(short);
        assert_eq!(shown, ["0", "999", "1.0k", "12k", "1.2M", "50G"]);
    }
}

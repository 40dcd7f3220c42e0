//! Prints the attempts of a run for `show`: repeated ones once, and of a stack the frames that the author can change.

use std::time::Duration;

use crate::cli::logs::line_text;
use crate::cli::screen::{Screen, one_line, safe};
use crate::http::api_types::approximate;
use crate::http::api_types::attempts::{AttemptShape, CappedTextShape, LogEvent};
use sexton_domain::lengths;
use sexton_runtime::attempt::LogLine;
use sexton_runtime::runtime::is_of_author;

use super::table;

/// The lines of an attempt's log, stdout and stderr that are shown, from the end.
const TAIL: usize = 20;

/// The characters of a line that are shown unless all are requested: a few lines of a terminal.
const LONGEST_LINE: usize = 240;

/// The frames that are shown of a stack without a frame of the author's.
const FEW_FRAMES: usize = 5;

/// Writes the attempts; those with the same end as one, unless `full`.
pub(super) fn write(text: &mut String, attempts: &[AttemptShape], full: bool, screen: &Screen) {
    let mut rest = attempts;
    while let Some((first, after)) = rest.split_first() {
        let alike = if full { 0 } else { after.iter().take_while(|next| are_alike(first, next)).count() };
        let shown = &rest[alike];
        match alike {
            0 => {}
            1 => text.push_str(&format!("\nAttempt {}: the same as attempt {}\n", first.attempt, shown.attempt)),
            _ => {
                let (from, to) = (first.attempt, rest[alike - 1].attempt);
                text.push_str(&format!("\nAttempts {from} to {to}: the same as attempt {}\n", shown.attempt));
            }
        }
        attempt(text, shown, full, screen);
        rest = &rest[alike + 1..];
    }
    if !full && text.contains('…') {
        text.push_str("\n`--full` shows all of it.\n");
    }
}

/// Returns whether both attempts would print the same.
fn are_alike(one: &AttemptShape, other: &AttemptShape) -> bool {
    one.outcome == other.outcome && one.message == other.message && one.backtrace == other.backtrace
}

fn attempt(text: &mut String, attempt: &AttemptShape, full: bool, screen: &Screen) {
    let accounts = &attempt.accounts;
    let took = approximate(attempt.ended_at.since(attempt.started_at));
    let about = |us| lengths::about(Duration::from_micros(us));
    text.push_str(&format!("\nAttempt {}: {} after {took}\n", attempt.attempt, attempt.outcome));
    table(
        text,
        &[
            ("host", one_line(&attempt.host)),
            ("started", screen.instant(attempt.started_at)),
            ("ended", screen.instant(attempt.ended_at)),
            ("fuel", accounts.fuel.to_string()),
            ("peak memory", bytesize::ByteSize(accounts.peak_memory).display().iec().to_string()),
            ("processor", about(accounts.guest_us)),
            ("in host", format!("{} ({} calls)", about(accounts.host_us), accounts.host_calls)),
            ("lock wait", about(accounts.lock_wait_us)),
            ("queued", about(accounts.queued_us)),
            ("bytes", format!("{} in, {} out", accounts.bytes_in, accounts.bytes_out)),
        ],
    );
    if let Some(message) = &attempt.message {
        section(text, "message", safe(message).lines(), full);
    }
    if let Some(stack) = attempt.backtrace.as_deref().filter(|stack| !stack.is_empty()) {
        let stack = safe(stack);
        let frames = if full { stack.lines().map(str::to_owned).collect() } else { folded(&stack) };
        section(text, "backtrace", frames.iter().map(String::as_str), full);
    }
    let lines = attempt.log.text.lines().map(|line| log_line(line, screen));
    let log = CappedTextShape { text: lines.collect(), cut: attempt.log.cut };
    // These lines are escaped already, one by one.
    tail(text, "log", &log, full, str::to_owned);
    // The log contains the printed lines, unless it was cut.
    if full || log.cut || log.text.is_empty() {
        tail(text, "stdout", &attempt.stdout, full, |line| safe(line).into_owned());
        tail(text, "stderr", &attempt.stderr, full, |line| safe(line).into_owned());
    }
}

/// Returns the frames of a stack that the author can change, and the number of the others.
fn folded(stack: &str) -> Vec<String> {
    let frames: Vec<&str> = stack.lines().collect();
    if !frames.iter().any(|frame| is_of_author(frame)) {
        let mut few: Vec<String> = frames.iter().take(FEW_FRAMES).map(|frame| (*frame).to_owned()).collect();
        if frames.len() > FEW_FRAMES {
            few.push(format!("… {} further frames", frames.len() - FEW_FRAMES));
        }
        return few;
    }
    let mut shown = Vec::new();
    let mut rest = frames.as_slice();
    while !rest.is_empty() {
        let foreign = rest.iter().take_while(|frame| !is_of_author(frame)).count();
        match foreign {
            0 => {
                let own = rest.iter().take_while(|frame| is_of_author(frame)).count();
                shown.extend(rest[..own].iter().map(|frame| (*frame).to_owned()));
                rest = &rest[own..];
                continue;
            }
            1 => shown.push("… 1 frame that is not the task's own".to_owned()),
            many => shown.push(format!("… {many} frames that are not the task's own")),
        }
        rest = &rest[foreign..];
    }
    shown
}

fn section<'a>(text: &mut String, name: &str, lines: impl Iterator<Item = &'a str>, full: bool) {
    text.push_str(&format!("  {name}\n"));
    for line in lines {
        text.push_str(&format!("    {}\n", bounded(line, full)));
    }
}

/// Shortens `line` to the limit.
fn bounded(line: &str, full: bool) -> String {
    match line.char_indices().nth(LONGEST_LINE).filter(|_| !full) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn log_line(json: &str, screen: &Screen) -> String {
    match serde_json::from_str::<LogLine>(json) {
        Ok(LogLine { at, level, message }) => line_text(&LogEvent::Line { attempt: 0, at, level, message }, screen),
        Err(_) => format!("{}\n", safe(json)),
    }
}

/// Writes the end of the stored text, and whether that is all.
fn tail(text: &mut String, name: &str, kept: &CappedTextShape, full: bool, show: impl Fn(&str) -> String) {
    let lines: Vec<&str> = kept.text.lines().collect();
    if lines.is_empty() && !kept.cut {
        return;
    }
    let from = if full { 0 } else { lines.len().saturating_sub(TAIL) };
    let before = if from > 0 { format!(" (… the last {TAIL} of {} lines)", lines.len()) } else { String::new() };
    let cut = if kept.cut { ", cut at the task's limit" } else { "" };
    text.push_str(&format!("  {name}{before}{cut}\n"));
    for line in &lines[from..] {
        text.push_str(&format!("    {}\n", bounded(&show(line), full)));
    }
}

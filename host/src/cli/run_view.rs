//! `show`: a run and all that is known of its attempts.

use super::args::ShowArgs;
use super::client::{Client, decode};
use super::error::CliError;
use super::lists::indented;
use super::logs::line_text;
use super::screen::{Screen, one_line, safe};
use crate::http::shapes::{LogEvent, RunDetail, rough};
use crate::run::Kept;
use crate::runtime::LogLine;
use crate::store::AttemptInfo;

/// Lines of an attempt's log, stdout and stderr that are shown, from the end.
const TAIL: usize = 20;

pub(super) fn show(client: &Client, args: &ShowArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text(&format!("/v1/runs/{}", args.run))?;
    if args.list.json {
        return screen.json(&json);
    }
    screen.text(&text(&decode(&json)?, screen))
}

fn text(detail: &RunDetail, screen: &Screen) -> String {
    let run = &detail.run;
    let mut rows = vec![
        ("task", run.task.to_string()),
        ("state", run.state.to_string()),
        ("cause", run.cause.as_str().to_owned()),
        ("due", screen.instant(run.due_at)),
        ("made", screen.instant(run.created_at)),
    ];
    if !run.state.is_over() && run.claimed_at.is_none() || run.run_at > screen.now {
        rows.push(("starts", screen.instant(run.run_at)));
    }
    rows.extend(run.claimed_at.map(|at| ("claimed", screen.instant(at))));
    rows.extend(run.ended_at.map(|at| ("ended", screen.instant(at))));
    rows.extend(run.host.as_deref().map(|host| ("host", one_line(host))));
    rows.extend(run.parent.map(|parent| ("parent", format!("run {parent}"))));
    rows.push(("attempt", format!("{} ({} failed)", run.attempt, run.failures)));
    rows.extend(run.outcome.map(|outcome| ("outcome", outcome.to_string())));
    rows.extend(run.note.as_deref().map(|note| ("note", one_line(note))));
    rows.extend(run.why.as_deref().map(|why| ("waits", one_line(why))));
    rows.extend(run.note.as_deref().map(|note| ("note", one_line(note))));
    rows.extend(run.message.as_deref().map(|message| ("said", one_line(message))));
    let mut text = format!("Run {}\n", run.id);
    table(&mut text, &rows);
    for attempt in &detail.attempts {
        attempt_text(&mut text, attempt, screen);
    }
    text
}

fn table(text: &mut String, rows: &[(&str, String)]) {
    for (name, value) in rows {
        text.push_str(&format!("  {name:<12}{value}\n"));
    }
}

fn attempt_text(text: &mut String, attempt: &AttemptInfo, screen: &Screen) {
    let report = &attempt.report;
    let accounts = &report.accounts;
    let took = rough(report.ended_at.since(report.started_at));
    text.push_str(&format!("\nAttempt {}: {} after {took}\n", attempt.attempt, report.outcome));
    table(
        text,
        &[
            ("host", one_line(&attempt.host)),
            ("started", screen.instant(report.started_at)),
            ("ended", screen.instant(report.ended_at)),
            ("fuel", accounts.fuel.to_string()),
            ("peak memory", bytesize::ByteSize(accounts.peak_memory).display().iec().to_string()),
            ("processor", humantime::format_duration(accounts.guest).to_string()),
            ("in host", format!("{} ({} calls)", humantime::format_duration(accounts.host), accounts.host_calls)),
            ("lock wait", humantime::format_duration(accounts.lock_wait).to_string()),
            ("queued", humantime::format_duration(accounts.queued).to_string()),
            ("bytes", format!("{} in, {} out", accounts.bytes_in, accounts.bytes_out)),
        ],
    );
    for (name, said) in [("said", &report.message), ("backtrace", &report.backtrace)] {
        if let Some(said) = said {
            text.push_str(&format!("  {name}\n{}\n", indented(&indented(said))));
        }
    }
    let log = Kept { text: report.log.text.lines().map(|line| log_line(line, screen)).collect(), cut: report.log.cut };
    // These lines are made harmless already, one by one.
    tail(text, "log", &log, str::to_owned);
    tail(text, "stdout", &report.stdout, |line| safe(line).into_owned());
    tail(text, "stderr", &report.stderr, |line| safe(line).into_owned());
}

fn log_line(json: &str, screen: &Screen) -> String {
    match serde_json::from_str::<LogLine>(json) {
        Ok(LogLine { at, level, message }) => line_text(&LogEvent::Line { attempt: 0, at, level, message }, screen),
        Err(_) => format!("{}\n", safe(json)),
    }
}

/// The end of what was kept, and whether that is all.
fn tail(text: &mut String, name: &str, kept: &Kept, show: impl Fn(&str) -> String) {
    let lines: Vec<&str> = kept.text.lines().collect();
    if lines.is_empty() && !kept.cut {
        return;
    }
    let from = lines.len().saturating_sub(TAIL);
    let before = if from > 0 { format!(" (the last {TAIL} of {} lines)", lines.len()) } else { String::new() };
    let cut = if kept.cut { ", cut at the task's limit" } else { "" };
    text.push_str(&format!("  {name}{before}{cut}\n"));
    for line in &lines[from..] {
        text.push_str(&format!("    {}\n", show(line)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Screen, text};
    use crate::http::shapes::RunDetail;

    #[test]
    fn a_run_is_shown_with_what_its_guest_said_made_harmless() {
        let attack = "\u{1b}[2J\u{1b}]0;title\u{7}";
        let at = "2026-11-22T10:00:00.000Z";
        let line = json!({ "at": at, "level": "info", "message": attack });
        let detail = json!({
            "run": {
                "id": 17, "tenant": "default", "task": "hang", "state": "failed", "due_at": at, "run_at": at,
                "created_at": at, "claimed_at": at, "ended_at": "2026-11-22T10:00:02.000Z", "cause": "schedule",
                "attempt": 1, "failures": 1, "parent": null, "host": "box", "outcome": "timed-out", "message": attack,
            },
            "attempts": [{
                "attempt": 1, "host": "box", "outcome": "timed-out", "started_at": at,
                "ended_at": "2026-11-22T10:00:02.000Z", "message": attack, "backtrace": format!("0: {attack}\n1: run"),
                "accounts": { "fuel": 5, "peak_memory": 1 << 20, "guest_us": 2_000_000, "host_us": 10, "host_calls": 3 },
                "log": { "text": format!("{line}\n"), "cut": true }, "stdout": { "text": attack, "cut": false },
                "stderr": { "text": "", "cut": false },
            }],
        });
        let detail: RunDetail = serde_json::from_value(detail).expect("the API's own shape");
        let screen = Screen::plain();
        let shown = text(&detail, &screen);
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        for expected in [
            "Run 17\n",
            "timed-out after 2s",
            "peak memory 1.0 MiB",
            "cut at the task's limit",
            "    1: run",
            "stdout\n",
        ] {
            assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
        }
        assert!(!shown.contains("stderr"), "what is empty is left out");
    }
}

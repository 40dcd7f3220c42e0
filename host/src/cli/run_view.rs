//! Implements `show`: a run and everything known about its attempts.

mod attempts;

use super::args::{RunOrTask, ShowArgs};
use super::client::{Client, decode};
use super::error::{CliError, Exit};
use super::lists::labels;
use super::logs::latest;
use super::screen::{Screen, eprint_line, one_line};
use crate::http::api_types::inputs::{InputKind, InputShape};
use crate::http::api_types::runs::{ChildShape, RunDetail};

pub(super) fn show(client: &Client, args: &ShowArgs, screen: &Screen) -> Result<(), CliError> {
    let run = match &args.what {
        RunOrTask::Run(run) => *run,
        RunOrTask::Task(task) => {
            let latest = latest(client, task)?;
            if let Some(waiting) = latest.waiting {
                eprint_line(&format!("note: {waiting}"));
            }
            let none = || CliError::new(Exit::NotFound, format!("no run of `{task}` that has begun is stored"));
            latest.begun.ok_or_else(none)?.id
        }
    };
    let json = client.text(&format!("/v1/runs/{run}"))?;
    if args.list.json {
        return screen.json(&json);
    }
    screen.text(&text(&decode(&json)?, args.full, screen))
}

fn text(detail: &RunDetail, full: bool, screen: &Screen) -> String {
    let run = &detail.run;
    let mut rows = vec![
        ("task", run.key().to_string()),
        ("state", run.state.to_string()),
        ("cause", run.cause.as_str().to_owned()),
        ("due", screen.instant(run.due_at)),
        ("created", screen.instant(run.created_at)),
    ];
    rows.extend(run.key.as_ref().map(|key| ("schedule", key.to_string())));
    rows.extend(run.chain.as_ref().map(|chain| ("chain", chain.to_string())));
    rows.extend((!run.labels.is_empty()).then(|| ("labels", labels(&run.labels))));
    if !run.state.is_over() && run.claimed_at.is_none() || run.run_at > screen.now {
        rows.push(("starts", screen.instant(run.run_at)));
    }
    rows.extend(run.claimed_at.map(|at| ("claimed", screen.instant(at))));
    rows.extend(run.ended_at.map(|at| ("ended", screen.instant(at))));
    rows.extend(run.host.as_deref().map(|host| ("host", one_line(host))));
    rows.extend(run.parent.map(|parent| {
        let how = if run.reruns.is_some() { ", which this one repeats" } else { "" };
        ("parent", format!("run {parent}{how}"))
    }));
    rows.push(("attempt", format!("{} ({} failed)", run.attempt, run.failures)));
    rows.extend(run.outcome.map(|outcome| ("outcome", outcome.to_string())));
    rows.extend(run.why.as_deref().map(|why| ("waits", one_line(why))));
    rows.extend(run.note.as_deref().map(|note| ("note", one_line(note))));
    // The last attempt has the message in full.
    let said = run.message.as_deref().filter(|_| detail.attempts.is_empty());
    rows.extend(said.map(|message| ("message", one_line(message))));
    rows.push(("input", input(&detail.input, full)));
    let mut text = format!("Run {}\n", run.id);
    table(&mut text, &rows);
    children(&mut text, detail, full);
    attempts::write(&mut text, &detail.attempts, full, screen);
    text
}

/// Returns the input of the run on one line.
fn input(input: &InputShape, full: bool) -> String {
    let bytes = match input.bytes {
        0 => return "none".to_owned(),
        1 => "1 byte".to_owned(),
        bytes => format!("{bytes} bytes"),
    };
    if let Some(digest) = input.sha256.as_deref().filter(|_| input.kind == Some(InputKind::Binary)) {
        return format!("binary ({bytes}, SHA-256 {})", one_line(digest));
    }
    let json = input.json.as_ref().map(|json| on_one_line(json.get()));
    let shown = json.as_deref().or(input.text.as_deref()).map(|text| match full {
        true => sexton_system::harmless::line(text).into_owned(),
        false => one_line(text),
    });
    shown.map_or(bytes.clone(), |shown| format!("{shown} ({bytes})"))
}

/// Returns JSON without the blanks between its parts. Everything else stays, so that no number loses a digit.
fn on_one_line(json: &str) -> String {
    let (mut in_text, mut escaped) = (false, false);
    let keeps = |c: &char| {
        let was_escaped = escaped;
        escaped = in_text && !was_escaped && *c == '\\';
        in_text ^= *c == '"' && !was_escaped;
        in_text || !c.is_ascii_whitespace()
    };
    json.chars().filter(keeps).collect()
}

/// The runs that came of a run that are shown unless all are requested.
const CHILDREN: usize = 10;

fn children(text: &mut String, detail: &RunDetail, full: bool) {
    if detail.children.is_empty() {
        return;
    }
    text.push_str("\nRuns that came of it\n");
    let shown = if full { detail.children.len() } else { CHILDREN.min(detail.children.len()) };
    for ChildShape { run, task, state, kind, .. } in &detail.children[..shown] {
        text.push_str(&format!("  run {run} of {task}: {}, {state}\n", kind.as_str()));
    }
    match detail.children.len() - shown {
        0 if detail.children_cut => text.push_str("  … and more\n"),
        0 => {}
        more => text.push_str(&format!("  … {more}{} more\n", if detail.children_cut { " and" } else { "" })),
    }
}

fn table(text: &mut String, rows: &[(&str, String)]) {
    for (name, value) in rows {
        text.push_str(&format!("  {name:<12}{value}\n"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{InputShape, Screen, text};
    use crate::http::api_types::runs::RunDetail;

    const AT: &str = "2026-11-22T10:00:00.000Z";

    fn detail(attempts: &serde_json::Value, attack: &str) -> RunDetail {
        let detail = json!({
            "run": {
                "id": 17, "tenant": "default", "task": "hang", "state": "failed", "due_at": AT, "run_at": AT,
                "created_at": AT, "claimed_at": AT, "ended_at": "2026-11-22T10:00:02.000Z", "cause": "schedule",
                "attempt": 1, "failures": 1, "parent": null, "host": "box", "outcome": "timed-out", "message": attack,
                "note": "past its limits",
            },
            "attempts": attempts,
            "input": { "bytes": 14, "text": "{\"name\":\"Ada\"}", "cut": false },
        });
        serde_json::from_value(detail).expect("the API's own shape")
    }

    fn attempt(n: u32, message: &str, backtrace: &str, log: &str) -> serde_json::Value {
        json!({
            "attempt": n, "host": "box", "outcome": "timed-out", "started_at": AT,
            "ended_at": "2026-11-22T10:00:02.000Z", "message": message, "backtrace": backtrace,
            "accounts": { "fuel": 5, "peak_memory": 1 << 20, "guest_us": 2_000_000, "host_us": 10, "host_calls": 3 },
            "log": { "text": log, "cut": !log.is_empty() }, "stdout": { "text": message, "cut": false },
            "stderr": { "text": "", "cut": false },
        })
    }

    #[test]
    fn a_run_is_shown_with_its_guests_text_escaped() {
        let attack = "\u{1b}[2J\u{1b}]0;title\u{7}";
        let line = json!({ "at": AT, "level": "info", "message": attack });
        let attempts = json!([attempt(1, attack, &format!("0: {attack}\n1: run"), &format!("{line}\n"))]);

        let shown = text(&detail(&attempts, attack), false, &Screen::plain());

        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        for expected in [
            "Run 17\n",
            "timed-out after 2s",
            "peak memory 1.0 MiB",
            "cut at the task's limit",
            "    1: run",
            "stdout\n",
            "input       {\"name\":\"Ada\"} (14 bytes)\n",
        ] {
            assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
        }
        assert!(!shown.contains("stderr"), "what is empty is left out");
        assert_eq!(shown.matches("past its limits").count(), 1, "the note is shown once:\n{shown}");
    }

    #[test]
    fn an_input_is_shown_by_what_it_is() {
        let shown = |bytes: &[u8]| {
            let mut detail = detail(&json!([]), "");
            detail.input = InputShape::of(bytes);
            let text = text(&detail, false, &Screen::plain());
            text.lines().find_map(|line| line.strip_prefix("  input       ")).expect("an input").to_owned()
        };

        assert_eq!(
            shown(b"{\n  \"name\": \"Ada \\\" L\",\n  \"n\": [1, 2]\n}"),
            r#"{"name":"Ada \" L","n":[1,2]} (39 bytes)"#
        );
        assert_eq!(shown(b"two\nlines"), "two\\nlines (9 bytes)");
        assert_eq!(shown(b"").as_str(), "none");
        let binary = shown(b"\0\xff");
        assert!(binary.starts_with("binary (2 bytes, SHA-256 06eb7d6a") && binary.len() > 80, "{binary}");
    }

    #[test]
    fn the_runs_that_came_of_a_run_are_shown_and_of_many_the_first() {
        let child = |run| json!({"run": run, "task": "part", "state": "waiting", "kind": "rerun", "created_at": AT});
        let mut detail = detail(&json!([]), "");
        detail.run.parent = Some(sexton_domain::run::RunId(3));
        detail.run.reruns = detail.run.parent;
        detail.children = (0..12).map(|run| serde_json::from_value(child(run)).expect("the API's own shape")).collect();

        let (few, full) = (text(&detail, false, &Screen::plain()), text(&detail, true, &Screen::plain()));

        assert!(few.contains("parent      run 3, which this one repeats\n"), "{few}");
        assert!(few.contains("Runs that came of it\n  run 0 of part: rerun, waiting\n"), "{few}");
        assert!(few.contains("  … 2 more\n") && few.contains("--full") && !few.contains("run 10 of"), "{few}");
        assert!(full.contains("run 11 of part") && !full.contains('…'), "{full}");
    }

    const TRAP: &str = "core::panicking::panic_fmt (/rustc/0123/library/core/src/panicking.rs:75)\n\
        std::panicking::begin_panic (/rustc/0123/library/std/src/panicking.rs:5)\n\
        hang::inner (/home/ada/hang/src/lib.rs:19)\n\
        hang::run (/home/ada/hang/src/lib.rs:7)\n\
        sexton_task::runner::call (/home/ada/.cargo/registry/src/x/sexton-task-0.1.0/src/lib.rs:3)";

    #[test]
    fn a_trap_that_came_three_times_is_shown_once_with_the_frames_of_the_author() {
        let attempts = json!([1, 2, 3].map(|n| attempt(n, "panicked", TRAP, "")));

        let shown = text(&detail(&attempts, "panicked"), false, &Screen::plain());
        let full = text(&detail(&attempts, "panicked"), true, &Screen::plain());

        assert_eq!(shown.matches("hang::inner (/home/ada/hang/src/lib.rs:19)").count(), 1, "{shown}");
        assert!(!shown.contains("core::panicking") && !shown.contains("sexton_task"), "{shown}");
        for expected in ["Attempts 1 to 2: the same as attempt 3", "… 2 frames that are not the task's own", "--full"]
        {
            assert!(shown.contains(expected), "`{expected}` is not in:\n{shown}");
        }
        assert!(shown.lines().count() < 40, "{shown}");
        assert_eq!(full.matches("core::panicking::panic_fmt (/rustc").count(), 3, "{full}");
    }

    #[test]
    fn a_line_of_a_megabyte_is_cut_unless_all_is_asked_for() {
        let long = "x".repeat(1 << 20);
        let attempts = json!([attempt(1, &long, "", "")]);

        let shown = text(&detail(&attempts, "short"), false, &Screen::plain());
        let full = text(&detail(&attempts, "short"), true, &Screen::plain());

        assert!(shown.lines().all(|line| line.chars().count() < 260), "{}", shown.len());
        assert!(full.contains(&long));
    }

    #[test]
    fn output_is_shown_once_if_the_log_has_all_of_it() {
        let line = json!({ "at": AT, "level": "stdout", "message": "printed" });
        let mut whole = attempt(1, "failed", "", &format!("{line}\n"));
        whole["log"]["cut"] = false.into();
        whole["stdout"]["text"] = "printed\n".into();

        let shown = text(&detail(&json!([whole.clone()]), "failed"), false, &Screen::plain());
        let full = text(&detail(&json!([whole]), "failed"), true, &Screen::plain());

        assert_eq!((shown.matches("printed").count(), full.matches("printed").count()), (1, 2), "{shown}{full}");
    }
}

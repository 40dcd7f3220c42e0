//! One run: its attempts, its log, its output, where it is, and why it waits.

use askama::Template;
use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Response;
use chrono_tz::Tz;

use crate::http::api_types::attempts::AttemptShape;
use crate::http::api_types::inputs::InputKind;
use crate::http::api_types::live::Stack;
use crate::http::api_types::locks::LockHolder;
use crate::http::api_types::runs::{ChildShape, RunDetail, RunShape};
use crate::http::views::Seen;
use sexton_domain::lengths::millis;
use sexton_domain::run::{Output, RunId, RunState};

use super::address::run_id;
use super::ask::Ask;
use super::facts::{Fact, fact};
use super::log::Lines;
use super::look::{Mark, Tone, brief, bytes, count, lasted, shown, shown_lines};
use super::rows::{cause, run_href, task_href, zone_of};
use super::shell::{Link, Notice, Shell};
use super::times::{Clock, When};

/// The bytes of an output that are shown on the page.
const SHOWN_OUTPUT: usize = 64 << 10;

/// The policy for an output in a frame: it is shown as it is, runs nothing and loads nothing.
const FRAMED: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";

/// An attempt that has ended.
#[derive(Clone, Debug)]
struct AttemptRow {
    number: u32,
    mark: Mark,
    host: String,
    started: When,
    took: String,
    message: String,
    backtrace: String,
    accounts: Vec<Fact>,
    stdout: String,
    stderr: String,
}

/// A run that came of this one.
#[derive(Clone, Debug)]
struct ChildRow {
    id: RunId,
    href: String,
    task: String,
    mark: Mark,
    kind: &'static str,
}

/// An output, by the kind of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Text(String),
    Html,
    Image,
    Binary,
}

/// The output of a run.
#[derive(Clone, Debug)]
struct OutputPart {
    kind: String,
    size: String,
    shown: Shown,
    cut: bool,
    href: String,
    framed: String,
}

/// The input of a run.
#[derive(Clone, Debug)]
struct InputPart {
    size: String,
    text: String,
    cut: bool,
    href: String,
}

/// The place of a run in the queue of a lock.
#[derive(Clone, Debug)]
struct LockWait {
    lock: String,
    place: u32,
    holders: Vec<Link>,
    stuck: bool,
}

/// The samples of a stack.
#[derive(Clone, Debug)]
struct StackPart {
    tone: Tone,
    verdict: String,
    frames: Vec<String>,
    samples: usize,
}

/// The page.
#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    shell: Shell,
    id: RunId,
    path: String,
    mark: Mark,
    task: String,
    task_href: String,
    state: RunState,
    message: Option<Notice>,
    suspected: bool,
    lock_wait: Option<LockWait>,
    facts: Vec<Fact>,
    times: Vec<(&'static str, When)>,
    parent: Option<Link>,
    children: Vec<ChildRow>,
    attempts: Vec<AttemptRow>,
    log: Lines,
    find: String,
    levels: Vec<(&'static str, bool)>,
    log_href: String,
    /// Whether an attempt is under way on this host, whose stack can be looked at.
    is_here: bool,
    stack: Option<StackPart>,
    look: String,
    profile: String,
    output: Option<OutputPart>,
    input: Option<InputPart>,
}

/// `GET /runs/{run}`.
pub(super) async fn page(ask: Ask, Path(run): Path<String>) -> Response {
    let page = build(&ask, &run).await;
    ask.answer(page)
}

/// `GET /runs/{run}/framed`: the output for a frame, in a sandbox of its own origin.
pub(super) async fn framed(ask: Ask, Path(run): Path<String>) -> Response {
    let output = async { ask.views.output(run_id(&run)?).await };
    match output.await {
        Ok(mut output) => {
            output.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(FRAMED));
            output
        }
        Err(refused) => ask.refuse(refused),
    }
}

async fn build(ask: &Ask, run: &str) -> Seen<RunPage> {
    let id = run_id(run)?;
    let detail = ask.views.run(id).await?;
    let RunDetail { run, attempts, .. } = &detail;
    let (clock, zone, path) = (Clock::new(ask.now, ask.times), zone_of(ask, &run.key()), format!("/runs/{id}"));
    let is_here = ask.views.app.live.get(id).is_some();
    let stack = match is_here && ask.field("look").is_some() {
        true => ask.views.stack(id).await.ok().map(stack_part),
        false => None,
    };
    let level = ask.value("level");
    Ok(RunPage {
        shell: ask.shell(format!("Run {id} of {}", run.task)).same(ask.api(&format!("/v1{path}"))),
        mark: Mark::of(run.state, run.outcome),
        task: run.task.to_string(),
        task_href: task_href(ask, &run.task),
        state: run.state,
        message: message(run),
        suspected: run.suspected_at.is_some() && run.state == RunState::Waiting,
        lock_wait: lock_wait(ask, id).await?,
        facts: facts(run),
        times: times(&clock, zone, run),
        parent: run.parent.map(|parent| Link {
            href: run_href(ask, parent),
            text: format!("run {parent}"),
            current: false,
            mine: false,
        }),
        children: detail.children.iter().map(|child| child_row(ask, child)).collect(),
        attempts: attempts.iter().map(|attempt| attempt_row(&clock, zone, attempt)).collect(),
        log: Lines::of(ask, &clock, id, attempts),
        find: ask.value("find"),
        levels: ["debug", "info", "warn", "error"].map(|word| (word, word == level)).to_vec(),
        log_href: ask.api(&format!("/v1{path}/log")),
        is_here,
        stack,
        look: format!("{}#stack", ask.to(&path, &[("look", "now")])),
        profile: ask.api(&format!("/v1{path}/profile")),
        output: output_part(ask, run).await?,
        input: input_part(ask, &detail),
        id,
        path,
    })
}

/// Returns the line that says why the run waits, or how it ended.
fn message(run: &RunShape) -> Option<Notice> {
    let text = run.why.as_deref().or(run.message.as_deref())?;
    let tone = match run.state {
        RunState::Failed => Tone::Bad,
        RunState::Succeeded => Tone::Ok,
        _ => Tone::Warn,
    };
    Some(Notice { tone, text: shown_lines(text) })
}

fn facts(run: &RunShape) -> Vec<Fact> {
    let mut facts = vec![fact("cause", cause(run)), fact("attempt", run.attempt.to_string())];
    facts.extend(run.host.as_deref().map(|host| fact("host", host)));
    facts.extend(run.note.as_deref().map(|note| fact("note", note)));
    let labels: Vec<String> = run.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !labels.is_empty() {
        facts.push(fact("labels", labels.join(", ")));
    }
    if run.forced {
        facts.push(fact("past limits", "its first attempt starts in any case"));
    }
    if run.deaths > 0 {
        facts.push(fact("hosts that died", run.deaths.to_string()));
    }
    if let Some((from, to)) = run.claimed_at.zip(run.ended_at) {
        facts.push(fact("took", lasted(millis(to.since(from)))));
    }
    facts
}

fn times(clock: &Clock, zone: Tz, run: &RunShape) -> Vec<(&'static str, When)> {
    let starts = Some(run.run_at).filter(|_| run.state == RunState::Waiting);
    let all = [
        ("due", Some(run.due_at)),
        ("made", Some(run.created_at)),
        ("starts at the earliest", starts),
        ("claimed", run.claimed_at),
        ("ended", run.ended_at),
    ];
    all.into_iter().filter_map(|(name, at)| Some((name, clock.at(at?, zone)))).collect()
}

fn child_row(ask: &Ask, child: &ChildShape) -> ChildRow {
    ChildRow {
        id: child.run,
        href: run_href(ask, child.run),
        task: child.task.to_string(),
        mark: Mark::of(child.state, None),
        kind: child.kind.as_str(),
    }
}

fn attempt_row(clock: &Clock, zone: Tz, attempt: &AttemptShape) -> AttemptRow {
    let used = &attempt.accounts;
    let time = |us: u64| lasted(us / 1000);
    AttemptRow {
        number: attempt.attempt,
        mark: Mark::of_attempt(attempt.outcome),
        host: shown(&attempt.host),
        started: clock.at(attempt.started_at, zone),
        took: lasted(millis(attempt.ended_at.since(attempt.started_at))),
        message: attempt.message.as_deref().map(brief).unwrap_or_default(),
        backtrace: attempt.backtrace.as_deref().map(shown_lines).unwrap_or_default(),
        accounts: vec![
            fact("fuel", count(used.fuel)),
            fact("peak memory", bytes(used.peak_memory)),
            fact("processor time", time(used.guest_us)),
            fact("in host calls", time(used.host_us)),
            fact("waited for a processor", time(used.queued_us)),
            fact("waited for locks", time(used.lock_wait_us)),
            fact("host calls", count(used.host_calls)),
            fact("received", bytes(used.bytes_in)),
            fact("sent", bytes(used.bytes_out)),
        ],
        stdout: shown_lines(&attempt.stdout.text),
        stderr: shown_lines(&attempt.stderr.text),
    }
}

/// Returns the lock that the run waits for on this host, its place in the queue, and the holders.
async fn lock_wait(ask: &Ask, run: RunId) -> Seen<Option<LockWait>> {
    if ask.views.app.live.get(run).is_none() {
        return Ok(None);
    }
    let graph = ask.views.lock_graph().await?;
    let found = graph.locks.iter().find_map(|node| {
        let waiter = node.waiters.iter().find(|waiter| waiter.run == run)?;
        let holder = |holder: &LockHolder| Link {
            href: run_href(ask, holder.run),
            text: format!("run {} of {}", holder.run, holder.task),
            current: false,
            mine: false,
        };
        Some(LockWait {
            lock: shown(&node.lock.name),
            place: waiter.place,
            holders: node.holders.iter().map(holder).collect(),
            stuck: waiter.stuck,
        })
    });
    Ok(found)
}

fn stack_part(stack: Stack) -> StackPart {
    let tone = match stack.verdict.kind.as_str() {
        "spins" => Tone::Bad,
        "slow" | "queued" => Tone::Warn,
        _ => Tone::Quiet,
    };
    let frames = stack.samples.last().map(|sample| sample.stack.iter().map(|frame| shown(frame)).collect());
    StackPart {
        tone,
        verdict: shown(&stack.verdict.text),
        frames: frames.unwrap_or_default(),
        samples: stack.samples.len(),
    }
}

async fn output_part(ask: &Ask, run: &RunShape) -> Seen<Option<OutputPart>> {
    if run.state != RunState::Succeeded {
        return Ok(None);
    }
    let Some(output) = ask.views.app.store.output(run.id).await? else { return Ok(None) };
    if output.body.is_empty() {
        return Ok(None);
    }
    let (shown_as, cut) = show(&output);
    Ok(Some(OutputPart {
        kind: shown(output.content_type.as_deref().unwrap_or("application/octet-stream")),
        size: bytes(output.body.len() as u64),
        shown: shown_as,
        cut,
        href: ask.api(&format!("/v1/runs/{}/output", run.id)),
        framed: ask.href(&format!("/runs/{}/framed", run.id)),
    }))
}

/// Returns an output as the page shows it, and whether that is only its beginning.
fn show(output: &Output) -> (Shown, bool) {
    let kind = output.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind == "text/html" {
        return (Shown::Html, false);
    }
    if matches!(kind, "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif") {
        return (Shown::Image, false);
    }
    let cut = output.body.len() > SHOWN_OUTPUT;
    let body = &output.body[..output.body.len().min(SHOWN_OUTPUT)];
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        // The cut may go through a character.
        Err(e) if cut && e.error_len().is_none() => std::str::from_utf8(&body[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return (Shown::Binary, false),
    };
    let is_json = kind == "application/json" || kind.ends_with("+json");
    let pretty = (is_json && !cut).then(|| serde_json::from_str::<serde_json::Value>(text).ok()).flatten();
    let pretty = pretty.and_then(|value| serde_json::to_string_pretty(&value).ok());
    (Shown::Text(shown_lines(&pretty.unwrap_or_else(|| text.to_owned()))), cut)
}

fn input_part(ask: &Ask, detail: &RunDetail) -> Option<InputPart> {
    let input = &detail.input;
    let kind = input.kind?;
    let text = match kind {
        InputKind::Binary => input.sha256.as_deref().map(|digest| format!("SHA-256 {digest}")),
        _ => input.text.as_deref().map(shown_lines),
    };
    Some(InputPart {
        size: bytes(input.bytes as u64),
        text: text.unwrap_or_default(),
        cut: input.cut,
        href: ask.api(&format!("/v1/runs/{}/input", detail.run.id)),
    })
}

impl RunPage {
    /// Returns whether the run is over, so that it can be repeated.
    fn is_over(&self) -> bool {
        self.state.is_over()
    }
}

impl OutputPart {
    /// Returns the output as text, if it is one.
    fn text(&self) -> Option<&str> {
        match &self.shown {
            Shown::Text(text) => Some(text),
            _ => None,
        }
    }

    fn is_html(&self) -> bool {
        self.shown == Shown::Html
    }

    fn is_image(&self) -> bool {
        self.shown == Shown::Image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(kind: Option<&str>, body: &[u8]) -> (Shown, bool) {
        show(&Output { content_type: kind.map(str::to_owned), body: body.to_vec() })
    }

    #[test]
    fn an_output_is_shown_by_its_type() {
        assert_eq!(output(Some("text/html; charset=utf-8"), b"<p>"), (Shown::Html, false));
        assert_eq!(output(Some("Image/PNG"), b"\x89PNG"), (Shown::Image, false));
        assert_eq!(output(None, b"\0\xff"), (Shown::Binary, false));
        assert_eq!(output(None, b"a\x1b[2J"), (Shown::Text("a\\u001b[2J".to_owned()), false));
        let pretty = Shown::Text("{\n  \"a\": 1\n}".to_owned());
        assert_eq!(output(Some("application/json"), b"{\"a\":1}"), (pretty, false));
        // A picture that may hold scripts is shown as text.
        assert!(matches!(output(Some("image/svg+xml"), b"<svg/>").0, Shown::Text(_)));
    }

    #[test]
    fn a_long_output_is_cut_between_characters() {
        let (Shown::Text(text), true) = output(None, "ä".repeat(SHOWN_OUTPUT).as_bytes()) else { panic!("a text") };
        assert_eq!(text.len(), SHOWN_OUTPUT);
        let odd = format!("x{}", "ä".repeat(SHOWN_OUTPUT));
        let (Shown::Text(text), true) = output(None, odd.as_bytes()) else { panic!("a text") };
        assert_eq!(text.len(), SHOWN_OUTPUT - 1);
    }
}

//! Implements `trigger`, `rerun`, `kill`, `release` and `result`.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::{KillArgs, ListArgs, ReleaseArgs, RerunArgs, ResultArgs, RunOrTask, TriggerArgs};
use super::client::{Client, decode, part};
use super::error::{CliError, Exit};
use super::pausing::resume_command;
use super::screen::{Screen, eprint_line, local, one_line};
use crate::http::MAX_BODY;
use crate::http::api_types::runs::{KillEffect, Killed, ReleasedRun, RunDetail, Triggered};
use sexton_domain::lengths;
use sexton_domain::pause::PausedBy;
use sexton_domain::run::{Outcome, RunId, RunState};
use sexton_domain::task::Name;

/// The time that `--wait` waits for a task that does not exist, because its plugin may just have been copied. Most
/// plugins are compiled in less than a tenth of that; a mistyped name is reported after it.
const JUST_DROPPED_IN: Duration = Duration::from_secs(5);

/// The duration of one waiting request. A longer wait is several requests.
const ONE_WAIT: Duration = Duration::from_secs(20);

/// Returns the content of `file`, or of stdin if it is `-`.
///
/// # Errors
///
/// Usage, if it cannot be read or is longer than the API accepts.
pub(super) fn read_file(file: &Path) -> Result<Vec<u8>, CliError> {
    use std::io::Read;
    let most = MAX_BODY as u64 + 1;
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(most).read_to_end(&mut bytes))
    };
    read.map_err(|e| CliError::usage(format!("cannot read `{}`: {e}", file.display())))?;
    if bytes.len() > MAX_BODY {
        return Err(CliError::usage(format!("`{}` has more than {MAX_BODY} bytes", file.display())));
    }
    Ok(bytes)
}

/// Returns the bytes that were given as a text or as a file; none if neither was given.
pub(super) fn given(text: Option<&str>, file: Option<&Path>) -> Result<Vec<u8>, CliError> {
    match (text, file) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(file)) => read_file(file),
        (None, None) => Ok(Vec::new()),
    }
}

/// Returns the part of a query that says that the empty body of a request is the input. A body that is not empty needs
/// none.
fn empty_input(is_given: bool, input: &[u8]) -> &'static str {
    if is_given && input.is_empty() { "&input=given" } else { "" }
}

pub(super) fn rerun(client: &Client, args: &RerunArgs, screen: &Screen) -> Result<(), CliError> {
    let input = given(args.input.as_deref(), args.input_file.as_deref())?;
    let empty = empty_input(args.input.is_some() || args.input_file.is_some(), &input);
    let path = format!("/v1/runs/{}/rerun?past_limits={}{empty}", args.run, args.past_limits);
    let (json, is_replayed) = client.make(&path, args.key.as_deref(), &input)?;
    let made: Triggered = decode(&json)?;
    let repeated = made.reruns.as_ref().ok_or_else(|| CliError::failed("the host does not say what it repeats"))?;
    for note in notes(&repeated.task, &made, client.tenant()) {
        eprint_line(&format!("note: {note}"));
    }
    if args.awaited.wait {
        return wait(client, &repeated.task, made.run, (args.awaited.timeout, args.list), screen);
    }
    if args.list.json {
        return screen.json(&json);
    }
    screen.line(&match made.created && !is_replayed {
        true => format!("Created run {} of `{}`, a rerun of run {}.", made.run, repeated.task, repeated.run),
        false => format!("Run {} of `{}` exists already for this key.", made.run, repeated.task),
    })
}

/// Makes a run of `task`.
pub(super) fn trigger(client: &Client, task: &Name, args: &TriggerArgs, screen: &Screen) -> Result<(), CliError> {
    let input = given(args.input.as_deref(), args.input_file.as_deref())?;
    let mut path = format!("/v1/tasks/{}/runs?past_limits={}", part(task.as_str()), args.past_limits);
    if let Some(at) = &args.at {
        path.push_str(&format!("&at={}", part(at)));
    } else if let Some(delay) = &args.after_now {
        path.push_str(&format!("&in={}", part(delay)));
    }
    for label in &args.label {
        path.push_str(&format!("&label={}", part(label)));
    }
    path.push_str(empty_input(args.input.is_some() || args.input_file.is_some(), &input));
    let (json, is_replayed) = post_within(if args.awaited.wait { JUST_DROPPED_IN } else { Duration::ZERO }, || {
        client.make(&path, args.key.as_deref(), &input)
    })?;
    let made: Triggered = decode(&json)?;
    for note in notes(task, &made, client.tenant()) {
        eprint_line(&format!("note: {note}"));
    }
    if args.awaited.wait {
        return wait(client, task, made.run, (args.awaited.timeout, args.list), screen);
    }
    if args.list.json {
        return screen.json(&json);
    }
    let replaced: Vec<_> = made.replaced.iter().map(ToString::to_string).collect();
    let replaced = match replaced.as_slice() {
        [] => String::new(),
        runs => format!(" in the place of run {}", runs.join(", ")),
    };
    let due = made.due_at.filter(|at| *at > screen.now);
    let due = due.map(|at| format!("; it starts at {} ({})", local(at), screen.ago(at))).unwrap_or_default();
    screen.line(&match made.created && !is_replayed {
        true => format!("Created run {} of `{}`{replaced}{due}.", made.run, task),
        false => format!("Run {} of `{}` exists already for this key{due}.", made.run, task),
    })
}

/// Returns the remarks for the user who triggers a run, besides that it was made.
fn notes(task: &Name, made: &Triggered, tenant: Option<&Name>) -> Vec<String> {
    let mut notes = Vec::new();
    match &made.note {
        Some(note) => notes.push(format!("run {} goes {}", made.run, one_line(note))),
        None if made.paused => {
            let why = made.paused_why.as_deref().map(|why| format!(" ({})", one_line(why))).unwrap_or_default();
            notes.push(match made.paused_by {
                Some(by @ PausedBy::Tenant) => {
                    format!(
                        "the tenant of `{task}` is paused{why}, so its runs wait until {}",
                        resume_command(by, tenant)
                    )
                }
                Some(by @ PausedBy::All) => {
                    format!("all tasks are paused{why}, so runs of `{task}` wait until {}", resume_command(by, tenant))
                }
                _ => format!("`{task}` is paused{why}, so its runs wait until `sexton resume {task}`"),
            });
        }
        None => {}
    }
    notes.extend(made.held_back.as_ref().map(|held_back| one_line(&held_back.reason)));
    notes
}

/// Repeats the request for a while if the task does not exist: a plugin that was just dropped in may be loading.
fn post_within<T>(patience: Duration, post: impl Fn() -> Result<T, CliError>) -> Result<T, CliError> {
    let began = Instant::now();
    loop {
        match post() {
            Err(error) if error.exit() == Exit::NotFound && began.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(100));
            }
            answer => return answer,
        }
    }
}

/// Waits until a run of `task` is over, for at most `timeout`, and prints its output, or the API's JSON as `list` says.
fn wait(
    client: &Client,
    task: &Name,
    run: RunId,
    (timeout, list): (Option<Duration>, ListArgs),
    screen: &Screen,
) -> Result<(), CliError> {
    let began = Instant::now();
    let spinner = spinner(&format!("run {run} of {task}"));
    let (json, detail) = loop {
        let left = timeout.map_or(ONE_WAIT, |timeout| timeout.saturating_sub(began.elapsed()).min(ONE_WAIT));
        let path = format!("/v1/runs/{run}/wait?timeout={}ms", left.as_millis());
        let json = client.text_within(&path, left)?;
        let detail: RunDetail = decode(&json)?;
        if detail.run.state.is_over() {
            break (json, detail);
        }
        spinner.set_message(format!("run {run} of {task}: {}, attempt {}", detail.run.state, detail.run.attempt));
        if timeout.is_some_and(|timeout| began.elapsed() >= timeout) {
            spinner.finish_and_clear();
            let message = format!("run {run} of `{task}` is not over yet: it is {}", detail.run.state);
            return Err(CliError::new(Exit::TimedOut, message)
                .hint(format!("the run continues; see `sexton show {run}`, or end it with `sexton kill {run}`")));
        }
    };
    spinner.finish_and_clear();
    if list.json {
        screen.json(&json)?;
    }
    let info = &detail.run;
    if info.state == RunState::Succeeded {
        if info.outcome == Some(Outcome::Skipped) {
            eprint_line(&format!(
                "note: run {run} of `{}` was {}",
                task,
                one_line(info.message.as_deref().unwrap_or("skipped"))
            ));
        }
        return if list.json { Ok(()) } else { output(client, &format!("/v1/runs/{run}/output"), screen) };
    }
    let outcome = info.outcome.map(|outcome| format!(" ({outcome})")).unwrap_or_default();
    let said = info.message.as_deref().map(|message| format!(": {}", one_line(message))).unwrap_or_default();
    let exit = Exit::of_run(info.state, info.outcome);
    Err(CliError::new(exit, format!("run {run} of `{task}` {}{outcome}{said}", info.state))
        .hint(format!("`sexton show {run}` has its log and what it used")))
}

/// Shows a spinner to a person. Without a terminal at stderr it draws nothing.
pub(super) fn spinner(message: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is well-formed");
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(message.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn output(client: &Client, path: &str, screen: &Screen) -> Result<(), CliError> {
    let mut bytes = Vec::new();
    client.stream(path)?.read_to_end(&mut bytes).map_err(|e| {
        CliError::new(Exit::Unreachable, format!("the connection broke while the host sent the result: {e}"))
    })?;
    screen.bytes(&bytes)
}

pub(super) fn result(client: &Client, args: &ResultArgs, screen: &Screen) -> Result<(), CliError> {
    let of_task = |task: &Name| format!("/v1/tasks/{}/result", part(task.as_str()));
    let path = match (&args.what, args.of_run) {
        (Some(RunOrTask::Run(one)), Some(other)) if *one != other => {
            return Err(CliError::usage(format!("run {one} is not run {other}; name one of them")));
        }
        (Some(RunOrTask::Task(task)), None) => of_task(task),
        (Some(RunOrTask::Task(task)), Some(run)) => format!("{}?of_run={run}", of_task(task)),
        (Some(RunOrTask::Run(run)), _) => format!("/v1/runs/{run}/output"),
        (None, Some(run)) => format!("/v1/runs/{run}/output"),
        (None, None) => return Err(CliError::usage("say of which run or task")),
    };
    output(client, &path, screen)
}

pub(super) fn release(client: &Client, args: &ReleaseArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.post(&format!("/v1/runs/{}/release", args.run), &[], &[])?;
    if args.list.json {
        return screen.json(&json);
    }
    let released: ReleasedRun = decode(&json)?;
    screen.line(&format!("Run {} may start now.", released.run))
}

pub(super) fn kill(client: &Client, args: &KillArgs, screen: &Screen) -> Result<(), CliError> {
    let run = args.run;
    let mut path = format!("/v1/runs/{run}/kill?now={}", args.now);
    if let Some(reason) = &args.reason {
        path.push_str(&format!("&reason={}", part(reason)));
    }
    let json = client.post(&path, &[], &[])?;
    if args.list.json {
        return screen.json(&json);
    }
    let killed: Killed = decode(&json)?;
    screen.line(&match killed.effect {
        KillEffect::Cancelled => format!("Run {run} is cancelled; it was not running."),
        KillEffect::Stopping if killed.grace_ms > 0 => {
            let grace = lengths::exact(Duration::from_millis(killed.grace_ms));
            format!("Run {run} was asked to end, and will be interrupted after {grace}.")
        }
        KillEffect::Stopping => format!("Run {run} is being ended."),
        KillEffect::Requested => format!("Run {run} is on another host, which was asked to end it."),
    })
}

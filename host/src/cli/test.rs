//! Implements `test`: simulates days of a plugin's tasks in a moment. Needs no host.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::DateTime;
use clap::Args;

use super::error::{CliError, Exit};
use super::screen::{Screen, one_line, safe};
use super::threads;
use crate::simulation::{self, Down, Line, Plan, RequestedRun, Run, SimulationError, SimulationReport, Step, Sum};
use sexton_domain::lengths;
use sexton_domain::task::Name;
use sexton_domain::time::Timestamp;

/// The longest time that can be simulated. It is far more than anyone reads, and every instant of it is a valid date.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

#[derive(Args, Clone, Debug)]
pub(super) struct TestArgs {
    /// The component `NAME.wasm`, with its manifest beside it
    pub(super) plugin: PathBuf,
    /// When the host starts, such as 2027-03-28T01:00+01:00
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(super) at: Timestamp,
    /// Duration of the simulation, such as 2d
    #[arg(long = "for", value_name = "DURATION", value_parser = lengths::parse)]
    pub(super) length: Duration,
    /// Follow the schedule of this task only; may be given again
    #[arg(long = "task", value_name = "TASK")]
    pub(super) tasks: Vec<Name>,
    /// Request a run of a task, at the start or at an instant; may be given again
    #[arg(long = "trigger", value_name = "TASK[@INSTANT][=INPUT]", value_parser = asked)]
    pub(super) triggers: Vec<RequestedRun>,
    /// Stop the host at an instant, for a duration or until another instant; may be given again
    #[arg(long = "host-down", value_name = "INSTANT..DURATION|INSTANT", value_parser = down)]
    pub(super) downs: Vec<Down>,
    /// Set the host's clock at an instant, forward or back; may be given again
    #[arg(long = "clock-step", value_name = "INSTANT=±DURATION", value_parser = step)]
    pub(super) steps: Vec<Step>,
    /// Seed of everything random: jitter, and the guests' random numbers
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
    /// Print the output of runs, too
    #[arg(long)]
    pub(super) show_output: bool,
    /// Print runs' ids and the fuel they used, too
    #[arg(long, conflicts_with = "json")]
    pub(super) verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Compare with the output of an earlier test, and fail at the first difference
    #[arg(long, value_name = "FILE")]
    pub(super) expect: Option<PathBuf>,
}

pub(super) fn test(args: TestArgs, screen: &Screen) -> Result<(), CliError> {
    if args.length > LONGEST {
        let longest = lengths::exact(LONGEST);
        return Err(CliError::usage(format!("--for is longer than {longest}, the most that can be simulated")));
    }
    let expected = args.expect.as_deref().map(expected).transpose()?;
    let report = report(&args)?;
    let text = if args.json { json(&report) } else { text(&report, &args) };
    screen.text(&text)?;
    match expected {
        Some(expected) => compare(&expected, &text, args.expect.as_deref().unwrap_or(Path::new("-"))),
        None => judge(&report),
    }
}

fn expected(file: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(file).map_err(|e| CliError::usage(format!("cannot read `{}`: {e}", file.display())))
}

fn report(args: &TestArgs) -> Result<SimulationReport, CliError> {
    let plan = Plan {
        plugin: args.plugin.clone(),
        start: args.at,
        length: args.length,
        only: args.tasks.iter().cloned().collect::<BTreeSet<_>>(),
        asked: args.triggers.clone(),
        down: args.downs.clone(),
        steps: args.steps.clone(),
        seed: args.seed,
        outputs: args.show_output,
    };
    threads::of_command()?.block_on(simulation::simulate(&plan)).map_err(|error| match error {
        SimulationError::NoHost(_) => CliError::failed(error.to_string()),
        // Nothing was run, and a repetition would return the same error.
        SimulationError::BadPlan(_) | SimulationError::BadPlugin(_) | SimulationError::TooMuch(_) => {
            CliError::usage(error.to_string())
        }
    })
}

fn judge(report: &SimulationReport) -> Result<(), CliError> {
    match (report.failed(), report.runs().count()) {
        (0, _) => Ok(()),
        (failed, all) => Err(CliError::failed(format!("{failed} of {all} run(s) failed"))),
    }
}

/// Reports the first line in which `printed` differs from `expected`.
fn compare(expected: &str, printed: &str, file: &Path) -> Result<(), CliError> {
    let (mut expected, mut printed) = (expected.lines(), printed.lines());
    let mut number = 0;
    loop {
        number += 1;
        let (was, is) = match (expected.next(), printed.next()) {
            (None, None) => return Ok(()),
            (Some(was), Some(is)) if was == is => continue,
            lines => lines,
        };
        let say = |line: Option<&str>| line.map_or("nothing more".to_owned(), |line| format!("`{}`", one_line(line)));
        let message = format!("line {number} differs from `{}`: {} instead of {}", file.display(), say(is), say(was));
        return Err(CliError::new(Exit::Failed, message));
    }
}

fn json(report: &SimulationReport) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("a report is JSON");
    text.push('\n');
    text
}

fn text(report: &SimulationReport, args: &TestArgs) -> String {
    let mut head = vec!["DUE", "TASK", "CAUSE", "STARTED", "ENDED", "TRIES", "OUTCOME"];
    if args.verbose {
        head.extend(["RUN", "FUEL"]);
    }
    head.push("NOTE");
    let mut rows = vec![head.iter().map(|name| (*name).to_owned()).collect()];
    rows.extend(report.lines.iter().map(|line| row(line, args.verbose)));
    let outputs = report.lines.iter().map(|line| match line {
        Line::Run(Run { output: Some(output), .. }) => output.as_str(),
        _ => "",
    });
    let mut text = String::new();
    for (line, output) in aligned(&rows).into_iter().zip(std::iter::once("").chain(outputs)) {
        text.push_str(&line);
        text.push('\n');
        for line in output.lines() {
            text.push_str(&format!("    | {}\n", safe(line)));
        }
    }
    text.push_str(&format!("\nFrom {} to {}:\n", report.start, report.end));
    if report.tasks.is_empty() {
        text.push_str("nothing was due\n");
    }
    for (task, sum) in &report.tasks {
        text.push_str(&format!("{task}: {}\n", summary(sum)));
    }
    text
}

fn row(line: &Line, verbose: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let extra = |id: String, fuel: String| if verbose { vec![id, fuel] } else { Vec::new() };
    let (mut row, extra, note) = match line {
        Line::Run(run) => {
            let said = [run.note.as_deref(), run.message.as_deref()].into_iter().flatten().map(one_line);
            let said: Vec<String> = said.collect();
            (
                vec![
                    run.due.clone(),
                    run.task.clone(),
                    run.cause.clone(),
                    run.started.clone().unwrap_or_else(dash),
                    run.ended.clone().unwrap_or_else(dash),
                    run.attempts.len().to_string(),
                    run.outcome.clone(),
                ],
                extra(run.id.to_string(), run.fuel.to_string()),
                said.join("; "),
            )
        }
        Line::LeftOut(left_out) => {
            let note = match (left_out.count, left_out.more) {
                (1, false) => "missed".to_owned(),
                (many, more) => format!("{} missed and left out, until {}", at_least(many, more), left_out.last),
            };
            let row =
                vec![left_out.first.clone(), left_out.task.clone(), "schedule".to_owned(), dash(), dash(), dash()];
            ([row, vec!["left out".to_owned()]].concat(), extra(dash(), dash()), note)
        }
        Line::Event(event) => {
            let row = std::iter::once(event.at.clone()).chain(std::iter::repeat_with(dash).take(6)).collect();
            (row, extra(dash(), dash()), event.what.clone())
        }
    };
    row.extend(extra);
    row.push(note);
    row
}

/// Aligns the columns of the rows, independently of the terminal.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn summary(sum: &Sum) -> String {
    let mut parts: Vec<String> = sum.outcomes.iter().map(|(outcome, runs)| format!("{runs} {outcome}")).collect();
    if sum.left_out > 0 {
        parts.push(format!("{} left out", at_least(sum.left_out, sum.left_out_more)));
    }
    parts.extend(sum.paused.as_deref().map(one_line));
    let runs = if sum.runs == 1 { "1 run".to_owned() } else { format!("{} runs", sum.runs) };
    format!("{runs}: {}", parts.join(", "))
}

/// Formats a sum, or its lower bound.
fn at_least(count: u64, more: bool) -> String {
    if more { format!("more than {count}") } else { count.to_string() }
}

/// Parses an instant in RFC 3339; seconds may be left out.
fn instant(text: &str) -> Result<Timestamp, String> {
    if let Some(at) = read_instant(text) {
        return Ok(at);
    }
    // ISO 8601 allows `+0200`.
    let split = text.len().checked_sub(2).and_then(|at| text.split_at_checked(at));
    let colon = split.map(|(rest, minutes)| format!("{rest}:{minutes}"));
    Err(match colon.filter(|colon| read_instant(colon).is_some()) {
        Some(colon) => format!("the offset of `{text}` has no colon; write {colon}"),
        None => format!("`{text}` is not an instant with its offset, such as 2027-03-28T01:00+01:00"),
    })
}

fn read_instant(text: &str) -> Option<Timestamp> {
    let parsed = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(&text.replace(['Z', 'z'], "+00:00"), "%Y-%m-%dT%H:%M%:z"));
    parsed.ok().map(|at| at.to_utc().into())
}

/// Parses `TASK`, `TASK=INPUT`, `TASK@INSTANT` or `TASK@INSTANT=INPUT`.
fn asked(text: &str) -> Result<RequestedRun, String> {
    let (who, input) = match text.split_once('=') {
        Some((who, input)) => (who, Some(input.as_bytes().to_vec())),
        None => (text, None),
    };
    let (task, at) = match who.split_once('@') {
        Some((task, at)) => (task, Some(instant(at)?)),
        None => (who, None),
    };
    let task = Name::new(task).map_err(|e| e.to_string())?;
    Ok(RequestedRun { at, task, input })
}

/// Parses `INSTANT..DURATION` or `INSTANT..INSTANT`.
fn down(text: &str) -> Result<Down, String> {
    let (from, to) =
        text.split_once("..").ok_or("it is INSTANT..DURATION or INSTANT..INSTANT, with two dots in between")?;
    let from = instant(from)?;
    let to = match humantime::parse_duration(to) {
        Ok(time) => from.plus(time),
        Err(_) => instant(to).map_err(|_| format!("`{to}` is neither a duration, such as 6h, nor an instant"))?,
    };
    Ok(Down { from, to })
}

/// Parses `INSTANT=+2h` or `INSTANT=-2h`.
fn step(text: &str) -> Result<Step, String> {
    let (at, by) = text.split_once('=').ok_or("it is INSTANT=+DURATION or INSTANT=-DURATION")?;
    let at = instant(at)?;
    let (sign, time) = match (by.strip_prefix('+'), by.strip_prefix('-')) {
        (Some(time), _) => (1, time),
        (_, Some(time)) => (-1, time),
        _ => return Err(format!("`{by}` has no direction: +2h is forward, -2h is back")),
    };
    let time = lengths::parse(time)?;
    if time > LONGEST {
        return Err(format!("`{by}` is further than a clock can be set here"));
    }
    let by = i64::try_from(time.as_millis()).map_err(|e| e.to_string())?;
    Ok(Step { at, by: sign * by })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).expect("an instant").to_utc().into()
    }

    #[test]
    fn instants_need_an_offset_and_no_seconds() {
        assert_eq!(instant("2027-03-28T01:00+01:00"), Ok(at("2027-03-28T00:00:00Z")));
        assert_eq!(instant("2027-03-28T01:00Z"), Ok(at("2027-03-28T01:00:00Z")));
        assert_eq!(instant("2027-03-28T01:00:07.5Z"), Ok(at("2027-03-28T01:00:07.5Z")));
        for bad in ["2027-03-28T01:00", "2027-03-28", "now", ""] {
            assert!(instant(bad).expect_err(bad).contains("with its offset"));
        }
        let told = instant("2027-03-28T14:30:00+0200").expect_err("ISO 8601, and not RFC 3339");
        assert!(told.ends_with("write 2027-03-28T14:30:00+02:00"), "{told}");
    }

    #[test]
    fn a_trigger_may_have_an_instant_and_an_input_with_any_signs_in_it() {
        let task = Name::new("tidy").expect("a name");
        let asked = |text| asked(text).expect(text);
        assert_eq!(asked("tidy"), RequestedRun { at: None, task: task.clone(), input: None });
        assert_eq!(asked("tidy=a=b@c"), RequestedRun { at: None, task: task.clone(), input: Some(b"a=b@c".to_vec()) });
        let later = Some(at("2027-03-28T00:00:00Z"));
        assert_eq!(asked("tidy@2027-03-28T01:00+01:00="), RequestedRun { at: later, task, input: Some(Vec::new()) });
    }

    #[test]
    fn a_host_is_down_for_a_time_or_until_an_instant() {
        let from = at("2027-03-28T01:00:00Z");
        let until = Down { from, to: at("2027-03-28T07:00:00Z") };
        assert_eq!(down("2027-03-28T01:00Z..6h"), Ok(until));
        assert_eq!(down("2027-03-28T01:00Z..2027-03-28T07:00Z"), Ok(until));
        assert!(down("2027-03-28T01:00Z..soon").expect_err("soon").contains("neither"));
        assert!(down("2027-03-28T01:00Z").is_err());
    }

    #[test]
    fn a_clock_is_set_one_way_or_the_other() {
        let from = at("2027-03-28T01:00:00Z");
        assert_eq!(step("2027-03-28T01:00Z=-2h"), Ok(Step { at: from, by: -7_200_000 }));
        assert_eq!(step("2027-03-28T01:00Z=+1s"), Ok(Step { at: from, by: 1000 }));
        assert!(step("2027-03-28T01:00Z=2h").expect_err("no sign").contains("no direction"));
        assert!(step("2027-03-28T01:00Z=+99y").is_err());
    }

    #[test]
    fn the_first_line_that_differs_is_reported() {
        let told = |was, is| compare(was, is, Path::new("x")).map_err(|e| format!("{e:?}"));
        assert!(told("a\nb\n", "a\nb\n").is_ok());
        assert!(told("a\nb\n", "a\nc\n").expect_err("differs").contains("line 2 differs from `x`: `c` instead of `b`"));
        assert!(told("a\n", "a\nc\n").expect_err("longer").contains("`c` instead of nothing more"));
        assert!(told("a\nb\n", "a\n").expect_err("shorter").contains("nothing more instead of `b`"));
    }
}

//! Implements `schedule add`, `list`, `show`, `reset` and `delete`, for schedules that are added while a host runs.

use std::path::Path;
use std::time::Duration;

use comfy_table::Cell;
use ureq::http::Method;

use super::args::{AddArgs, DeleteArgs, ListArgs, ScheduleKeyArgs, SchedulesArgs};
use super::client::{Client, decode, part};
use super::error::CliError;
use super::screen::{Screen, eprint_line, one_line};
use super::trigger::read_file;
use crate::http::api_types::schedules::{
    AddedSchedules, DataShape, ScheduleChanged, ScheduleEffect, ScheduleRequest, ScheduleShape, ScheduleState,
};
use crate::http::api_types::{Due, approximate};
use sexton_domain::task::Name;

/// Returns the input of the schedule's runs, if the command line has one.
fn input(args: &AddArgs) -> Result<Option<serde_json::Value>, CliError> {
    let file = match (&args.input, &args.input_file, &args.data) {
        (Some(text), ..) => return Ok(Some(text.as_str().into())),
        (None, Some(file), _) => file.as_path(),
        (None, None, Some(data)) => match data.strip_prefix('@') {
            Some(file) => Path::new(file),
            None => return Ok(Some(data.as_str().into())),
        },
        (None, None, None) => return Ok(None),
    };
    let text = String::from_utf8(read_file(file)?)
        .map_err(|_| CliError::usage(format!("`{}` is not UTF-8: a schedule's input is text", file.display())))?;
    Ok(Some(text.into()))
}

pub(super) fn add(client: &Client, args: &AddArgs, screen: &Screen) -> Result<(), CliError> {
    let name = |name: &Option<Name>| name.as_ref().map(Name::to_string);
    let request = ScheduleRequest {
        task: name(&args.task),
        plugin: name(&args.plugin),
        kind: name(&args.kind),
        cron: args.cron.clone(),
        every: args.every.clone(),
        at: args.at.clone(),
        after_now: args.after_now.clone(),
        zone: args.zone.clone(),
        delay: args.delay.clone(),
        start: args.start.clone(),
        end: args.end.clone(),
        first: args.first.clone(),
        times: args.times,
        data: input(args)?,
        replace: args.replace,
        version: args.if_version,
        ..ScheduleRequest::default()
    };
    let body = serde_json::to_vec(&request).expect("texts and numbers are JSON");
    let path = format!("/v1/schedules/{}", part(args.key.as_str()));
    let headers = [("content-type", "application/json")];
    let json = client.whole(client.send(Method::PUT, &path, &headers, body.as_slice(), Duration::ZERO)?)?;
    if args.list.json {
        return screen.json(&json);
    }
    let ScheduleChanged { effect, schedule, notes } = decode(&json)?;
    let verb = match effect {
        ScheduleEffect::Existing => "is there already",
        ScheduleEffect::Replaced => "is replaced",
        ScheduleEffect::Added | ScheduleEffect::Deleted | ScheduleEffect::Reset => "is added",
    };
    let next = schedule.next.as_ref().map(|due| format!(" ({}{})", screen.local_clock(&due.local), due.marked()));
    let next = next.unwrap_or_default();
    for note in &notes {
        eprint_line(&format!("note: {}", one_line(note)));
    }
    if let (ScheduleState::Paused, Some(task)) = (schedule.state, &schedule.task) {
        eprint_line(&format!("note: `{task}` is paused, so nothing is made until `sexton resume {task}`"));
    }
    screen.line(&format!("Schedule `{}` of `{}` {verb}: {}{next}.", schedule.key, schedule.whose(), when(&schedule)))
}

/// Returns the schedule's trigger, bounds and delays in a line.
fn when(schedule: &ScheduleShape) -> String {
    let mut text = one_line(&schedule.trigger.text);
    if let Some(first) = schedule.first {
        text.push_str(&format!(", first {first}"));
    }
    if let Some(times) = schedule.times {
        text.push_str(&format!(", {times} times"));
    }
    if schedule.delay_ms > 0 {
        text.push_str(&format!(", {} later", approximate(Duration::from_millis(schedule.delay_ms))));
    }
    text
}

pub(super) fn list(client: &Client, args: &SchedulesArgs, screen: &Screen) -> Result<(), CliError> {
    if let Some(key) = &args.key {
        return show_one(client, key, args.list, screen);
    }
    let mut path = format!("/v1/schedules?limit={}", args.limit);
    for (word, name) in [("task", &args.task), ("after", &args.after)] {
        if let Some(name) = name {
            path.push_str(&format!("&{word}={}", part(name.as_str())));
        }
    }
    let json = client.text(&path)?;
    if args.list.json {
        return screen.json(&json);
    }
    let AddedSchedules { schedules, next, .. } = decode(&json)?;
    if schedules.is_empty() {
        return screen.line("There are no such schedules. Those of manifests are shown by `sexton tasks`.");
    }
    let mut table = screen.table(&["KEY", "TASK", "STATE", "WHEN", "ZONE", "NEXT", "RUNS", "SKIPPED", "INPUT"], "WHEN");
    for schedule in &schedules {
        table.add_row(vec![
            Cell::new(&schedule.key),
            Cell::new(schedule.whose()),
            state(schedule, screen),
            Cell::new(when(schedule)),
            Cell::new(one_line(&schedule.zone)),
            Cell::new(schedule.next.as_ref().map_or("-".to_owned(), |due| due_next(due, screen))),
            Cell::new(schedule.fired),
            Cell::new(schedule.skipped),
            Cell::new(
                schedule.data_bytes.map_or("-".to_owned(), |size| bytesize::ByteSize(size).display().iec().to_string()),
            ),
        ]);
    }
    screen.print(&table)?;
    let mut ahead = schedules.iter().filter_map(|schedule| Some((&schedule.key, schedule.set_back.as_ref()?)));
    if let Some((key, why)) = ahead.next() {
        screen.line(&format!("\n`{key}`: {}", one_line(why)))?;
        // A page may have a thousand of them, all for the same reason.
        match ahead.count() {
            0 => {}
            more => screen.line(&format!(
                "\n{more} more wait for the same reason; `sexton resume TASK` lets all schedules of a task continue from now"
            ))?,
        }
    }
    match next {
        Some(after) if screen.terminal => screen.line(&format!("\nThere may be more: --after {after}")),
        _ => Ok(()),
    }
}

pub(super) fn show(client: &Client, args: &ScheduleKeyArgs, screen: &Screen) -> Result<(), CliError> {
    show_one(client, &args.key, args.list, screen)
}

/// Returns the line about the input of the schedule's runs: its size, and the input itself.
fn input_line(schedule: &ScheduleShape) -> String {
    let Some(size) = schedule.data_bytes else { return "-".to_owned() };
    let size = bytesize::ByteSize(size).display().iec();
    match &schedule.data {
        None => size.to_string(),
        Some(DataShape::Json { json }) => format!("{size}, JSON: {}", one_line(&json.to_string())),
        Some(DataShape::Text { text, .. }) => format!("{size}, text: {}", one_line(text)),
        Some(DataShape::Binary { hex, .. }) => format!("{size}, binary: {}", one_line(hex)),
    }
}

fn show_one(client: &Client, key: &Name, list: ListArgs, screen: &Screen) -> Result<(), CliError> {
    let json = client.text(&format!("/v1/schedules/{}", part(key.as_str())))?;
    if list.json {
        return screen.json(&json);
    }
    let schedule: ScheduleShape = decode(&json)?;
    let next = schedule.next.as_ref().map(|due| format!("{} ({})", screen.local_clock(&due.local), screen.ago(due.at)));
    let state = match (schedule.state, &schedule.reason) {
        (ScheduleState::Resting, Some(reason)) => format!("resting: {}", one_line(reason)),
        (state, _) => state.as_str().to_owned(),
    };
    let none = || "-".to_owned();
    screen.line(&format!("Schedule {}", schedule.key))?;
    for (name, value) in [
        ("task", schedule.whose()),
        ("state", state),
        ("when", when(&schedule)),
        ("zone", one_line(&schedule.zone)),
        ("next", next.unwrap_or_else(none)),
        ("runs", schedule.fired.to_string()),
        ("skipped", schedule.skipped.to_string()),
        ("input", input_line(&schedule)),
        ("version", schedule.version.to_string()),
    ] {
        screen.line(&format!("  {name:<12}{value}"))?;
    }
    match &schedule.set_back {
        Some(why) => screen.line(&format!("  {:<12}{}", "note", one_line(why))),
        None => Ok(()),
    }
}

fn state(schedule: &ScheduleShape, screen: &Screen) -> Cell {
    match schedule.state {
        ScheduleState::Active if schedule.set_back.is_some() => screen.alarm("ahead of the clock"),
        ScheduleState::Active | ScheduleState::Finished => Cell::new(schedule.state.as_str()),
        ScheduleState::Paused => screen.alarm("paused"),
        ScheduleState::Resting => match (&schedule.kind, &schedule.task) {
            (None, Some(task)) => screen.alarm(&format!("resting: no task `{task}`")),
            _ => screen.alarm(&format!("resting: {}", one_line(schedule.reason.as_deref().unwrap_or_default()))),
        },
    }
}

/// Returns the instant at which a schedule is due next, as its zone's clock shows it, and how far ahead that is.
fn due_next(due: &Due, screen: &Screen) -> String {
    format!("{} ({}{})", screen.local_clock(&due.local), screen.ago(due.at), due.marked())
}

pub(super) fn reset(client: &Client, args: &ScheduleKeyArgs, screen: &Screen) -> Result<(), CliError> {
    let path = format!("/v1/schedules/{}/reset", part(args.key.as_str()));
    let json = client.whole(client.send(Method::POST, &path, &[], (), Duration::ZERO)?)?;
    if args.list.json {
        return screen.json(&json);
    }
    let ScheduleChanged { effect, schedule, .. } = decode(&json)?;
    let (key, task) = (&schedule.key, schedule.whose());
    let next = match &schedule.next {
        Some(due) => format!("next {}", due_next(due, screen)),
        None => "nothing is due any more".to_owned(),
    };
    screen.line(&match effect {
        ScheduleEffect::Reset => format!("Schedule `{key}` of `{task}` continues from now: {next}."),
        _ => format!("Schedule `{key}` of `{task}` is not ahead of the clock, so nothing was changed: {next}."),
    })
}

pub(super) fn delete(client: &Client, args: &DeleteArgs, screen: &Screen) -> Result<(), CliError> {
    let mut path = format!("/v1/schedules/{}", part(args.key.as_str()));
    if let Some(version) = args.if_version {
        path.push_str(&format!("?version={version}"));
    }
    let json = client.whole(client.send(Method::DELETE, &path, &[], (), Duration::ZERO)?)?;
    if args.list.json {
        return screen.json(&json);
    }
    let ScheduleChanged { schedule, .. } = decode(&json)?;
    let (key, task, runs) = (&schedule.key, schedule.whose(), schedule.fired);
    screen.line(&format!("Deleted `{key}` of `{task}`: {}, {runs} run(s) made.", when(&schedule)))
}

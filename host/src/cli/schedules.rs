//! `add`, `list` and `delete`: schedules that are added while a host runs.

use std::path::Path;
use std::time::Duration;

use clap::{ArgGroup, Args};
use comfy_table::Cell;
use ureq::http::Method;

use super::args::ListArgs;
use super::client::{Client, decode, part};
use super::error::CliError;
use super::screen::{Screen, one_line};
use super::trigger::read_file;
use crate::http::shapes::rough;
use crate::http::shapes::schedules::{
    AddedSchedules, ScheduleChanged, ScheduleEffect, ScheduleRequest, ScheduleShape, ScheduleState,
};
use crate::task::Name;

/// A schedule, as it is given on the command line.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("whose").required(true), group = ArgGroup::new("when").required(true))]
pub(super) struct AddArgs {
    /// Its key, by which it is found again: 1 to 64 of a-z, 0-9, `-`, `_` and `.`
    pub(super) key: Name,
    /// The task whose runs it makes
    #[arg(long, group = "whose")]
    pub(super) task: Option<Name>,
    /// The same: the task that is called as its plugin is
    #[arg(long, group = "whose")]
    pub(super) plugin: Option<Name>,
    /// Due when this crontab(5) says
    #[arg(long, group = "when", value_name = "CRONTAB")]
    pub(super) cron: Option<String>,
    /// Due at every multiple of this since 1970, such as 10s
    #[arg(long, group = "when", value_name = "DURATION")]
    pub(super) every: Option<String>,
    /// Due once, at this instant
    #[arg(long, group = "when", value_name = "INSTANT")]
    pub(super) at: Option<String>,
    /// Due once, so long after now, such as 2h
    #[arg(long = "in", group = "when", value_name = "DURATION")]
    pub(super) after_now: Option<String>,
    /// The zone of the crontab, by its name in the IANA database [default: UTC]
    #[arg(long, visible_alias = "zone", value_name = "ZONE")]
    pub(super) timezone: Option<String>,
    /// How long after it is due a run starts
    #[arg(long, value_name = "DURATION")]
    pub(super) delay: Option<String>,
    /// Nothing is due before
    #[arg(long, value_name = "INSTANT")]
    pub(super) start: Option<String>,
    /// Nothing is due after
    #[arg(long, value_name = "INSTANT")]
    pub(super) end: Option<String>,
    /// So many runs, and no more
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) times: Option<u32>,
    /// What its runs are given; `@FILE` is the content of a file, `@-` stdin [default: what the manifest sets]
    #[arg(long, value_name = "TEXT|@FILE")]
    pub(super) data: Option<String>,
    /// Put it in the place of one that has the key
    #[arg(long)]
    pub(super) replace: bool,
    /// Only in the place of one that has this version
    #[arg(long, value_name = "VERSION", requires = "replace")]
    pub(super) if_version: Option<u64>,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct SchedulesArgs {
    /// Only those that make runs of this task
    #[arg(long)]
    pub(super) task: Option<Name>,
    /// Only keys after this one
    #[arg(long, value_name = "KEY")]
    pub(super) after: Option<Name>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) limit: u16,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

#[derive(Args, Clone, Debug)]
pub(super) struct DeleteArgs {
    /// Key of the schedule
    pub(super) key: Name,
    /// Only if it has this version
    #[arg(long, value_name = "VERSION")]
    pub(super) if_version: Option<u64>,
    #[command(flatten)]
    pub(super) list: ListArgs,
}

fn data(text: &str) -> Result<serde_json::Value, CliError> {
    let Some(file) = text.strip_prefix('@') else { return Ok(text.into()) };
    let bytes = read_file(Path::new(file))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| CliError::usage(format!("`{file}` is not UTF-8: data of a schedule is text")))?;
    Ok(text.into())
}

pub(super) fn add(client: &Client, args: &AddArgs, screen: &Screen) -> Result<(), CliError> {
    let name = |name: &Option<Name>| name.as_ref().map(Name::to_string);
    let request = ScheduleRequest {
        task: name(&args.task),
        plugin: name(&args.plugin),
        cron: args.cron.clone(),
        every: args.every.clone(),
        at: args.at.clone(),
        after_now: args.after_now.clone(),
        zone: args.timezone.clone(),
        delay: args.delay.clone(),
        start: args.start.clone(),
        end: args.end.clone(),
        times: args.times,
        data: args.data.as_deref().map(data).transpose()?,
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
        ScheduleEffect::Added | ScheduleEffect::Deleted => "is added",
    };
    let next = schedule.next.as_ref().map(|due| format!(" ({}{})", screen.clock_there(&due.local), due.marked()));
    let next = next.unwrap_or_default();
    for note in &notes {
        eprintln!("note: {}", one_line(note));
    }
    if schedule.state == ScheduleState::Paused {
        eprintln!("note: `{0}` is paused, so nothing is made until `sexton resume {0}`", schedule.task);
    }
    screen.line(&format!("Schedule `{}` of `{}` {verb}: {}{next}.", schedule.key, schedule.task, when(&schedule)))
}

/// When it is due, in a line.
fn when(schedule: &ScheduleShape) -> String {
    let mut text = one_line(&schedule.trigger.text);
    if let Some(times) = schedule.times {
        text.push_str(&format!(", {times} times"));
    }
    if schedule.delay_ms > 0 {
        text.push_str(&format!(", {} later", rough(Duration::from_millis(schedule.delay_ms))));
    }
    text
}

pub(super) fn list(client: &Client, args: &SchedulesArgs, screen: &Screen) -> Result<(), CliError> {
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
    let AddedSchedules { schedules, next } = decode(&json)?;
    if schedules.is_empty() {
        return screen.line("There are no such schedules. Those of manifests are shown by `sexton tasks`.");
    }
    let mut table = screen.table(&["KEY", "TASK", "STATE", "WHEN", "ZONE", "NEXT", "RUNS", "SKIPPED", "DATA"], "WHEN");
    for schedule in &schedules {
        table.add_row(vec![
            Cell::new(&schedule.key),
            Cell::new(&schedule.task),
            state(schedule, screen),
            Cell::new(when(schedule)),
            Cell::new(one_line(&schedule.zone)),
            Cell::new(match &schedule.next {
                Some(due) => format!("{} ({}{})", screen.clock_there(&due.local), screen.ago(due.at), due.marked()),
                None => "-".to_owned(),
            }),
            Cell::new(schedule.fired),
            Cell::new(schedule.skipped),
            Cell::new(
                schedule.data_bytes.map_or("-".to_owned(), |size| bytesize::ByteSize(size).display().iec().to_string()),
            ),
        ]);
    }
    screen.print(&table)?;
    match next {
        Some(after) if screen.terminal => screen.line(&format!("\nThere may be more: --after {after}")),
        _ => Ok(()),
    }
}

fn state(schedule: &ScheduleShape, screen: &Screen) -> Cell {
    match schedule.state {
        ScheduleState::Active | ScheduleState::Finished => Cell::new(schedule.state.as_str()),
        ScheduleState::Paused => screen.alarm("paused"),
        ScheduleState::Resting => screen.alarm(&format!("resting: no task `{}`", schedule.task)),
    }
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
    let (key, task, runs) = (&schedule.key, &schedule.task, schedule.fired);
    screen.line(&format!("Deleted `{key}` of `{task}`: {}, {runs} run(s) made.", when(&schedule)))
}

//! `schedule explain`: what a schedule means and when it fires, without a host.

use chrono_tz::Tz;

use super::args::{ExplainArgs, ScheduleCommand};
use super::error::CliError;
use super::screen::{Screen, one_line};
use crate::http::shapes::schedule::Explained;
use crate::schedule::explain::{self, Explanation};
use crate::schedule::{Trigger, given, words};
use crate::time::Timestamp;

pub(super) fn schedule(command: &ScheduleCommand, screen: &Screen) -> Result<(), CliError> {
    match command {
        ScheduleCommand::Explain(args) => explain(args, screen),
    }
}

fn explain(args: &ExplainArgs, screen: &Screen) -> Result<(), CliError> {
    let zone = args.zone;
    let from = match &args.from {
        Some(text) => words::instant(text, zone, screen.now).map_err(|e| CliError::usage(format!("`--from`: {e}")))?,
        None => screen.now,
    };
    let given = given::read(&args.schedule, zone, from).map_err(|wrong| {
        CliError::usage(wrong)
            .hint("a schedule is a crontab (`30 2 * * mon`), `every 10m`, or an instant (`tomorrow 4am`)")
    })?;
    let count = usize::from(args.next);
    if args.list.json {
        let explained = Explained::of(&given, zone, from, count);
        return screen.json(&serde_json::to_string(&explained).expect("texts and lists are JSON"));
    }
    let explained = given.explain(zone, from, count);
    screen.line(&format!("{} in {}: {}", one_line(&taken_for(&given.trigger, args)), zone.name(), explained.words))?;
    if let Some(month) = args.month {
        screen.text(&format!("\n{}", explain::month(&given.trigger, zone, month.year, month.month)))?;
    }
    fires(&explained, zone, from, screen)
}

/// What the text was taken for, and the text.
fn taken_for(trigger: &Trigger, args: &ExplainArgs) -> String {
    let kind = match trigger {
        Trigger::Cron(_) => "crontab",
        Trigger::Every(_) => "interval",
        _ => "instant",
    };
    format!("{kind} `{}`", args.schedule.trim())
}

fn fires(explained: &Explanation, zone: Tz, from: Timestamp, screen: &Screen) -> Result<(), CliError> {
    if explained.fires.is_empty() {
        return screen.line("It does not fire any more.");
    }
    let there = match zone {
        Tz::UTC => "ON THE CLOCK".to_owned(),
        _ => format!("IN {}", zone.name().to_uppercase()),
    };
    screen.line("")?;
    let mut table = screen.table(&[&there, "IN UTC", "", ""], "");
    for fire in &explained.fires {
        let mark = fire.mark.as_ref().map(ToString::to_string).unwrap_or_default();
        let age = if from == screen.now { screen.ago(fire.at) } else { String::new() };
        table.add_row(vec![fire.local.clone(), fire.utc.clone(), age, mark]);
    }
    screen.print(&table)
}

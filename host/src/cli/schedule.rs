//! Implements `schedule explain`: the meaning and the instants of a schedule, without a host.

use chrono_tz::Tz;

use super::args::ExplainArgs;
use super::error::CliError;
use super::screen::{Screen, one_line};
use crate::http::api_types::schedule::Explained;
use sexton_domain::schedule::explain::{self, Explanation};
use sexton_domain::schedule::parse::{self, ParseContext, ParsedSchedule};
use sexton_domain::schedule::{Trigger, instant_parser};
use sexton_domain::time::Timestamp;

pub(super) fn explain(args: &ExplainArgs, screen: &Screen) -> Result<(), CliError> {
    let given = read(args, screen)?;
    let (from, count) = (given.from, usize::from(args.next));
    let given = given.given;
    if args.list.json {
        let explained = Explained::of(&given, from, count);
        return screen.json(&serde_json::to_string(&explained).expect("texts and lists are JSON"));
    }
    let (explained, zone) = (given.explain(from, count), given.zone);
    screen.line(&format!("{} in {}: {}", one_line(&taken_for(&given.trigger, args)), zone.name(), explained.words))?;
    for note in &given.notes {
        screen.line(&format!("note: {note}"))?;
    }
    if let Some(month) = args.month {
        screen.text(&format!("\n{}", explain::month(&given.plan(), month.year, month.month)))?;
    }
    fires(&explained, zone, from, screen)
}

/// A parsed schedule, and the instant after which its instants are listed.
struct Explain {
    given: ParsedSchedule,
    from: Timestamp,
}

fn read(args: &ExplainArgs, screen: &Screen) -> Result<Explain, CliError> {
    let zone = args.zone.unwrap_or(Tz::UTC);
    let instant = |option: &str, text: &Option<String>| {
        let read = text.as_deref().map(|text| instant_parser::instant(text, zone, screen.now)).transpose();
        read.map_err(|e| CliError::usage(format!("`{option}`: {e}")))
    };
    let from = instant("--from", &args.from)?.unwrap_or(screen.now);
    let start = instant("--start", &args.start)?;
    let reading = ParseContext { zone: args.zone, seconds: args.seconds, name: args.task.as_deref(), start };
    let given = parse::read(&args.schedule, reading, from).map_err(|wrong| {
        CliError::usage(wrong).hint(
            "a schedule is a crontab (`30 2 * * mon`; with `--seconds` one of six fields), `every 10m`, or an instant \
             (`tomorrow 4am`)",
        )
    })?;
    Ok(Explain { given, from })
}

/// Returns the kind of the text, and the text.
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
        return screen.line("It never fires again.");
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

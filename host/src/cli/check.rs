//! Implements `check` and `schema`: manifests and their components, without a host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::args::CheckArgs;
use super::error::CliError;
use super::lists;
use super::screen::{Screen, eprint_line, one_line, safe};
use crate::http::api_types::{Due, TriggerShape, timing};
use crate::plugins::inspect::{Inspection, NO_COMPONENT, inspect, tasks_in, unknown_tasks};
use crate::plugins::manifest;
use sexton_domain::schedule::{Trigger, explain};
use sexton_domain::task::{Name, Task};

/// The due instants shown of each task, and of each of many tasks, which then fit on one screen.
const NEXT: u16 = 5;
const NEXT_OF_MANY: u16 = 1;

/// The interval from which on the explanation says which days are meant.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The number of tasks from which they are shown in one table, a line each.
const MANY: usize = 11;

/// The default place of manifests.
const PLUGINS: &str = "plugins";

/// A manifest, and the findings about its plugin.
struct Checked {
    file: PathBuf,
    found: Inspection,
}

/// Reads the manifests as a host would, inspects their components, and shows what they define. All are read, whatever
/// is wrong with some.
pub(super) fn check(args: &CheckArgs, screen: &Screen) -> Result<(), CliError> {
    let files = expand(&args.files)?;
    let mut all: Vec<Checked> =
        files.into_iter().map(|file| Checked { found: inspect(&file, screen.now), file }).collect();
    check_duplicates(&mut all);
    warn_of_unknown(&mut all);
    let tasks: usize = all.iter().map(|checked| checked.found.tasks.len()).sum();
    let next = usize::from(args.next.unwrap_or(if tasks < MANY { NEXT } else { NEXT_OF_MANY }));
    match (args.json, args.quiet) {
        (true, _) => screen.json(&json(&all, next, screen))?,
        (false, true) => {}
        (false, false) if tasks < MANY => each(&all, next, screen)?,
        (false, false) => one_table(&all, next, screen)?,
    }
    if !args.json && !args.quiet {
        screen.line(&summary(&all, tasks))?;
    }
    tell(&all)
}

/// Expands directories to the manifests in them.
fn expand(files: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let default = [PathBuf::from(PLUGINS)];
    if files.is_empty() && !default[0].is_dir() {
        return Err(CliError::usage(format!("there is no directory `{PLUGINS}` here"))
            .hint("name manifests, or directories with manifests: sexton check NAME.toml"));
    }
    let mut manifests = Vec::new();
    for path in if files.is_empty() { default.as_slice() } else { files } {
        if !path.is_dir() {
            manifests.push(path.clone());
            continue;
        }
        let unreadable = |e| CliError::failed(format!("cannot read `{}`: {e}", path.display()));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if file.extension().is_some_and(|ext| ext == "toml") {
                found.push(file);
            }
        }
        found.sort();
        if found.is_empty() {
            return Err(CliError::usage(format!("there is no manifest in `{}`", path.display()))
                .hint("a manifest is NAME.toml beside NAME.wasm; plugins without one need no check"));
        }
        manifests.extend(found);
    }
    Ok(manifests)
}

/// Reports names of tasks and chains that two plugins define.
fn check_duplicates(all: &mut [Checked]) {
    let mut owners: BTreeMap<Name, PathBuf> = BTreeMap::new();
    for Checked { file, found } in all {
        let Inspection { tasks, chains, errors, .. } = found;
        let mut is_new = |what: &str, name: &Name| match owners.insert(name.clone(), file.clone()) {
            Some(other) if other != *file => {
                let (file, other) = (file.display(), other.display());
                errors.push(format!("{file}: the {what} `{name}` is defined by {other} too; rename one of them"));
                false
            }
            _ => true,
        };
        tasks.retain(|task| is_new("task", &task.key.task));
        chains.retain(|chain| is_new("chain", &chain.key.task));
    }
}

/// Warns of links and grants that name tasks which no plugin of the same directory has.
fn warn_of_unknown(all: &mut [Checked]) {
    let mut known = BTreeMap::new();
    for checked in &*all {
        let names = checked.found.tasks.iter().map(|task| task.key.task.clone());
        let directory = checked.file.parent().unwrap_or(Path::new("")).to_owned();
        let place = if directory.as_os_str().is_empty() { PathBuf::from(".") } else { directory.clone() };
        known.entry(directory).or_insert_with(|| tasks_in(&place)).extend(names);
    }
    for Checked { file, found } in all {
        let Some(known) = known.get(file.parent().unwrap_or(Path::new(""))) else { continue };
        let unknown = unknown_tasks(found, known);
        found.warnings.extend(unknown.into_iter().map(|what| format!("{}: {what}", file.display())));
    }
}

/// Prints each manifest with a table of its tasks.
fn each(all: &[Checked], next: usize, screen: &Screen) -> Result<(), CliError> {
    for Checked { file, found } in all.iter().filter(|checked| checked.is_shown()) {
        screen.line(&format!("{}: {}", one_line(&file.display().to_string()), many(found.tasks.len(), "task")))?;
        if !found.tasks.is_empty() {
            let there = heading(found.tasks.iter());
            let mut table = screen.table(&["TASK", "WHEN", "ZONE", &there, "NEXT (UTC)", "", ""], "WHEN");
            for task in &found.tasks {
                for row in rows(task, next, screen) {
                    table.add_row(row);
                }
            }
            screen.print(&table)?;
        }
        print_notes(found, screen)?;
    }
    Ok(())
}

/// Prints all tasks in one table.
fn one_table(all: &[Checked], next: usize, screen: &Screen) -> Result<(), CliError> {
    let there = heading(all.iter().flat_map(|checked| &checked.found.tasks));
    let mut table = screen.table(&["FILE", "TASK", "WHEN", "ZONE", &there, "NEXT (UTC)", "", ""], "WHEN");
    for Checked { file, found } in all {
        for task in &found.tasks {
            for (n, row) in rows(task, next, screen).into_iter().take(next.max(1)).enumerate() {
                let file = if n == 0 { one_line(&file.display().to_string()) } else { String::new() };
                table.add_row(std::iter::once(file).chain(row));
            }
        }
    }
    screen.print(&table)?;
    all.iter().try_for_each(|checked| print_notes(&checked.found, screen))
}

/// Prints deviations from the text, and the chains.
fn print_notes(found: &Inspection, screen: &Screen) -> Result<(), CliError> {
    for (task, remark) in found.tasks.iter().flat_map(|task| task.remarks.iter().map(move |remark| (task, remark))) {
        screen.line(&format!("note: `{}`: {}", task.key.task, one_line(remark)))?;
    }
    for chain in &found.chains {
        let links: Vec<&str> = chain.links.iter().map(|link| link.task.as_str()).collect();
        screen.line(&format!("chain {}: {}", chain.key.task, links.join(", then ")))?;
    }
    Ok(())
}

/// Returns the heading of the instants, which follow the clocks of the tasks' zones.
fn heading<'a>(mut tasks: impl Iterator<Item = &'a Task>) -> String {
    match tasks.next() {
        Some(first) if tasks.all(|task| task.zone == first.zone) => {
            format!("NEXT ({})", first.zone.name().to_uppercase())
        }
        _ => "NEXT (IN ITS ZONE)".to_owned(),
    }
}

/// Returns the rows of a task with its next instants, one a row. The meaning of its schedule stands below the text, if
/// it says more.
fn rows(task: &Task, next: usize, screen: &Screen) -> Vec<[String; 7]> {
    let (name, when) = (task.key.task.to_string(), TriggerShape::of(&task.trigger).text);
    let when = one_line(&lists::when(&when, timing::words(task).as_deref()));
    let tells_more = match task.trigger {
        Trigger::Cron(_) | Trigger::At(_) => true,
        Trigger::Every(step) => step >= DAY,
        _ => false,
    };
    let words = if tells_more { explain::words(&task.plan()) } else { String::new() };
    let mut instants = Due::list(task, None, 0, screen.now, next).into_iter().map(|due| {
        let mark = due.mark.as_ref().map(|mark| mark.text.clone()).unwrap_or_default();
        let age = format!("{}{}", screen.ago(due.at), due.later());
        [due.local, due.at.to_string(), age, mark]
    });
    let first = instants.next().unwrap_or_else(|| {
        let done = task.plan().done(0, screen.now);
        [done.unwrap_or_else(|| "-".to_owned()), "-".to_owned(), String::new(), String::new()]
    });
    let mut further: Vec<[String; 4]> = instants.collect();
    if further.is_empty() && !words.is_empty() {
        further.push(Default::default());
    }
    let row = |name: String, when: String, zone: String, [there, utc, age, mark]: [String; 4]| {
        [name, when, zone, there, utc, age, mark]
    };
    let mut rows = vec![row(name, when, task.zone.name().to_owned(), first)];
    let mut words = Some(words);
    rows.extend(
        further.into_iter().map(|due| row(String::new(), words.take().unwrap_or_default(), String::new(), due)),
    );
    rows
}

impl Checked {
    /// Returns whether there is something to show besides errors.
    fn is_shown(&self) -> bool {
        !self.found.tasks.is_empty() || !self.found.chains.is_empty() || self.found.errors.is_empty()
    }
}

fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Returns the numbers of errors and warnings.
fn counts(all: &[Checked]) -> (usize, usize) {
    let sum = |of: fn(&Inspection) -> usize| all.iter().map(|checked| of(&checked.found)).sum();
    (sum(|found| found.errors.len()), sum(|found| found.warnings.len()))
}

fn summary(all: &[Checked], tasks: usize) -> String {
    let (errors, warnings) = counts(all);
    let (manifests, tasks) = (many(all.len(), "manifest"), many(tasks, "task"));
    format!("Checked {manifests} with {tasks}: {}, {}.", many(errors, "error"), many(warnings, "warning"))
}

/// Prints errors and warnings to stderr.
fn tell(all: &[Checked]) -> Result<(), CliError> {
    let warnings: Vec<&String> = all.iter().flat_map(|checked| &checked.found.warnings).collect();
    for warning in folded(&warnings) {
        eprint_line(&format!("warning: {}", safe(&warning)));
    }
    let errors: Vec<&String> = all.iter().flat_map(|checked| &checked.found.errors).collect();
    let Some((last, others)) = errors.split_last() else { return Ok(()) };
    for error in others {
        eprint_line(&format!("error: {}", safe(error)));
    }
    let failed = CliError::failed(last.as_str());
    Err(match errors.len() {
        1 => failed,
        many => failed.hint(format!("{many} things are wrong in {} manifests", all.len())),
    })
}

/// Folds the warnings for people: a missing component is reported once for all manifests, because a check of manifests
/// alone expects it.
fn folded(warnings: &[&String]) -> Vec<String> {
    const NAMED: usize = 3;
    let (bare, others): (Vec<&String>, Vec<&String>) =
        warnings.iter().copied().partition(|warning| warning.ends_with(NO_COMPONENT));
    let mut folded: Vec<String> = others.into_iter().cloned().collect();
    if bare.len() <= NAMED {
        folded.extend(bare.into_iter().cloned());
        return folded;
    }
    let name = |warning: &&String| warning.trim_end_matches(NO_COMPONENT).trim_end_matches(": ").to_owned();
    let named: Vec<String> = bare.iter().take(NAMED).map(name).collect();
    let (named, count, more) = (named.join(", "), bare.len(), bare.len() - NAMED);
    folded.push(format!(
        "{count} components are missing, so imports and grants were not compared: {named} and {more} more"
    ));
    folded
}

/// A manifest, for programs.
#[derive(Serialize)]
struct FileShape<'a> {
    file: String,
    kind: Option<&'static str>,
    tasks: Vec<TaskShape>,
    chains: Vec<ChainShape<'a>>,
    errors: &'a [String],
    warnings: &'a [String],
}

#[derive(Serialize)]
struct TaskShape {
    name: String,
    trigger: TriggerShape,
    zone: &'static str,
    next: Vec<Due>,
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct ChainShape<'a> {
    name: &'a Name,
    links: Vec<&'a Name>,
}

fn json(all: &[Checked], next: usize, screen: &Screen) -> String {
    let task = |task: &Task| TaskShape {
        name: task.key.task.to_string(),
        trigger: TriggerShape::of(&task.trigger),
        zone: task.zone.name(),
        next: Due::list(task, None, 0, screen.now, next),
        remarks: task.remarks.clone(),
    };
    let files: Vec<FileShape<'_>> = all
        .iter()
        .map(|Checked { file, found }| FileShape {
            file: file.display().to_string(),
            kind: found.kind.map(|kind| kind.as_str()),
            tasks: found.tasks.iter().map(task).collect(),
            chains: found
                .chains
                .iter()
                .map(|chain| ChainShape {
                    name: &chain.key.task,
                    links: chain.links.iter().map(|link| &link.task).collect(),
                })
                .collect(),
            errors: &found.errors,
            warnings: &found.warnings,
        })
        .collect();
    let (errors, warnings) = counts(all);
    serde_json::json!({ "files": files, "errors": errors, "warnings": warnings }).to_string()
}

/// Prints the JSON schema of manifests.
pub(super) fn schema(screen: &Screen) -> Result<(), CliError> {
    screen.text(&manifest::schema())
}

#[cfg(test)]
mod tests;

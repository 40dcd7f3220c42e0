//! Applies the rules of a house to the code that was read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::circles::circles;
use crate::references::{self, Target};
use crate::source::{Code, Crate};

/// The code that is read, and the rules that it must keep.
#[derive(Debug, Clone, Copy)]
pub struct Repository {
    pub crates: &'static [Crate],
    pub rooms: &'static [Room],
    pub rules: &'static [Rule],
    pub permits: &'static [Permit],
    /// The most lines of a file.
    pub longest_file: usize,
    /// The most lines of a function.
    pub longest_function: usize,
    /// The most files of a circle.
    pub largest_circle: usize,
}

/// A part of the code with one job.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub name: &'static str,
    /// Its modules, by full path; modules within them belong to it.
    pub modules: &'static [&'static str],
}

/// A list of names that some rooms may not use.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    pub rooms: &'static [&'static str],
    /// Full paths of this code (`sexton::http`), crates (`tokio`), ends of paths (`Utc::now`), or the word `async`.
    pub may_not_use: &'static [&'static [&'static str]],
    pub because: &'static str,
}

/// A use that a rule forbids and that is right nevertheless, in one module and those within it.
#[derive(Debug, Clone, Copy)]
pub struct Permit {
    pub module: &'static str,
    /// A name as in a rule. Names within it are permitted, too.
    pub may_use: &'static str,
    pub because: &'static str,
}

impl Permit {
    fn covers(&self, each: &Use<'_>) -> bool {
        is_within(&each.module.join("::"), self.module) && names(each.path(), self.may_use)
    }
}

/// The findings of the checks.
#[derive(Debug, Default)]
pub struct Report {
    /// One line for each broken rule.
    pub faults: Vec<String>,
    /// The rooms with the rooms that they use and the number of files that do, and the circles of files.
    pub drawing: String,
    /// `FILE -> FILE` for each use within a circle: the uses that would have to be cut.
    pub edges: Vec<String>,
    pub longest_function: usize,
    pub largest_circle: usize,
}

/// A path that a module uses, resolved.
struct Use<'c> {
    module: &'c [String],
    from: usize,
    line: usize,
    target: Target,
}

impl Use<'_> {
    fn path(&self) -> &[String] {
        match &self.target {
            Target::Own { path, .. } | Target::Foreign(path) => path,
        }
    }
}

/// Checks `code` by all rules of `house`.
#[must_use]
pub fn all(code: &Code, house: &Repository) -> Report {
    let mut report = Report::default();
    lengths(code, house, &mut report);
    let permitted = house.permits.iter().map(|permit| &permit.module);
    for module in house.rooms.iter().flat_map(|room| room.modules).chain(permitted) {
        let path: Vec<String> = module.split("::").map(str::to_owned).collect();
        if !code.modules.contains_key(&path) {
            report.faults.push(format!("the rules name the module `{module}`, which is not there"));
        }
    }
    let uses = uses(code);
    rules(code, house, &uses, &mut report);
    structure(code, house, &uses, &mut report);
    report
}

fn lengths(code: &Code, house: &Repository, report: &mut Report) {
    for file in &code.measured {
        if file.lines > house.longest_file {
            report.faults.push(format!("{} has {} lines, the most is {}", file.name, file.lines, house.longest_file));
        }
        for function in &file.functions {
            report.longest_function = report.longest_function.max(function.lines);
            if function.lines > house.longest_function {
                report.faults.push(format!(
                    "{}:{}: `{}` has {} lines, the most is {}",
                    file.name, function.line, function.name, function.lines, house.longest_function
                ));
            }
        }
    }
}

/// Resolves every path of every module.
fn uses(code: &Code) -> Vec<Use<'_>> {
    let mut found = Vec::new();
    for (path, module) in &code.modules {
        for mention in references::mentions(module) {
            for target in references::resolve(code, path, &mention.path) {
                // A module that passes on what another defines does not use it.
                let passes_on = mention.is_re_export && matches!(target, Target::Own { .. });
                if !passes_on {
                    found.push(Use { module: path, from: module.file, line: mention.line, target });
                }
            }
        }
    }
    found
}

fn rules(code: &Code, house: &Repository, uses: &[Use<'_>], report: &mut Report) {
    let rooms = rooms_of_files(code, house);
    let mut faults = BTreeSet::new();
    let mut needed = BTreeSet::new();
    for rule in house.rules {
        let forbidden = || rule.may_not_use.iter().flat_map(|group| group.iter());
        let applies = |file: usize| rooms.get(&file).is_some_and(|room| rule.rooms.contains(room));
        for each in uses.iter().filter(|each| applies(each.from)) {
            for word in forbidden().filter(|word| names(each.path(), word)) {
                match house.permits.iter().position(|permit| permit.covers(each)) {
                    Some(permit) => needed.insert(permit),
                    None => faults.insert((each.from, each.line, *word, rule.because)),
                };
            }
        }
        if forbidden().any(|word| *word == "async") {
            for module in code.modules.values().filter(|module| applies(module.file)) {
                if let Some(line) = references::first_async(module) {
                    faults.insert((module.file, line, "async", rule.because));
                }
            }
        }
    }
    for (file, line, word, because) in faults {
        report.faults.push(format!("{}:{line}: `{word}` must not be used here: {because}", code.files[file]));
    }
    for (number, permit) in house.permits.iter().enumerate() {
        if !needed.contains(&number) {
            let Permit { module, may_use, .. } = permit;
            report.faults.push(format!("`{module}` may use `{may_use}` and does not: the permit must go"));
        }
    }
}

/// Returns whether `path` begins with the names of `word`, or contains them if they name a function of a type.
fn names(path: &[String], word: &str) -> bool {
    let word: Vec<&str> = word.split("::").collect();
    let is_type = word.first().is_some_and(|name| name.starts_with(char::is_uppercase));
    match is_type {
        true => path.windows(word.len()).any(|window| window == word.as_slice()),
        false => path.len() >= word.len() && path[..word.len()] == word,
    }
}

/// Returns whether the module `path` is `module`, or lies within it.
fn is_within(path: &str, module: &str) -> bool {
    path == module || path.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
}

fn rooms_of_files(code: &Code, house: &Repository) -> BTreeMap<usize, &'static str> {
    let mut found = BTreeMap::new();
    for (path, module) in &code.modules {
        let path = path.join("::");
        for room in house.rooms {
            if room.modules.iter().any(|module| is_within(&path, module)) {
                found.insert(module.file, room.name);
            }
        }
    }
    found
}

/// Finds circles, and draws which room uses which.
fn structure(code: &Code, house: &Repository, uses: &[Use<'_>], report: &mut Report) {
    let rooms = rooms_of_files(code, house);
    let mut edges = BTreeSet::new();
    for each in uses {
        if let Target::Own { file, .. } = each.target
            && file != each.from
        {
            edges.insert((each.from, file));
        }
    }
    let circles = circles(&edges);
    report.largest_circle = circles.first().map_or(0, Vec::len);
    let mut between: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (from, to) in &edges {
        if let (Some(from), Some(to)) = (rooms.get(from), rooms.get(to))
            && from != to
        {
            *between.entry((from, to)).or_default() += 1;
        }
    }
    for room in house.rooms {
        let used: Vec<String> = between
            .iter()
            .filter(|((from, _), _)| *from == room.name)
            .map(|((_, to), files)| format!("{to} ({files})"))
            .collect();
        let _ = writeln!(
            report.drawing,
            "{} -> {}",
            room.name,
            if used.is_empty() { "-".to_owned() } else { used.join(", ") }
        );
    }
    for circle in circles.iter().filter(|circle| circle.len() > 3) {
        let names: Vec<&str> = circle.iter().map(|file| code.files[*file].as_str()).collect();
        let _ = writeln!(report.drawing, "circle of {} files: {}", names.len(), names.join(" "));
        let within = edges.iter().filter(|(from, to)| circle.contains(from) && circle.contains(to));
        report.edges.extend(within.map(|(from, to)| format!("{} -> {}", code.files[*from], code.files[*to])));
    }
    if report.largest_circle > house.largest_circle {
        report
            .faults
            .push(format!("a circle of {} files, the most is {}", report.largest_circle, house.largest_circle));
    }
}

//! Inspects a plugin on the disk without a host: finds everything that is wrong with it, and everything that a host
//! would object to later.
//!
//! Nothing is compiled or run. Facts that only a host knows (its limits, other plugins' names, whether a directory
//! exists when a run starts) are left out, or are warnings.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::source::{Listing, MAX_MANIFEST, list};
use crate::config;
use sexton_domain::lengths;
use sexton_domain::schedule::Chain;
use sexton_domain::task::{Name, Task};
use sexton_domain::time::Timestamp;
use sexton_runtime::runtime::{ComponentSummary, Kind};
use sexton_system::regular_file;

/// The warning for a manifest without a component.
pub const NO_COMPONENT: &str = "there is no component beside it, so imports and grants were not compared";

/// The findings about a plugin.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The tasks that its manifest defines, except those with errors.
    pub tasks: Vec<Task>,
    /// The chains that its manifest defines, except those with errors.
    pub chains: Vec<Chain>,
    /// The kind of its component; `None` if the component was not found or cannot be used.
    pub kind: Option<Kind>,
    /// The reasons why a host would not use it.
    pub errors: Vec<String>,
    /// Parts that are probably mistakes, or will fail later.
    pub warnings: Vec<String>,
}

/// Inspects the manifest `file`, and the component beside it, at the time `now`.
pub fn inspect(file: &Path, now: Timestamp) -> Inspection {
    let mut found = Inspection::default();
    if let Err(why) = read(file, &mut found) {
        found.errors.push(why);
        return found;
    }
    component(file, &mut found);
    let shown = file.display();
    for task in &found.tasks {
        let warnings = [never_due(task, now), text_for_json(task), never_idle(task)].into_iter().flatten();
        let warnings = warnings.chain(absent_directories(task));
        found.warnings.extend(warnings.map(|what| format!("{shown}: task `{}`: {what}", task.key.task)));
    }
    found
}

fn read(file: &Path, found: &mut Inspection) -> Result<(), String> {
    let shown = file.display().to_string();
    if file.extension().is_none_or(|ext| ext != "toml") {
        return Err(match file.exists() {
            true => format!("{shown}: is not a manifest; a manifest is called NAME.toml"),
            false => format!("{shown}: there is no such file or directory"),
        });
    }
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plugin = Name::new(stem).map_err(|e| format!("{shown}: the file is named after its plugin: {e}"))?;
    let bytes = regular_file::read(file, MAX_MANIFEST).map_err(|e| format!("{shown}: cannot be read: {e}"))?;
    let bytes = bytes.ok_or_else(|| format!("{shown}: is larger than {MAX_MANIFEST} bytes, the most that is read"))?;
    let text = String::from_utf8(bytes).map_err(|e| format!("{shown}: not UTF-8: {e}"))?;
    let (manifest, errors) = Manifest::examine(&shown, &text);
    found.errors.extend(errors.iter().map(ToString::to_string));
    // A host makes one task for a manifest without tasks, but not for one whose tasks are wrong.
    if found.errors.is_empty() || manifest.defines_tasks() {
        found.tasks = manifest.tasks(&Name::default_tenant(), &plugin, directory(file));
    }
    found.chains = manifest.chains(&Name::default_tenant(), &plugin);
    Ok(())
}

/// Compares the imports of the component with the grants of the tasks.
fn component(file: &Path, found: &mut Inspection) {
    let Some(wasm) = component_of(file) else {
        let name = file.with_extension("wasm");
        let what = match misnamed(file) {
            Some(other) => format!("the component is called `{other}`; a host looks for NAME.wasm, in lower case"),
            None => NO_COMPONENT.to_owned(),
        };
        found.warnings.push(format!("{}: {what}", name.display()));
        return;
    };
    let shown = wasm.display();
    let limit = config::Runtime::default().max_component;
    let bytes = match regular_file::read(&wasm, limit) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            return found.errors.push(format!("{shown}: has more than {limit} bytes, the limit of a host by default"));
        }
        Err(e) => return found.errors.push(format!("{shown}: cannot be read: {e}")),
    };
    match ComponentSummary::of(&bytes, limit) {
        Err(why) => found.errors.push(format!("{shown}: {why}")),
        Ok(glance) => {
            found.kind = Some(glance.kind());
            for task in &found.tasks {
                if let Some(refusal) = glance.refusal(task) {
                    found.errors.push(format!("{}: task `{}` {refusal}", file.display(), task.key.task));
                }
            }
        }
    }
}

/// Finds the component that belongs to the manifest `file`: beside it, or where cargo puts it if the manifest lies in a
/// crate.
fn component_of(file: &Path) -> Option<PathBuf> {
    let stem = file.file_stem()?.to_str()?;
    let built = directory(file).join("target/wasm32-wasip2/release");
    let places = [
        file.with_extension("wasm"),
        built.join(format!("{}.wasm", stem.replace('-', "_"))),
        built.join(format!("{stem}.wasm")),
    ];
    places.into_iter().find(|place| place.is_file())
}

/// Finds a file beside the manifest whose name differs from the component's only in case.
pub(super) fn misnamed(file: &Path) -> Option<String> {
    let wanted = file.with_extension("wasm").file_name()?.to_str()?.to_owned();
    let names = directory(file).read_dir().ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| *name != wanted && name.eq_ignore_ascii_case(&wanted)).min()
}

/// Returns the directory of `file`.
pub(super) fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns a warning if a schedule makes no further run.
fn never_due(task: &Task, now: Timestamp) -> Option<String> {
    let is_over = task.trigger.is_by_clock() && task.plan().upcoming(now, None, 0).next().is_none();
    is_over.then(|| match task.plan().done(0, now) {
        Some(why) => format!("its schedule makes no run: it {why}"),
        None => "its schedule makes no run".to_owned(),
    })
}

/// Returns a warning if `input-json` is a string that contains JSON, which the task would get as a string.
fn text_for_json(task: &Task) -> Option<String> {
    let serde_json::Value::String(text) = serde_json::from_slice(&task.input).ok()? else { return None };
    let is_json = text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde_json::Value>(&text).is_ok();
    is_json.then(|| {
        "`input-json` is a text that has JSON in it, and the task gets it as a JSON string; write a TOML value, such as \
         input-json = { page = 3 }, or put the text into `input`"
            .to_owned()
    })
}

/// Returns a warning if a run is at its deadline before it can be idle for too long.
fn never_idle(task: &Task) -> Option<String> {
    let deadline = task.limits.deadline;
    task.limits.idle.filter(|idle| *idle >= deadline).map(|idle| {
        let [idle, deadline] = [idle, deadline].map(lengths::exact);
        format!("`limits.idle` of {idle} never ends a run, whose deadline is {deadline}")
    })
}

fn absent_directories(task: &Task) -> impl Iterator<Item = String> {
    let absent = task.grants.directories.iter().filter(|granted| !granted.host.is_dir());
    absent.map(|granted| {
        let host = granted.host.display();
        format!("the granted directory `{host}` is not here; its runs are refused where it is not")
    })
}

/// Returns the names of the tasks of the plugins in `directory`, including plugins without a manifest.
pub fn tasks_in(directory: &Path) -> BTreeSet<Name> {
    let Ok(Listing { plugins, .. }) = list(directory) else { return BTreeSet::new() };
    let mut names = BTreeSet::new();
    for plugin in plugins.keys().filter_map(|name| Name::new(name.as_str()).ok()) {
        let text = regular_file::read(&directory.join(format!("{plugin}.toml")), MAX_MANIFEST).ok().flatten();
        let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
        let (manifest, _) = Manifest::examine("", &text);
        names.extend(manifest.tasks(&Name::default_tenant(), &plugin, directory).into_iter().map(|task| task.key.task));
    }
    names
}

/// Returns the tasks that chains of `found` have as links, or that its tasks may enqueue, and that are not in `known`.
pub fn unknown_tasks(found: &Inspection, known: &BTreeSet<Name>) -> Vec<String> {
    let mut unknown = Vec::new();
    for chain in &found.chains {
        let names: BTreeSet<&Name> = chain.links.iter().map(|link| &link.task).collect();
        for name in names.into_iter().filter(|name| !known.contains(*name)) {
            unknown
                .push(format!("chain `{}` has the link `{name}`, and no plugin here has such a task", chain.key.task));
        }
    }
    for task in &found.tasks {
        for pattern in
            task.grants.schedule.iter().filter(|pattern| !known.iter().any(|name| pattern.matches(name.as_str())))
        {
            unknown.push(format!(
                "task `{}` may schedule `{}`, and no plugin here has such a task",
                task.key.task, pattern.0
            ));
        }
    }
    unknown
}

//! `check` and `schema`: manifests without a host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::CliError;
use super::lists;
use super::screen::{Screen, one_line, safe};
use crate::http::shapes::{Due, TriggerShape, timing};
use crate::plugins::manifest::{self, Manifest};
use crate::schedule::{Chain, Trigger, explain};
use crate::task::{Name, Task};

/// Due instants shown of each task.
const NEXT: usize = 5;

/// From this interval on it is asked which days are meant.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where manifests are looked for when none is named.
const PLUGINS: &str = "plugins";

/// Read the manifests as a host would, and show what they define. All are read, whatever is wrong with some.
pub(super) fn check(files: &[PathBuf], screen: &Screen) -> Result<(), CliError> {
    let files = expand(files)?;
    let mut bad = Vec::new();
    let mut owners: BTreeMap<Name, &Path> = BTreeMap::new();
    for file in &files {
        let (mut tasks, mut chains) = match read(file) {
            Ok(defined) => defined,
            Err(why) => {
                bad.push(why);
                continue;
            }
        };
        let mut is_new = |what: &str, name: &Name| match owners.insert(name.clone(), file) {
            Some(other) if other != file => {
                let (file, other) = (file.display(), other.display());
                bad.push(format!("{file}: the {what} `{name}` is defined by {other} too; rename one of them"));
                false
            }
            _ => true,
        };
        tasks.retain(|task| is_new("task", &task.key.task));
        chains.retain(|chain| is_new("chain", &chain.key.task));
        show(file, &tasks, screen)?;
        for Chain { key, links, .. } in &chains {
            let links: Vec<&str> = links.iter().map(|link| link.task.as_str()).collect();
            screen.line(&format!("chain {}: {}", key.task, links.join(", then ")))?;
        }
    }
    let Some((last, others)) = bad.split_last() else { return Ok(()) };
    for why in others {
        eprintln!("error: {}", safe(why));
    }
    let error = CliError::failed(last.as_str());
    Err(match bad.len() {
        1 => error,
        many => error.hint(format!("{many} things are wrong in {} manifests", files.len())),
    })
}

/// The manifests that are meant: directories stand for those in them.
fn expand(files: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let named = if files.is_empty() { &[PathBuf::from(PLUGINS)][..] } else { files };
    let mut manifests = Vec::new();
    for path in named {
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

fn read(file: &Path) -> Result<(Vec<Task>, Vec<Chain>), String> {
    let shown = file.display().to_string();
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plugin = Name::new(stem).map_err(|e| format!("{shown}: the file's name is the plugin's: {e}"))?;
    if file.extension().is_none_or(|ext| ext != "toml") {
        return Err(format!("{shown}: a manifest is called NAME.toml"));
    }
    let text = std::fs::read_to_string(file).map_err(|e| format!("{shown}: cannot be read: {e}"))?;
    let manifest = Manifest::parse(&shown, &text).map_err(|e| e.to_string())?;
    let tenant = Name::default_tenant();
    let tasks = manifest.tasks(&tenant, &plugin, file.parent().unwrap_or(Path::new(".")));
    Ok((tasks, manifest.chains(&tenant, &plugin)))
}

fn show(file: &Path, tasks: &[Task], screen: &Screen) -> Result<(), CliError> {
    let many = if tasks.len() == 1 { "1 task".to_owned() } else { format!("{} tasks", tasks.len()) };
    screen.line(&format!("{}: {many}", one_line(&file.display().to_string())))?;
    let mut table = screen.table(&["TASK", "WHEN", "ZONE", "NEXT THERE", "NEXT IN UTC", "", ""], "WHEN");
    for task in tasks {
        let (name, when) = (task.key.task.to_string(), TriggerShape::of(&task.trigger).text);
        let when = lists::when(&when, timing::words(task).as_deref());
        // What it means stands below how it is written, where it says more than that.
        let tells_more = match task.trigger {
            Trigger::Cron(_) | Trigger::At(_) => true,
            Trigger::Every(step) => step >= DAY,
            _ => false,
        };
        let words = tells_more.then(|| explain::words(&task.plan()));
        let mut rows = Due::list(task, 0, screen.now, NEXT).into_iter().map(|due| {
            let mark = due.mark.as_ref().map(|mark| mark.text.clone()).unwrap_or_default();
            let age = format!("{}{}", screen.ago(due.at), due.later());
            [due.local, due.at.to_string(), age, mark]
        });
        let [there, utc, age, mark] = rows.next().unwrap_or_else(|| {
            let done = task.plan().done(0, screen.now);
            [done.unwrap_or_else(|| "-".to_owned()), "-".to_owned(), String::new(), String::new()]
        });
        table.add_row(vec![name, one_line(&when), task.zone.name().to_owned(), there, utc, age, mark]);
        for (row, when) in lines(rows, words) {
            let [there, utc, age, mark] = row;
            table.add_row(vec![String::new(), when, String::new(), there, utc, age, mark]);
        }
    }
    screen.print(&table)?;
    for (task, remark) in tasks.iter().flat_map(|task| task.remarks.iter().map(move |remark| (task, remark))) {
        screen.line(&format!("note: `{}`: {}", task.key.task, one_line(remark)))?;
    }
    Ok(())
}

/// The further lines of a task: its further instants, and what it means beside the first of them.
fn lines(rows: impl Iterator<Item = [String; 4]>, words: Option<String>) -> Vec<([String; 4], String)> {
    let mut rows: Vec<_> = rows.map(|row| (row, String::new())).collect();
    if let Some(words) = words {
        match rows.first_mut() {
            Some((_, when)) => *when = words,
            None => rows.push((Default::default(), words)),
        }
    }
    rows
}

/// The JSON schema of manifests.
pub(super) fn schema(screen: &Screen) -> Result<(), CliError> {
    screen.text(&manifest::schema())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{check, schema};
    use crate::cli::error::Exit;
    use crate::cli::screen::Screen;

    fn printed(screen: &Screen) -> String {
        String::from_utf8(screen.kept.lock().expect("no panics").clone()).expect("UTF-8")
    }

    #[test]
    fn a_good_manifest_is_shown_with_its_next_five_instants() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("clock.toml"), "[tasks.tick]\ncron = \"0 3 * * *\"\nzone = \"Europe/Berlin\"\n")
            .expect("a file");
        let screen = Screen::plain();

        check(&[dir.path().to_owned()], &screen).expect("a good manifest");

        let shown = printed(&screen);
        assert!(shown.contains("clock.toml: 1 task\n"), "{shown}");
        assert_eq!(shown.matches("T03:00:00+0").count(), 5, "{shown}");
        assert!(shown.contains("\n      at 03:00 every day"), "{shown}");
        assert!(shown.contains("cron 0 3 * * *") && shown.contains("Europe/Berlin"), "{shown}");
    }

    #[test]
    fn chains_are_shown_and_have_no_name_that_a_task_has() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("a.toml"), "[tasks.x]\n[tasks.y]\n[chains.c]\nlinks = [\"x\", \"y\"]\n")
            .expect("a file");
        fs::write(dir.path().join("b.toml"), "[tasks.z]\n[chains.y]\nlinks = [\"z\"]\n").expect("a file");
        let screen = Screen::plain();

        let error = check(&[dir.path().to_owned()], &screen).expect_err("`y` is there twice");

        assert!(printed(&screen).contains("chain c: x, then y\n"), "{}", printed(&screen));
        assert!(format!("{error:?}").contains("the chain `y` is defined by"), "{error:?}");
    }

    #[test]
    fn bad_manifests_are_all_told_and_the_good_ones_still_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        for (file, text) in [
            ("a.toml", "[tasks.same]\n"),
            ("b.toml", "[tasks.same]\n[tasks.other]\n"),
            ("c.toml", "[tasks.x]\nevry = \"1s\"\n"),
        ] {
            fs::write(dir.path().join(file), text).expect("a file");
        }
        let screen = Screen::plain();

        let error = check(&[dir.path().to_owned()], &screen).expect_err("two of them are bad");

        assert_eq!(error.exit(), Exit::Failed);
        assert!(format!("{error:?}").contains("2 things are wrong in 3 manifests"), "{error:?}");
        assert!(printed(&screen).contains("other"));
    }

    #[test]
    fn a_place_without_manifests_is_said_to_be_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = check(&[dir.path().to_owned()], &Screen::plain()).expect_err("nothing is there");
        assert_eq!(error.exit(), Exit::Usage);
        let error = check(&[dir.path().join("absent.toml")], &Screen::plain()).expect_err("nothing is there");
        assert_eq!(error.exit(), Exit::Failed);
    }

    #[test]
    fn the_schema_is_json() {
        let screen = Screen::plain();
        schema(&screen).expect("it can be printed");
        serde_json::from_str::<serde_json::Value>(&printed(&screen)).expect("JSON");
    }
}

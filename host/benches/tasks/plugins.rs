//! Makes plugins with many tasks, all with the same component.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use chrono::Datelike as _;

use crate::common::{drop_plugin, guest};

/// The plugin and the task that enqueues runs of others.
pub(crate) const ASKER: &str = "asker";

/// Puts `plugins` plugins with `tasks` tasks each into the directory of a host, and one whose task enqueues runs of those.
pub(crate) fn put(place: &Path, plugins: usize, tasks: usize) {
    let directory = place.join("plugins");
    fs::create_dir_all(&directory).unwrap();
    let component = place.join("noop.wasm");
    fs::copy(guest("noop"), &component).unwrap();
    for plugin in 0..plugins {
        fs::write(directory.join(format!("p{plugin:04}.toml")), manifest(plugin, tasks)).unwrap();
        fs::hard_link(&component, directory.join(format!("p{plugin:04}.wasm"))).unwrap();
    }
    // It may use everything that its component imports.
    let grants = "locks = [\"*\"]\ncache = [\"*\"]\nschedule = [\"*\"]\nhttp = [\"127.0.0.1:1\"]\n";
    drop_plugin(place, ASKER, "probe", &format!("[tasks.{ASKER}.grants]\n{grants}"));
}

/// Returns the name of a task.
pub(crate) fn name(plugin: usize, task: usize) -> String {
    format!("t{plugin:04}-{task:03}")
}

/// Returns a manifest whose tasks run on demand; every second has a crontab, too, which is not due soon.
fn manifest(plugin: usize, tasks: usize) -> String {
    let month = (chrono::Utc::now().month() + 5) % 12 + 1;
    let mut text = String::new();
    for task in 0..tasks {
        let _ = writeln!(text, "[tasks.{}]", name(plugin, task));
        if task % 2 == 1 {
            let _ = writeln!(text, "cron = \"{} {} {} {month} *\"", task % 60, plugin % 24, plugin % 28 + 1);
        }
    }
    text
}

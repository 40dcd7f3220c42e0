//! Tests the page for people who come from other schedulers: every line of a manifest that it shows is checked, and
//! every command is run, in the order of the page, against a host. `effects` loads the manifests into one.

mod effects;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Host, SEXTON};

const PAGE: &str = include_str!("../../docs/guides/coming-from.md");

/// The command that the test has run before all others.
const IS_UP: &str = "sexton run";

/// The right side of a row of the page.
#[derive(Debug, PartialEq)]
enum Line {
    /// Commands for a shell.
    Commands(String),
    /// Lines of a task in a manifest.
    Manifest(Vec<String>),
}

/// Returns the right sides of all rows of the page's tables, each with the row.
fn lines() -> Vec<(&'static str, Line)> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| with "));
    let right = |row: &'static str| {
        // A bar within a command stands behind a backslash.
        let cells: Vec<String> =
            row.replace("\\|", "\u{0}").split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect();
        let [_, _, right, _] = cells.as_slice() else { panic!("a row has two cells: {row}") };
        let spans: Vec<String> = right.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert!(!spans.is_empty(), "nothing stands on the right: {row}");
        if spans[0].starts_with("sexton ") { Line::Commands(spans.join("\n")) } else { Line::Manifest(spans) }
    };
    rows.map(|row| (row, right(row))).collect()
}

/// The manifest of the plugin that the page speaks of. It takes the types of the page's schedules.
const NIGHTLY: &str =
    "[tasks.nightly]\ncron = \"30 2 * * *\"\noverlap = \"allow(16)\"\n[routes]\n\"mail-*\" = \"nightly\"\n";

/// Runs commands as a user types them, in a folder with a copy of the program in the search path.
fn types(host: &Host, commands: &str) -> Output {
    let place = host.directory.path();
    let bin = place.join("bin");
    if !bin.exists() {
        fs::create_dir_all(&bin).unwrap();
        fs::copy(SEXTON, bin.join("sexton")).unwrap();
    }
    Command::new("bash")
        .args(["-eu", "-o", "pipefail", "-c", commands])
        .current_dir(place)
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default()))
        .env("SEXTON_URL", &host.url)
        .env_remove("SEXTON_TENANT")
        .output()
        .unwrap()
}

/// Returns what `sexton check` says about a manifest with these lines, if it refuses it.
fn check(folder: &Path, lines: &[String]) -> Result<(), String> {
    let manifest = folder.join("nightly.toml");
    fs::write(&manifest, format!("[tasks.nightly]\n{}\n", lines.join("\n"))).unwrap();
    let checked = Command::new(SEXTON).arg("check").arg(&manifest).current_dir(folder).output().unwrap();
    if checked.status.success() { Ok(()) } else { Err(text(&checked)) }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Does what a line says.
fn follow(host: &Host, folder: &Path, line: &Line) -> Result<(), String> {
    match line {
        Line::Commands(commands) if commands == IS_UP => Ok(()),
        Line::Commands(commands) => {
            let typed = types(host, commands);
            if typed.status.success() { Ok(()) } else { Err(format!("{:?}: {}", typed.status.code(), text(&typed))) }
        }
        Line::Manifest(lines) => check(folder, lines),
    }
}

fn host() -> Host {
    Host::with_plugins(&[("nightly", "program", NIGHTLY)])
}

#[test]
fn every_line_for_those_who_come_from_other_schedulers_works() {
    let host = host();
    let folder = tempfile::tempdir().unwrap();
    let lines = lines();
    assert!(lines.len() > 80, "only {} rows were found: has the page another form?", lines.len());
    let mut failed = Vec::new();

    for (row, line) in &lines {
        if let Err(why) = follow(&host, folder.path(), line) {
            failed.push(format!("{row}\n  {why}"));
        }
    }

    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{check, folded, schema};
use crate::cli::args::CheckArgs;
use crate::cli::error::{CliError, Exit};
use crate::cli::screen::Screen;

/// A program that imports the cache.
const WITH_CACHE: &str = r#"(component
    (import "sexton:task/cache@0.1.0" (instance))
    (instance $run)
    (export "wasi:cli/run@0.2.0" (instance $run)))"#;

fn printed(screen: &Screen) -> String {
    String::from_utf8(screen.kept.lock().expect("no panics").clone()).expect("UTF-8")
}

fn all_of(dir: &Path) -> CheckArgs {
    CheckArgs { files: vec![dir.to_owned()], next: None, quiet: false, json: false }
}

fn one(file: PathBuf) -> CheckArgs {
    CheckArgs { files: vec![file], ..all_of(Path::new("")) }
}

/// Makes a directory with these files; a file whose name ends in `.wasm` is WebAssembly text.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let bytes =
            if name.ends_with(".wasm") { wat::parse_str(text).expect("a component") } else { text.as_bytes().to_vec() };
        fs::write(dir.path().join(name), bytes).expect("a file");
    }
    dir
}

/// Returns the result, errors and warnings of `check --json` for the only manifest in `dir`.
fn findings(dir: &Path) -> (Result<(), CliError>, Vec<String>, Vec<String>) {
    let screen = Screen::plain();
    let ended = check(&CheckArgs { json: true, ..all_of(dir) }, &screen);
    let json: Value = serde_json::from_str(&printed(&screen)).expect("JSON");
    let texts = |field: &str| {
        let list = json["files"][0][field].as_array().expect("a list").iter();
        list.map(|text| text.as_str().expect("a text").to_owned()).collect()
    };
    (ended, texts("errors"), texts("warnings"))
}

#[test]
fn a_good_manifest_is_shown_with_its_next_five_instants() {
    let dir = directory(&[("clock.toml", "[tasks.tick]\ncron = \"0 3 * * *\"\nzone = \"Europe/Berlin\"\n")]);
    let screen = Screen::plain();

    check(&all_of(dir.path()), &screen).expect("a good manifest");

    let shown = printed(&screen);
    assert!(shown.contains("clock.toml: 1 task\n"), "{shown}");
    assert!(shown.contains("NEXT (EUROPE/BERLIN)") && shown.contains("NEXT (UTC)"), "{shown}");
    assert_eq!(shown.matches("T03:00:00+0").count(), 5, "{shown}");
    assert!(shown.contains("\n      at 03:00 every day"), "{shown}");
    assert!(shown.contains("cron 0 3 * * *") && shown.contains("Europe/Berlin"), "{shown}");
    assert!(shown.ends_with("Checked 1 manifest with 1 task: 0 errors, 1 warning.\n"), "{shown}");
}

#[test]
fn many_tasks_are_one_table_with_a_line_each() {
    let texts: Vec<(String, String)> =
        (0..300).map(|n| (format!("t{n:03}.toml"), format!("[tasks.t{n}]\ncron = \"{} 3 * * *\"\n", n % 60))).collect();
    let files: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let dir = directory(&files);
    let (screen, quiet) = (Screen::plain(), Screen::plain());

    check(&all_of(dir.path()), &screen).expect("good manifests");
    check(&CheckArgs { quiet: true, ..all_of(dir.path()) }, &quiet).expect("good manifests");

    assert_eq!(printed(&screen).lines().count(), 302, "a head, the tasks, and a summary");
    assert_eq!(printed(&quiet), "");
}

#[test]
fn chains_are_shown_and_have_no_name_that_a_task_has() {
    let dir = directory(&[
        ("a.toml", "[tasks.x]\n[tasks.y]\n[chains.c]\nlinks = [\"x\", \"y\"]\n"),
        ("b.toml", "[tasks.z]\n[chains.y]\nlinks = [\"z\"]\n"),
    ]);
    let screen = Screen::plain();

    let error = check(&all_of(dir.path()), &screen).expect_err("`y` is there twice");

    assert!(printed(&screen).contains("chain c: x, then y\n"), "{}", printed(&screen));
    assert!(format!("{error:?}").contains("the chain `y` is defined by"), "{error:?}");
}

#[test]
fn all_bad_manifests_are_reported_and_the_good_ones_are_still_shown() {
    let dir = directory(&[
        ("a.toml", "[tasks.same]\n"),
        ("b.toml", "[tasks.same]\n[tasks.other]\n"),
        ("c.toml", "[tasks.x]\nevry = \"1s\"\n"),
    ]);
    let screen = Screen::plain();

    let error = check(&all_of(dir.path()), &screen).expect_err("two of them are bad");

    assert_eq!(error.exit(), Exit::Failed);
    assert!(format!("{error:?}").contains("2 things are wrong in 3 manifests"), "{error:?}");
    assert!(printed(&screen).contains("other"));
}

#[test]
fn all_errors_of_a_manifest_are_reported_at_once_without_consequential_ones() {
    let text = "[tasks.a]\nevry = \"1s\"\ncron = \"61 * * * *\"\ndst = \"skip\"\n\n[tasks.a.limits]\nmemory = \"8 TiB\"\n\n\
                [tasks.b]\ncron = \"0 3 * * *\"\nevery = \"1s\"\n\n[tasks.fine]\nevery = \"1s\"\n\n\
                [chains.c]\nlinks = []\n";
    let dir = directory(&[("many.toml", text)]);

    let (ended, errors, _) = findings(dir.path());

    assert_eq!(ended.expect_err("it is bad").exit(), Exit::Failed);
    let lines: Vec<&str> =
        errors.iter().filter_map(|error| error.split("many.toml:").nth(1)?.split(':').next()).collect();
    assert_eq!(lines, ["2", "3", "7", "11", "17"], "{errors:#?}");
    for (error, part) in errors.iter().zip(["`evry`", "`61`", "8 TiB", "both `cron` and `every`", "there are none"]) {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn imports_of_the_component_are_compared_with_the_grants() {
    let dir = directory(&[("p.toml", "[tasks.p]\n"), ("p.wasm", WITH_CACHE)]);
    let (ended, errors, warnings) = findings(dir.path());
    assert!(ended.is_err() && warnings.is_empty(), "{warnings:?}");
    assert!(errors[0].contains("task `p` imports interfaces that its manifest does not grant"), "{errors:?}");
    assert!(errors[0].contains("\ncache = [\"*\"]"), "it says what to add: {errors:?}");

    let dir = directory(&[("p.toml", "[tasks.p.grants]\ncache = [\"*\"]\n"), ("p.wasm", WITH_CACHE)]);
    assert_eq!(findings(dir.path()).1, Vec::<String>::new());

    let dir = directory(&[("p.toml", "[tasks.p]\n"), ("p.wasm", "(module)")]);
    assert!(findings(dir.path()).1[0].contains("p.wasm: is a core module"));
}

#[test]
fn a_missing_component_is_reported_and_one_that_cargo_built_is_found() {
    let dir = directory(&[("two-words.toml", "[tasks.p]\n")]);
    assert!(findings(dir.path()).2[0].contains("there is no component beside it"));

    let built = dir.path().join("target/wasm32-wasip2/release");
    fs::create_dir_all(&built).expect("directories");
    fs::write(built.join("two_words.wasm"), wat::parse_str(WITH_CACHE).expect("a component")).expect("a file");
    assert!(findings(dir.path()).1[0].contains("does not grant"));

    let dir = directory(&[("shout.toml", "[tasks.p]\n")]);
    fs::write(dir.path().join("shout.WASM"), "").expect("a file");
    let warnings = findings(dir.path()).2;
    assert!(warnings[0].contains("the component is called `shout.WASM`"), "{warnings:?}");
}

#[test]
fn tasks_that_will_fail_or_are_never_due_cause_a_warning() {
    let text = "[tasks.old]\nat = \"2020-01-01 00:00\"\n\n[tasks.never]\nevery = \"1h\"\nend = \"2020-01-01 00:00\"\n\n\
                [tasks.text]\ninput-json = '{\"page\": 3}'\n\n\
                [[tasks.text.grants.directories]]\nhost = \"/nowhere/at/all\"\nguest = \"/data\"\n\n\
                [tasks.asks.grants]\nschedule = [\"old\", \"nobody\"]\n\n[chains.c]\nlinks = [\"text\", \"absent\"]\n";
    let dir = directory(&[
        ("w.toml", text),
        ("w.wasm", WITH_CACHE.replace("sexton:task/cache@0.1.0", "wasi:cli/stdin@0.2.0").as_str()),
    ]);

    let (ended, errors, warnings) = findings(dir.path());

    ended.expect("warnings are no errors");
    assert_eq!(errors, Vec::<String>::new());
    for part in [
        "task `old`: its schedule makes no run: it was due once, at 2020-01-01",
        "task `never`: its schedule makes no run: it ended at 2020-01-01",
        "task `text`: `input-json` is a text that has JSON in it",
        "the granted directory `/nowhere/at/all` is not here",
        "chain `c` has the link `absent`, and no plugin here has such a task",
        "task `asks` may schedule `nobody`, and no plugin here has such a task",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part}: {warnings:#?}");
    }
    assert!(!warnings.iter().any(|warning| warning.contains("`text`, and")), "{warnings:#?}");
}

#[test]
fn a_place_without_manifests_is_reported() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = check(&all_of(dir.path()), &Screen::plain()).expect_err("nothing is there");
    assert_eq!(error.exit(), Exit::Usage);
    let error = check(&one(dir.path().join("absent.toml")), &Screen::plain()).expect_err("nothing is there");
    assert_eq!(error.exit(), Exit::Failed);
    let error = check(&one(dir.path().join("absent")), &Screen::plain()).expect_err("nothing is there");
    assert!(error.message().ends_with("absent: there is no such file or directory"), "{error:?}");
}

#[test]
fn the_schema_is_json() {
    let screen = Screen::plain();
    schema(&screen).expect("it can be printed");
    serde_json::from_str::<Value>(&printed(&screen)).expect("JSON");
}

#[test]
fn that_components_are_missing_is_one_warning_for_a_whole_directory() {
    let bare = |n: usize| {
        format!("plugins/p{n}.wasm: there is no component beside it, so imports and grants were not compared")
    };
    let other = "plugins/p2.toml: task `tick`: its schedule makes no run".to_owned();
    let few = [bare(1), other.clone(), bare(2)];
    let many: Vec<String> = (1..=300).map(bare).chain([other.clone()]).collect();
    let folded = |warnings: &[String]| folded(&warnings.iter().collect::<Vec<_>>());

    assert_eq!(folded(&few), [other.clone(), bare(1), bare(2)]);
    let all = "300 components are missing, so imports and grants were not compared: \
               plugins/p1.wasm, plugins/p2.wasm, plugins/p3.wasm and 297 more";
    assert_eq!(folded(&many), [other, all.to_owned()]);
}

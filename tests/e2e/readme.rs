//! Tests the README as a new user follows it: with a program that was copied somewhere, far from the checkout, and no
//! network.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::{Host, SEXTON, guests};

const README: &str = include_str!("../../README.md");

/// The heading of the part that is tried.
const FIRST_TASK: &str = "## A first task in five minutes";

/// Waits until the plugin is compiled, which takes a busy machine longer than `trigger --wait` waits for it.
const IS_IN_USE: &str = "for n in $(seq 300); do sexton plugins | grep -q ' ok ' && break; sleep 0.2; done";

/// Returns the part of the README below [`FIRST_TASK`].
fn first_task() -> &'static str {
    let (_, part) = README.split_once(FIRST_TASK).expect("the README has this part");
    part.split("\n## ").next().unwrap_or_default()
}

/// Returns the blocks of `language` in it.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    first_task().split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Runs a script as a user types it, in the folder of `host`, with a copy of the program in the search path.
fn types(host: &Host, script: &str) -> Output {
    let place = host.directory.path();
    let bin = place.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy(SEXTON, bin.join("sexton")).unwrap();
    let cargo = Path::new(env!("CARGO")).parent().unwrap();
    let path = format!("{}:{}:{}", bin.display(), cargo.display(), std::env::var("PATH").unwrap_or_default());
    Command::new("bash")
        .args(["-euc", script])
        .current_dir(place)
        .env("PATH", path)
        .env("SEXTON_URL", &host.url)
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .env_remove("SEXTON_TENANT")
        .output()
        .unwrap()
}

/// Returns the commands of a console block, without the one that finds the program in the checkout. The code that cargo
/// compiles is shared with other tests, because the SDK's dependencies take a minute.
fn commands(console: &str) -> String {
    let share = format!("mkdir -p {0} && ln -s {0} target", guests().with_file_name("new-task").display());
    let typed = console.lines().filter_map(|line| line.strip_prefix("$ "));
    let typed = typed.filter(|line| !line.starts_with("export PATH"));
    typed
        .map(|line| match line.split(' ').next() {
            Some("cargo") => format!("{share}\n{line}\n"),
            _ if line.starts_with("sexton trigger") => format!("{IS_IN_USE}\n{line}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Removes the comments and empty lines at the beginning.
fn body(text: &str) -> &str {
    let is_head = |line: &str| line.is_empty() || line.starts_with('#') || line.starts_with("//!");
    let head: usize = text.split_inclusive('\n').take_while(|line| is_head(line.trim_end())).map(str::len).sum();
    &text[head..]
}

#[test]
fn the_first_task_of_the_readme_works_outside_the_checkout_with_a_copied_program_and_offline() {
    let host = Host::start();
    let console = blocks("console");
    let [first, further] = console.as_slice() else { panic!("two blocks of commands: {console:?}") };

    let typed = types(&host, &commands(first));

    assert!(typed.status.success(), "{}", text(&typed));
    let greeting = first.lines().last().unwrap_or_default();
    let printed = String::from_utf8_lossy(&typed.stdout).into_owned();
    assert!(printed.ends_with(greeting), "it ends with `{greeting}`: {}", text(&typed));
    let written = |file: &str| fs::read_to_string(host.directory.path().join("greet").join(file)).unwrap();
    assert_eq!(body(&written("src/lib.rs")), blocks("rust")[0], "the README shows the task that is written");
    assert_eq!(body(&written("greet.toml")), blocks("toml")[0], "the README shows the manifest that is written");
    assert!(!written("Cargo.toml").contains(".."), "the crate needs nothing outside: {}", written("Cargo.toml"));

    let typed = types(&host, &format!("cd greet\n{}", commands(further)));

    assert!(typed.status.success(), "{}", text(&typed));
}

#[test]
fn a_new_program_builds_outside_the_checkout_and_runs_with_what_its_manifest_gives_it() {
    let host = Host::start();
    let target = guests().with_file_name("new-task");

    let typed = types(
        &host,
        &format!(
            "sexton new roll-call --program && cd roll-call && ln -s {} target\n\
             cargo build --release --target wasm32-wasip2\n\
             cp roll-call.toml target/wasm32-wasip2/release/roll-call.wasm ../plugins/\n\
             {IS_IN_USE}\n\
             sexton trigger roll-call --wait",
            target.display()
        ),
    );

    assert!(typed.status.success(), "{}", text(&typed));
    assert!(String::from_utf8_lossy(&typed.stdout).ends_with("hello world\n"), "{}", text(&typed));
}

//! Holds the templates of `sexton new`: a task in Rust with the SDK, or an ordinary program.

/// Returns the path of the built component within the crate.
pub(super) fn artifact(name: &str, program: bool) -> String {
    // Cargo replaces `-` by `_` in the file of a library, but not in that of a program.
    let file = if program { name.to_owned() } else { name.replace('-', "_") };
    format!("target/wasm32-wasip2/release/{file}.wasm")
}

/// Returns the commands that build the crate and copy it to a host with the plugin directory `plugins`.
pub(super) fn commands(name: &str, program: bool, plugins: &str) -> [String; 2] {
    let artifact = artifact(name, program);
    let copy = if artifact.ends_with(&format!("/{name}.wasm")) {
        format!("cp {name}.toml {artifact} {plugins}/")
    } else {
        format!("cp {name}.toml {plugins}/ && cp {artifact} {plugins}/{name}.wasm")
    };
    ["cargo build --release --target wasm32-wasip2".to_owned(), copy]
}

/// Returns the files of a task that uses the SDK, which is the `dependency` of its manifest.
pub(super) fn task(name: &str, dependency: &str) -> Vec<(String, String)> {
    let dependencies = format!(
        "[lib]\ncrate-type = [\"cdylib\"]\n\n[dependencies]\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\
         sexton-task = {dependency}\n"
    );
    files(name, false, &dependencies, ("src/lib.rs", LIB), &task_manifest(name))
}

/// Returns the files of a program that does not know Sexton.
pub(super) fn program(name: &str) -> Vec<(String, String)> {
    files(name, true, "[dependencies]\n", ("src/main.rs", MAIN), &program_manifest(name))
}

fn files(
    name: &str,
    program: bool,
    dependencies: &str,
    (source, code): (&str, &str),
    manifest: &str,
) -> Vec<(String, String)> {
    let cargo = format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

{dependencies}
# Small, and still able to say in which line it trapped.
[profile.release]
opt-level = "s"
lto = true
codegen-units = 1
panic = "abort"
debug = "line-tables-only"

# On its own, wherever it lies.
[workspace]
"#
    );
    vec![
        ("Cargo.toml".to_owned(), cargo),
        (source.to_owned(), code.to_owned()),
        (format!("{name}.toml"), manifest.to_owned()),
        (".gitignore".to_owned(), "/target\n".to_owned()),
        ("README.md".to_owned(), readme(name, program)),
    ]
}

fn task_manifest(name: &str) -> String {
    format!(
        r#"# What the host is told about {name}.wasm; `sexton check {name}.toml` reads it as the host does.
[tasks.{name}]
description = "Says hello"
every = "10s"

[tasks.{name}.limits]
deadline = "5s"
memory = "32 MiB"
"#
    )
}

fn program_manifest(name: &str) -> String {
    format!(
        r#"# What the host is told about {name}.wasm; `sexton check {name}.toml` reads it as the host does.
[tasks.{name}]
description = "Greets those whose names it reads from standard input"
every = "10s"
args = ["hello"]
input = "world\n"

[tasks.{name}.limits]
deadline = "5s"
memory = "32 MiB"

# A directory of the host that the program may open, by an absolute path or one below the plugin directory:
# [[tasks.{name}.grants.directories]]
# host = "/srv/data"
# guest = "/data"
# write = true
"#
    )
}

fn readme(name: &str, program: bool) -> String {
    let [build, copy] = commands(name, program, "PLUGINS");
    let what = if program {
        "A program for Sexton. It knows nothing of Sexton: `args` and `env` of the manifest are its arguments and its environment, \
         the run's input is its standard input, its standard output is the result, and a run succeeds if it exits with 0. It has \
         no network; directories are granted in the manifest."
    } else {
        "A task for Sexton. `cargo doc --open` shows the documentation of the SDK, `sexton-task`."
    };
    format!(
        "# {name}\n\n{what}\n\n```sh\n{build}\n{copy}\n```\n\n`PLUGINS` is the plugin directory of a host, which takes it up \
         at once: `sexton trigger {name} --wait`.\n\nThe target has to be installed: `rustup target add wasm32-wasip2`.\n"
    )
}

const LIB: &str = r#"//! A task for Sexton.

use sexton_task::{Failure, Output, Request, log};

sexton_task::task!(run);

fn run(request: Request) -> Result<Output, Failure> {
    log::info!("attempt {} of run {}", request.attempt, request.run_id);
    Ok(Output::text(format!("hello from {}", request.task)))
}
"#;

const MAIN: &str = r#"//! A program for Sexton, which knows nothing of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let greeting = std::env::args().nth(1).unwrap_or_else(|| "hello".to_owned());
    for name in std::io::stdin().lines() {
        match name {
            Ok(name) => println!("{greeting} {name}"),
            Err(error) => {
                // Standard error is kept with the run, and any exit code but 0 means that it failed.
                eprintln!("cannot read standard input: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
"#;

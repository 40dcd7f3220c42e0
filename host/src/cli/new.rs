//! `new`: a task crate that builds, to begin with.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use super::args::NewArgs;
use super::error::CliError;
use super::screen::Screen;

/// Write the crate. Nothing that is there is touched.
pub(super) fn new(args: &NewArgs, screen: &Screen) -> Result<(), CliError> {
    let name = args.name.as_str();
    crate_name(name)?;
    let dir = args.path.clone().unwrap_or_else(|| PathBuf::from(name));
    let shown = dir.display();
    make_dir(&dir)?;
    let sdk = match &args.sdk_path {
        Some(sdk) if !is_sdk(sdk) => {
            return Err(CliError::usage(format!("`{}` is not the crate sexton-task", sdk.display()))
                .hint("it is the directory `sdk` of Sexton's sources"));
        }
        Some(sdk) => Some(sdk.clone()),
        None => find_sdk(),
    };
    let dependency = dependency(sdk.as_deref(), &dir)?;
    for (file, text) in files(name, &dependency) {
        write_new(&dir.join(file), &text)?;
    }
    let artifact = name.replace('-', "_");
    screen.text(&format!(
        "Wrote `{shown}`. Build it, and drop it into the plugin directory of a host:\n\n  \
         cd {shown} && cargo build --release --target wasm32-wasip2\n  \
         cp {name}.toml PLUGINS/ && cp target/wasm32-wasip2/release/{artifact}.wasm PLUGINS/{name}.wasm\n"
    ))
}

/// What cargo takes is narrower than what Sexton takes.
fn crate_name(name: &str) -> Result<(), CliError> {
    if name.contains('.') || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(CliError::usage(format!("`{name}` cannot be the name of a crate"))
            .hint("begin with a letter, and use a-z, 0-9, `-` and `_`"));
    }
    if matches!(name, "sexton-task" | "sexton_task" | "serde" | "test" | "core" | "std" | "alloc") {
        return Err(CliError::usage(format!("`{name}` is the name of a crate that tasks are built with")));
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<(), CliError> {
    let cannot = |e: io::Error| CliError::failed(format!("cannot make `{}`: {e}", dir.display()));
    match fs::read_dir(dir).map(|mut entries| entries.next().is_some()) {
        Ok(false) => {}
        Ok(true) => {
            return Err(CliError::failed(format!("`{}` is there, and not empty", dir.display()))
                .hint("give another directory with --path"));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(cannot(e)),
    }
    fs::create_dir_all(dir.join("src")).map_err(cannot)
}

fn write_new(file: &Path, text: &str) -> Result<(), CliError> {
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .map_err(|e| CliError::failed(format!("cannot write `{}`: {e}", file.display())))
}

fn is_sdk(dir: &Path) -> bool {
    fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|text| text.contains("name = \"sexton-task\""))
}

/// The SDK of the checkout around the working directory, or around this program.
fn find_sdk() -> Option<PathBuf> {
    let from = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    from.iter().flatten().flat_map(|start| start.ancestors()).map(|dir| dir.join("sdk")).find(|dir| is_sdk(dir))
}

/// The right side of `sexton-task =`.
fn dependency(sdk: Option<&Path>, dir: &Path) -> Result<String, CliError> {
    let Some(sdk) = sdk else { return Ok(format!("\"{}\"", env!("CARGO_PKG_VERSION"))) };
    let canonical = |path: &Path| {
        path.canonicalize().map_err(|e| CliError::failed(format!("cannot find `{}`: {e}", path.display())))
    };
    let path = relative(&canonical(sdk)?, &canonical(dir)?);
    let path = path.to_str().ok_or_else(|| CliError::failed(format!("the path `{}` is not UTF-8", path.display())))?;
    Ok(format!("{{ path = {} }}", toml::Value::from(path)))
}

/// The way to `target` from `base`, both absolute, so that the two may be moved together.
fn relative(target: &Path, base: &Path) -> PathBuf {
    let common = target.components().zip(base.components()).take_while(|(a, b)| a == b).count();
    let up = base.components().skip(common).map(|_| Component::ParentDir);
    up.chain(target.components().skip(common)).collect()
}

fn files(name: &str, dependency: &str) -> [(String, String); 5] {
    let artifact = name.replace('-', "_");
    let cargo = format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"

[lib]
crate-type = ["cdylib"]

[dependencies]
sexton-task = {dependency}

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
    let manifest = format!(
        r#"# What the host is told about {name}.wasm; `sexton check {name}.toml` reads it as the host does.
[tasks.{name}]
description = "Says hello"
every = "1m"
"#
    );
    let readme = format!(
        "# {name}\n\nA task for Sexton.\n\n```sh\ncargo build --release --target wasm32-wasip2\ncp {name}.toml PLUGINS/ && cp \
         target/wasm32-wasip2/release/{artifact}.wasm PLUGINS/{name}.wasm\n```\n\n`PLUGINS` is the plugin directory of a \
         host, which takes it up at once: `sexton trigger {name} --wait`.\n"
    );
    [
        ("Cargo.toml".to_owned(), cargo),
        ("src/lib.rs".to_owned(), LIB.to_owned()),
        (format!("{name}.toml"), manifest),
        (".gitignore".to_owned(), "/target\n".to_owned()),
        ("README.md".to_owned(), readme),
    ]
}

const LIB: &str = r#"//! A task for Sexton.

use sexton_task::{Failure, Output, Request, log};

sexton_task::task!(run);

fn run(request: Request) -> Result<Output, Failure> {
    log::info!("attempt {} of run {}", request.attempt, request.run_id);
    Ok(Output::text(format!("hello from {}", request.task)))
}
"#;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{new, relative};
    use crate::cli::args::NewArgs;
    use crate::cli::screen::Screen;
    use crate::task::Name;

    #[test]
    fn the_way_from_one_directory_to_another_goes_up_and_down() {
        let way = |to: &str, from: &str| relative(Path::new(to), Path::new(from)).display().to_string();
        assert_eq!(way("/a/sdk", "/a/tasks/one"), "../../sdk");
        assert_eq!(way("/x/sdk", "/a"), "../x/sdk");
    }

    #[test]
    fn a_new_crate_overwrites_nothing() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("tidy-up");
        let args = NewArgs { name: Name::new("tidy-up").expect("a name"), path: Some(dir.clone()), sdk_path: None };

        new(&args, &Screen::plain()).expect("an empty place");
        for file in ["Cargo.toml", "src/lib.rs", "tidy-up.toml", ".gitignore", "README.md"] {
            assert!(dir.join(file).is_file(), "{file}");
        }
        let cargo = std::fs::read_to_string(dir.join("Cargo.toml")).expect("it was written");
        cargo.parse::<toml::Table>().expect("it is TOML");

        let again = new(&args, &Screen::plain()).expect_err("it is there");
        assert_eq!(again.exit() as u8, 1);
        assert_eq!(std::fs::read_to_string(dir.join("Cargo.toml")).expect("still there"), cargo);
    }

    #[test]
    fn names_that_cargo_refuses_are_refused_first() {
        for name in ["1st", "a.b", "sexton-task", "test"] {
            let args = NewArgs { name: Name::new(name).expect("a name"), path: None, sdk_path: None };
            assert_eq!(new(&args, &Screen::plain()).expect_err(name).exit() as u8, 2, "{name}");
        }
    }
}

//! Implements `new`: writes a task crate that builds.

mod sdk;
mod template;

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use super::args::NewArgs;
use super::error::CliError;
use super::screen::Screen;

/// The place of a new crate's SDK.
enum Sdk {
    /// In a checkout of Sexton.
    At(PathBuf),
    /// In the new crate, into which it is copied.
    Carried,
}

/// Writes the crate. Existing files are not changed.
pub(super) fn new(args: &NewArgs, screen: &Screen) -> Result<(), CliError> {
    let name = args.name.as_str();
    crate_name(name)?;
    let sdk = sdk(args)?;
    let dir = args.path.clone().unwrap_or_else(|| PathBuf::from(name));
    make_dir(&dir)?;
    for (file, text) in files(name, args.program, &sdk, &dir)? {
        write_new(&dir.join(file), &text)?;
    }
    let shown = dir.display();
    let [build, copy] = template::commands(name, args.program, "PLUGINS");
    let first = if args.program { "" } else { " The first build takes a minute, because it compiles the SDK." };
    screen.text(&format!(
        "Wrote `{shown}`.{first} Build it, and copy it into the plugin directory of a host:\n\n  \
         cd {shown} && {build}\n  {copy}\n"
    ))
}

fn sdk(args: &NewArgs) -> Result<Sdk, CliError> {
    match &args.sdk_path {
        Some(sdk) if !is_sdk(sdk) => Err(CliError::usage(format!("`{}` is not the crate sexton-task", sdk.display()))
            .hint("it is the directory `sdk` of Sexton's sources")),
        Some(sdk) => Ok(Sdk::At(sdk.clone())),
        None => Ok(find_sdk().map_or(Sdk::Carried, Sdk::At)),
    }
}

/// Returns the files of the crate, by their paths within it.
fn files(name: &str, program: bool, sdk: &Sdk, dir: &Path) -> Result<Vec<(String, String)>, CliError> {
    if program {
        return Ok(template::program(name));
    }
    let path = match sdk {
        Sdk::At(sdk) => path_from(dir, sdk)?,
        Sdk::Carried => sdk::NAME.to_owned(),
    };
    let mut files = template::task(name, &format!("{{ path = {} }}", toml::Value::from(path)));
    if matches!(sdk, Sdk::Carried) {
        files.push(("Cargo.lock".to_owned(), sdk::lock(name, &["serde", sdk::NAME])));
        files.extend(sdk::files().into_iter().map(|(path, text)| (format!("{}/{path}", sdk::NAME), text)));
    }
    Ok(files)
}

/// Checks the name for cargo, which accepts fewer names than Sexton.
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
            return Err(CliError::failed(format!("the directory `{}` exists and is not empty", dir.display()))
                .hint("give another directory with --path"));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(cannot(e)),
    }
    fs::create_dir_all(dir).map_err(cannot)
}

fn write_new(file: &Path, text: &str) -> Result<(), CliError> {
    let parent = file.parent().unwrap_or(Path::new("."));
    let opened =
        fs::create_dir_all(parent).and_then(|()| fs::OpenOptions::new().write(true).create_new(true).open(file));
    opened
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .map_err(|e| CliError::failed(format!("cannot write `{}`: {e}", file.display())))
}

fn is_sdk(dir: &Path) -> bool {
    fs::read_to_string(dir.join("Cargo.toml")).is_ok_and(|text| text.contains("name = \"sexton-task\""))
}

/// Finds the SDK in the checkout around the working directory, or around this program.
fn find_sdk() -> Option<PathBuf> {
    let from = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    from.iter().flatten().flat_map(|start| start.ancestors()).map(|dir| dir.join("sdk")).find(|dir| is_sdk(dir))
}

/// Returns the path of `sdk` as seen from `dir`.
fn path_from(dir: &Path, sdk: &Path) -> Result<String, CliError> {
    let canonical = |path: &Path| {
        path.canonicalize().map_err(|e| CliError::failed(format!("cannot find `{}`: {e}", path.display())))
    };
    let path = relative(&canonical(sdk)?, &canonical(dir)?);
    let text = path.to_str().ok_or_else(|| CliError::failed(format!("the path `{}` is not UTF-8", path.display())))?;
    Ok(text.to_owned())
}

/// Returns the relative path to `target` from `base`, both absolute, so that the two may be moved together.
fn relative(target: &Path, base: &Path) -> PathBuf {
    let common = target.components().zip(base.components()).take_while(|(a, b)| a == b).count();
    let up = base.components().skip(common).map(|_| Component::ParentDir);
    up.chain(target.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{new, relative};
    use crate::cli::args::NewArgs;
    use crate::cli::screen::Screen;
    use sexton_domain::task::Name;

    #[test]
    fn a_relative_path_between_directories_goes_up_and_down() {
        let way = |to: &str, from: &str| relative(Path::new(to), Path::new(from)).display().to_string();
        assert_eq!(way("/a/sdk", "/a/tasks/one"), "../../sdk");
        assert_eq!(way("/x/sdk", "/a"), "../x/sdk");
    }

    #[test]
    fn a_new_crate_overwrites_nothing() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("tidy-up");
        let args = NewArgs {
            name: Name::new("tidy-up").expect("a name"),
            path: Some(dir.clone()),
            sdk_path: None,
            program: false,
        };

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
    fn a_program_is_written_without_the_sdk() {
        let parent = tempfile::tempdir().expect("a directory");
        let dir = parent.path().join("tidy-up");
        let args = NewArgs {
            name: Name::new("tidy-up").expect("a name"),
            path: Some(dir.clone()),
            sdk_path: None,
            program: true,
        };
        let screen = Screen::plain();

        new(&args, &screen).expect("an empty place");

        assert!(dir.join("src/main.rs").is_file() && !dir.join("src/lib.rs").exists());
        let cargo = std::fs::read_to_string(dir.join("Cargo.toml")).expect("it was written");
        assert!(!cargo.contains("sexton"), "{cargo}");
        let printed = String::from_utf8(screen.kept.lock().expect("no panics").clone()).expect("UTF-8");
        assert!(printed.contains("cp tidy-up.toml target/wasm32-wasip2/release/tidy-up.wasm PLUGINS/"), "{printed}");
    }

    #[test]
    fn names_that_cargo_refuses_are_refused_first() {
        for name in ["1st", "a.b", "sexton-task", "test"] {
            let args = NewArgs { name: Name::new(name).expect("a name"), path: None, sdk_path: None, program: false };
            assert_eq!(new(&args, &Screen::plain()).expect_err(name).exit() as u8, 2, "{name}");
        }
    }
}

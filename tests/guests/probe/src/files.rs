//! Changes files, one after another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

use serde::Deserialize;
use serde_json::{Value, json};
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::ErrorCode;

/// A change. It has the same effect on a path as the function of the same name in `std`.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Replaces the contents by this many bytes.
    Write {
        path: String,
        bytes: usize,
    },
    /// Appends this many bytes, in pieces of 1000.
    Append {
        path: String,
        bytes: usize,
    },
    /// Writes one byte at this distance from the beginning.
    WriteAt {
        path: String,
        at: u64,
    },
    SetLen {
        path: String,
        bytes: u64,
    },
    /// Copies as `io::copy` does.
    Copy {
        path: String,
        to: String,
    },
    /// Creates this many empty files, named `path` and a number.
    Create {
        path: String,
        count: usize,
    },
    CreateDir {
        path: String,
    },
    Link {
        path: String,
        to: String,
    },
    Symlink {
        path: String,
        to: String,
    },
    Rename {
        path: String,
        to: String,
    },
    Remove {
        path: String,
    },
    RemoveDir {
        path: String,
    },
    /// Writes this many bytes into an open file whose name is removed first.
    Nameless {
        path: String,
        bytes: usize,
    },
}

/// Carries out all steps. Returns `ok` or the error for each.
pub(crate) fn steps(steps: Vec<Step>) -> Value {
    // A file without a name stays open until the end.
    let mut open = Vec::new();
    let done = steps.into_iter().map(|step| match one(step, &mut open) {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("{:?}: {error}", error.kind()),
    });
    json!(done.collect::<Vec<_>>())
}

/// Makes a link at `at` that leads to `to`. The standard library has no function for that on this target.
fn symlink(to: &str, at: &str) -> io::Result<()> {
    let below = |name: &str| Some(at.strip_prefix(name)?.trim_start_matches('/').to_owned());
    let found = get_directories().into_iter().find_map(|(directory, name)| Some((directory, below(&name)?)));
    let (directory, rest) = found.ok_or(io::ErrorKind::NotFound)?;
    directory.symlink_at(to, &rest).map_err(|code| match code {
        ErrorCode::Quota => io::ErrorKind::QuotaExceeded.into(),
        other => io::Error::other(format!("{other:?}")),
    })
}

fn one(step: Step, open: &mut Vec<File>) -> io::Result<()> {
    match step {
        Step::Write { path, bytes } => fs::write(path, vec![b'x'; bytes]),
        Step::Append { path, bytes } => {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            vec![b'x'; bytes].chunks(1000).try_for_each(|piece| file.write_all(piece))
        }
        Step::WriteAt { path, at } => {
            let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
            file.seek(SeekFrom::Start(at))?;
            file.write_all(b"x")
        }
        Step::SetLen { path, bytes } => {
            OpenOptions::new().create(true).truncate(false).write(true).open(path)?.set_len(bytes)
        }
        Step::Copy { path, to } => {
            let mut content = Vec::new();
            File::open(path)?.read_to_end(&mut content)?;
            io::copy(&mut content.as_slice(), &mut File::create(to)?).map(drop)
        }
        Step::Create { path, count } => (0..count).try_for_each(|n| File::create(format!("{path}{n}")).map(drop)),
        Step::CreateDir { path } => fs::create_dir(path),
        Step::Link { path, to } => fs::hard_link(path, to),
        Step::Symlink { path, to } => symlink(&path, &to),
        Step::Rename { path, to } => fs::rename(path, to),
        Step::Remove { path } => fs::remove_file(path),
        Step::RemoveDir { path } => fs::remove_dir(path),
        Step::Nameless { path, bytes } => {
            let mut file = File::create(&path)?;
            fs::remove_file(path)?;
            let written = file.write_all(&vec![b'x'; bytes]);
            open.push(file);
            written
        }
    }
}

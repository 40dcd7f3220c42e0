//! The files of plugins: which lie in a directory, and what one of them is made of.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::plugins::manifest::Manifest;
use crate::plugins::registry::{Ready, Version};
use crate::runtime::Runtime;
use crate::task::{Name, TaskKey};

/// How long a file must not have changed before it is read.
pub(super) const QUIET: Duration = Duration::from_millis(150);

/// Largest manifest that is read, in bytes.
pub(super) const MAX_MANIFEST: u64 = 1 << 20;

/// What tells one state of a file from another, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    written: (i64, i64),
    /// Also changed by renames and by what sets the time of writing back.
    changed: (i64, i64),
}

/// The two files of a plugin, as far as they are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    component: Option<Stamp>,
    manifest: Option<Stamp>,
}

impl Files {
    /// Of the component, in bytes.
    pub(super) fn size(self) -> u64 {
        self.component.map_or(0, |component| component.size)
    }

    /// Whether a file that was here is not in `now`.
    pub(super) fn lost_one_in(self, now: Self) -> bool {
        (self.component.is_some() && now.component.is_none()) || (self.manifest.is_some() && now.manifest.is_none())
    }

    pub(super) fn is_new(self, now: SystemTime) -> bool {
        [self.component, self.manifest].into_iter().flatten().any(|stamp| {
            let at = SystemTime::UNIX_EPOCH
                + Duration::new(stamp.written.0.unsigned_abs(), 0)
                + Duration::from_nanos(stamp.written.1.unsigned_abs());
            // A time in the future says nothing about how long the file has been quiet.
            now.duration_since(at).is_ok_and(|quiet| quiet < QUIET)
        })
    }
}

/// The plugins that lie in `directory`, and whether some entry could not be looked at.
pub(super) fn list(directory: &Path) -> io::Result<(BTreeMap<String, Files>, bool)> {
    let mut plugins: BTreeMap<String, Files> = BTreeMap::new();
    let mut unsettled = false;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
        let extension = path.extension().and_then(OsStr::to_str);
        if stem.starts_with('.') || !matches!(extension, Some("wasm" | "toml")) {
            continue;
        }
        // Follows links, so that a plugin may be one; what vanished since it was listed is looked at again.
        let Ok(meta) = std::fs::metadata(&path) else {
            unsettled |= path.symlink_metadata().is_err();
            continue;
        };
        let stamp = Stamp {
            inode: meta.ino(),
            size: meta.len(),
            written: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        };
        let files = plugins.entry(stem).or_default();
        match extension {
            Some("wasm") => files.component = Some(stamp),
            _ => files.manifest = Some(stamp),
        }
    }
    Ok((plugins, unsettled))
}

/// What a load needs to know.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Where the files lie.
    pub(super) directory: PathBuf,
    /// What granted directories that are relative lie below.
    pub(super) below: PathBuf,
    pub(super) runtime: Arc<Runtime>,
    pub(super) tenant: Name,
    pub(super) max_component: u64,
}

/// Why a plugin is not used.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) reason: String,
    /// Whether the same files may do better a moment later.
    pub(super) for_now: bool,
}

impl From<String> for Rejected {
    fn from(reason: String) -> Self {
        Self { reason, for_now: false }
    }
}

impl Source {
    /// Read, check, compile and link a plugin. The error is the reason to show.
    pub(super) async fn version(&self, name: &str, files: Files) -> Result<Version, Rejected> {
        let plugin = Name::new(name).map_err(|error| format!("{error}; rename the file"))?;
        let manifest_file = format!("{name}.toml");
        let text = match files.manifest {
            Some(_) => {
                let text = self.read(&manifest_file, MAX_MANIFEST).await?;
                String::from_utf8(text).map_err(|error| format!("{manifest_file}: not UTF-8: {error}"))?
            }
            None => String::new(),
        };
        // An empty one is as good as none.
        let manifest = Manifest::parse(&manifest_file, &text).map_err(|error| error.to_string())?;
        if files.component.is_none() {
            let misnamed = super::inspect::misnamed(&self.directory.join(&manifest_file));
            let rename = misnamed.map(|other| format!("; rename `{other}`")).unwrap_or_default();
            return Err(format!("there is a `{manifest_file}`, but no `{name}.wasm` beside it{rename}").into());
        }
        let wasm = self.read(&format!("{name}.wasm"), self.max_component).await?;
        let component = self
            .runtime
            .load(wasm)
            .await
            .map_err(|error| Rejected { reason: format!("{name}.wasm: {error}"), for_now: error.may_pass() })?;
        let tasks = manifest
            .tasks(&self.tenant, &plugin, &self.below)
            .into_iter()
            .map(|task| {
                let task = Arc::new(task);
                let prepared = self.runtime.prepare(&component, &task).map_err(|refusal| {
                    let TaskKey { task, .. } = &task.key;
                    format!("task `{task}` {refusal}")
                })?;
                Ok(Ready { task, prepared })
            })
            .collect::<Result<_, String>>()?;
        let chains = manifest.chains(&self.tenant, &plugin).into_iter().map(Arc::new).collect();
        Ok(Version { component, manifest: text, tasks, chains })
    }

    async fn read(&self, file: &str, limit: u64) -> Result<Vec<u8>, String> {
        let path = self.directory.join(file);
        let file = file.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            read_file(&path, limit)
                .map_err(|error| format!("cannot read `{file}`: {error}"))?
                .ok_or_else(|| format!("`{file}` is larger than {limit} bytes, the most that is read"))
        });
        read.await.map_err(|error| format!("cannot read it: {error}"))?
    }
}

/// All of a file; `None` if that is more than `limit` bytes.
pub(super) fn read_file(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    open_file(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= limit))
}

/// Open a plain file. A pipe or a device under a plugin's name would block the reader, or never end.
fn open_file(path: &Path) -> io::Result<std::fs::File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    std::fs::File::open(path)
}

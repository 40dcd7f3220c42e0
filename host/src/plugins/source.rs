//! Reads the files of plugins: lists a directory, and loads one plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::plugins::manifest::Manifest;
use crate::plugins::registry::{Ready, Version};
use sexton_domain::schedule::Chain;
use sexton_domain::task::{Name, Task};
use sexton_domain::time::Timestamp;
use sexton_runtime::runtime::Runtime;
use sexton_system::regular_file;

/// The time for which a file must not have changed before it is read.
pub(super) const QUIET: Duration = Duration::from_millis(150);

/// The largest manifest that is read, in bytes.
pub(super) const MAX_MANIFEST: u64 = 1 << 20;

/// Identifies a state of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
    /// The time of change, which renames update too, as does setting the time of writing back.
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &std::fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The two files of a plugin, as far as they exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    component: Option<Stamp>,
    manifest: Option<Stamp>,
}

impl Files {
    /// Returns the size of the component in bytes.
    pub(super) fn size(self) -> u64 {
        self.component.map_or(0, |component| component.size)
    }

    /// Reads the current state of the files of plugin `name` in `directory`.
    pub(super) fn of(directory: &Path, name: &str) -> Self {
        let stamp = |kind: &str| {
            let metadata = std::fs::metadata(directory.join(format!("{name}.{kind}"))).ok()?;
            Some(Stamp::of(&metadata))
        };
        Self { component: stamp("wasm"), manifest: stamp("toml") }
    }

    /// Returns whether neither file exists.
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Returns whether a file that existed is missing in `now`, or is a manifest that was emptied. Both may be the
    /// middle of a change: editors move a file away or empty it before they write it anew.
    pub(super) fn lost_file(self, now: Self) -> bool {
        let emptied = |file: Option<Stamp>| file.is_none_or(|file| file.size == 0);
        (self.component.is_some() && now.component.is_none()) || (!emptied(self.manifest) && emptied(now.manifest))
    }

    pub(super) fn is_new(self, now: SystemTime) -> bool {
        [self.component, self.manifest].into_iter().flatten().any(|stamp| {
            // A time in the future, or an invalid one, says nothing about how long the file has been quiet.
            let quiet = time_of(stamp.written).and_then(|at| now.duration_since(at).ok());
            quiet.is_some_and(|quiet| quiet < QUIET)
        })
    }
}

/// Converts a file's time, which has any number of seconds (some file systems keep whatever they are given) and
/// nanoseconds. Returns `None` if the result is beyond what instants can be.
fn time_of((seconds, nanos): (i64, i64)) -> Option<SystemTime> {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let at = match seconds >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(whole)?,
        false => SystemTime::UNIX_EPOCH.checked_sub(whole)?,
    };
    at.checked_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
}

/// The contents of a directory of plugins.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The plugins, by name.
    pub(super) plugins: BTreeMap<String, Files>,
    /// Whether some entry could not be examined.
    pub(super) unsettled: bool,
    /// Files that would belong to a plugin if their extension were in lower case.
    pub(super) misnamed: BTreeSet<String>,
}

/// Lists the plugins in `directory`.
pub(super) fn list(directory: &Path) -> io::Result<Listing> {
    let Listing { mut plugins, mut unsettled, mut misnamed } = Listing::default();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
        let extension = path.extension().and_then(OsStr::to_str);
        let in_lower_case = extension.map(str::to_ascii_lowercase);
        if !stem.starts_with('.')
            && in_lower_case.as_deref() != extension
            && matches!(in_lower_case.as_deref(), Some("wasm" | "toml"))
        {
            misnamed.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        if stem.starts_with('.') || !matches!(extension, Some("wasm" | "toml")) {
            continue;
        }
        // Links are followed, so that a plugin may be one. An entry that has vanished since it was listed is examined
        // again later.
        let Ok(meta) = std::fs::metadata(&path) else {
            unsettled |= path.symlink_metadata().is_err();
            continue;
        };
        let stamp = Stamp::of(&meta);
        let files = plugins.entry(stem).or_default();
        match extension {
            Some("wasm") => files.component = Some(stamp),
            _ => files.manifest = Some(stamp),
        }
    }
    Ok(Listing { plugins, unsettled, misnamed })
}

/// The context of a load.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The directory of the files.
    pub(super) directory: PathBuf,
    /// The directory that relative directory grants lie below.
    pub(super) below: PathBuf,
    pub(super) runtime: Arc<Runtime>,
    pub(super) tenant: Name,
    pub(super) max_component: u64,
}

/// The reason why a plugin is not used.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) reason: String,
    /// Whether the same files may load a moment later.
    pub(super) for_now: bool,
}

impl From<String> for Rejected {
    fn from(reason: String) -> Self {
        Self { reason, for_now: false }
    }
}

impl Rejected {
    /// Creates a rejection whose cause may pass in a moment.
    pub(super) fn for_now(reason: String) -> Self {
        Self { reason, for_now: true }
    }

    /// Creates the rejection for a file that cannot be read. Most errors of the system pass: too many open files, no
    /// memory, a disk that is away. A file of another kind, or one that this user may not read, stays so until it is
    /// changed.
    fn unreadable(file: &str, error: &io::Error) -> Self {
        use io::ErrorKind::{InvalidInput, IsADirectory, PermissionDenied};
        let reason = format!("cannot read `{file}`: {error}");
        Self { reason, for_now: !matches!(error.kind(), InvalidInput | IsADirectory | PermissionDenied) }
    }
}

/// The text of a manifest, and its contents.
pub(super) type Defined = (String, Vec<Arc<Task>>, Vec<Arc<Chain>>);

impl Source {
    /// Reads, checks, compiles and links a plugin that is needed at `due`. `defined` is what its manifest was found to
    /// define, if it was read. The error is the reason to show.
    pub(super) async fn version(
        &self,
        name: &str,
        files: Files,
        due: Timestamp,
        defined: Option<Defined>,
    ) -> Result<Version, Rejected> {
        let plugin = Name::new(name).map_err(|error| format!("{error}; rename the file"))?;
        let this = self.clone();
        let (manifest, tasks, chains) = match defined {
            Some(defined) => defined,
            // Reading a large manifest takes as long as many requests to the API.
            None => run_blocking(move || this.define(&plugin, files.manifest.is_some())).await??,
        };
        if files.component.is_none() {
            let misnamed = super::inspect::misnamed(&self.directory.join(format!("{name}.toml")));
            let rename = misnamed.map(|other| format!("; rename `{other}`")).unwrap_or_default();
            return Err(format!("there is a `{name}.toml`, but no `{name}.wasm` beside it{rename}").into());
        }
        let (this, file) = (self.clone(), format!("{name}.wasm"));
        let wasm = run_blocking(move || this.read(&file, this.max_component)).await??;
        let component = self
            .runtime
            .load_by(wasm, due)
            .await
            .map_err(|error| Rejected { reason: format!("{name}.wasm: {error}"), for_now: error.is_temporary() })?;
        let (runtime, linked) = (Arc::clone(&self.runtime), Arc::clone(&component));
        let tasks = run_blocking(move || {
            let prepared = runtime.prepare_all(&linked, &tasks);
            let prepared = prepared.map_err(|(task, refusal)| format!("task `{}` {refusal}", task.key.task))?;
            let ready = tasks.into_iter().zip(prepared).map(|(task, prepared)| Ready { task, prepared });
            Ok::<Vec<Ready>, Rejected>(ready.collect())
        });
        Ok(Version { component, manifest, tasks: tasks.await??, chains })
    }

    /// Returns what a plugin with these files defines; `None` if something is wrong with its name or its manifest.
    pub(super) fn defined(&self, name: &str, files: Files) -> Option<Defined> {
        self.define(&Name::new(name).ok()?, files.manifest.is_some()).ok()
    }

    /// Reads the manifest of `plugin`, if it has one.
    fn define(&self, plugin: &Name, has_manifest: bool) -> Result<Defined, Rejected> {
        let file = format!("{plugin}.toml");
        let text = match has_manifest {
            true => String::from_utf8(self.read(&file, MAX_MANIFEST)?)
                .map_err(|error| format!("{file}: not UTF-8: {error}"))?,
            false => String::new(),
        };
        // An empty manifest counts as none.
        let manifest = Manifest::parse(&file, &text).map_err(|error| error.to_string())?;
        let tasks = manifest.tasks(&self.tenant, plugin, &self.below);
        let chains = manifest.chains(&self.tenant, plugin);
        self.runtime.tenants().room_for_tasks(&self.tenant, tasks.len() + chains.len(), 0)?;
        Ok((text, tasks.into_iter().map(Arc::new).collect(), chains.into_iter().map(Arc::new).collect()))
    }

    fn read(&self, file: &str, limit: u64) -> Result<Vec<u8>, Rejected> {
        let read = regular_file::read(&self.directory.join(file), limit);
        let bytes = read.map_err(|error| Rejected::unreadable(file, &error))?;
        Ok(bytes.ok_or_else(|| format!("`{file}` is larger than {limit} bytes, the most that is read"))?)
    }
}

/// Runs `work` on a thread for blocking work.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Rejected> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Rejected::for_now(format!("loading it ended early: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(written: (i64, i64)) -> Files {
        Files { component: Some(Stamp { device: 1, inode: 1, size: 1, written, changed: (0, 0) }), manifest: None }
    }

    #[test]
    fn any_time_of_a_file_can_be_compared_with_now() {
        let second = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for seconds in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
            for nanos in [0, 1, 999_999_999, i64::MAX, -1] {
                let told = files((seconds, nanos)).is_new(second(1_000));
                assert!(!told, "{seconds} {nanos}");
            }
        }
        assert!(files((999, 900_000_000)).is_new(second(1_000)));
        assert!(!files((-1_000, 0)).is_new(second(1_000)), "a second before 1970 is none after it");
    }

    #[test]
    fn a_file_that_cannot_be_read_for_want_of_descriptors_or_memory_is_tried_again_and_one_that_is_no_file_is_not() {
        use rustix::io::Errno;
        let for_now = |errno: Errno| Rejected::unreadable("it.wasm", &io::Error::from(errno)).for_now;

        for passing in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::STALE] {
            assert!(for_now(passing), "{passing}");
        }
        for lasting in [Errno::ACCESS, Errno::PERM, Errno::ISDIR, Errno::INVAL] {
            assert!(!for_now(lasting), "{lasting}");
        }
    }
}

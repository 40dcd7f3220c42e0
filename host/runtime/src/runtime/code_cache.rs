//! Keeps compiled code on disk, so that a host that starts need not compile again.
//!
//! Loading compiled code is executing it, so only code that this host wrote itself is loaded: the directory belongs to
//! this user alone, as does each file, which lies beside the digest of what was written. Files that do not match are
//! compiled again. The directory is opened once and used by its descriptor, so renaming a directory above it changes
//! nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::MemfdFlags;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use sexton_system::regular_file::{self, own};

use super::compiler::Failure;
use super::compiler::instances::{self, Compiled};
use super::components::hex;
use super::engine::engine_hash;
use super::{RuntimeError, debug_info, resident, wording};

/// Age at which compiled code that is never loaded is removed: code of components that are gone, and of earlier
/// versions of this host.
const STALE: Duration = Duration::from_secs(60 * 24 * 3600);

/// Age at which a half-written file belongs to a host that is gone.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// The directory of compiled code.
#[derive(Debug)]
pub(super) struct CodeCache {
    /// The path under which the system shows the open `pinned`.
    directory: PathBuf,
    #[expect(dead_code, reason = "`directory` is good for as long as this is open")]
    pinned: File,
    /// Hash of wasmtime's version and all settings that compiled code depends on.
    engine: u64,
}

impl CodeCache {
    /// Opens `directory`, and makes it if it does not exist.
    pub(super) fn open(directory: PathBuf, engine: &Engine) -> Result<Self, RuntimeError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        let pinned = match made.and_then(|()| regular_file::own_directory(&directory)) {
            Ok(pinned) => pinned,
            Err(source) => return Err(RuntimeError::CodeCache { path: directory, source }),
        };
        let open = PathBuf::from(format!("/proc/self/fd/{}", pinned.file.as_raw_fd()));
        if pinned.was_open_to_others {
            let path = directory.display();
            tracing::warn!("Compiling everything again: others than this host's user could write to `{path}`");
            clear(&open);
        }
        prune(&open);
        Ok(Self { directory: open, pinned: pinned.file, engine: engine_hash(engine) })
    }

    /// Loads the component whose SHA-256 is `digest`, if its code is kept.
    pub(super) fn find(&self, engine: &Engine, digest: &str) -> Option<Compiled> {
        let path = self.path(digest);
        match load(engine, &path) {
            Ok(Some(compiled)) => {
                mark_used(&path);
                mark_used(&digest_path(&path));
                Some(compiled)
            }
            Ok(None) => None,
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "Compiling again: the compiled code is damaged");
                None
            }
        }
    }

    /// Has the component whose SHA-256 is `digest` compiled into a file, keeps that, and loads it. If the file cannot
    /// be kept, the code is compiled into memory, for this time only.
    ///
    /// # Errors
    ///
    /// The failure of `compile`; [`Failure::NoRoom`] if there is not even memory.
    pub(super) fn keep(
        &self,
        engine: &Engine,
        digest: &str,
        mut compile: impl FnMut(File) -> Result<(), Failure>,
    ) -> Result<Compiled, Failure> {
        let path = self.path(digest);
        let kept = PartialFile::of(&path).and_then(|half| Ok((half.file.try_clone()?, half)));
        match kept {
            Ok((file, half)) => match compile(file) {
                Ok(()) => match half.finish_code(&path).map_err(|e| e.to_string()).and_then(|()| load(engine, &path)) {
                    Ok(Some(compiled)) => return Ok(compiled),
                    Ok(None) => {}
                    Err(reason) => tracing::warn!(path = %path.display(), reason, "Could not keep compiled code"),
                },
                Err(Failure::NoRoom(reason)) => {
                    tracing::warn!(path = %path.display(), reason, "Could not keep compiled code");
                }
                Err(failure) => return Err(failure),
            },
            Err(error) => tracing::warn!(path = %path.display(), %error, "Could not keep compiled code"),
        }
        let no_room = |error: io::Error| Failure::NoRoom(error.to_string());
        let memory = memory().map_err(no_room)?;
        compile(memory.try_clone().map_err(no_room)?)?;
        let instances = instances::kept(&memory).map_err(no_room)?;
        let component = from_memory(engine, &memory).map_err(|error| Failure::NoRoom(wording::of_error(&error)))?;
        Ok(Compiled { component, instances })
    }

    /// Makes a file of `bytes` that has no name, and is gone when it is closed: on disk if there is room, else in
    /// memory.
    pub(super) fn unnamed_file(&self, bytes: &[u8]) -> io::Result<File> {
        let on_disk = PartialFile::of(&self.directory.join("source")).and_then(|half| {
            (&half.file).write_all(bytes)?;
            half.file.try_clone()
        });
        on_disk.or_else(|_| {
            let mut file = memory()?;
            file.write_all(bytes)?;
            Ok(file)
        })
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.directory.join(format!("{digest}-{:016x}.cwasm", self.engine))
    }
}

impl CodeCache {
    /// Keeps a component that has line information, for the stacks of its runs. Its original file may be gone when they
    /// are wanted.
    pub(super) fn keep_source(&self, digest: &str, wasm: &[u8]) {
        let path = debug_info::source(&self.directory, digest);
        if !debug_info::has_lines(wasm) {
            return;
        }
        if fs::metadata(&path).is_ok_and(|file| file.len() == wasm.len() as u64) {
            return mark_used(&path);
        }
        if let Err(error) = write_whole(&path, wasm) {
            tracing::warn!(path = %path.display(), %error, "Could not keep a component: its stacks will have no line numbers");
        }
    }
}

/// Loads the component in `path`; returns `None` if there is none, and an error if it is not what was written.
fn load(engine: &Engine, path: &Path) -> Result<Option<Compiled>, String> {
    let written = |path: &Path| match own(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    };
    let (Some(digest), Some(code)) = (written(&digest_path(path))?, written(path)?) else { return Ok(None) };
    let expected = io::read_to_string(digest.take(DIGEST)).map_err(|error| error.to_string())?;
    if digest_of(&code).map_err(|error| error.to_string())? != expected {
        return Err("its digest differs".into());
    }
    let instances = instances::kept(&code).map_err(|error| error.to_string())?;
    let component = from_file(engine, &code).map_err(|e| wording::of_error(&e))?;
    resident::release(&component);
    Ok(Some(Compiled { component, instances }))
}

/// Bytes of a digest in hex.
const DIGEST: u64 = 64;

#[expect(unsafe_code, reason = "loading compiled code cannot be checked by the compiler; see the proof")]
fn from_file(engine: &Engine, code: &File) -> wasmtime::Result<Component> {
    // SAFETY: the file is what `precompile` of this very program returned, in this process or in a child that
    // was given nothing but the component: it is this user's and no other user may write to it, and the digest of the
    // open file was compared just now with the one written along with it, which is this user's as well. The file is
    // never changed in place, only replaced by renaming, so that the mapping stays the same. Wasmtime itself checks
    // that version and settings are its own.
    unsafe { Component::deserialize_file(engine, format!("/proc/self/fd/{}", code.as_raw_fd())) }
}

#[expect(unsafe_code, reason = "loading compiled code cannot be checked by the compiler; see the proof")]
fn from_memory(engine: &Engine, code: &File) -> wasmtime::Result<Component> {
    // SAFETY: `code` is a file in memory that was made for this and has no name. Its contents are what
    // `precompile` of this very program returned, in this process or in a child that has ended, and no other
    // process has seen it.
    unsafe { Component::deserialize_file(engine, format!("/proc/self/fd/{}", code.as_raw_fd())) }
}

/// Returns the SHA-256 of all of `file`, in hex. It is read piece by piece, because code may be large.
fn digest_of(mut file: &File) -> io::Result<String> {
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&piece[..n]),
        }
    }
}

/// Removes code that was last loaded long ago, and files that a crash left half-written. Files that cannot be removed
/// stay, and only take room.
fn prune(directory: &Path) {
    let stale = |file: &fs::DirEntry| {
        let age = file.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed().unwrap_or_default());
        let half = file.path().extension().is_some_and(|extension| extension == "half");
        age.is_ok_and(|age| age > if half { LEFT_BEHIND } else { STALE })
    };
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        if stale(&file) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Removes everything. Files that cannot be removed are another user's, and not loaded either.
fn clear(directory: &Path) {
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        let _ = fs::remove_file(file.path());
    }
}

/// Notes that `path` was used today, except on a full or read-only disk.
fn mark_used(path: &Path) {
    let _ = OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

fn digest_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let half = PartialFile::of(path)?;
    (&half.file).write_all(bytes)?;
    half.rename(path)
}

/// Makes a file in memory.
fn memory() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("sexton", MemfdFlags::CLOEXEC)?.into())
}

/// A file that is being written, under a unique name. Dropping this removes the name, unless the file was renamed.
struct PartialFile {
    file: File,
    path: PathBuf,
}

impl PartialFile {
    /// Makes a file that will become `path`.
    fn of(path: &Path) -> io::Result<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        // Unique, because neither two threads that compile the same component nor two hosts on one directory may write
        // into each other's file.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let path = path.with_extension(format!("{}-{number}.half", std::process::id()));
        // A host with the same process id may have left one behind.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }

    /// Moves the file to `path`, and writes its digest beside it. A crash in between leaves code without its digest, or
    /// with an old one, so it is compiled again.
    fn finish_code(self, path: &Path) -> io::Result<()> {
        let digest = digest_of(&self.file)?;
        self.rename(path)?;
        write_whole(&digest_path(path), digest.as_bytes())
    }

    fn rename(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Fails if the file was renamed.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::{CodeCache, Failure, LEFT_BEHIND, instances};
    use crate::runtime::engine::CodeSettings;
    use crate::runtime::engine::engine_hash;
    use crate::runtime::{Compiler, RuntimeConfig, engine};
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    fn config(code_cache: PathBuf) -> RuntimeConfig {
        RuntimeConfig {
            code_cache,
            guest_threads: 1,
            slots: 4,
            max_memory: 1 << 20,
            tick: Duration::from_millis(5),
            max_component: 1 << 20,
            compiler: Compiler::InProcess,
        }
    }

    fn component() -> Vec<u8> {
        wat::parse_str("(component (core module (func (export \"f\") (result i32) i32.const 42)))").unwrap()
    }

    /// Makes the usual engine, and one of a host that has less address space.
    fn engines() -> [(wasmtime::Engine, CodeSettings); 2] {
        let place = tempfile::tempdir().unwrap();
        let usual = engine::build(&config(place.path().into())).unwrap();
        let narrow = RuntimeConfig { slots: 10_000, ..config(place.path().into()) };
        [usual, engine::build(&narrow).unwrap()]
    }

    #[test]
    fn an_engine_that_only_compiles_makes_the_code_of_the_one_that_runs() {
        for (running, code) in engines() {
            let compiling = code.compiling().unwrap();
            let place = tempfile::tempdir().unwrap();
            let cache = CodeCache::open(place.path().into(), &running).unwrap();

            let compile = |mut file: std::fs::File| {
                file.write_all(&instances::precompile(&compiling, &component()).unwrap()).unwrap();
                Ok(())
            };
            cache.keep(&running, "1234", compile).unwrap();

            assert_eq!(engine_hash(&compiling), engine_hash(&running), "{code:?}");
            assert!(cache.find(&running, "1234").is_some());
            assert!(cache.find(&running, "1235").is_none());
        }
    }

    #[test]
    fn an_engine_with_less_address_space_makes_other_code() {
        let [(_, usual), (_, narrow)] = engines();

        assert_ne!(engine_hash(&usual.compiling().unwrap()), engine_hash(&narrow.compiling().unwrap()));
    }

    #[test]
    fn code_for_which_the_disk_has_no_room_is_used_from_memory() {
        let place = tempfile::tempdir().unwrap();
        let (engine, _) = engine::build(&config(place.path().into())).unwrap();
        let cache = CodeCache::open(place.path().into(), &engine).unwrap();
        let mut tries = 0;

        let kept = cache.keep(&engine, "1234", |mut file| {
            tries += 1;
            let code = instances::precompile(&engine, &component()).unwrap();
            if tries == 1 {
                file.write_all(&code[..code.len() / 2]).unwrap();
                return Err(Failure::NoRoom("no space left on device".into()));
            }
            file.write_all(&code).unwrap();
            Ok(())
        });

        assert!(kept.is_ok(), "{kept:?}");
        assert_eq!(tries, 2);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing half-written is left");
    }

    /// Makes a directory of compiled code with the component `1234` in it.
    fn filled() -> (tempfile::TempDir, wasmtime::Engine) {
        let place = tempfile::tempdir().unwrap();
        let (engine, _) = engine::build(&config(place.path().into())).unwrap();
        let cache = CodeCache::open(place.path().into(), &engine).unwrap();
        let kept = cache.keep(&engine, "1234", |mut file| {
            file.write_all(&instances::precompile(&engine, &component()).unwrap()).unwrap();
            Ok(())
        });
        kept.unwrap();
        assert!(cache.find(&engine, "1234").is_some());
        (place, engine)
    }

    /// Gives a file to another user. Only root can.
    fn chown(path: &std::path::Path) -> bool {
        std::os::unix::fs::chown(path, Some(12345), None).is_ok()
    }

    #[test]
    fn a_directory_of_another_user_is_not_used_for_compiled_code() {
        let (place, engine) = filled();
        if !chown(place.path()) {
            println!("not tested: only root can give a directory to another user");
            return;
        }

        let error = CodeCache::open(place.path().into(), &engine).unwrap_err();

        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.starts_with("it belongs to user 12345, and this process is user 0"), "{why}");
    }

    #[test]
    fn a_file_that_others_could_have_written_is_not_loaded() {
        use std::os::unix::fs::PermissionsExt as _;
        for kind in ["cwasm", "sha256"] {
            let file = |place: &tempfile::TempDir| {
                let files = std::fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().path());
                files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == kind)).unwrap()
            };
            let (place, engine) = filled();
            let cache = CodeCache::open(place.path().into(), &engine).unwrap();
            std::fs::set_permissions(file(&place), std::fs::Permissions::from_mode(0o666)).unwrap();
            assert!(cache.find(&engine, "1234").is_none(), "{kind}: anybody may write to it");

            let (place, engine) = filled();
            let cache = CodeCache::open(place.path().into(), &engine).unwrap();
            if chown(&file(&place)) {
                assert!(cache.find(&engine, "1234").is_none(), "{kind}: it is another user's");
            }
        }
    }

    #[test]
    fn a_directory_that_others_could_write_to_is_emptied_and_closed_to_them() {
        use std::os::unix::fs::PermissionsExt as _;
        let (place, engine) = filled();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();

        let cache = CodeCache::open(place.path().into(), &engine).unwrap();

        assert!(cache.find(&engine, "1234").is_none());
        assert_eq!(std::fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn another_directory_at_the_same_path_changes_nothing() {
        let (place, engine) = filled();
        let (code, moved) = (place.path().join("code"), place.path().join("moved"));
        std::fs::create_dir(&code).unwrap();
        let cache = CodeCache::open(code.clone(), &engine).unwrap();
        std::fs::rename(&code, &moved).unwrap();
        std::fs::create_dir(&code).unwrap();

        let kept = cache.keep(&engine, "5678", |mut file| {
            file.write_all(&instances::precompile(&engine, &component()).unwrap()).unwrap();
            Ok(())
        });

        assert!(kept.is_ok() && cache.find(&engine, "5678").is_some());
        assert_eq!(std::fs::read_dir(&code).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(&moved).unwrap().count(), 2);
    }

    #[test]
    fn half_written_files_of_a_crash_are_removed_a_day_later() {
        let place = tempfile::tempdir().unwrap();
        let (engine, _) = engine::build(&config(place.path().into())).unwrap();
        let [old, new] = ["a.half", "b.half"].map(|name| place.path().join(name));
        for path in [&old, &new] {
            std::fs::write(path, "x").unwrap();
        }
        let file = std::fs::File::options().write(true).open(&old).unwrap();
        file.set_modified(SystemTime::now() - LEFT_BEHIND - Duration::from_secs(60)).unwrap();

        CodeCache::open(place.path().into(), &engine).unwrap();

        assert!(!old.exists() && new.exists());
    }
}

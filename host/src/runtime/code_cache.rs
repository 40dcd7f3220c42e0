//! Compiled code on disk, so that a host that starts need not compile again.
//!
//! Loading compiled code is executing it. So only what this host wrote itself is loaded: the directory is this user's
//! alone, and each file lies beside the digest of what was written. What does not match is compiled again.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::RuntimeError;
use super::components::{hex, one_line};
use super::{resident, stack};

/// How long compiled code is kept that nobody loads: of components that are gone, and of earlier versions of this host.
const STALE: Duration = Duration::from_secs(60 * 24 * 3600);

/// The directory of compiled code.
#[derive(Debug)]
pub(super) struct CodeCache {
    directory: PathBuf,
    /// Of wasmtime's version and all settings that compiled code depends on.
    engine: u64,
}

impl CodeCache {
    /// Use `directory`, and make it if it is not there.
    pub(super) fn open(directory: PathBuf, engine: &Engine) -> Result<Self, RuntimeError> {
        let prepared = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        let prepared = prepared.and_then(|()| fs::set_permissions(&directory, Permissions::from_mode(0o700)));
        if let Err(source) = prepared {
            return Err(RuntimeError::CodeCache { path: directory, source });
        }
        prune(&directory);
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { directory, engine: hasher.finish() })
    }

    /// The component `wasm`, whose SHA-256 is `digest`.
    ///
    /// # Errors
    ///
    /// Why it does not compile, in one line.
    pub(super) fn load_or_compile(&self, engine: &Engine, digest: &str, wasm: &[u8]) -> Result<Component, String> {
        let path = self.directory.join(format!("{digest}-{:016x}.cwasm", self.engine));
        self.keep_source(digest, wasm);
        match load(engine, &path) {
            Ok(Some(component)) => {
                touch(&path);
                touch(&digest_path(&path));
                return Ok(component);
            }
            Ok(None) => {}
            Err(reason) => {
                tracing::warn!(path = %path.display(), reason, "Compiling again: the compiled code is damaged")
            }
        }
        let code = engine.precompile_component(wasm).map_err(|e| one_line(&e))?;
        match keep(&path, &code) {
            Ok(()) => {
                if let Ok(Some(component)) = load(engine, &path) {
                    return Ok(component);
                }
            }
            Err(error) => tracing::warn!(path = %path.display(), %error, "Could not keep compiled code"),
        }
        from_memory(engine, &code).map_err(|e| one_line(&e))
    }
}

impl CodeCache {
    /// Keep a component that can tell lines, for stacks of its runs. It may be gone from where it came when they are wanted.
    fn keep_source(&self, digest: &str, wasm: &[u8]) {
        let path = stack::source(&self.directory, digest);
        if !stack::has_lines(wasm) {
            return;
        }
        if fs::metadata(&path).is_ok_and(|file| file.len() == wasm.len() as u64) {
            return touch(&path);
        }
        if let Err(error) = write_whole(&path, wasm) {
            tracing::warn!(path = %path.display(), %error, "Could not keep a component: its stacks will not tell lines");
        }
    }
}

/// The component in `path`; `None` if there is none, an error if it is not what was written.
fn load(engine: &Engine, path: &Path) -> Result<Option<Component>, String> {
    let expected = match fs::read_to_string(digest_path(path)) {
        Ok(digest) => digest,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let code = match fs::read(path) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if hex(&Sha256::digest(&code)) != expected {
        return Err("its digest is another".into());
    }
    let component = from_file(engine, path).map_err(|e| one_line(&e))?;
    resident::release(&component);
    Ok(Some(component))
}

#[expect(unsafe_code, reason = "loading compiled code cannot be checked by the compiler; see the proof")]
fn from_file(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file is what `precompile_component` of this very program returned: its digest was compared just now
    // with the one written along with it, in a directory that only this user can write to, and it is never changed in
    // place, only replaced by renaming, so that the mapping stays what it is. Wasmtime itself checks that version and
    // settings are its own.
    unsafe { Component::deserialize_file(engine, path) }
}

#[expect(unsafe_code, reason = "loading compiled code cannot be checked by the compiler; see the proof")]
fn from_memory(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` was returned by `precompile_component` of the same engine, and nobody else has seen it.
    unsafe { Component::deserialize(engine, code) }
}

/// Write code and digest. A crash in between leaves code without its digest, or with an old one: compiled again.
fn keep(path: &Path, code: &[u8]) -> io::Result<()> {
    write_whole(path, code)?;
    write_whole(&digest_path(path), hex(&Sha256::digest(code)).as_bytes())
}

/// Remove code that was last loaded long ago. What cannot be removed stays: it only takes room.
fn prune(directory: &Path) {
    let stale = |file: &fs::DirEntry| {
        let age = file.metadata().and_then(|metadata| metadata.modified()).map(|at| at.elapsed().unwrap_or_default());
        age.is_ok_and(|age| age > STALE)
    };
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        if stale(&file) {
            let _ = fs::remove_file(file.path());
        }
    }
}

/// Say that `path` was used today. That it was cannot be said on a full disk, or a read-only one.
fn touch(path: &Path) {
    let _ = OpenOptions::new().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
}

fn digest_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // One name for each process and file: two hosts on one directory do not write into each other's.
    let half = path.with_extension(format!("{}.half", std::process::id()));
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&half).and_then(|mut file| {
            file.write_all(bytes)?;
            fs::rename(&half, path)
        });
    if written.is_err() {
        // It may never have been made.
        let _ = fs::remove_file(&half);
    }
    written
}
